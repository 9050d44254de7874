import json

import numpy as np
import pytest
import torch
from PIL import Image

from limbeck.errors import ConfigError, DataError
from limbeck.protocols import DetectionSource
from limbeck.sources.detection import build_detection, coco

SKIP = "leave such data out with on_bad: skip."


def test_boxes_labels_and_crowds(make_coco, tree, sample_facts):
    source = coco(root=str(make_coco(tree)))
    assert isinstance(source, DetectionSource)
    assert (len(source), source.class_names, source.category_ids) == (3, ("bird", "cat", "dog"), (2, 7, 90))
    assert source.box_counts == (3, 3, 0)
    assert source.skipped == {}
    assert sample_facts(source[0]) == {
        "shape": (48, 64),
        "boxes": [[8, 6, 28, 18], [30.5, 20.25, 40.5, 30.75], [1, 2, 4, 6]],
        "labels": [1, 0, 2],
        "crowd": [False, False, False],
        "id": 3,
        "areas": [200, 105, 12],
    }
    assert source[1].crowd.tolist() == [True, False, False]
    assert source[2].boxes.shape == (0, 4)
    assert int(source[1].image[0, 0, 0]) == 30


def test_resizing_moves_boxes_and_areas(make_coco, tree):
    source = coco(root=str(make_coco(tree)), size=(24, 128))
    assert source[0].image.shape == (3, 24, 128)
    assert source[0].boxes[0].tolist() == [16, 3, 56, 9]
    assert source[0].areas[0] == 200
    whole = source[1].boxes[0].tolist()
    assert whole == [0, 0, 128, 24]
    assert coco(root=str(make_coco(tree)), size=32)[0].image.shape == (3, 32, 32)


def test_on_disk_is_the_same_as_in_memory(make_coco, tree):
    root = str(make_coco(tree))
    for size in (None, (20, 30)):
        kept, read = (coco(root=root, size=size, in_memory=m) for m in (True, False))
        for a, b in zip(kept, read, strict=False):
            assert torch.equal(a.image, b.image)
            assert torch.equal(a.boxes, b.boxes)
        assert kept.fingerprint == read.fingerprint
        assert (kept.mean, kept.std) == (read.mean, read.std)


def test_fingerprint_follows_the_boxes(make_coco, tree):
    first = coco(root=str(make_coco(tree))).fingerprint
    assert coco(root=str(make_coco(tree))).fingerprint == first
    tree["annotations"][0]["bbox"][0] += 1
    assert coco(root=str(make_coco(tree))).fingerprint != first


@pytest.mark.parametrize(
    ("name", "images", "split"),
    [
        ("train.json", "images", "train"),
        ("val.json", "images", "validation"),
        ("valid.json", "images", "validation"),
        ("test.json", "images", "test"),
        ("val.json", "images", "test"),
        ("instances_train2017.json", "train2017", "train"),
        ("instances_val2017.json", "val2017", "validation"),
        ("instances_val2014.json", "images/val2014", "test"),
        ("train.json", ".", "train"),
    ],
)
def test_usual_layouts_are_found(make_coco, tree, name, images, split):
    assert len(coco(root=str(make_coco(tree, name=name, images=images)), split=split)) == 3


def test_files_by_name(make_coco, tree):
    root = make_coco(tree, name="mine.json", images="pictures")
    named = coco(root=str(root), split="test", test="annotations/mine.json", images="pictures")
    assert len(named) == 3
    make_coco(tree, name="instances_val2017.json")
    make_coco(tree, name="instances_valminusminival2014.json")
    assert "val2017" in repr(coco(root=str(root), split="validation", images="pictures"))


def test_some_classes(make_coco, tree):
    source = coco(root=str(make_coco(tree)), class_names=["dog", "bird"])
    assert (source.class_names, source.category_ids, source.box_counts) == (("dog", "bird"), (90, 2), (2, 1, 0))
    assert source[0].labels.tolist() == [1, 0]
    assert source.skipped == {}


def test_limit_is_a_seeded_choice(make_coco, tree):
    root = str(make_coco(tree))
    ids = [
        [s.image_id for s in (coco(root=root, limit=2, subset_seed=seed)[i] for i in (0, 1))] for seed in range(8)
    ]
    assert {len(i) for i in ids} == {2}
    assert len({tuple(i) for i in ids}) > 1
    assert ids[0] == [s.image_id for s in (coco(root=root, limit=2)[i] for i in (0, 1))]


def test_grey_images_and_unknown_sizes(make_coco, tree):
    del tree["images"][0]["width"], tree["images"][0]["height"]
    root = make_coco(tree)
    Image.fromarray(np.full((48, 64), 77, dtype=np.uint8)).save(root / "images" / "a.png")
    assert coco(root=str(root))[0].image[:, 5, 5].tolist() == [77, 77, 77]


