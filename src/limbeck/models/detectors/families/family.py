"""What differs from one family of detectors to another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from limbeck.models.detectors.seams import Recording, Seam
from limbeck.models.detectors.seen import Dense, Head, Positives, Proposals


@dataclass(frozen=True)
class Parts:
    """What a family adds to the parts that every detector has."""

    anchors: Sequence[Tensor] | None
    positives: Positives | None = None
    dense: Dense | None = None
    proposals: Proposals | None = None


@dataclass(frozen=True)
class Family:
    """A way to read a detector.

    Attributes:
        name: for messages.
        head: how its class scores are meant.
        seams: what of torchvision's insides is relied on.
        class_layers: the path of the layers whose number of outputs depends on the classes.
        anchor_generator: the path of the module that makes anchors.
        record: installs what listens during one step of training.
        read: makes parts of what was heard, `(detector, found)`.
        look: makes parts of a forward pass outside of training, `(detector, images, features)`, where `images` is
            torchvision's list.
    """

    name: str
    head: Head
    seams: Sequence[Seam]
    class_layers: str
    anchor_generator: str
    record: Callable[[Any, Recording], None]
    read: Callable[[Any, Mapping[str, Any]], Parts]
    look: Callable[[Any, Any, Mapping[str, Tensor]], Parts]
