"""Augmentation of images with boxes: flips and colours, which leave every object what it is.

Every function takes what training sees of a sample, and a generator of its own random numbers: the same generator
gives the same result, whatever batch the sample stands in. The pixels are torchvision's work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor
from torchvision.transforms.v2 import functional as F
from torchvision.tv_tensors import BoundingBoxes, BoundingBoxFormat, Image

from limbeck.bounds import Fraction, NonNegative
from limbeck.sources.detection.sample import View

Change = TypeVar("Change", bound=Callable[..., View])


def fixed_objects(change: Change) -> Change:
    """Mark an augmentation after which every object has the pixels that it had, but for flips and colours.

    What a classifier says of such an object may be computed once and kept.
    """
    change.fixed_objects = True  # type: ignore[attr-defined]
    return change


def keeps_objects(change: Callable[..., Any]) -> bool:
    """Whether an augmentation, with its settings or without, is so marked.

    Example:
        >>> from functools import partial
        >>> from limbeck.sources.detection import zoom_out
        >>> keeps_objects(partial(flip, probability=1.0)), keeps_objects(zoom_out)
        (True, False)
    """
    return bool(getattr(getattr(change, "func", change), "fixed_objects", False))


@fixed_objects
def flip(view: View, draw: Generator, *, probability: Fraction = 0.5) -> View:
    """Left and right exchanged, for a share of the images.

    Args:
        view: image and boxes.
        draw: random numbers.
        probability: of being flipped.
    """
    return _flipped(view, F.horizontal_flip) if number(draw) < probability else view


@fixed_objects
def flip_vertical(view: View, draw: Generator, *, probability: Fraction = 0.5) -> View:
    """Top and bottom exchanged, for a share of the images.

    Args:
        view: image and boxes.
        draw: random numbers.
        probability: of being flipped.
    """
    return _flipped(view, F.vertical_flip) if number(draw) < probability else view


@fixed_objects
def brightness(view: View, draw: Generator, *, strength: Fraction = 0.2) -> View:
    """All values times a number between 1 - strength and 1 + strength.

    Args:
        view: image and boxes.
        draw: random numbers.
        strength: largest change.
    """
    return view.changed(F.adjust_brightness(view.image, between(draw, 1 - strength, 1 + strength)), view.boxes)


@fixed_objects
def photometric_distort(
    view: View,
    draw: Generator,
    *,
    brightness: Fraction = 0.125,
    contrast: Fraction = 0.5,
    saturation: Fraction = 0.5,
    hue: NonNegative = 0.05,
    probability: Fraction = 0.5,
) -> View:
    """Brightness, contrast, saturation, hue and the order of the channels changed, each for a share of the images.

    Contrast is changed before saturation and hue, or after them. The defaults are those of SSD.

    Args:
        view: image and boxes.
        draw: random numbers.
        brightness: largest change of the factor 1; 32 of 255.
        contrast: likewise.
        saturation: likewise.
        hue: largest shift, as a share of the circle, at most 0.5; 18 of 360 degrees.
        probability: of each of the changes.

    References:
        SSD [liu2016ssd], section 2.2, after [howard2013some]; the ranges are those of the released program.
    """
    # All draws are made, whatever comes of them.
    lighter, contrasted, coloured, shifted, permuted = (torch.rand(5, generator=draw) < probability).tolist()
    early = number(draw) < 0.5
    light, dark, colour = (between(draw, 1 - most, 1 + most) for most in (brightness, contrast, saturation))
    shift = between(draw, -hue, hue)
    order = torch.randperm(3, generator=draw)
    image = view.image
    if lighter:
        image = F.adjust_brightness(image, light)
    if contrasted and early:
        image = F.adjust_contrast(image, dark)
    if coloured:
        image = F.adjust_saturation(image, colour)
    if shifted:
        image = F.adjust_hue(image, shift)
    if contrasted and not early:
        image = F.adjust_contrast(image, dark)
    if permuted:
        image = image[order]
    return view.changed(image, view.boxes)


def number(draw: Generator) -> float:
    """A uniform number in [0, 1)."""
    return float(torch.rand((), generator=draw))


def between(draw: Generator, low: float, high: float) -> float:
    """A uniform number between two."""
    return low + (high - low) * number(draw)


def _flipped(view: View, turn: Callable[[Tensor], Tensor]) -> View:
    boxes = BoundingBoxes(view.boxes, format=BoundingBoxFormat.XYXY, canvas_size=(view.height, view.width))
    return view.changed(turn(Image(view.image)).as_subclass(Tensor), turn(boxes).as_subclass(Tensor))