def test_boxes_over_the_border_by_rounding_are_cut(make_coco, tree):
    tree["annotations"][0]["bbox"] = [-0.5, 40, 65, 8.75]
    source = coco(root=str(make_coco(tree)))
    assert source[0].boxes[0].tolist() == [0, 40, 64, 48]
    assert source.skipped == {}


def change(tree, place, **values):
    tree["annotations"][place] |= values


def drop(tree, place, key):
    del tree["annotations"][place][key]


# What is done to the file, the reason under which it is counted, and the message behind the name of the file.
BAD = {
    "outside": (
        lambda t: change(t, 0, bbox=[50, 6, 20, 12]),
        "outside the image",
        "annotation 1 of image 3 (a.png): the box [50, 6, 20, 12] reaches outside the image of 64x48 pixels "
        "(width x height). Boxes are [x, y, width, height] in pixels of the image; correct it, or " + SKIP,
    ),
    "negative corner": (
        lambda t: change(t, 3, bbox=[-4, 5, 9, 8]),
        "outside the image",
        "annotation 6 of image 9 (b.png): the box [-4, 5, 9, 8] reaches outside the image of 40x30 pixels "
        "(width x height). Boxes are [x, y, width, height] in pixels of the image; correct it, or " + SKIP,
    ),
    "beyond by a hair": (
        lambda t: change(t, 0, bbox=[64.2, 6, 0.5, 12]),
        "outside the image",
        "annotation 1 of image 3 (a.png): the box [64.2, 6, 0.5, 12] reaches outside the image of 64x48 pixels "
        "(width x height). Boxes are [x, y, width, height] in pixels of the image; correct it, or " + SKIP,
    ),
    "no area": (
        lambda t: change(t, 5, bbox=[20, 10, 0, 9]),
        "no area",
        "annotation 8 of image 9 (b.png): the box [20, 10, 0, 9] has no area. Boxes are [x, y, width, height], at "
        "least a little wide and high; correct or remove it, or " + SKIP,
    ),
    "negative height": (
        lambda t: change(t, 5, bbox=[20, 10, 5, -9]),
        "no area",
        "annotation 8 of image 9 (b.png): the box [20, 10, 5, -9] has no area. Boxes are [x, y, width, height], "
        "at least a little wide and high; correct or remove it, or " + SKIP,
    ),
    "three numbers": (
        lambda t: change(t, 2, bbox=[1, 2, 3]),
        "not four numbers",
        "annotation 5 of image 3 (a.png): the box [1, 2, 3] is not four finite numbers. Boxes are "
        "[x, y, width, height] in pixels, or " + SKIP,
    ),
    "text": (
        lambda t: change(t, 2, bbox=["1", 2, 3, 4]),
        "not four numbers",
        "annotation 5 of image 3 (a.png): the box ['1', 2, 3, 4] is not four finite numbers. Boxes are "
        "[x, y, width, height] in pixels, or " + SKIP,
    ),
    "not a number": (
        lambda t: change(t, 2, bbox=[1, 2, float("nan"), 4]),
        "not four numbers",
        "annotation 5 of image 3 (a.png): the box [1, 2, nan, 4] is not four finite numbers. Boxes are "
        "[x, y, width, height] in pixels, or " + SKIP,
    ),
    "no box": (
        lambda t: drop(t, 4, "bbox"),
        "no box",
        "annotation 7 of image 3 (a.png): it has no bbox. Give its box as [x, y, width, height], or " + SKIP,
    ),
    "unknown category": (
        lambda t: change(t, 1, category_id=3),
        "unknown category",
        "annotation 2 of image 9 (b.png): there is no category with the id 3. Known ids are 2, 7, 90; list it "
        "under categories, or " + SKIP,
    ),
    "no category": (
        lambda t: drop(t, 1, "category_id"),
        "unknown category",
        "annotation 2 of image 9 (b.png): there is no category with the id missing. Known ids are 2, 7, 90; list "
        "it under categories, or " + SKIP,
    ),
    "unknown image": (
        lambda t: change(t, 0, image_id=8),
        "unknown image",
        "annotation 1: there is no image with the id 8. List the image under images, or " + SKIP,
    ),
    "duplicated annotation": (
        lambda t: change(t, 3, id=2),
        "duplicated annotation id",
        "annotation 2 of image 9 (b.png): the id 2 is given twice. Give each its own, or " + SKIP,
    ),
    "no annotation id": (
        lambda t: drop(t, 3, "id"),
        "no annotation id",
        "annotations[3]: the id is missing. Give each a whole number, or " + SKIP,
    ),
    "missing image": (
        lambda t: t["images"][1].update(file_name="c.png"),
        "missing image file",
        "image 9 (c.png): there is no file {root}/images/c.png. Put it there, or name the folder of the images in "
        "the setting images, or " + SKIP,
    ),
    "other size": (
        lambda t: t["images"][1].update(width=80, height=60),
        "other image size",
        "image 9 (b.png): the file is 40x30 pixels (width x height), but the annotations say 80x60. Its boxes "
        "would be in the wrong places. Correct the size or give the image that was annotated, or " + SKIP,
    ),
}


