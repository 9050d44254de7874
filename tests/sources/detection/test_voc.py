import pytest

from limbeck.errors import DataError
from limbeck.protocols import DetectionSource
from limbeck.sources.detection import voc

from .conftest import voc_xml

SKIP = "leave such data out with on_bad: skip."


@pytest.fixture
def files():
    return {
        "000001": (voc_xml([("dog", (1, 1, 40, 30)), ("bird", (5, 6, 10, 9), 1)]), (40, 30)),
        "000007": (voc_xml([]), (40, 30)),
        "2008_3": (voc_xml([("cat", ("3.5", "4", "9.5", "8"))], size=(20, 10)), (20, 10)),
    }


@pytest.fixture
def root(make_voc, files):
    return make_voc(files, {"train": ["000001", "000007"], "val": ["2008_3 1"]})


def test_pixels_from_one_become_corners(root, sample_facts):
    source = voc(root=str(root))
    assert isinstance(source, DetectionSource)
    assert (source.class_names, source.category_ids) == (("bird", "cat", "dog"), (1, 2, 3))
    assert sample_facts(source[0]) == {
        "shape": (30, 40),
        "boxes": [[0, 0, 40, 30], [4, 5, 10, 9]],
        "labels": [2, 0],
        "crowd": [False, True],
        "id": 1,
        "areas": [1200, 24],
    }
    assert source.box_counts == (2, 0)
    assert source[1].image_id == 2


def test_difficult_ones_may_be_kept(root):
    assert voc(root=str(root), difficult="keep")[0].crowd.tolist() == [False, False]


def test_counted_from_zero(root):
    found = voc(root=str(root), split="validation", one_based=False)
    assert found[0].boxes.tolist() == [[3.5, 4, 9.5, 8]]
    assert found.class_names == ("bird", "cat", "dog")


def test_validation_stands_in_for_test(root):
    assert len(voc(root=str(root), split="test")) == 1
    with pytest.raises(DataError, match="has no image set of the test split"):
        voc(root=str(root), split="test", validation="train")


def test_size_classes_and_limit(root):
    source = voc(root=str(root), size=(15, 80), class_names=["dog", "cat"], limit=5)
    assert source[0].image.shape == (3, 15, 80)
    assert source[0].boxes.tolist() == [[0, 0, 80, 15]]
    assert (source.class_names, source.skipped) == (("dog", "cat"), {})
    assert len(voc(root=str(root), limit=1)) == 1


def test_a_size_that_is_not_annotated(make_voc):
    for missing in (None, (0, 0)):
        root = make_voc({"a": (voc_xml([("dog", (2, 3, 9, 9))], size=missing), (12, 11))}, {"train": ["a"]})
        assert voc(root=str(root))[0].image.shape == (3, 11, 12)


def test_years(make_voc, files, tmp_path):
    kit = tmp_path / "VOCdevkit"
    make_voc(files, {"trainval": ["000001", "2008_3"], "test": ["000007"]}, root=kit / "VOC2007")
    make_voc({"2012_1": files["000001"]}, {"trainval": ["2012_1"]}, root=kit / "VOC2012")
    both = voc(root=str(kit), train="trainval")
    assert [both[i].image_id for i in range(len(both))] == [1, 2, 3]
    assert len(voc(root=str(tmp_path), train="trainval")) == 3
    assert len(voc(root=str(kit), split="test")) == 1
    assert len(voc(root=str(kit), train="trainval", years=[2012])) == 1
    with pytest.raises(DataError, match=r"setting years: there is no .*VOC2011"):
        voc(root=str(kit), years=[2011])


BAD = {
    "outside": (
        ("dog", (5, 5, 50, 9)),
        "outside the image",
        "object 2 (dog) of image 1 (x.jpg): the box [5.0, 5.0, 50.0, 9.0] reaches outside the image of 40x30 "
        "pixels (width x height). Boxes are [xmin, ymin, xmax, ymax] in pixels of the image; correct it, or "
        + SKIP,
    ),
    "exchanged corners": (
        ("dog", (20, 5, 10, 9)),
        "no area",
        "object 2 (dog) of image 1 (x.jpg): the box [20.0, 5.0, 10.0, 9.0] has no area. Boxes are "
        "[xmin, ymin, xmax, ymax], at least a little wide and high; correct or remove it, or " + SKIP,
    ),
    "no number": (
        ("dog", (5, "wide", 10, 9)),
        "not four numbers",
        "object 2 (dog) of image 1 (x.jpg): the box [5, wide, 10, 9] is not four finite numbers. Boxes are "
        "[xmin, ymin, xmax, ymax] in pixels, or " + SKIP,
    ),
    "missing side": (
        ("dog", (5, 5, 10, None)),
        "not four numbers",
        "object 2 (dog) of image 1 (x.jpg): the box [5, 5, 10, missing] is not four finite numbers. Boxes are "
        "[xmin, ymin, xmax, ymax] in pixels, or " + SKIP,
    ),
    "infinite": (
        ("dog", (5, 5, "inf", 7)),
        "not four numbers",
        "object 2 (dog) of image 1 (x.jpg): the box [5, 5, inf, 7] is not four finite numbers. Boxes are "
        "[xmin, ymin, xmax, ymax] in pixels, or " + SKIP,
    ),
    "no name": (
        ("", (5, 5, 10, 9)),
        "unknown category",
        "object 2 (no name) of image 1 (x.jpg): its name is no class. Give it one of: dog, or " + SKIP,
    ),
}


