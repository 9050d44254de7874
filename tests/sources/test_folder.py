import logging

import numpy as np
import pytest
import torch

from limbeck.errors import DataError
from limbeck.sources import ArraySource, FolderSource, Loader, build


def picture(value, shape=(8, 8, 3)):
    return np.full(shape, value, dtype=np.uint8)


TREE = {
    "train/cat/a.png": picture(10),
    "train/cat/deep/b.PNG": picture(20),
    "train/dog/c.png": picture(30),
    "train/dog/d.png": picture(40),
    "train/notes.txt": b"no image",
    "train/dog/.hidden.png": b"no image",
    "train/dog/readme.md": b"no image",
    "test/cat/e.png": picture(50),
}


def folder(root, **settings):
    return build("folder", root=str(root), **settings)


def read(root, **settings):
    return list(Loader(folder(root, **settings), batch_size=2, seed=0, shuffle=False).epoch(1))


def test_splits_classes_and_files(make_folder):
    root = make_folder(TREE)
    train, test = folder(root), folder(root, split="test")
    assert isinstance(train, ArraySource)
    assert (train.class_names, train.image_shape, train.labels.tolist()) == (
        ("cat", "dog"),
        (3, 8, 8),
        [0, 0, 1, 1],
    )
    assert train.images[:, 0, 0, 0].tolist() == [10, 20, 30, 40]
    assert (len(test), test.class_names) == (1, ("cat", "dog"))


def test_validation_stands_in_for_test(make_folder):
    root = make_folder({"Train/a/1.png": picture(1), "Train/b/1.png": picture(2), "val/b/1.png": picture(3)})
    assert folder(root, split="test").labels.tolist() == [1]


def test_without_splits_a_share_is_held_out(make_folder):
    root = make_folder({f"{c}/{i}.png": picture(10 * i) for c in "ab" for i in range(10)})
    train, test = folder(root), folder(root, split="test")
    assert torch.bincount(train.labels).tolist() == [8, 8]
    assert torch.bincount(test.labels).tolist() == [2, 2]
    assert len(folder(root, split="test", test_share=1.0)) == 20


def test_a_class_called_test_is_a_class(make_folder):
    root = make_folder({"test/1.png": picture(1), "zebra/1.png": picture(2)})
    assert folder(root, test_share=0.0).class_names == ("test", "zebra")


def test_grey_colour_and_odd_modes(make_folder):
    from PIL import Image

    grey = {"a/1.png": picture(9, (8, 8)), "b/1.png": picture(8, (8, 8))}
    root = make_folder(grey)
    assert folder(root, test_share=0.0).image_shape == (1, 8, 8)
    assert folder(root, test_share=0.0, channels=3).image_shape == (3, 8, 8)
    Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(root / "b/2.png")
    Image.new("RGBA", (8, 8), (1, 2, 3, 4)).save(root / "b/3.png")
    Image.new("P", (8, 8), 0).save(root / "b/4.png", transparency=0)
    mixed = folder(root, test_share=0.0)
    assert mixed.image_shape == (3, 8, 8)
    assert mixed.images[2].unique().tolist() == [40_000 >> 8]
    assert mixed.images[0].unique().tolist() == [9]


def test_on_disk_gives_the_same_images(make_folder):
    root = make_folder(TREE)
    lazy, whole = folder(root, in_memory=False), folder(root)
    assert isinstance(lazy, FolderSource)
    assert all(torch.equal(lazy[i][0], whole[i][0]) and lazy[i][1] == whole[i][1] for i in range(4))
    assert (lazy.mean, lazy.std, lazy.image_shape) == (whole.mean, whole.std, whole.image_shape)
    assert lazy.fingerprint == folder(root, in_memory=False).fingerprint
    batch = next(Loader(lazy, batch_size=4, seed=0, shuffle=False, workers=2).epoch(1))
    assert torch.equal(batch["images"], whole.images.float() / 255)


@pytest.mark.parametrize("in_memory", [True, False])
def test_size_brings_all_to_one(make_folder, in_memory):
    root = make_folder({"a/1.png": picture(1, (8, 12, 3)), "b/1.png": picture(2, (20, 10, 3))})
    source = folder(root, size=6, in_memory=in_memory, test_share=0.0)
    assert source.image_shape == (3, 6, 6)
    assert source[1][0].shape == (3, 6, 6)


