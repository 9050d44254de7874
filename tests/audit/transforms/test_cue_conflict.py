import pytest
import torch
from PIL import Image

from limbeck.audit.corruptions.filters import smoothed
from limbeck.audit.transforms import blend_cues, cue_conflict, cue_conflict_folder
from limbeck.audit.transforms.steerable import bands_of, planes_of
from limbeck.errors import DataError
from limbeck.seeding import generator


def pictures(count, shape):
    return smoothed(torch.rand(count, *shape, generator=generator(1, "cues")), 1.0)


@pytest.mark.parametrize("size", [(32, 32), (28, 28), (8, 8), (9, 14)], ids=str)
def test_bands_add_up(size):
    planes = torch.rand(2, *size, dtype=torch.float64, generator=generator(2))
    bands = bands_of(planes)
    torch.testing.assert_close(planes_of(bands), planes)
    # The filters' squares add up to one, so the bands together have the image's energy.
    torch.testing.assert_close((bands**2).sum(dim=(0, 2, 3)), (planes**2).sum(dim=(1, 2)))


def test_a_stripe_is_found_in_its_direction():
    across = torch.sin(torch.arange(32) * 2 * torch.pi / 8).expand(32, 32).double()
    energy = (bands_of(across) ** 2).sum(dim=(1, 2))
    turned = (bands_of(across.T) ** 2).sum(dim=(1, 2))
    assert energy.argmax() != turned.argmax()


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8)], ids=str)
def test_every_image_meets_one_of_another_class(shape):
    images, labels = pictures(30, shape), torch.arange(30) % 3
    made = cue_conflict(images, labels, seed=5)
    assert bool((made.shape_labels != made.texture_labels).all())
    assert torch.equal(made.texture_labels, labels[made.texture_rows])
    assert made.images.shape == images.shape
    again = blend_cues(images[4:6], images[made.texture_rows[4:6]], torch.tensor([4, 5]), seed=5)
    assert torch.equal(again, made.images[4:6])
    rare = cue_conflict(images, torch.tensor([1] + [0] * 29), seed=5)
    assert bool((rare.shape_labels != rare.texture_labels).all())
    with pytest.raises(DataError, match="one class"):
        cue_conflict(images, torch.zeros(30, dtype=torch.int64), seed=0)


def test_colours_come_from_the_texture_and_layout_from_the_shape():
    shape = torch.zeros(1, 3, 32, 32)
    shape[:, :, 8:24, 8:24] = 0.9
    colours = torch.tensor([0.8, 0.3, 0.1]).view(1, 3, 1, 1)
    texture = colours * pictures(1, (1, 32, 32))
    made = blend_cues(shape, texture, torch.zeros(1, dtype=torch.int64), seed=0)
    torch.testing.assert_close(made.mean(dim=(2, 3)), texture.mean(dim=(2, 3)), atol=2e-3, rtol=0)
    inside = made[:, :, 10:22, 10:22].mean()
    assert inside > made[:, :, :6].mean() + 0.5 * texture.std()
    without = blend_cues(shape, texture, torch.zeros(1, dtype=torch.int64), seed=0, shape_weight=0.0)
    outline = torch.corrcoef(torch.stack([without.mean(dim=1).flatten(), shape.mean(dim=1).flatten()]))[0, 1]
    assert abs(outline.item()) < 0.3


def test_reads_a_folder(tmp_path):
    for name in ("cat/cat1-dog2.png", "cat/cat2-cat1.png", "dog/dog10-polar_bear3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (20, 30), (255, 0, 0)).save(tmp_path / name)
    found = cue_conflict_folder(tmp_path, ("cat", "dog", "polar bear"), size=(8, 10))
    assert found.images.shape == (2, 3, 8, 10)
    assert found.shape_labels.tolist() == [0, 1]
    assert found.texture_labels.tolist() == [1, 2]
    assert found.images[0, :, 0, 0].tolist() == [1, 0, 0]
    with pytest.raises(DataError, match="texture 'polar bear' is none of the classes"):
        cue_conflict_folder(tmp_path, ("cat", "dog"))
    with pytest.raises(DataError, match="does not exist"):
        cue_conflict_folder(tmp_path / "nowhere", ("cat", "dog"))
    (tmp_path / "cat" / "kitten.png").write_bytes(b"")
    with pytest.raises(DataError, match="is not named"):
        cue_conflict_folder(tmp_path, ("cat", "dog", "polar bear"))


def test_an_empty_folder_says_what_belongs_there(tmp_path):
    with pytest.raises(DataError, match="holds no picture with two cues"):
        cue_conflict_folder(tmp_path, ("cat", "dog"))
