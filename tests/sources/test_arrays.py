import numpy as np
import pytest
import torch

from limbeck.errors import DataError
from limbeck.sources import ArraySource, Subset, arrays

LABELS = [0, 1, 0, 1]


def pixels(*shape):
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("shape", [(4, 8, 6), (4, 1, 8, 6), (4, 8, 6, 1), (4, 3, 8, 6), (4, 8, 6, 3)])
@pytest.mark.parametrize("as_torch", [False, True])
def test_layouts(shape, as_torch):
    given = pixels(*shape)
    source = arrays(torch.from_numpy(given) if as_torch else given, torch.tensor(LABELS) if as_torch else LABELS)
    channels = 3 if 3 in shape else 1
    assert source.image_shape == (channels, 8, 6)
    expected = given.reshape(4, 8, 6, 1) if shape[-1] not in (1, 3) and channels == 1 else given
    expected = np.moveaxis(expected, -1, 1) if expected.shape[1] not in (1, 3) else expected
    assert np.array_equal(source.images.numpy(), expected)


def test_fractions_are_rounded_to_255ths():
    source = arrays(np.array([0, 0.5, 1, 0.1], dtype=np.float64).reshape(4, 1, 1), LABELS)
    assert source.images.flatten().tolist() == [0, 128, 255, 26]


def test_other_whole_numbers():
    assert arrays(pixels(4, 8, 8).astype(np.int64), LABELS).images.dtype == torch.uint8


def test_statistics_are_those_of_the_pixels():
    given = pixels(4, 3, 8, 6)
    source = arrays(given, LABELS)
    values = given.astype(np.float64) / 255
    assert source.mean == pytest.approx(values.mean((0, 2, 3)), abs=1e-12)
    assert source.std == pytest.approx(values.std((0, 2, 3)), abs=1e-12)
    assert arrays(given, LABELS, mean=(0.5,) * 3).mean == (0.5, 0.5, 0.5)


def test_a_channel_without_variation_is_not_divided_by_zero():
    assert arrays(np.full((4, 8, 8), 9, dtype=np.uint8), LABELS).std == (1.0,)


def test_class_names_from_text_labels():
    source = arrays(pixels(4, 8, 8), ["dog", "cat", "dog", "eel"])
    assert source.class_names == ("cat", "dog", "eel")
    assert source.labels.tolist() == [1, 0, 1, 2]


def test_size_keeps_proportions_and_cuts_the_middle():
    wide = np.zeros((2, 1, 8, 16), dtype=np.uint8)
    wide[..., 4:12] = 200
    source = arrays(wide, [0, 1], size=4)
    assert source.image_shape == (1, 4, 4)
    assert source.images.float().mean() > 180
    assert arrays(wide, [0, 1], size=16).image_shape == (1, 16, 16)


def test_fingerprint_follows_every_part():
    given = pixels(4, 8, 8)
    first = arrays(given, LABELS).fingerprint
    changed = given.copy()
    changed[3, 7, 7] ^= 1
    others = [
        arrays(changed, LABELS),
        arrays(given, [1, 1, 0, 1]),
        arrays(given, LABELS, class_names=["a", "b"]),
        Subset(arrays(given, LABELS), [0, 1, 2]),
    ]
    assert arrays(given, LABELS).fingerprint == first
    assert len({first, *(o.fingerprint for o in others)}) == 5


@pytest.mark.parametrize(
    ("images", "labels", "settings", "message"),
    [
        (
            pixels(4, 8, 8),
            [0, 1, 2, 7],
            {"class_names": ["a", "b", "c"]},
            "label 7 of image 3 is out of range: 3 cla",
        ),
        (pixels(4, 8, 8), [0, -1, 1, 1], {}, "label -1 of image 1 is out of range: 2 classes have labels 0 to 1"),
        (pixels(4, 8, 8), [0, 1], {}, "4 images need 4 labels"),
        (pixels(4, 8, 8), [[0, 1]] * 4, {}, "labels have shape .n,.; got .4, 2.. One-hot labels: use argmax"),
        (pixels(4, 8, 8), [0.0, 1.0, 0.5, 1.0], {}, "whole numbers. or names .text.; got float64"),
        (pixels(4, 8, 8), [0, 0, 0, 0], {}, "at least two classes; there is one"),
        (
            pixels(4, 8, 8),
            ["a", "b", "c", "a"],
            {"class_names": ["a", "b"]},
            "label 'c' is not among the class names",
        ),
        (pixels(4, 8, 8), LABELS, {"class_names": ["a", "a"]}, "two classes are named 'a'"),
        (pixels(4, 8), LABELS, {}, r"images have shape .* got \(4, 8\)"),
        (pixels(0, 8, 8), [], {}, r"n of at least 1; got \(0, 1, 8, 8\)"),
        (pixels(4, 8, 8).astype(np.float32), LABELS, {}, r"values in \[0, 1\]; these reach from 0 to 255"),
        (np.full((4, 8, 8), np.nan), LABELS, {}, "these reach from nan to nan"),
        (pixels(4, 8, 8).astype(np.int64) * 2, LABELS, {}, r"values in \[0, 255\]"),
        (pixels(4, 8, 8), LABELS, {"mean": (0.1, 0.2)}, "mean has 2 values; the images have 1 channels"),
        (
            pixels(4, 8, 8),
            LABELS,
            {"per_class": 3},
            "per_class: 3 images of each class were asked for, but class '0'",
        ),
        (pixels(4, 8, 8), LABELS, {"limit": 0}, "limit: 0 chooses no image"),
        (pixels(4, 8, 8), LABELS, {"size": 0}, "size: 0 pixels make no image"),
    ],
)
def test_what_cannot_be_used(images, labels, settings, message):
    with pytest.raises(DataError, match=message):
        arrays(images, labels, **settings)


def test_a_source_checks_what_it_is_given():
    with pytest.raises(DataError, match=r"uint8; got \(4, 8, 8\), torch.float32"):
        ArraySource(torch.zeros(4, 8, 8), torch.tensor(LABELS), ["a", "b"])


def test_subsets_of_subsets():
    source = arrays(pixels(6, 8, 8), [0, 1, 0, 1, 0, 1])
    inner = Subset(Subset(source, [5, 4, 3, 2]), [0, 3])
    assert inner.indices.tolist() == [5, 2]
    assert inner.source is source
    assert torch.equal(inner[1][0], source.images[2])
    assert (inner.image_shape, inner.class_names, inner.mean) == (
        source.image_shape,
        source.class_names,
        source.mean,
    )
    with pytest.raises(DataError, match=r"reach from 0 to 9; the source has 6 images"):
        Subset(source, [0, 9])
    with pytest.raises(DataError, match=r"at least one index"):
        Subset(source, [])