@pytest.mark.parametrize(("spoil", "reason", "message"), BAD.values(), ids=BAD)
def test_bad_data_is_refused_and_named(make_coco, tree, spoil, reason, message):
    spoil(tree)
    root = make_coco(tree)
    with pytest.raises(DataError) as error:
        coco(root=str(root))
    assert str(error.value) == f"{root}/annotations/train.json: " + message.replace("{root}", str(root))


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(("spoil", "reason", "message"), BAD.values(), ids=BAD)
def test_bad_data_is_left_out_and_counted(make_coco, tree, spoil, reason, message, in_memory):
    spoil(tree)
    source = coco(root=str(make_coco(tree)), on_bad="skip", in_memory=in_memory)
    assert source.skipped == {reason: 1}
    of_image = reason in ("missing image file", "other image size")
    assert len(source) == (2 if of_image else 3)
    if not of_image:
        assert sum(source.box_counts) == 5
    assert all(source[i].image.ndim == 3 for i in range(len(source)))


# What is wrong with the file as a whole stops in any case.
WHOLE = {
    "duplicated image": (
        lambda t: t["images"][1].update(id=3),
        "image id 3 is given twice, to a.png and b.png; ids are unique.",
    ),
    "duplicated category": (
        lambda t: t["categories"][1].update(id=7),
        "category id 7 is given twice, to 'cat' and 'bird'; ids are unique.",
    ),
    "two of one name": (
        lambda t: t["categories"][1].update(name="dog"),
        "two categories are named 'dog'; names are unique.",
    ),
    "category without id": (
        lambda t: t["categories"][1].update(id="2"),
        "categories[1] has id '2' and name 'bird'; it needs a whole number and a text.",
    ),
    "image without name": (
        lambda t: t["images"][1].pop("file_name"),
        "images[1] has id 9 and file_name missing; it needs a whole number and a text.",
    ),
    "size of zero": (
        lambda t: t["images"][1].update(width=0),
        "image 9 (b.png) has width 0 and height 30; both are whole numbers of at least 1, in pixels.",
    ),
    "no categories": (
        lambda t: t.update(categories=[]),
        "there is no category; list each class with its id and name.",
    ),
    "no images": (lambda t: t.update(images=[]), "there is no image."),
    "no annotations": (
        lambda t: t.pop("annotations"),
        "there is no list 'annotations'; a COCO file has images, annotations and categories. It has: images, "
        "categories.",
    ),
    "entry of another kind": (
        lambda t: t["annotations"].insert(1, 5),
        "annotations[1] is 5; it has to be a mapping.",
    ),
    "corners": (
        lambda t: (
            [a.update(bbox=[10, 9, 30, 29]) for a in t["annotations"]]
            and t["annotations"][0].update(bbox=[40, 9, 60, 29])
        ),
        "6 of 6 boxes reach out of their images, but all fit as corners [x1, y1, x2, y2]. COCO's boxes are "
        "[x, y, width, height]: width is x2 - x1, and height y2 - y1.",
    ),
    "fractions": (
        lambda t: [a.update(bbox=[0.25, 0.5, 0.3, 0.2]) for a in t["annotations"]],
        "every number of every box lies between 0 and 1, as if boxes were fractions of the image. They are "
        "[x, y, width, height] in pixels: multiply by the width and height of the image.",
    ),
}


@pytest.mark.parametrize("on_bad", ["refuse", "skip"])
@pytest.mark.parametrize(("spoil", "message"), WHOLE.values(), ids=WHOLE)
def test_bad_files_are_refused(make_coco, tree, spoil, message, on_bad):
    if message.startswith("6 of 6"):
        for picture in tree["images"][:1]:
            picture |= {"width": 60, "height": 29}
        tree["images"][1] |= {"width": 39, "height": 30}
    spoil(tree)
    root = make_coco(tree)
    with pytest.raises(DataError) as error:
        coco(root=str(root), on_bad=on_bad)
    assert str(error.value) == f"{root}/annotations/train.json: {message}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [\n  1,', "line 2, column 5: Expecting value. The file is no complete JSON; copy it anew."),
        ("[]", "a list, as detectors write their results. Annotations have images and categories."),
        ("3", "there is no list 'images'; a COCO file has images, annotations and categories. It has: no keys."),
    ],
)
def test_files_that_are_no_annotations(make_coco, text, message):
    root = make_coco(text)
    with pytest.raises(DataError) as error:
        coco(root=str(root))
    assert str(error.value) == f"{root}/annotations/train.json: {message}"


