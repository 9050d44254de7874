import struct

import numpy as np
import pytest
import torch

from limbeck.errors import DataError, UnknownNameError
from limbeck.sources import as_source, build
from limbeck.sources.torchvision_sets import DATASETS

datasets = pytest.importorskip("torchvision.datasets")


@pytest.fixture
def mnist(tmp_path):
    """MNIST's files, with six images a split."""
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for number, split in enumerate(("train", "t10k")):
        pixels = np.full((6, 28, 28), 100 * number + 7, dtype=np.uint8)
        (raw / f"{split}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, 6, 28, 28) + pixels.tobytes())
        (raw / f"{split}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 6) + bytes([0, 1, 2, 0, 1, 9]))
    return tmp_path


def test_a_set_that_is_there(mnist):
    train, test = (build("torchvision/mnist", root=str(mnist), split=s) for s in ("train", "test"))
    assert (train.image_shape, len(train), len(train.class_names)) == ((1, 28, 28), 6, 10)
    assert (int(train.images[0, 0, 0, 0]), int(test.images[0, 0, 0, 0])) == (7, 107)
    assert train.labels.tolist() == [0, 1, 2, 0, 1, 9]
    assert build("torchvision/mnist", root=str(mnist), limit=2, size=14).images.shape == (2, 1, 14, 14)


def test_every_name_is_a_set_of_torchvision():
    assert all(hasattr(datasets, kind) for kind in DATASETS.values())


def test_a_set_that_is_not_there(tmp_path):
    with pytest.raises(
        DataError, match=r"torchvision/cifar10: cannot be read from .* Fetch it with download: true"
    ):
        build("torchvision/cifar10", root=str(tmp_path))


def test_unknown_set(tmp_path):
    with pytest.raises(UnknownNameError, match=r"unknown source 'torchvision/cifar11'. Did you mean 'cifar10"):
        build("torchvision/cifar11", root=str(tmp_path))


def test_a_set_without_splits(tmp_path):
    with pytest.raises(DataError, match=r"has no train and test split in torchvision"):
        build("torchvision/eurosat", root=str(tmp_path))


def test_any_map_style_set():
    fake = datasets.FakeData(size=12, image_size=(3, 8, 8), num_classes=3)
    source = as_source(fake)
    assert source.image_shape == (3, 8, 8)
    assert source.labels.tolist() == [int(fake[i][1]) for i in range(12)]


def test_a_set_with_a_transform_is_used_as_transformed(mnist):
    from torchvision.transforms import functional as TF

    plain = datasets.MNIST(str(mnist))
    inverted = datasets.MNIST(str(mnist), transform=lambda image: TF.to_tensor(TF.invert(image)))
    assert torch.equal(as_source(inverted).images, 255 - as_source(plain).images)


def test_items_that_are_no_pairs():
    with pytest.raises(DataError, match=r"items have to be pairs \(image, label\); item 0 is a Tensor"):
        as_source(torch.utils.data.TensorDataset(torch.zeros(2, 2)).tensors[0])
    with pytest.raises(DataError, match=r"data set ListOf is empty"):
        as_source(type("ListOf", (), {"__len__": lambda _: 0, "__getitem__": lambda _, i: i})())


def test_items_of_different_sizes():
    class Sizes:
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return np.zeros((8 + index, 8), dtype=np.uint8), index

    with pytest.raises(DataError, match=r"item 0 is 8x8 pixels, item 1 is 8x9"):
        as_source(Sizes())
