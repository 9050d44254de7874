import pytest
import torch

from limbeck.audit.questions.classes import SHOWN, classes, part_columns


def test_strong_and_weak_classes(examined, room):
    exam = examined()
    answer = classes(exam)
    room.checked(answer)
    assert answer.evidence[0].tallies["same-s0"].value == pytest.approx(1.0)
    drops = answer.numbers["worst_class_drop"]
    assert drops["same"] == 0.0
    assert drops["other"] > 0.3
    rows = answer.tables["classes"]["rows"]
    assert sum(row["images"] for row in rows) == len(exam.material)
    assert {row["m0"] - row["teacher"] for row in rows} == {0.0}  # `same` is the first method


def test_accuracy_of_each_class_by_hand(examined):
    exam = examined(count=60)
    teacher, labels = exam.panel.teacher, exam.material.labels
    sums = part_columns(exam, teacher, labels, 4).sum(dim=0)
    right = exam.predictions(teacher, exam.material) == labels
    for label in range(4):
        assert sums[label] == int((right & (labels == label)).sum())
        assert sums[4 + label] == int((labels == label).sum())


def test_classes_without_images_are_passed_over(examined):
    exam = examined(count=60)
    exam.material.labels.clamp_(max=1)
    answer = classes(exam, images=50)
    assert {row["class"] for row in answer.tables["classes"]["rows"]} == {"c0", "c1"}
    assert all(0 <= tally.value <= 1 for tally in answer.evidence[1].tallies.values())
    assert "2 classes" in answer.evidence[0].note
    assert SHOWN == 30


def test_a_draw_without_images_of_a_class(examined):
    # A bootstrap draw may leave a class out; the number of the others must not become NaN.
    exam = examined(count=60)
    profile, worst = (one.tallies["other-s0"] for one in classes(exam).evidence)
    weights = (exam.material.labels != 0).double()[None]
    assert torch.isfinite(profile.weighted(weights)).all()
    assert torch.isfinite(worst.weighted(weights)).all()
