import pytest
import torch

from limbeck.errors import DataError
from limbeck.sources import ArraySource, build
from limbeck.sources.tinted import tinted_of


def test_the_background_is_one_colour_and_the_digit_stays_white():
    pixels = torch.tensor([[0, 255], [128, 0]], dtype=torch.uint8).expand(3, 1, 2, 2)
    found = tinted_of(ArraySource(pixels, torch.tensor([0, 1, 0]), ["a", "b"]))
    colour = found.images[:, :, 0, 0].double()
    assert torch.equal(found.images[:, :, 1, 1].double(), colour)
    assert (found.images[:, :, 0, 1] == 255).all()
    mixed = 128 / 255 * 255 + (1 - 128 / 255) * colour
    assert (found.images[:, :, 1, 0] - mixed).abs().max() <= 1  # the colour itself was rounded
    assert len({tuple(c) for c in colour.tolist()}) == 3


def test_colours_are_spread_evenly():
    black = ArraySource(torch.zeros(4000, 1, 1, 1, dtype=torch.uint8), torch.arange(4000) % 2, ["a", "b"])
    colours = tinted_of(black, seed=3).images.flatten(1).double() / 255
    assert colours.mean(0).tolist() == pytest.approx([0.5] * 3, abs=0.02)
    assert colours.std(0).tolist() == pytest.approx([12**-0.5] * 3, abs=0.01)
    assert torch.corrcoef(colours.T).fill_diagonal_(0).abs().max() < 0.05


def test_colours_depend_on_seed_split_and_image_alone():
    whole = build("tinted", of="digits")
    assert whole.fingerprint == build("tinted", of="digits").fingerprint
    assert whole.fingerprint != build("tinted", of="digits", seed=1).fingerprint
    few = build("tinted", of="digits", limit=30)
    assert all((whole.images == image).flatten(1).all(1).any() for image in few.images)
    first = [build("tinted", of="digits", split=s).images[0, :, 0, 0].tolist() for s in ("train", "test")]
    assert first[0] != first[1]


def test_labels_and_groups_stay():
    groups = {"name": "joined", "of": ["digits", "digits"], "names": ["x", "y"]}
    found, before = build("tinted", of=groups), build(**groups)
    assert (found.class_names, found.group_names) == (before.class_names, ("x", "y"))
    assert torch.equal(found.labels, before.labels)
    assert torch.equal(found.groups, before.groups)


def test_colour_images_are_refused():
    with pytest.raises(DataError, match=r"'tinted' takes grey images, and these have 3 channels.*channels: 1"):
        build("tinted", of={"name": "digits", "channels": 3})


def test_mnist(shared):
    found = build("tinted", of={"name": "parquet", "root": str(shared / "data/mnist"), "limit": 50}, split="test")
    assert (found.image_shape, len(found)) == ((3, 28, 28), 50)
    assert found.mean == pytest.approx((0.57, 0.57, 0.57), abs=0.1)