def test_resizing_is_that_of_torchvision(make_folder):
    from PIL import Image
    from torchvision import transforms

    noise = np.random.default_rng(0).integers(0, 256, (30, 41, 3)).astype(np.uint8)
    root = make_folder({"a/1.png": noise, "b/1.png": noise})
    expected = transforms.CenterCrop(12)(transforms.Resize(12)(Image.fromarray(noise)))
    found = folder(root, size=12, test_share=0.0)[0][0].permute(1, 2, 0).numpy()
    assert np.abs(found.astype(int) - np.asarray(expected).astype(int)).mean() < 8


def test_choices(make_folder):
    root = make_folder({f"{c}/{i}.png": picture(10 * i) for c in "ab" for i in range(10)})
    assert torch.bincount(folder(root, per_class=3, test_share=0.0).labels).tolist() == [3, 3]
    assert len(folder(root, limit=5, in_memory=False, test_share=0.0)) == 5


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_truncated_image_is_named(make_folder, encode, in_memory):
    noise = np.random.default_rng(0).integers(0, 256, (32, 32, 3))
    jpeg = encode(noise, "JPEG")
    root = make_folder(
        {"a/1.png": picture(1, (32, 32, 3)), "a/2.jpg": jpeg[: len(jpeg) // 2], "b/1.png": b"garbage"}
    )
    with pytest.raises(DataError, match=r"a/2.jpg cannot be decoded .*truncated.*skip_broken: true"):
        read(root, in_memory=in_memory, test_share=0.0)


@pytest.mark.parametrize("in_memory", [True, False])
def test_broken_images_are_left_out_on_request(make_folder, in_memory, caplog):
    root = make_folder({**TREE, "train/cat/x.png": b"garbage", "train/dog/y.png": b""})
    with caplog.at_level(logging.WARNING, "limbeck"):
        source = folder(root, in_memory=in_memory, skip_broken=True)
    assert len(source) == 4
    assert [source[i][1] for i in range(4)] == [0, 0, 1, 1]
    assert "left out 2 of 6 images that cannot be decoded; the first is cat/x.png" in caplog.text


def test_nothing_but_broken_images(make_folder):
    root = make_folder({"a/1.png": b"x", "b/1.png": b"y"})
    with pytest.raises(DataError, match=r"none of 2 images can be decoded; a/1.png"):
        folder(root, skip_broken=True, test_share=0.0)


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_of_different_sizes(make_folder, in_memory):
    root = make_folder({"a/1.png": picture(1), "b/1.png": picture(2, (6, 10, 3))})
    with pytest.raises(DataError, match=r"a/1.png is 8x8 pixels, b/1.png is 10x6. .* setting size, e.g. size: 8"):
        read(root, in_memory=in_memory, test_share=0.0)


def test_no_such_root(tmp_path):
    (tmp_path / "flowers").mkdir()
    with pytest.raises(DataError, match=r"there is no '.*flower/train'. Did you mean 'flowers'\?"):
        folder(tmp_path / "flower/train")


def test_an_empty_folder(tmp_path):
    with pytest.raises(
        DataError, match=r"has no subfolders; each class needs one, named after it. It holds: nothing"
    ):
        folder(tmp_path)


def test_a_folder_without_images(make_folder):
    root = make_folder({"a/1.txt": b"", "b/2.txt": b""})
    with pytest.raises(DataError, match=r"there is no image in .* Images end in .bmp, .gif"):
        folder(root)


def test_a_file_as_root(make_folder):
    root = make_folder(TREE)
    with pytest.raises(DataError, match=r"c.png is a file; give a folder with one subfolder for each class"):
        folder(root / "train/dog/c.png")


def test_a_class_without_images(make_folder):
    root = make_folder(TREE)
    (root / "train/eel").mkdir()
    with pytest.raises(DataError, match=r"1 of 3 classes have no image: eel"):
        folder(root)


def test_one_class(make_folder):
    with pytest.raises(DataError, match=r"at least two classes; there is one \('cat'\)"):
        folder(make_folder({"cat/1.png": picture(1)}))


def test_a_class_that_only_the_test_split_has(make_folder):
    root = make_folder({**TREE, "test/dogs/1.png": picture(1)})
    with pytest.raises(
        DataError, match=r"test/dogs/ is not among the classes of the training split .*Did you mean 'dog'"
    ):
        folder(root, split="test")


def test_a_missing_split(make_folder):
    root = make_folder({k: v for k, v in TREE.items() if k.startswith("train")})
    with pytest.raises(
        DataError, match=r"has no test split \(test, testing, val, valid, validation\). It holds: train"
    ):
        folder(root, split="test")
