"""The built-in set of images with boxes: scans of handwritten digits, several sizes in one scene."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from limbeck.bounds import Fraction, NonNegativeInt, Positive, PositiveInt
from limbeck.errors import ConfigError
from limbeck.protocols import DetectionSample
from limbeck.seeding import generator
from limbeck.sources.detection.files import MEMORY_BYTES
from limbeck.sources.detection.places import check_split
from limbeck.sources.detection.sample import pixel_statistics
from limbeck.sources.digits import TEST_SHARE
from limbeck.sources.selection import hold_out

SCAN = 8
"""Pixels a side of a scan."""
_INK = 0.3
"""Share of ink from which on a pixel belongs to the digit, and so to its box."""
_CONTRAST = 0.4
_ATTEMPTS = 30
_STATISTICS_SCENES = 500

Split = Literal["train", "validation", "test"]


def digit_scenes(
    *,
    split: Literal["train", "validation", "test"] = "train",
    count: PositiveInt = 1000,
    size: PositiveInt = 96,
    objects: tuple[NonNegativeInt, PositiveInt] = (1, 6),
    scale: tuple[Positive, Positive] = (1.0, 3.5),
    clutter: NonNegativeInt = 8,
    overlap: Fraction = 0.1,
    noise: Fraction = 0.04,
    seed: NonNegativeInt = 0,
) -> DigitScenes:
    """Scenes of real handwritten digits of several sizes on uneven ground, between fragments. No download.

    Every scene is a function of split, number and settings: no file is kept. Digits of the train split are those
    of `digits`' train split; its test digits are shared between validation and test, so that no scan is in two
    splits.

    Args:
        split: train, validation or test.
        count: scenes.
        size: pixels a side of a scene.
        objects: fewest and most digits of a scene; where there is no room left, fewer are placed.
        scale: smallest and largest enlargement of a scan of 8 x 8 pixels; large and small ones are equally likely.
        clutter: most fragments of digits in a scene, which are no objects.
        overlap: largest share of a digit's box that another's may cover.
        noise: standard deviation of every pixel, white being 1.
        seed: another seed makes other scenes.

    Raises:
        ConfigError: a range whose first number is the larger, or digits larger than the scene.

    Example:
        >>> scene = digit_scenes(count=5)[3]
        >>> scene.image.shape, scene.boxes.shape[1], scene.labels.dtype
        (torch.Size([3, 96, 96]), 4, torch.int64)

    References:
        The optical recognition set of handwritten digits of the UCI repository [alpaydin1998digits].
    """
    check_split(split, what="source 'digit_scenes'")
    for name, (low, high) in (("objects", objects), ("scale", scale)):
        if not low <= high:
            raise ConfigError(f"source 'digit_scenes': {name} has the smaller number first; got {low} and {high}.")
    if scale[0] <= 0 or count < 1 or objects[1] < 1 or objects[0] < 0:
        raise ConfigError("source 'digit_scenes': scale lies above 0, count and the most objects are at least 1.")
    if round(SCAN * scale[1]) > size:
        raise ConfigError(
            f"source 'digit_scenes': digits of {SCAN} pixels enlarged by {scale[1]:g} do not fit into {size} "
            f"pixels; scale ends at {size / SCAN:g} at most."
        )
    settings = _Settings(
        size, (objects[0], objects[1]), (float(scale[0]), float(scale[1])), clutter, overlap, noise, seed
    )
    return DigitScenes(split, count, settings)


@dataclass(frozen=True, slots=True)
class _Settings:
    size: int
    objects: tuple[int, int]
    scale: tuple[float, float]
    clutter: int
    overlap: float
    noise: float
    seed: int


class DigitScenes:
    """What `digit_scenes` makes; kept in memory from the first use on, up to 1 GiB.

    Args:
        split: train, validation or test.
        count: scenes.
        settings: of the scenes.
    """

    class_names: Sequence[str] = tuple(str(n) for n in range(10))
    category_ids: Sequence[int] = tuple(range(10))
    skipped: Mapping[str, int] = {}

    def __init__(self, split: Split, count: int, settings: _Settings) -> None:
        self.split: Split = split
        self._count = count
        self._settings = settings
        self._scans, self._labels = _scans(split)

    @cached_property
    def box_counts(self) -> tuple[int, ...]:
        """Digits of each scene."""
        return tuple(len(self[i].boxes) for i in range(len(self)))

    @cached_property
    def mean(self) -> tuple[float, ...]:
        """Mean of each channel over at most 500 scenes, spread evenly."""
        return self._statistics[0]

    @cached_property
    def std(self) -> tuple[float, ...]:
        """Standard deviation of each channel over the same scenes."""
        return self._statistics[1]

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the settings and the scans."""
        facts = (self.split, self._count, self._settings)
        digest = hashlib.blake2b(repr(facts).encode(), digest_size=8)
        digest.update(self._scans.numpy().data)
        digest.update(self._labels.numpy().data)
        return digest.hexdigest()

    @cached_property
    def _statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        count = min(len(self), _STATISTICS_SCENES)
        return pixel_statistics(self[i * len(self) // count].image for i in range(count))

    @cached_property
    def _kept(self) -> list[DetectionSample] | None:
        if 3 * self._settings.size**2 * self._count > MEMORY_BYTES:
            return None
        return [self._made(index) for index in range(self._count)]

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> DetectionSample:
        """One scene with its digits."""
        place = range(self._count)[index]
        return self._made(place) if self._kept is None else self._kept[place]

    def __repr__(self) -> str:
        return f"DigitScenes({self.split}, {len(self)} scenes of {self._settings.size} pixels)"

    def _made(self, index: int) -> DetectionSample:
        settings = self._settings
        draw = generator(settings.seed, "digit scene", self.split, index)
        ground, light = _ground(settings.size, draw)
        fragments = [self._fragment(draw) for _ in range(_whole(draw, 0, settings.clutter))]
        digits, labels = [], []
        boxes: list[tuple[int, int, int, int]] = []
        for _ in range(_whole(draw, *settings.objects)):
            row = _whole(draw, 0, len(self._scans) - 1)
            mask = _trimmed(_enlarged(self._scans[row], self._side(draw)))
            box = _placed(mask.shape, boxes, settings, draw)
            if box is not None:
                digits.append(mask)
                labels.append(int(self._labels[row]))
                boxes.append(box)
        for mask in fragments:
            left, top = (_whole(draw, 0, settings.size - side) for side in (mask.shape[1], mask.shape[0]))
            _paint(ground, mask, left, top, _ink(light, draw))
        for mask, (left, top, _, _) in zip(digits, boxes, strict=True):
            _paint(ground, mask, left, top, _ink(light, draw))
        ground += settings.noise * torch.randn(ground.shape, generator=draw)
        corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        return DetectionSample(
            image=(ground * 255).round().clamp(0, 255).to(torch.uint8),
            boxes=corners,
            labels=torch.tensor(labels, dtype=torch.int64),
            crowd=torch.zeros(len(boxes), dtype=torch.bool),
            image_id=index,
            areas=(corners[:, 2:] - corners[:, :2]).prod(1),
        )

    def _side(self, draw: Generator) -> int:
        """Pixels that a scan is enlarged to."""
        low, high = self._settings.scale
        share = float(torch.rand((), generator=draw))
        return max(2, round(SCAN * low * math.exp(share * math.log(high / low))))

    def _fragment(self, draw: Generator) -> Tensor:
        """A piece of a digit, between a third and a half of it wide and high."""
        whole = _enlarged(self._scans[_whole(draw, 0, len(self._scans) - 1)], self._side(draw))
        side = len(whole)
        high, wide = (max(1, round(side * (3 + float(torch.rand((), generator=draw))) / SCAN)) for _ in range(2))
        top, left = _whole(draw, 0, side - high), _whole(draw, 0, side - wide)
        return whole[top : top + high, left : left + wide]


def _scans(split: Split) -> tuple[Tensor, Tensor]:
    """Scans (n, 8, 8) in [0, 1] and labels of the digits that a split may use."""
    from sklearn.datasets import load_digits

    data = load_digits()
    labels = torch.from_numpy(data.target).long()
    rows, held = hold_out(labels, 10, TEST_SHARE)
    if split != "train":
        kept, other = hold_out(labels[held], 10, 0.5, seed=1)
        rows = held[kept if split == "validation" else other]
    return (torch.from_numpy(data.images)[rows] / 16).to(torch.float32), labels[rows]


def _whole(draw: Generator, low: int, high: int) -> int:
    """A whole number between two, both included."""
    return int(torch.randint(low, high + 1, (), generator=draw))


def _ground(size: int, draw: Generator) -> tuple[Tensor, float]:
    """An uneven coloured ground (3, size, size), and how light it is."""
    light = 0.1 + 0.8 * float(torch.rand((), generator=draw))
    patches = light + 0.3 * (torch.rand(1, 3, 4, 4, generator=draw) - 0.5)
    return F.interpolate(patches, (size, size), mode="bicubic", align_corners=False)[0].clamp(0, 1), light


def _ink(light: float, draw: Generator) -> Tensor:
    """A colour (3, 1, 1) well lighter or darker than the ground."""
    share = float(torch.rand((), generator=draw))
    tint = 0.2 * (torch.rand(3, 1, 1, generator=draw) - 0.5)
    if light < 0.5:
        return (light + _CONTRAST + share * (1 - light - _CONTRAST) + tint).clamp(0, 1)
    return (share * (light - _CONTRAST) + tint).clamp(0, 1)


def _enlarged(scan: Tensor, side: int) -> Tensor:
    """Ink (side, side) in [0, 1]."""
    found = F.interpolate(scan[None, None], (side, side), mode="bicubic", align_corners=False, antialias=True)
    return found[0, 0].clamp(0, 1)


def _trimmed(mask: Tensor) -> Tensor:
    """Without the rows and columns around the ink."""
    ink = mask >= min(_INK, float(mask.max()))
    rows, columns = ink.any(1).nonzero().flatten(), ink.any(0).nonzero().flatten()
    return mask[int(rows[0]) : int(rows[-1]) + 1, int(columns[0]) : int(columns[-1]) + 1]


def _placed(
    shape: Sequence[int], boxes: Sequence[tuple[int, int, int, int]], settings: _Settings, draw: Generator
) -> tuple[int, int, int, int] | None:
    """A place at which no two boxes cover each other too much; None where none is found."""
    high, wide = shape
    for _ in range(_ATTEMPTS):
        left, top = _whole(draw, 0, settings.size - wide), _whole(draw, 0, settings.size - high)
        box = (left, top, left + wide, top + high)
        if all(_covered(box, other) <= settings.overlap for other in boxes):
            return box
    return None


def _covered(box: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Share of the smaller of two boxes that the other covers."""
    wide = min(box[2], other[2]) - max(box[0], other[0])
    high = min(box[3], other[3]) - max(box[1], other[1])
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (box, other)]
    return max(wide, 0) * max(high, 0) / min(areas)


def _paint(ground: Tensor, mask: Tensor, left: int, top: int, ink: Tensor) -> None:
    part = ground[:, top : top + mask.shape[0], left : left + mask.shape[1]]
    part += mask * (ink - part)
