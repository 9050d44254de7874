"""The classifier that teaches: its classes in order, its first layers alone, its channels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.detect.classifier import STEM, ClassifierTeacher
from limbeck.errors import ModelError, TapError
from limbeck.models import DataConfig, build
from limbeck.sources.loader import normalise


def facts(names, shape=(3, 16, 16)):
    return DataConfig(shape, (0.4,) * shape[0], (0.2,) * shape[0], tuple(names))


@pytest.fixture
def crops():
    return torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_logits_are_those_of_the_normalised_crops(classifier, crops, names):
    teacher = ClassifierTeacher(classifier, facts(names), names)
    wanted = classifier(normalise(crops, (0.4,) * 3, (0.2,) * 3))
    assert torch.equal(teacher.logits(crops), wanted)
    assert not teacher.logits(crops).requires_grad
    assert not any(p.requires_grad for p in classifier.parameters())


def test_logits_come_in_the_detectors_order(classifier, crops, names):
    plain = ClassifierTeacher(classifier, facts(names), names).logits(crops)
    turned = ("cross", "circle", "square")
    found = ClassifierTeacher(classifier, facts(names), turned).logits(crops)
    for column, name in enumerate(turned):
        assert torch.equal(found[:, column], plain[:, names.index(name)])


def test_a_classifier_without_names_is_taken_as_it_is(classifier, crops, names):
    found = ClassifierTeacher(classifier, facts(()), names).logits(crops)
    assert torch.equal(found, ClassifierTeacher(classifier, facts(names), names).logits(crops))


@pytest.mark.parametrize(
    ("known", "wanted", "says"),
    [
        (("circle", "square", "dog"), None, r"does not know 'cross' \(1 of 3 classes are missing\)"),
        ((), ("a", "b"), "tells 3 classes apart, the detector's data have 2"),
        (("circle", "square", "cross"), ("circle", "square"), "has 3 classes, the detector 2: 'cross' is none"),
    ],
)
def test_other_classes_are_refused(classifier, names, known, wanted, says):
    with pytest.raises(ModelError, match=says):
        ClassifierTeacher(classifier, facts(known), wanted or names)


def test_a_grey_classifier_sees_the_mean_of_the_channels(crops, names):
    torch.manual_seed(0)
    model = build("resnet8", num_classes=3, in_channels=1).eval()
    teacher = ClassifierTeacher(model, facts(names, (1, 16, 16)), names)
    wanted = model(normalise(crops.mean(1, keepdim=True), (0.4,), (0.2,)))
    assert torch.equal(teacher.logits(crops), wanted.detach())
    assert teacher.maps(crops, [STEM])[0].shape[0] == 5


def test_two_channels_are_refused(classifier, names):
    with pytest.raises(ModelError, match="takes 2 channels; crops have 1 or 3"):
        ClassifierTeacher(classifier, facts(names, (2, 16, 16)), names)


def test_crops_have_the_size_of_the_classifiers_input_unless_given(classifier, names):
    assert ClassifierTeacher(classifier, facts(names), names).crop_size == 16
    larger = ClassifierTeacher(classifier, facts(names), names, crop_size=24)
    assert larger.crop_size == 24
    assert larger.logits(torch.rand(2, 3, 24, 24)).shape == (2, 3)


def test_the_stem_is_the_first_layers_output(classifier, classifier_teacher, crops):
    (found,) = classifier_teacher.maps(crops, [STEM])
    first = next(m for m in classifier.modules() if isinstance(m, nn.Conv2d))
    norm = next(m for m in classifier.modules() if isinstance(m, nn.BatchNorm2d))
    wanted = torch.relu(norm(first(normalise(crops, (0.4,) * 3, (0.2,) * 3))))
    torch.testing.assert_close(found, wanted)


def test_the_stem_of_an_imagenet_network_has_its_pooling():
    torch.manual_seed(0)
    model = build("torchvision/resnet18", num_classes=3, pretrained=False).eval()
    teacher = ClassifierTeacher(model, facts("abc", (3, 32, 32)), "abc")
    crops = torch.rand(2, 3, 32, 32)
    (found,) = teacher.maps(crops, [STEM])
    inside = next(m for m in model.modules() if hasattr(m, "maxpool"))
    given = normalise(crops, (0.4,) * 3, (0.2,) * 3)
    wanted = inside.maxpool(inside.relu(inside.bn1(inside.conv1(given))))
    assert found.shape == (2, 64, 8, 8)
    torch.testing.assert_close(found, wanted)


def test_leaving_early_gives_the_map_of_the_full_pass(classifier, classifier_teacher, crops):
    classifier_teacher.maps(crops, [STEM])  # the first time it looks for the stem
    ran = []
    last = [m for m in classifier.modules() if isinstance(m, nn.Linear)][-1]
    last.register_forward_hook(lambda *_: ran.append(0))
    (early,) = classifier_teacher.maps(crops, [STEM])
    assert not ran
    (path,) = classifier_teacher._tapped((STEM,)).paths
    given = []
    second = classifier.get_submodule(path.removesuffix(":input"))
    second.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    classifier(normalise(crops, (0.4,) * 3, (0.2,) * 3))
    assert ran
    assert torch.equal(early, given[0])


def test_maps_pass_the_gradient_to_the_crops(classifier_teacher, crops):
    crops.requires_grad_()
    classifier_teacher.maps(crops, [STEM])[0].square().sum().backward()
    assert crops.grad.abs().sum() > 0


def test_no_crops_give_no_logits_and_no_maps(classifier_teacher, crops):
    assert classifier_teacher.logits(crops[:0]).shape == (0, 3)
    (none,) = classifier_teacher.maps(crops[:0], [STEM])
    assert none.shape[0] == 0
    assert none.shape[1:] == classifier_teacher.maps(crops, [STEM])[0].shape[1:]


def test_layers_that_are_not_there_are_named(classifier_teacher, crops):
    with pytest.raises(TapError, match="layer9"):
        classifier_teacher.maps(crops, ["layer9"])


def test_hooks_come_off(classifier, classifier_teacher, crops):
    classifier_teacher.maps(crops, [STEM])
    classifier_teacher.close()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in classifier.modules())
