"""The artefact: what is written is read, and what cannot be trusted is refused."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from PIL import Image

from limbeck.dataset.image_set import ImageSet, Subset, load, save
from limbeck.dataset.picture import grid_png
from limbeck.dataset.preprocess import Normalisation, Whitening, fit_whitening
from limbeck.errors import CheckpointError, DataError


def made(*, soft: bool = True, subsets: int = 2) -> ImageSet:
    draws = torch.Generator().manual_seed(0)
    parts = []
    for number in range(subsets):
        images = torch.randn(4, 3, 4, 4, generator=draws)
        probabilities = torch.randn(4, 2, generator=draws).softmax(1) if soft else None
        parts.append(Subset(images, torch.tensor([0, 0, 1, 1]), probabilities, 0.01 * (number + 1)))
    return ImageSet(
        subsets=tuple(parts),
        class_names=("cat", "dog"),
        preprocess=Normalisation((0.5, 0.4, 0.3), (0.2, 0.2, 0.2)),
        augment="crop_flip",
        provenance={"seed": 3},
    )


@pytest.mark.parametrize("soft", [False, True])
def test_what_is_written_is_read(tmp_path, soft):
    given = made(soft=soft)
    save(given, tmp_path / "set.safetensors")
    found = load(tmp_path / "set.safetensors")
    assert torch.equal(found.images, given.images)
    assert torch.equal(found.labels, given.labels)
    assert found.class_names == given.class_names
    assert found.preprocess == given.preprocess
    assert [s.lr for s in found.subsets] == [0.01, 0.02]
    assert (found.augment, found.factor, found.provenance) == ("crop_flip", 1, {"seed": 3})
    assert (found.soft is not None) == soft
    if soft:
        assert torch.equal(found.soft, given.soft)


def test_whitened_sets_bring_their_matrix(tmp_path):
    whitening = fit_whitening(torch.rand(60, 3, 4, 4, generator=torch.Generator().manual_seed(1)))
    save(replace(made(), preprocess=whitening), tmp_path / "set.safetensors")
    found = load(tmp_path / "set.safetensors")
    pixels = torch.rand(2, 3, 4, 4)
    assert torch.equal(found.preprocess.apply(pixels), whitening.apply(pixels))
    torch.testing.assert_close(found.preprocess.invert(whitening.apply(pixels)), pixels, atol=1e-4, rtol=1e-4)


def test_bytes_count_images_and_labels():
    hard, soft = made(soft=False), made()
    assert (hard.image_bytes, hard.label_bytes) == (8 * 48, 8)
    assert soft.label_bytes == 8 * 2 * 2
    assert soft.bytes == 8 * 48 + 32
    assert (soft.ipc, soft.classes, soft.image_shape) == (4, 2, (3, 4, 4))


def test_pixels_are_shown_between_0_and_1():
    pixels = made().pixels()
    assert float(pixels.min()) >= 0
    assert float(pixels.max()) <= 1
    picture = Image.open(io.BytesIO(grid_png(made(), per_class=3)))
    assert picture.size == (3 * 42, 2 * 42)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"soft": torch.full((4, 2), 0.7)}, "sum to 1.4 to 1.4"),
        ({"soft": torch.full((4, 2), 0.2)}, "truncated: true"),
        ({"soft": torch.full((4, 3), 1 / 3)}, r"shape \(4, 2\)"),
        ({"soft": torch.tensor([[1.5, -0.5]] * 4)}, "not negative"),
        ({"labels": torch.tensor([0, 1, 2, 0])}, "image 2 has label 2; 2 classes have labels 0 to 1"),
        ({"labels": torch.tensor([0, 1])}, "4 images need as many labels"),
        ({"lr": 0.0}, "learned rate is 0"),
        ({"lr": float("inf")}, "learned rate is inf"),
    ],
)
def test_sets_that_cannot_be_trained_on_are_not_written(tmp_path, change, said):
    given = made(subsets=1)
    broken = replace(given, subsets=(replace(given.subsets[0], **change),))
    with pytest.raises(DataError, match=said):
        save(broken, tmp_path / "set.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"factor": 0}, "factor 0"),
        ({"subsets": ()}, "at least one subset"),
        ({"preprocess": Normalisation((0.5, 0.5), (0.2, 0.2))}, "its mean is of 2 channels, images of 3 x 4 x 4"),
        ({"preprocess": Normalisation((0.5,) * 3, (0.2, 0.0, 0.2))}, "a std is not above 0"),
        (
            {"preprocess": Whitening(torch.zeros(16), torch.eye(16), torch.eye(16))},
            r"its mean has shape \(16,\); images of 3 x 4 x 4 need \(48,\)",
        ),
        (
            {"preprocess": Whitening(torch.zeros(48), torch.eye(48) * torch.nan, torch.eye(48))},
            "its matrix holds values that are not finite",
        ),
    ],
)
def test_facts_that_do_not_fit_the_images_are_not_written(tmp_path, change, said):
    with pytest.raises(DataError, match=said):
        save(replace(made(), **change), tmp_path / "set.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_images_of_any_number_of_channels_are_shown():
    for channels in (1, 2, 3, 4, 6):
        part = Subset(torch.zeros(2, channels, 4, 4), torch.tensor([0, 1]))
        given = ImageSet((part,), ("cat", "dog"), Normalisation((0.5,) * channels, (0.2,) * channels))
        picture = Image.open(io.BytesIO(grid_png(given)))
        assert picture.mode == ("L" if channels < 3 else "RGB")


def test_pixels_that_are_not_finite_are_named(tmp_path):
    given = made()
    given.subsets[1].images[2, 0, 0, 0] = torch.nan
    with pytest.raises(DataError, match="subset 2: image 2 holds values that are not finite"):
        save(given, tmp_path / "set.safetensors")


def test_truncated_labels_are_kept_where_that_is_said(tmp_path):
    given = made(subsets=1)
    cut = replace(given.subsets[0], soft=torch.tensor([[0.6, 0.0]] * 4))
    save(replace(given, subsets=(cut,), provenance={"truncated": True}), tmp_path / "set.safetensors")
    assert load(tmp_path / "set.safetensors").label_bytes == 4 * (2 + 1)


def rewritten(path, **changes) -> None:
    with safetensors.safe_open(path, "pt") as opened:
        card = json.loads(opened.metadata()["limbeck"])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    for name in changes.pop("without", ()):
        del tensors[name]
    card |= changes
    if "sha256" not in changes:
        from limbeck.dataset.image_set import _digest

        card.pop("sha256")
        card["sha256"] = _digest(card, tensors)
    path.write_bytes(safetensors.torch.save(tensors, {"limbeck": json.dumps(card)}))


def test_damaged_foreign_and_newer_files_are_refused(tmp_path):
    path = tmp_path / "set.safetensors"
    save(made(), path)
    whole = path.read_bytes()
    rewritten(path, sha256="0")
    with pytest.raises(CheckpointError, match="damaged"):
        load(path)
    path.write_bytes(whole)
    rewritten(path, version=7)
    with pytest.raises(CheckpointError, match=r"newer Limbeck .version 7"):
        load(path)
    for size in (0, 200, len(whole) - 50):
        path.write_bytes(whole[:size])
        with pytest.raises(CheckpointError, match="truncated, or no safetensors"):
            load(path)
    path.write_bytes(safetensors.torch.save({"a": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match="no image set of Limbeck"):
        load(path)
    with pytest.raises(CheckpointError, match="no such file"):
        load(tmp_path / "nothing.safetensors")
    with pytest.raises(CheckpointError, match="is a folder; an image set is a file"):
        load(tmp_path)


def test_one_changed_pixel_is_noticed(tmp_path):
    path = tmp_path / "set.safetensors"
    save(made(), path)
    whole = bytearray(path.read_bytes())
    whole[-1] ^= 1
    path.write_bytes(whole)
    with pytest.raises(CheckpointError, match="damaged"):
        load(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"without": ["1.images"]}, r"lacks 1\.images"),
        ({"subsets": 3}, r"lacks 2\.images, 2\.labels, lr of all 3"),
        ({"version": "two"}, "does not say in which version"),
    ],
)
def test_what_a_file_lacks_is_named(tmp_path, changes, said):
    path = tmp_path / "set.safetensors"
    save(made(), path)
    rewritten(path, **changes)
    with pytest.raises(CheckpointError, match=said):
        load(path)


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "set.safetensors"
    path.write_bytes(pickle.dumps({"images": [1]}))
    with pytest.raises(CheckpointError, match="no safetensors"):
        load(path)


def test_a_whitened_set_without_its_matrix_is_refused(tmp_path):
    path = tmp_path / "set.safetensors"
    save(replace(made(), preprocess=fit_whitening(torch.rand(60, 3, 4, 4))), path)
    rewritten(path, without=["preprocess.matrix"])
    with pytest.raises(CheckpointError, match="'zca' lacks its matrix"):
        load(path)
