import pytest
import torch

from limbeck.errors import ConfigError, DataError
from limbeck.numerics.crops import box_crops
from limbeck.sources import ArraySource, build
from limbeck.sources.detection import build_detection, coco
from limbeck.sources.object_crops import crops_of

SCENES = {"name": "digit_scenes", "count": 30, "size": 64}


def test_every_object_is_cut_out():
    scenes = build_detection(**SCENES)
    found = build("object_crops", of=SCENES, size=12)
    assert isinstance(found, ArraySource)
    assert (len(found), found.image_shape) == (sum(scenes.box_counts), (3, 12, 12))
    assert found.class_names == scenes.class_names
    assert (found.mean, found.std) == (scenes.mean, scenes.std)
    place = 0
    for i in range(len(scenes)):
        sample = scenes[i]
        owner = torch.zeros(len(sample.boxes), dtype=torch.int64)
        wanted = box_crops(sample.image[None].float(), owner, sample.boxes, size=12)
        end = place + len(wanted)
        assert torch.equal(found.images[place:end], wanted.round().to(torch.uint8))
        assert torch.equal(found.labels[place:end], sample.labels)
        place = end


def test_splits():
    tests = [build("object_crops", of=SCENES, split="test", test_split=s) for s in ("test", "validation")]
    wanted = [build_detection(split=s, **SCENES) for s in ("test", "validation")]
    assert [len(t) for t in tests] == [sum(w.box_counts) for w in wanted]
    assert tests[0].fingerprint != tests[1].fingerprint


def test_choices():
    assert len(build("object_crops", of=SCENES, limit=7)) == 7
    assert torch.bincount(build("object_crops", of=SCENES, per_class=2).labels).tolist() == [2] * 10
    larger = build("object_crops", of=SCENES, smallest=14.0)
    assert 0 < len(larger) < len(build("object_crops", of=SCENES))
    with pytest.raises(DataError, match=r"none of \d+ objects is at least 500 pixels wide and high"):
        build("object_crops", of=SCENES, smallest=500.0)


def test_settings_of_the_detection_source_are_checked():
    with pytest.raises(ConfigError, match="a detection source needs a name, one of coco, digit_scenes, voc"):
        build("object_crops", of={"count": 3})
    with pytest.raises(
        ConfigError, match=r"detection source 'digit_scenes' has no setting 'counts'. Did you mean"
    ):
        build("object_crops", of={"name": "digit_scenes", "counts": 3})
    with pytest.raises(ConfigError, match="the split is given from outside; leave it out"):
        build("object_crops", of={**SCENES, "split": "test"})


def test_crowds_are_left_out(tmp_path):
    import json

    from PIL import Image

    (tmp_path / "images").mkdir()
    (tmp_path / "annotations").mkdir()
    Image.new("RGB", (40, 30), (10, 20, 30)).save(tmp_path / "images" / "a.png")
    boxes = [([0, 0, 10, 10], 0), ([5, 5, 30, 20], 1), ([3, 3, 9, 0.5], 0), ([7, 7, 9, 9], 0)]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 30}],
        "annotations": [
            {"id": n, "image_id": 1, "category_id": n % 2, "bbox": box, "iscrowd": crowd}
            for n, (box, crowd) in enumerate(boxes)
        ],
        "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
    }
    (tmp_path / "annotations" / "train.json").write_text(json.dumps(content))
    found = crops_of(coco(root=str(tmp_path)), size=4)
    assert found.labels.tolist() == [0, 1]
    assert found.images[:, :, 1, 2].tolist() == [[10, 20, 30]] * 2


def test_a_teacher_of_real_objects(shared):
    root = shared / "data" / "detect" / "bccd"
    if not root.is_dir():
        pytest.skip("bccd is not on this machine")
    found = build("object_crops", of={"name": "coco", "root": str(root), "limit": 20, "size": [240, 320]})
    assert found.class_names == ("RBC", "WBC", "Platelets")
    assert len(found) > 150
