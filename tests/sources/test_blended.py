import pytest
import torch

from limbeck.errors import DataError
from limbeck.sources import ArraySource, build
from limbeck.sources.blended import blended_of

PATCHES = {"name": "digits", "size": 16}


def source(images):
    return ArraySource(images, torch.arange(len(images)) % 2, ["a", "b"])


@pytest.fixture
def patches():
    """Every pixel of every image is another colour, so that a patch can be found again."""
    values = torch.arange(5 * 6 * 7, dtype=torch.uint8).view(5, 1, 6, 7)
    return source(torch.cat([values, 255 - values, values // 2], 1))


def test_black_images_show_the_patch_itself(patches):
    found = blended_of(source(torch.zeros(200, 1, 3, 4, dtype=torch.uint8)), patches)
    seen = set()
    for image in found.images:
        value = int(image[0, 0, 0])
        number, top, left = value // 42, value % 42 // 7, value % 7
        assert torch.equal(image, patches.images[number, :, top : top + 3, left : left + 4])
        seen.add((number, top, left))
    assert {n for n, _, _ in seen} == set(range(5))
    assert {t for _, t, _ in seen} == {x for _, _, x in seen} == set(range(4))


def test_the_difference_without_its_sign(patches):
    black = blended_of(source(torch.zeros(9, 1, 3, 4, dtype=torch.uint8)), patches, seed=2)
    grey = torch.randint(0, 256, (9, 1, 3, 4), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    found = blended_of(source(grey), patches, seed=2)
    assert torch.equal(found.images.double(), (black.images.double() - grey.double()).abs())


def test_patches_of_the_same_size_and_grey_patches():
    whole = source(torch.arange(4, dtype=torch.uint8)[:, None, None, None].expand(-1, 1, 5, 5))
    found = blended_of(source(torch.zeros(40, 1, 5, 5, dtype=torch.uint8)), whole)
    assert found.image_shape == (3, 5, 5)
    assert set(found.images.flatten().tolist()) == {0, 1, 2, 3}


def test_patches_depend_on_seed_split_and_image_alone():
    whole = build("blended", of="digits", patches=PATCHES)
    assert whole.fingerprint == build("blended", of="digits", patches=PATCHES).fingerprint
    assert whole.fingerprint != build("blended", of="digits", patches=PATCHES, seed=1).fingerprint
    few = build("blended", of="digits", patches=PATCHES, limit=30)
    assert all((whole.images == image).flatten(1).all(1).any() for image in few.images)
    assert torch.equal(whole.labels, build("digits").labels)
    assert len(build("blended", of="digits", patches=PATCHES, split="test")) == 500


def test_what_cannot_be_blended(patches):
    with pytest.raises(DataError, match=r"patches of 6 x 7 pixels are smaller than images of 7 x 7.*size: 7"):
        blended_of(source(torch.zeros(2, 1, 7, 7, dtype=torch.uint8)), patches)
    with pytest.raises(DataError, match="'blended' takes grey images"):
        blended_of(patches, patches)


def test_mnist_on_photographs(shared):
    data = shared / "data"
    found = build(
        "blended",
        of={"name": "parquet", "root": str(data / "mnist"), "limit": 50},
        patches={"name": "parquet", "root": str(data / "cifar10"), "limit": 50},
        split="test",
    )
    assert (found.image_shape, len(found)) == ((3, 28, 28), 50)
    assert found.mean == pytest.approx((0.47, 0.47, 0.44), abs=0.08)
