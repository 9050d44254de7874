import sys

import numpy as np
import pytest
import torch

from limbeck.errors import DataError, MissingExtraError
from limbeck.sources import build


def picture(value, shape=(8, 8, 3)):
    return np.full(shape, value, dtype=np.uint8)


GREY = [picture(10 * i, (8, 8)) for i in range(6)]
LABELS = [0, 1, 2, 0, 1, 2]


def parquet(root, **settings):
    return build("parquet", root=str(root), **settings)


def test_fashion_mnist_mini(shared):
    root = shared / "data/fashion_mnist_mini"
    train, test = parquet(root), parquet(root, split="test")
    assert (len(train), len(test), train.image_shape) == (600, 300, (1, 28, 28))
    assert train.class_names[:2] == ("T-shirt/top", "Trouser")
    assert train.mean == pytest.approx((0.2833,), abs=1e-4)
    assert train.std == pytest.approx((0.3525,), abs=1e-4)
    assert torch.bincount(parquet(root, per_class=7).labels).tolist() == [7] * 10


def test_cifar10_in_part(shared):
    test = parquet(shared / "data/cifar10", split="test", limit=50)
    assert (len(test), test.image_shape, test.class_names[0]) == (50, (3, 32, 32), "airplane")
    assert torch.bincount(test.labels).tolist() == [5] * 10


def test_another_label_column_has_its_own_names(shared):
    root = shared / "data/cifar100"
    test = parquet(root, split="test", label_column="coarse_label", limit=40)
    assert len(test.class_names) == 20
    assert "apple" not in test.class_names


def test_a_test_split_with_grey_and_colour_images(shared):
    source = parquet(shared / "data/tiny_imagenet_100", split="test", size=16)
    assert source.image_shape == (3, 16, 16)


@pytest.mark.parametrize("struct", [True, False])
def test_columns_are_found(make_parquet, struct):
    path = make_parquet(GREY, LABELS, columns=("img", "fine_label"), struct=struct)
    source = parquet(path.parent)
    assert source.images[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 50]
    assert (source.labels.tolist(), source.class_names) == (LABELS, ("0", "1", "2"))


def test_class_names(make_parquet):
    features = {"info": {"features": {"label": {"names": ["x", "y", "z"]}}}}
    assert parquet(make_parquet(GREY, LABELS, metadata={"huggingface": features})).class_names == ("x", "y", "z")
    assert parquet(make_parquet(GREY, LABELS, metadata={"class_names": ["u", "v", "w"]})).class_names == (
        "u",
        "v",
        "w",
    )
    text = parquet(make_parquet(GREY, ["b", "a", "b", "a", "b", "a"]))
    assert (text.class_names, text.labels.tolist()) == (("a", "b"), [1, 0] * 3)


def test_shards_and_a_data_folder(make_parquet):
    make_parquet(GREY[:3], LABELS[:3], "data/train-00000-of-00002.parquet")
    path = make_parquet(GREY[3:], LABELS[3:], "data/train-00001-of-00002.parquet")
    make_parquet(GREY[:2], [0, 1], "data/validation-00000-of-00001.parquet")
    root = path.parents[1]
    assert parquet(root).images[:, 0, 0, 0].tolist() == [0, 10, 20, 30, 40, 50]
    assert len(parquet(root, split="test")) == 2


def test_one_file_without_splits(make_parquet):
    path = make_parquet([*GREY] * 5, LABELS * 5, "all.parquet")
    for root in (path, path.parent):
        assert (len(parquet(root)), len(parquet(root, split="test"))) == (24, 6)
    assert len(parquet(path, split="test", test_share=1.0)) == 30


def test_a_missing_split(make_parquet):
    path = make_parquet(GREY, LABELS)
    with pytest.raises(DataError, match=r"has no test split \(test.parquet or .*\). It holds: train.parquet"):
        parquet(path.parent, split="test")
    with pytest.raises(DataError, match=r"is a train split by its name, and the test split was asked for"):
        parquet(path, split="test")


def test_no_such_root(tmp_path):
    (tmp_path / "cifar10").mkdir()
    with pytest.raises(DataError, match=r"there is no '.*cifar11'. Did you mean 'cifar10'\? .* holds: cifar10"):
        parquet(tmp_path / "cifar11")


def test_missing_columns(make_parquet):
    path = make_parquet(GREY, LABELS, columns=("photo", "label"))
    with pytest.raises(
        DataError, match=r"no image column \(image, img, images\). It has: photo, label. Name it with"
    ):
        parquet(path)
    with pytest.raises(DataError, match=r"there is no column 'labell'. Did you mean 'label'"):
        parquet(path, image_column="photo", label_column="labell")
    path = make_parquet(GREY, LABELS, columns=("image", "kind"))
    with pytest.raises(DataError, match=r"no label column .* It has: image, kind"):
        parquet(path)
    assert len(parquet(path, label_column="kind")) == 6


