from dataclasses import replace

import pytest
import torch

from limbeck.errors import DataError


def test_logits_are_computed_once_and_in_any_batches(examined, monkeypatch):
    exam = examined(count=60, batch_size=7)
    teacher = exam.panel.teacher
    whole = exam.logits(teacher, exam.material)
    assert exam.logits(teacher, exam.material) is whole
    again = replace(exam, batch_size=60, _kept={}).logits(teacher, exam.material)
    assert torch.allclose(whole, again, atol=1e-5)
    pixels = exam.material.images.float() / 255
    assert torch.allclose(exam.logits(teacher, pixels), whole, atol=1e-5)
    assert torch.equal(exam.predictions(teacher, exam.material), whole.argmax(dim=1))


def test_a_part_and_another_set_are_not_confused_with_the_whole(examined):
    exam = examined(count=60)
    teacher = exam.panel.teacher
    whole, part = exam.logits(teacher, exam.material), exam.logits(teacher, exam.material.part(20))
    assert torch.allclose(part, whole[:20], atol=1e-5)
    for shade in range(4):  # sets that live for a moment each
        other = replace(exam.material, images=torch.full_like(exam.material.images, 60 * shade))
        assert exam.logits(teacher, other)[:, 0].std() < 1e-5
        expected = exam.logits(teacher, other.images[:1].float() / 255)
        assert torch.allclose(exam.logits(teacher, other)[:1], expected, atol=1e-5)


def test_batches_say_where_they_are(examined):
    exam = examined(count=50, batch_size=20)
    sizes = []
    for images, labels, rows in exam.batches(exam.material):
        assert images.dtype == torch.float32
        assert 0 <= images.min() <= images.max() <= 1
        assert torch.equal(labels, exam.material.labels[rows])
        sizes.append(len(rows))
    assert sizes == [20, 20, 10]


def test_parts_keep_their_groups(examined):
    material = replace(examined(count=20).material, groups=torch.arange(20) % 2, group_names=("a", "b"))
    part = material.part(5)
    assert (len(part), part.groups.tolist(), part.group_names) == (5, [0, 1, 0, 1, 0], ("a", "b"))
    assert material.part(20) is material


def test_logits_that_are_not_finite_name_the_network_and_the_image(examined):
    exam = examined(count=20)
    exam.panel.students[1].network.model.fc.bias[2] = float("inf")
    with pytest.raises(
        DataError, match=r"other-s0 puts out logits that are not finite \(first for image 0: .*inf"
    ):
        exam.logits(exam.panel.students[1], exam.material)
