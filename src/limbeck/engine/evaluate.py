"""Counting a classifier's hits over a stream of batches."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from limbeck.engine.machine import Machine
from limbeck.protocols import Stream
from limbeck.taps import evaluating


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What one pass over a stream found.

    Attributes:
        confusion: counts, rows are labels, columns predictions, shape (C, C), on the CPU.
        loss: mean cross entropy in nats.
        agreement_counts: counts, rows are the teacher's classes, columns the model's, shape (C, C), on the CPU;
            None without a teacher.
    """

    confusion: Tensor
    loss: float
    agreement_counts: Tensor | None = None

    @property
    def images(self) -> int:
        """How many images were seen."""
        return int(self.confusion.sum())

    @property
    def agreement(self) -> float | None:
        """Share of images on which teacher and model give the same class; None without a teacher."""
        if self.agreement_counts is None:
            return None
        return float(self.agreement_counts.diagonal().sum()) / max(self.images, 1)

    @property
    def accuracy(self) -> float:
        """Share of images whose largest logit is that of the label."""
        return float(self.confusion.diagonal().sum()) / max(self.images, 1)

    @property
    def per_class(self) -> list[float]:
        """Accuracy within each class; not a number for a class without images."""
        return (self.confusion.diagonal().double() / self.confusion.sum(1)).tolist()


@torch.no_grad()
def evaluate(
    predict: Callable[[Tensor], Tensor],
    stream: Stream,
    *,
    machine: Machine,
    classes: int,
    modules: tuple[nn.Module, ...] = (),
    reference: Tensor | None = None,
) -> Evaluation:
    """Evaluate a classifier over one epoch of a stream, all processes together.

    Args:
        predict: images (n, c, h, w) in [0, 1] to logits (n, C).
        stream: unshuffled batches.
        machine: where it runs.
        classes: C.
        modules: put into eval mode for the length of the pass; afterwards each has its own mode again.
        reference: class that a teacher gives to each image, shape (images,), for the agreement; see `guesses`.
    """
    counts = torch.zeros(2, classes * classes, dtype=torch.int64, device=machine.device)
    precise = torch.float32 if machine.device.type == "mps" else torch.float64  # which has no doubles
    loss = torch.zeros((), dtype=precise, device=machine.device)
    with ExitStack() as stack:
        for module in modules:
            stack.enter_context(evaluating(module))
        stack.enter_context(machine.autocast())
        for batch in stream.epoch(1):
            labels = batch["labels"]
            logits = predict(batch["images"]).float()
            guess = logits.argmax(1)
            counts[0] += torch.bincount(labels * classes + guess, minlength=classes * classes)
            loss += F.cross_entropy(logits, labels, reduction="sum")
            if reference is not None:
                pairs = reference[batch["index"]] * classes + guess
                counts[1] += torch.bincount(pairs, minlength=classes * classes)
    counts, loss = machine.sum(counts), machine.sum(loss)
    confusion, agreement = counts.reshape(2, classes, classes).cpu()
    return Evaluation(
        confusion=confusion,
        loss=float(loss) / max(float(confusion.sum()), 1.0),
        agreement_counts=agreement if reference is not None else None,
    )


@dataclass(frozen=True, slots=True)
class Guesses:
    """What a frozen model makes of every image of a set.

    Attributes:
        classes: its class for each image, shape (images,), int64.
        labels: the right one, shape (images,), int64.
    """

    classes: Tensor
    labels: Tensor

    @property
    def accuracy(self) -> float:
        """Share of images whose class is right."""
        return float((self.classes == self.labels).double().mean())


@torch.no_grad()
def guesses(predict: Callable[[Tensor], Tensor], stream: Stream, *, machine: Machine, images: int) -> Guesses:
    """The class that a frozen model gives to every image, so that it runs once and not in every evaluation.

    Args:
        predict: images (n, c, h, w) in [0, 1] to logits (n, C).
        stream: unshuffled batches of the whole set, not split over processes.
        machine: where it runs.
        images: size of the set.

    Returns:
        Class indices and labels by the batches' `index`.
    """
    found = torch.zeros(2, images, dtype=torch.int64, device=machine.device)
    with machine.autocast():
        for batch in stream.epoch(1):
            found[0, batch["index"]] = predict(batch["images"]).argmax(1)
            found[1, batch["index"]] = batch["labels"]
    return Guesses(found[0], found[1])