def test_broken_images(make_coco, tree):
    root = make_coco(tree)
    (root / "images" / "b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"train.json: image 9 \(b.png\): the file cannot be decoded \("):
        coco(root=str(root))
    later = coco(root=str(root), in_memory=False)
    with pytest.raises(DataError, match=r"image 9 \(b.png\): the file cannot be decoded .*on_bad: skip"):
        later[1]
    for in_memory in (True, False):
        kept = coco(root=str(root), on_bad="skip", in_memory=in_memory)
        assert (len(kept), kept.skipped) == (2, {"broken image file": 1})


def test_a_turned_image_is_told(make_coco, tree):
    root = make_coco(tree)
    Image.new("RGB", (48, 64)).save(root / "images" / "a.png")
    with pytest.raises(DataError) as error:
        coco(root=str(root))
    assert str(error.value) == (
        f"{root}/annotations/train.json: image 3 (a.png): the file is 48x64 pixels (width x height), but the "
        "annotations say 64x48. The sides are exchanged, as if the file were turned by its EXIF tag. Its boxes "
        f"would be in the wrong places. Correct the size or give the image that was annotated, or {SKIP}"
    )


def test_nothing_left(make_coco, tree):
    tree["images"] = [i | {"width": 5} for i in tree["images"]]
    tree["annotations"] = []
    with pytest.raises(DataError, match=r"there is no image left; left out were other image size: 3\."):
        coco(root=str(make_coco(tree)), on_bad="skip")


def test_a_split_that_is_not_there(make_coco, tree):
    root = make_coco(tree)
    with pytest.raises(DataError) as error:
        coco(root=str(root), split="validation")
    assert str(error.value) == (
        f"source 'coco': {root}/annotations/ has no annotations of the validation split (val.json or "
        "instances_val*.json). It holds: train.json. Name the file in the setting validation."
    )
    with pytest.raises(DataError, match=r"setting train: there is no .*trian.json'. Did you mean 'train.json'"):
        coco(root=str(root), train="annotations/trian.json")
    with pytest.raises(DataError, match=r"there is no category 'cats'. Did you mean 'cat'"):
        coco(root=str(root), class_names=["cats"])
    with pytest.raises(DataError, match="source 'coco': there is no "):
        coco(root=str(root / "nowhere"))


def test_images_that_are_nowhere(make_coco, tree):
    root = make_coco(tree, images="elsewhere")
    with pytest.raises(DataError, match=r"image 3 \(a.png\) is in none of .*Name the folder of the images"):
        coco(root=str(root))


def test_building(make_coco, tree):
    root = str(make_coco(tree))
    assert len(build_detection("coco", root=root)) == 3
    with pytest.raises(ConfigError, match=r"detection source 'coco' has no setting 'sizes'. Did you mean 'size'"):
        build_detection("coco", root=root, sizes=3)
    with pytest.raises(ConfigError, match="detection source 'coco' needs the setting 'root'"):
        build_detection("coco")
    with pytest.raises(ConfigError, match="split is 'train', 'validation' or 'test', not 'val'"):
        build_detection("coco", split="val", root=root)
    with pytest.raises(LookupError, match=r"unknown detection source 'cocoo'. Did you mean 'coco'"):
        build_detection("cocoo")


@pytest.mark.parametrize("name", ["bccd", "coco128", "deeppcb"])
def test_real_sets(shared, name):
    root = shared / "data" / "detect" / name
    if not root.is_dir():
        pytest.skip(f"{name} is not on this machine")
    source = coco(root=str(root), limit=12, size=(120, 160))
    content = json.loads((root / "annotations" / "train.json").read_text())
    by_id = {image["id"]: image for image in content["images"]}
    assert source.category_ids == tuple(sorted(c["id"] for c in content["categories"]))
    for i in range(len(source)):
        sample = source[i]
        picture = by_id[sample.image_id]
        own = [a for a in content["annotations"] if a["image_id"] == sample.image_id]
        scale = np.array([160 / picture["width"], 120 / picture["height"]] * 2)
        wanted = np.array([a["bbox"] for a in own]).reshape(-1, 4)
        wanted[:, 2:] += wanted[:, :2]
        np.testing.assert_allclose(sample.boxes.numpy(), wanted * scale, atol=1e-3)
        assert [source.category_ids[label] for label in sample.labels] == [a["category_id"] for a in own]
    total = {"bccd": 2804, "coco128": 926, "deeppcb": 6873}[name]
    assert sum(coco(root=str(root), in_memory=False).box_counts) == total