@pytest.mark.parametrize(("thing", "reason", "message"), BAD.values(), ids=BAD)
def test_bad_objects(make_voc, thing, reason, message):
    root = make_voc({"x": (voc_xml([("dog", (1, 1, 4, 4)), thing]), (40, 30))}, {"train": ["x"]})
    with pytest.raises(DataError) as error:
        voc(root=str(root))
    assert str(error.value) == f"{root}/Annotations/x.xml: {message}"
    kept = voc(root=str(root), on_bad="skip")
    assert (kept.skipped, kept.box_counts) == ({reason: 1}, (1,))


def refused(root, **settings):
    with pytest.raises(DataError) as error:
        voc(root=str(root), **settings)
    return str(error.value)


def test_counting_from_zero_is_noticed(make_voc):
    root = make_voc({"x": (voc_xml([("dog", (0, 4, 9, 9))]), (40, 30))}, {"train": ["x"]})
    assert refused(root) == (
        f"{root}/Annotations/x.xml: object 1 (dog) of image 1 (x.jpg): the box [0.0, 4.0, 9.0, 9.0] begins at 0, "
        "but VOC counts pixels from 1. For files that count from 0 set one_based: false."
    )
    assert voc(root=str(root), one_based=False)[0].boxes.tolist() == [[0, 4, 9, 9]]


def test_bad_files(make_voc, files):
    whole = voc_xml([("dog", (1, 1, 4, 4))])
    root = make_voc({"x": (whole[:-5], (40, 30))}, {"train": ["x"]})
    assert refused(root).startswith(f"{root}/Annotations/x.xml: line 1, column ")
    assert refused(root).endswith("The file is no complete XML; copy it anew.")
    root = make_voc({"x": (whole, (41, 30))}, {"train": ["x"]})
    assert refused(root) == (
        f"{root}/Annotations/x.xml: image 1 (x.jpg): the file is 41x30 pixels (width x height), but the "
        f"annotations say 40x30. Its boxes would be in the wrong places. Correct the size or give the image that "
        f"was annotated, or {SKIP}"
    )
    make_voc({"x": (whole, (40, 30)), "y": (whole, None)}, {"train": ["x", "y"]})
    assert refused(root).startswith(f"{root}/Annotations/y.xml: image 2 (y.jpg): there is no file ")
    kept = voc(root=str(root), on_bad="skip")
    assert (len(kept), kept.skipped) == (1, {"missing image file": 1})
    make_voc({"x": (whole, (40, 30))}, {"train": ["x", "x"]})
    assert refused(root) == f"{root}/ImageSets/Main/train.txt: line 2: image x is listed twice; list each once."
    make_voc({"x": (whole, (40, 30))}, {"train": ["x", "z"]})
    assert refused(root) == (
        f"source 'voc': there is no {root}/Annotations/z.xml, but image z is listed. Add the file, with no object "
        "if there is none, or remove the image from the list."
    )
    fractions = voc_xml([("dog", (0.25, 0.5, 0.75, 0.8))])
    make_voc({"x": (fractions, (40, 30))}, {"train": ["x"]})
    assert "as if boxes were fractions of the image" in refused(root)


def test_places_that_hold_nothing(root, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "holds neither Annotations/ nor VOC<year>/Annotations/. It holds: nothing." in refused(
        tmp_path / "empty"
    )
    assert refused(root, train="trian") == (
        f"source 'voc': {root}/ImageSets/Main/ has no image set of the train split (trian.txt). Did you mean "
        "'train'? It holds: train, val. Name one in the setting train."
    )
    assert "class_names: each class once" in refused(root, class_names=["dog", "dog"])
