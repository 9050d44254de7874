import pytest
import torch

from limbeck.audit.questions.representations import layer_paths, representations
from limbeck.errors import DataError, TapError


def test_the_same_network_has_the_same_features(examined, room):
    answer = representations(examined(), batch=20)
    room.checked(answer)
    cka, last, _ = answer.evidence
    assert cka.tallies["same-s0"].value == pytest.approx(1.0)
    assert last.tallies["same-s0"].value == pytest.approx(1.0)
    assert cka.tallies["control-s0"].value < 0.9
    assert cka.tallies["control-s0"].count == 12  # what is drawn anew are batches
    assert set(answer.figures) == {"cka-control", "cka-same", "cka-other"}
    assert answer.figures["cka-same"]["rows"][-1] == "logits"


def test_rotated_and_scaled_features_are_the_same(examined):
    exam = examined()
    turned = exam.panel.students[0].network.model
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)))[0]
    turned.fc.weight.copy_(3 * rotation @ turned.fc.weight)
    turned.fc.bias.copy_(3 * rotation @ turned.fc.bias)
    assert representations(exam, batch=40).evidence[0].tallies["same-s0"].value == pytest.approx(1.0, abs=1e-5)


def test_all_blocks_and_another_kernel(examined):
    exam = examined(count=60)
    answer = representations(exam, batch=12, layers="all", kernel="rbf", positions="flatten")
    assert answer.evidence[0].tallies["same-s0"].value == pytest.approx(1.0)
    assert answer.evidence[0].constants["kernel"] == "rbf"
    example = exam.material.images[:2].float() / 255
    assert len(layer_paths(exam.panel.teacher, example, "all")) >= len(
        layer_paths(exam.panel.teacher, example, "stages")
    )


def test_too_few_images(examined):
    with pytest.raises(DataError, match=r"at least five batches, and 60 images of images make 1 of 50.*batch: 4"):
        representations(examined(count=60))
    with pytest.raises(DataError, match="say batch: 4"):
        representations(examined(count=60), batch=2)


def test_features_that_are_not_finite(examined):
    exam = examined(count=60)
    exam.panel.students[0].network.model.second[0].weight.fill_(float("nan"))
    with pytest.raises(DataError, match=r"same-s0 puts out features that are not finite in layer 'second'"):
        representations(exam, batch=12)


def test_a_network_without_layers(examined, room):
    exam = room.sitting(shape=(1, 8, 8), count=60)
    with pytest.raises(TapError, match="neither maps nor tokens"):
        representations(exam, batch=12)
