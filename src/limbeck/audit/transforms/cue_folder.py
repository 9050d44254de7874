"""A user's own cue-conflict pictures, named as Geirhos et al. name theirs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from limbeck.audit.transforms.cue_conflict import CueConflict
from limbeck.errors import DataError, did_you_mean

_NAME = re.compile(r"^(?P<shape>.+?)\d*-(?P<texture>.+?)\d*\.(?:png|jpe?g)$", re.IGNORECASE)


def cue_conflict_folder(
    folder: str | Path, class_names: Sequence[str], *, size: tuple[int, int] = (224, 224), channels: int = 3
) -> CueConflict:
    """Read `<shape class>/<shape><n>-<texture><n>.png`.

    Pictures whose shape and texture are of one class are left out, as in the authors' toolbox.

    Args:
        folder: with one folder for each shape class.
        class_names: names that both cues are looked up in; labels are places in it. Case and `_` or ` ` do not
            matter.
        size: height and width that every picture is brought to.
        channels: 1 or 3.

    Raises:
        DataError: no such folder, no picture in it, a name of another form, or a class that is not known.

    References:
        Geirhos et al., ICLR 2019 [geirhos2019imagenet].
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"cue-conflict folder '{root}' does not exist.")
    known = {_plain(name): place for place, name in enumerate(class_names)}
    images, shapes, textures = [], [], []
    for path in sorted(root.glob("*/*")):
        if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
            continue
        shape, texture = _cues(path, known)
        if shape == texture:
            continue
        with Image.open(path) as picture:
            shown = picture.convert("L" if channels == 1 else "RGB").resize(
                (size[1], size[0]), Image.Resampling.BICUBIC
            )
            images.append(torch.from_numpy(np.array(shown)).view(*size, channels).permute(2, 0, 1).float() / 255)
        shapes.append(shape)
        textures.append(texture)
    if not images:
        raise DataError(
            f"cue-conflict folder '{root}' holds no picture with two cues; it has to hold "
            "<shape class>/<shape><n>-<texture><n>.png, e.g. cat/cat1-elephant3.png."
        )
    none = torch.full((len(images),), -1)
    return CueConflict(torch.stack(images), torch.tensor(shapes), torch.tensor(textures), none, none.clone())


def _cues(path: Path, known: dict[str, int]) -> tuple[int, int]:
    found = _NAME.match(path.name)
    if not found:
        raise DataError(f"'{path}' is not named <shape><n>-<texture><n>.png, as in cat1-elephant3.png.")
    places = []
    for cue in ("shape", "texture"):
        name = _plain(found[cue])
        if name not in known:
            raise DataError(
                f"'{path}': the {cue} '{name}' is none of the classes.{did_you_mean(name, known)} "
                "Name the folder's classes in `coarse`, each with the classes of the networks that it stands for."
            )
        places.append(known[name])
    if _plain(path.parent.name) != _plain(found["shape"]):
        raise DataError(f"'{path}' lies in the folder of another shape than its name says.")
    return places[0], places[1]


def _plain(name: str) -> str:
    return re.sub(r"[ _]+", " ", name).strip().lower()
