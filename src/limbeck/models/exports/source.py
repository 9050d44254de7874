"""The model that is taken out, with the images that every copy of it is compared on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.errors import ModelError, ShapeError
from limbeck.models.artefact import find, load, read_card
from limbeck.models.data_config import DataConfig

_EXAMPLES = 8


@dataclass(frozen=True)
class Source:
    """A trained model and what it gives for the example images.

    Attributes:
        file: it was read from.
        model: in eval mode, on the CPU.
        spec: name and settings that rebuild it.
        notes: what its file says besides.
        data: what it expects of its input.
        images: examples in [0, 1], shape (n, c, h, w), float32.
        logits: of the examples, shape (n, C), float32.
    """

    file: Path
    model: nn.Module
    spec: Mapping[str, Any]
    notes: Mapping[str, Any]
    data: DataConfig
    images: Tensor
    logits: Tensor

    @property
    def name(self) -> str:
        """Of the architecture."""
        return str(self.spec["name"])

    @property
    def classes(self) -> int:
        """How many it tells apart."""
        return self.logits.shape[1]

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the logits; empty where they are not known."""
        return self.data.class_names if len(self.data.class_names) == self.classes else ()

    @property
    def normalisation(self) -> str:
        """What has to be done to images, in words."""
        return f"values in [0, 1] minus {list(self.data.mean)}, divided by {list(self.data.std)}"

    @property
    def shape(self) -> str:
        """Of a batch of images, in words."""
        return f"(batch, {', '.join(map(str, self.data.input_shape))})"

    @property
    def settings(self) -> dict[str, Any]:
        """Of the architecture, without its name."""
        return {key: value for key, value in self.spec.items() if key != "name"}


def open_source(path: str | Path, images: Tensor | None = None) -> Source:
    """Read the model to be taken out.

    Args:
        path: a model file, stage folder or run folder.
        images: examples to compare on, in [0, 1], shape (n, c, h, w) with n of at least 2; unless given, they are
            drawn, half of them noise and half smooth.

    Raises:
        CheckpointError: there is no model, or it is damaged.
        ModelError: it gives no logits of shape (n, C).
        ShapeError: examples of another shape than the model expects.
    """
    file = find(Path(path))
    card, model = read_card(file), load(file)
    data = model.limbeck_data
    assert isinstance(data, DataConfig)
    examples = _drawn(data) if images is None else _checked(images, data)
    logits = parted(model, normalised(examples, data))
    if not bool(logits.isfinite().all()):
        raise ModelError(f"{file}: the model gives logits that are no finite numbers, so no copy can be compared.")
    return Source(file, model, card["spec"], card.get("notes", {}), data, examples, logits)


def parted(call: Callable[[Tensor], object], images: Tensor) -> Tensor:
    """Logits of images, float32, the first of them alone and the rest together: no batch size is special."""
    with torch.no_grad():
        return torch.cat([logits_of(call(part)) for part in (images[:1], images[1:])]).float()


def normalised(images: Tensor, data: DataConfig) -> Tensor:
    """Images in [0, 1] as the model was trained on them."""
    shape = (1, len(data.mean), 1, 1)
    return (images - torch.tensor(data.mean).view(shape)) / torch.tensor(data.std).view(shape)


def logits_of(output: Any) -> Tensor:
    """The logits in what a classifier puts out: a tensor, the first of several, or `.logits` of transformers.

    Raises:
        ModelError: there are none of shape (n, C).
    """
    found = getattr(output, "logits", output)
    if isinstance(found, Mapping):
        found = found.get("logits")
    if isinstance(found, tuple | list) and found:
        found = found[0]
    if isinstance(found, Tensor) and found.ndim == 2:
        return found
    shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
    raise ModelError(
        f"what is exported is a classifier, with logits of shape (n, C); this model puts out {shape}."
    )


def _drawn(data: DataConfig) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    channels, height, width = data.input_shape
    noise = torch.rand(_EXAMPLES // 2, channels, height, width, generator=generator)
    coarse = torch.rand(_EXAMPLES // 2, channels, 4, 4, generator=generator)
    return torch.cat([noise, F.interpolate(coarse, size=(height, width), mode="bilinear")])


def _checked(images: Tensor, data: DataConfig) -> Tensor:
    if images.ndim != 4 or tuple(images.shape[1:]) != data.input_shape or len(images) < 2:
        raise ShapeError(
            f"the model is compared on images of shape (n, {', '.join(map(str, data.input_shape))}) with n of at "
            f"least 2; got {tuple(images.shape)}."
        )
    if not images.is_floating_point() or not 0 <= float(images.min()) <= float(images.max()) <= 1:
        raise ShapeError(f"the images to compare on are in [0, 1], as floating point; got {images.dtype}.")
    return images.detach().to("cpu", torch.float32)
