"""What a model expects of its input: it travels with the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from limbeck.errors import CheckpointError, ModelError


@dataclass(frozen=True)
class DataConfig:
    """Input shape, normalisation and classes of a model.

    Attributes:
        input_shape: channels, height, width of the images it was trained on.
        mean: subtracted from each channel of an image in [0, 1].
        std: divides each channel afterwards.
        class_names: in the order of the logits; empty where they are not known.

    Raises:
        ModelError: as many means and deviations as channels are needed, and deviations above zero.

    Example:
        >>> DataConfig(input_shape=(1, 8, 8), mean=(0.3,), std=(0.4,)).to_dict()["input_shape"]
        [1, 8, 8]
    """

    input_shape: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise ModelError(f"input_shape is (channels, height, width), each at least 1; got {self.input_shape}.")
        if not len(self.mean) == len(self.std) == self.input_shape[0]:
            raise ModelError(
                f"{self.input_shape[0]} channels need as many means and deviations; "
                f"got {len(self.mean)} and {len(self.std)}."
            )
        if min(self.std) <= 0:
            raise ModelError(f"deviations are above zero; got {self.std}.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "input_shape": list(self.input_shape),
            "mean": list(self.mean),
            "std": list(self.std),
            "class_names": list(self.class_names),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DataConfig:
        """The inverse of `to_dict`.

        Raises:
            CheckpointError: a value is missing or of another kind.
        """
        try:
            return cls(
                input_shape=tuple(int(v) for v in values["input_shape"]),
                mean=tuple(float(v) for v in values["mean"]),
                std=tuple(float(v) for v in values["std"]),
                class_names=tuple(str(v) for v in values["class_names"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"the facts about a model's input are damaged ({error!r}): {values}") from error


def data_config(model: nn.Module) -> DataConfig | None:
    """The facts about a pretrained model's input, or None for a model that has no facts of its own.

    A model loaded from an artefact has its own; one built here without weights has none and takes those of the
    data it is trained on; a timm model made elsewhere is taken for pretrained.

    Args:
        model: any network.
    """
    own = getattr(model, "limbeck_data", None)
    if isinstance(own, DataConfig):
        return own
    spec = getattr(model, "limbeck_spec", None)
    if spec is not None and not spec.get("pretrained", False):
        return None
    facts = getattr(model, "pretrained_cfg", None)
    return _from_timm(facts, model) if isinstance(facts, Mapping) and "mean" in facts else None


def _from_timm(facts: Mapping[str, Any], model: nn.Module) -> DataConfig:
    height, width = facts["input_size"][1:]
    size = getattr(getattr(model, "patch_embed", None), "img_size", None)
    if isinstance(size, tuple) and len(size) == 2:
        height, width = size
    mean, std = tuple(facts["mean"]), tuple(facts["std"])
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    channels = len(mean) if first is None else first.in_channels * first.groups
    if channels != len(mean):
        # timm sums the weights of the first layer over channels; each channel is then a grey image.
        mean, std = (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels
    names = facts.get("label_names") or ()
    names = names.values() if isinstance(names, Mapping) else names
    classes = getattr(model, "num_classes", None)
    return DataConfig(
        input_shape=(channels, int(height), int(width)),
        mean=mean,
        std=std,
        class_names=tuple(map(str, names)) if len(names) == classes else (),
    )
