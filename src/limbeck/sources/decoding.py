"""From image files to uint8 pixels, many at a time."""

from __future__ import annotations

import io
import logging
import math
import os
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from limbeck.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]
_LOGGER = logging.getLogger("limbeck")
_CHUNK = 256


@dataclass(frozen=True)
class Reading:
    """How image files are turned into pixels.

    Attributes:
        size: side of the square result; None keeps the size of the files.
        channels: 1 or 3; None takes 1 where every file is grey, else 3.
        skip_broken: leave files out that cannot be decoded, and say how many, instead of stopping.
        crop_share: share of the shorter side that the middle square keeps, where there is a size.
        interpolation: "bilinear" or "bicubic".
    """

    size: int | None = None
    channels: int | None = None
    skip_broken: bool = False
    crop_share: float = 1.0
    interpolation: str = "bilinear"


def decode_all(
    files: Sequence[bytes | Path], *, reading: Reading, name: Callable[[int], str], what: str
) -> tuple[Tensor, list[int]]:
    """Decode files on several threads.

    Args:
        files: contents or paths.
        reading: how.
        name: what a file is called in messages, by position.
        what: the set, for messages.

    Returns:
        Pixels, shape (n, c, h, w), uint8, and the positions that were decoded (all, unless broken ones were
        skipped).

    Raises:
        DataError: a file that cannot be decoded, or files of different sizes.
    """
    chunks = [range(start, min(start + _CHUNK, len(files))) for start in range(0, len(files), _CHUNK)]
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        found = [
            item for part in pool.map(lambda rows: _decode_chunk(files, rows, reading), chunks) for item in part
        ]
    kept = _without_broken(found, reading, name, what)
    decoded: list[Any] = [found[i] for i in kept]
    shapes = [pixels.shape[:2] for pixels in decoded]
    if len(set(shapes)) > 1:
        other = next(i for i, shape in enumerate(shapes) if shape != shapes[0])
        raise sizes_differ(what, name(kept[0]), shapes[0], name(kept[other]), shapes[other])
    return _stack(decoded), kept


