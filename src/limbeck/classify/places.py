"""Where a recipe's taps are in a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from limbeck.errors import ModelError, TapError
from limbeck.models import classifier_of
from limbeck.models.feature_taps import last_feature
from limbeck.models.stages import known_stages
from limbeck.taps import preactivations, resolve, stage_maps


@dataclass(frozen=True)
class Places:
    """Module paths in one network for what a recipe writes: paths, or symbols such as "@stages".

    Attributes:
        model: any classifier.
        example: a batch of images, normalised.
        classes: number of classes.
    """

    model: nn.Module
    example: Tensor
    classes: int

    def paths(self, wanted: Sequence[str]) -> list[Sequence[str]]:
        """The paths that each entry stands for; a symbol may stand for several.

        Raises:
            TapError: nothing is there, or a pattern that matches several.
        """
        return [self._one(path) for path in wanted]

    def _one(self, path: str) -> Sequence[str]:
        match path:
            case "@stages" | "@preactivations":
                maps = self._ends(path == "@preactivations")
                if not maps:
                    what = "feature map (n, c, h, w)" if path == "@stages" else "ReLU on feature maps"
                    raise TapError(
                        f"taps: '{path}' finds no {what} in {type(self.model).__name__}. Name the module paths."
                    )
                return maps
            case "@pooled":
                return [_penultimate(self.model, self.classes)]
            case "@last":
                return [last_feature(self.model, self.example).path]
        found = resolve(self.model, path)
        if len(found) != 1:
            raise TapError(
                f"taps: '{path}' matches {len(found)} modules ({', '.join(found[:5])}); a tap is one of them."
            )
        return found

    def _ends(self, before_activation: bool) -> Sequence[str]:
        """Of the stages that are known of the network; for others the last map of each size, by a forward pass."""
        stages = known_stages(self.model, self.example)
        if stages is None:
            return (preactivations if before_activation else stage_maps)(self.model, self.example)
        return [stage.preactivation if before_activation else stage.output for stage in stages]


def _penultimate(model: nn.Module, classes: int) -> str:
    try:
        path, _ = classifier_of(model, classes)
    except ModelError as error:
        raise TapError(f"{error} Name the tap of the features: taps: {{student: ..., teacher: ...}}.") from error
    return f"{path}:input"