@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_damaged_file(make_parquet, share):
    path = make_parquet(GREY, LABELS)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(DataError, match=r"train.parquet\): the file is no Parquet, or damaged"):
        parquet(path)


def test_broken_images(make_parquet, encode, caplog):
    jpeg = encode(np.random.default_rng(0).integers(0, 256, (8, 8, 3)), "JPEG")
    path = make_parquet([*GREY[:4], jpeg[:200], b"garbage"], LABELS)
    with pytest.raises(DataError, match=r"image of row 4 cannot be decoded .* So it is with 2 of 6 images"):
        parquet(path)
    source = parquet(path, skip_broken=True)
    assert source.labels.tolist() == [0, 1, 2, 0]
    assert "left out 2 of 6 images" in caplog.text


def test_other_bad_contents(make_parquet):
    with pytest.raises(DataError, match=r"label 5 of image 1 is out of range: 3 classes"):
        parquet(make_parquet(GREY, [0, 5, 2, 0, 1, 2], metadata={"class_names": ["a", "b", "c"]}))
    with pytest.raises(DataError, match=r"2 rows have no 'label'"):
        parquet(make_parquet(GREY, [0, None, 2, 0, None, 2]))
    with pytest.raises(DataError, match=r"row 1 holds no image bytes but"):
        parquet(make_parquet([GREY[0], None, *GREY[2:]], LABELS))
    with pytest.raises(DataError, match=r"column 'label': labels are class indices"):
        parquet(make_parquet(GREY, [0.5, 1.0, 2.0, 0.0, 1.0, 2.0]))
    with pytest.raises(DataError, match=r"image of row 0 is 8x8 pixels, image of row 1 is 9x4"):
        parquet(make_parquet([GREY[0], picture(1, (4, 9)), *GREY[2:]], LABELS))
    with pytest.raises(DataError, match=r"the file has no rows"):
        parquet(make_parquet([], []))


def test_pyarrow_is_an_extra(make_parquet, monkeypatch):
    path = make_parquet(GREY, LABELS)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'limbeck\[hf\]'"):
        parquet(path)


@pytest.fixture
def grouped(make_parquet):
    """Six images with labels -1 to 2, a column of numbers and one of texts."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = make_parquet(GREY, [0, 1, -1, 2, 1, 0])
    table = pq.read_table(path)
    table = table.append_column("age", pa.array([30, 7, 7, 30, -4, 7]))
    table = table.append_column("place", pa.array(["b", "a", "b", "b", "a", "b"]))
    table = table.append_column("blurred", pa.array([0.5] * 6))
    table = table.append_column("holes", pa.array([1, None, 1, 1, 1, 1]))
    pq.write_table(table, path)
    return path.parent


def test_a_label_that_means_nothing_is_left_out(grouped):
    with pytest.raises(DataError, match="label -1 of image 2 is out of range"):
        parquet(grouped)
    source = parquet(grouped, ignore_label=-1, class_names=["x", "y", "z", "none"])
    assert source.labels.tolist() == [0, 1, 2, 1, 0]
    assert source.images[:, 0, 0, 0].tolist() == [0, 10, 30, 40, 50]
    assert source.class_names == ("x", "y", "z", "none")


def test_some_row_has_to_have_another_label(make_parquet):
    path = make_parquet(GREY[:2], ["none", "none"])
    with pytest.raises(
        DataError, match="every row has the label 'none' in 'label', which ignore_label leaves out"
    ):
        parquet(path.parent, ignore_label="none")


@pytest.mark.parametrize(
    ("column", "groups", "names"),
    [("age", [2, 1, 2, 0, 1], ("-4", "7", "30")), ("place", [1, 0, 1, 0, 1], ("a", "b"))],
)
def test_groups(grouped, column, groups, names):
    source = parquet(grouped, ignore_label=-1, group_column=column)
    assert (source.groups.tolist(), source.group_names) == (groups, names)
    assert source.fingerprint != parquet(grouped, ignore_label=-1).fingerprint
    few = parquet(grouped, ignore_label=-1, group_column=column, limit=3)
    kept = [int(image[0, 0, 0]) for image in few.images]
    assert few.groups.tolist() == [g for g, v in zip(groups, (0, 10, 30, 40, 50), strict=True) if v in kept]


def test_the_classes_can_be_the_groups(grouped):
    source = parquet(grouped, ignore_label=-1, group_column="label")
    assert torch.equal(source.groups, source.labels)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("plce", "there is no column 'plce'. Did you mean 'place'"),
        ("blurred", "groups are whole numbers or texts; column 'blurred' is of type double"),
        ("holes", "1 rows have no 'holes'"),
    ],
)
def test_columns_that_are_no_groups(grouped, column, message):
    with pytest.raises(DataError, match=message):
        parquet(grouped, ignore_label=-1, group_column=column)


def test_groups_have_the_names_of_the_file(shared):
    source = parquet(shared / "data/cifar100", split="test", group_column="coarse_label", limit=200)
    assert torch.bincount(source.groups).tolist() == [10] * 20
    assert source.group_names[0] == "aquatic_mammals"