def decode(file: bytes | Path, reading: Reading) -> Pixels:
    """One file as (h, w) if grey or (h, w, 3).

    Raises:
        OSError: it cannot be decoded; whatever Pillow raises is turned into this.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
            return np.asarray(_fitted(_converted(image, reading.channels), reading))
    except OSError:
        raise
    except Exception as error:  # broken files make Pillow's plugins raise anything
        raise OSError(f"{type(error).__name__}: {error}") from error


def decode_crop(file: bytes | Path, reading: Reading, draws: Sequence[float], *, smallest: float) -> Pixels:
    """A random part of one file, brought to the size of the reading; as (size, size) or (size, size, 3).

    The part keeps at least `smallest` of the area, and its sides have a ratio of at most 4 to 3; it is drawn as in
    torchvision's random resized crop. JPEG files are decoded at the smallest resolution that suffices, which saves
    most of the time on large ones.

    Args:
        file: content or path.
        reading: with a size.
        draws: four uniform numbers in [0, 1).
        smallest: share of the area.

    Raises:
        OSError: it cannot be decoded.
    """
    from PIL import Image

    assert reading.size is not None
    size = (reading.size, reading.size)
    try:
        with Image.open(io.BytesIO(file) if isinstance(file, bytes) else file) as image:
            width, height = image.size
            left, top, across, down = _random_box(width, height, draws, smallest)
            image.draft(None, (math.ceil(width * size[0] / across), math.ceil(height * size[1] / down)))
            shrunk = image.size[0] / width  # 1 unless the file's format knows smaller versions of itself
            box = (left * shrunk, top * shrunk, (left + across) * shrunk, (top + down) * shrunk)
            pixels = _converted(image, reading.channels)
            if shrunk == 1:  # nothing from outside the part comes in at its border
                pixels, box = pixels.crop((left, top, left + across, top + down)), (0, 0, across, down)
            return np.asarray(pixels.resize(size, _filter(reading), box=box))
    except OSError:
        raise
    except Exception as error:  # broken files make Pillow's plugins raise anything
        raise OSError(f"{type(error).__name__}: {error}") from error


def _random_box(width: int, height: int, draws: Sequence[float], smallest: float) -> tuple[int, int, int, int]:
    """Left, top, width and height of a random part: the first of ten attempts that fits, else the middle."""
    further = random.Random(repr(tuple(draws)))
    area_draw, ratio_draw = draws[0], draws[1]
    for _ in range(10):
        area = width * height * (smallest + (1 - smallest) * area_draw)
        ratio = math.exp((2 * ratio_draw - 1) * math.log(4 / 3))
        across, down = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < across <= width and 0 < down <= height:
            left, top = (
                int(d * (room + 1)) for d, room in zip(draws[2:4], (width - across, height - down), strict=True)
            )
            return min(left, width - across), min(top, height - down), across, down
        area_draw, ratio_draw = further.random(), further.random()
    across, down = min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3))
    return (width - across) // 2, (height - down) // 2, across, down


def sizes_differ(what: str, name: str, shape: Sequence[int], other: str, other_shape: Sequence[int]) -> DataError:
    """The error for images that do not make one batch; shapes are (height, width)."""
    side = min(shape[0], shape[1])
    return DataError(
        f"{what}: images differ in size: {name} is {shape[1]}x{shape[0]} pixels, {other} is "
        f"{other_shape[1]}x{other_shape[0]}. Bring them to one size with the setting size, e.g. size: {side}."
    )


def broken_file(what: str, name: str, reason: object, *, more: str = "") -> DataError:
    """The error for an image that cannot be decoded."""
    return DataError(
        f"{what}: {name} cannot be decoded ({reason}).{more} Repair or remove it, "
        "or leave such images out with skip_broken: true."
    )


def to_tensor(pixels: Pixels, channels: int) -> Tensor:
    """One decoded file as (channels, h, w)."""
    image = torch.from_numpy(np.array(pixels, copy=True))
    image = image[None] if image.ndim == 2 else image.permute(2, 0, 1)
    return image.expand(channels, -1, -1).contiguous()


def _decode_chunk(files: Sequence[bytes | Path], rows: Sequence[int], reading: Reading) -> list[Pixels | OSError]:
    found: list[Pixels | OSError] = []
    for row in rows:
        try:
            found.append(decode(files[row], reading))
        except OSError as error:
            found.append(error)
    return found


def _without_broken(
    found: Sequence[Pixels | OSError], reading: Reading, name: Callable[[int], str], what: str
) -> list[int]:
    broken = [i for i, item in enumerate(found) if isinstance(item, OSError)]
    if not broken:
        return list(range(len(found)))
    first = broken[0]
    if not reading.skip_broken:
        more = f" So it is with {len(broken)} of {len(found)} images." if len(broken) > 1 else ""
        raise broken_file(what, name(first), found[first], more=more)
    if len(broken) == len(found):
        raise DataError(f"{what}: none of {len(found)} images can be decoded; {name(first)}: {found[first]}.")
    _LOGGER.warning(
        "%s: left out %d of %d images that cannot be decoded; the first is %s (%s).",
        what,
        len(broken),
        len(found),
        name(first),
        found[first],
    )
    gone = set(broken)
    return [i for i in range(len(found)) if i not in gone]


def _stack(decoded: Sequence[Pixels]) -> Tensor:
    height, width = decoded[0].shape[:2]
    channels = 1 if all(pixels.ndim == 2 for pixels in decoded) else 3
    out = np.empty((len(decoded), channels, height, width), dtype=np.uint8)
    for row, pixels in enumerate(decoded):
        out[row] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    return torch.from_numpy(out)


def _converted(image: Image.Image, channels: int | None) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode == "I":
        from PIL import Image as pillow

        # Pillow would cut 16-bit grey off at 255 instead of scaling it.
        image = pillow.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    grey = image.mode in ("L", "1") if channels is None else channels == 1
    wanted = "L" if grey else "RGB"
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # the way Pillow asks for
    return image if image.mode == wanted else image.convert(wanted)


def _filter(reading: Reading) -> Any:
    from PIL import Image as pillow

    return pillow.Resampling.BICUBIC if reading.interpolation == "bicubic" else pillow.Resampling.BILINEAR


def _fitted(image: Image.Image, reading: Reading) -> Image.Image:
    """The middle square of the image, `crop_share` of the shorter side, brought to the size.

    Rounded as torchvision's resize and centre crop do, so that published models meet the pixels they know.
    """
    size = reading.size
    if size is None or (image.size == (size, size) and reading.crop_share == 1):
        return image
    width, height = image.size
    short = int(size / reading.crop_share)
    wide, high = (short * side // min(width, height) for side in (width, height))
    left, top = round((wide - size) / 2), round((high - size) / 2)
    resized = image.resize((wide, high), _filter(reading))
    return resized.crop((left, top, left + size, top + size))
