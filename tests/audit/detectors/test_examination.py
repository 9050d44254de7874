"""The sitting of detectors."""

from __future__ import annotations

import pytest
import torch

from limbeck.errors import ConfigError, DataError, ModelError


def test_images_are_spread_and_objects_are_in_order(scenes, finding, sitting):
    source = scenes(count=9, crowd=True)
    exam = sitting(source, finding(source, 0), [], limit=3)
    assert exam.places == (0, 3, 6)
    assert len(exam.objects) == 9  # three of each image; the fourth is a crowd
    assert exam.objects.owner.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    torch.testing.assert_close(exam.objects.boxes[3:6].float(), source[3].boxes[1:])


def test_detectors_run_once_and_are_frozen(scenes, detectors, sitting):
    net = detectors("small_ssd").train()
    exam = sitting(scenes(count=3), net, [])
    assert not net.training
    assert not any(p.requires_grad for p in net.parameters())
    assert exam.predictions(exam.panel.teacher) is exam.predictions(exam.panel.teacher)
    assert exam.outcomes(exam.panel.teacher) is exam.outcomes(exam.panel.teacher)


def test_as_many_detections_as_objects(scenes, finding, sitting):
    source = scenes(count=6)
    found = finding(source, 0, chance=1.0)
    doubled = [{key: torch.cat([value, value]) for key, value in one.items()} for one in found]
    for one in doubled:
        one["scores"][len(one["scores"]) // 2 :] *= 0.01
    exam = sitting(source, doubled, [])
    assert sum(len(one["scores"]) for one in exam.outcomes(exam.panel.teacher).kept) == len(exam.objects)


@pytest.mark.parametrize(
    ("settings", "word"),
    [({"score": 1.5}, "score is 1.5"), ({"background_iou": 0.6}, "background"), ({"limit": 0}, "limit is 0")],
)
def test_settings_that_cannot_be(scenes, finding, sitting, settings, word):
    source = scenes(count=3)
    with pytest.raises(ConfigError, match=word):
        sitting(source, finding(source, 0), [], **settings)


def test_nothing_to_find(scenes, sitting):
    with pytest.raises(DataError, match="none of the 3 images has an object"):
        sitting(scenes(count=3, objects=0), [], [])


def test_boxes_that_are_not_finite(scenes, finding, sitting):
    source = scenes(count=3)
    broken = finding(source, 0, chance=1.0)
    broken[1]["boxes"][0, 0] = float("nan")
    exam = sitting(source, broken, [])
    with pytest.raises(DataError, match="audit: teacher: image 1, predictions"):
        exam.outcomes(exam.panel.teacher)


def test_classes_that_differ(scenes, detectors, sitting):
    with pytest.raises(ModelError, match="teacher has 2 classes, but the images have 3"):
        sitting(scenes(count=3), detectors("small_ssd", num_classes=2), [])


def test_classes_in_another_order(scenes, detectors, sitting, tmp_path):
    from limbeck.models.detectors import load, save

    save(detectors("small_ssd"), tmp_path / "d.safetensors", class_names=("square", "circle", "cross"))
    with pytest.raises(ModelError, match="the same order"):
        sitting(scenes(count=3), load(tmp_path / "d.safetensors"), [])


def test_panel(scenes, finding, sitting):
    source = scenes(count=3)
    told = finding(source, 0)
    panel = sitting(source, told, [told, told], [told]).panel
    assert [one.name for one in panel] == ["teacher", "kd-s0", "kd-s1", "control-s0"]
    assert [one.name for one in panel.learners] == ["kd-s0", "kd-s1", "control-s0"]
    assert panel.methods == ("kd",)
