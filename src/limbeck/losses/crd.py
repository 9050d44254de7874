"""Contrastive representation distillation, with its memory of the whole training set [tian2020contrastive].

A student's embedding should pick out the teacher's embedding of the same image among those of many other images,
and the other way round. The embeddings of all images are remembered from the last time they were seen.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from limbeck import seeding
from limbeck.bounds import Fraction, Positive, PositiveInt
from limbeck.errors import DataError, ShapeError
from limbeck.losses._registry import relational
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.precision import no_autocast, promoted

EPS = 1e-7
WHOLE_BANK_UP_TO = 16
"""A product with every row of a memory beats fetching the rows wanted, up to this many times their number."""
FETCHED_BYTES = {"cpu": 2**23, "other": 2**28}
"""How much of a memory is fetched at once: about a cache on a CPU."""


def crd_loss(
    student: Tensor,
    teacher: Tensor,
    memory_student: Tensor,
    memory_teacher: Tensor,
    contrast: Tensor,
    scale: Tensor,
    *,
    temperature: Positive = 0.07,
) -> tuple[Tensor, Tensor]:
    r"""Noise-contrastive estimation on both sides, given the embeddings and the memories.

    .. math::
        \ell = -\frac{1}{n} \sum_i \Big[ \log \frac{P_{i0}}{P_{i0} + c}
        + \sum_{j=1}^{K} \log \frac{K/m}{P_{ij} + c} \Big], \quad
        P_{ij} = \frac{1}{Z} \exp(\langle e_i, v_{ij} \rangle / \tau), \quad c = K/m + 10^{-7}

    with v the rows of the other network's memory, m rows in each, and Z = m mean(exp(...)) of the first batch.

    Args:
        student: embeddings of length one, shape (n, dim).
        teacher: likewise; a gradient flows into them, for their embedding is trained too.
        memory_student: shape (m, dim); no gradient flows into it.
        memory_teacher: likewise.
        contrast: rows of the memories, the sample's own first, shape (n, 1 + K), int64.
        scale: Z of the student's and of the teacher's side, shape (2,); where it is 0, this batch sets it.
        temperature: divides the similarities, > 0 (tau).

    Returns:
        The loss, a scalar in nats, and Z, shape (2,).

    Raises:
        ShapeError: embeddings, memories and rows do not belong together.

    Example:
        >>> rows = torch.eye(3)
        >>> loss, scale = crd_loss(rows[:1], rows[:1], rows, rows, torch.tensor([[0, 1, 2]]), torch.zeros(2))
        >>> loss.shape, scale.shape
        (torch.Size([]), torch.Size([2]))

    References:
        Tian, Krishnan, Isola, Contrastive Representation Distillation, ICLR 2020 [tian2020contrastive], equations
        17 to 19, as in the released program.
    """
    require_above("crd_loss", 0, temperature=temperature)
    _require_fitting(student, teacher, memory_student, memory_teacher, contrast)
    with no_autocast(student):
        first, z_student = _Side.apply(student, memory_teacher, contrast, scale[0], temperature)
        second, z_teacher = _Side.apply(teacher, memory_student, contrast, scale[1], temperature)
    return first + second, torch.stack((z_student, z_teacher))


@torch.no_grad()
def crd_remember(memory: Tensor, embeddings: Tensor, index: Tensor, *, momentum: Fraction = 0.5) -> None:
    """Move rows of a memory towards new embeddings, in place; each row keeps length one.

    Args:
        memory: shape (m, dim).
        embeddings: shape (n, dim).
        index: the row of each, shape (n,), int64; of several for one row the last counts.
        momentum: share that the old row keeps.

    Example:
        >>> memory = torch.eye(2)
        >>> crd_remember(memory, torch.tensor([[0.0, 1.0]]), torch.tensor([0]))
        >>> memory
        tensor([[0.7071, 0.7071],
                [0.0000, 1.0000]])
    """
    mixed = momentum * memory[index] + (1 - momentum) * embeddings.to(memory.dtype)
    position = torch.arange(len(index), device=index.device)
    # Equal rows are written with equal content, so that the order of writing does not matter.
    last = torch.where(index[:, None] == index, position, -1).amax(dim=1) if len(index) else position
    memory.index_copy_(0, index, F.normalize(mixed, dim=1)[last])


@relational
class crd(nn.Module):
    """Contrast of student and teacher embeddings against a memory of the whole training set.

    Strong where the classes alone say too little: it teaches which images resemble each other. Both embeddings are
    trained along and thrown away. The memories, the two constants Z and the count of steps are part of a
    checkpoint, so a resumed run continues exactly. Nothing is remembered in eval mode or without gradients.

    The negatives are of other classes than the sample's own; those of one sample are distinct where there are
    enough, and otherwise all others come equally often. Which they are follows from a key, drawn when the loss is
    made, and from the number of the step, so all processes draw the same.

    Args:
        student_shape: (d,) of the student's vector.
        teacher_shape: (d,) of the teacher's vector.
        class_of: label of every training image, shape (m,), int64.
        negatives: for each sample (K); 16384 in the paper.
        dim: of both embeddings; 128 in the paper.
        temperature: divides the similarities; 0.07 in the released program.
        momentum: share that a remembered embedding keeps at each update.

    Raises:
        ShapeError: a feature that is no vector.
        DataError: no training images, or all of one class.

    Example:
        >>> loss = crd(student_shape=(4,), teacher_shape=(6,), class_of=torch.tensor([0, 0, 1, 1]), negatives=2)
        >>> loss(torch.randn(2, 4), torch.randn(2, 6), torch.tensor([0, 3])).shape
        torch.Size([])

    References:
        Tian, Krishnan, Isola, Contrastive Representation Distillation, ICLR 2020 [tian2020contrastive]. Weight 0.8
        beside the cross entropy. The released program draws negatives with replacement where there are fewer
        others than negatives.
    """

    memory_student: Tensor
    memory_teacher: Tensor
    scale: Tensor
    key: Tensor
    step: Tensor
    _order: Tensor
    _end: Tensor
    _others: Tensor
    _class_of: Tensor

    def __init__(
        self,
        *,
        student_shape: tuple[int, ...],
        teacher_shape: tuple[int, ...],
        class_of: Tensor,
        negatives: PositiveInt = 16384,
        dim: PositiveInt = 128,
        temperature: Positive = 0.07,
        momentum: Fraction = 0.5,
    ) -> None:
        super().__init__()
        require_above("crd", 0, negatives=negatives, dim=dim, temperature=temperature)
        self.embed_student = nn.Linear(_length("student", student_shape), dim)
        self.embed_teacher = nn.Linear(_length("teacher", teacher_shape), dim)
        self.negatives, self.temperature, self.momentum = negatives, temperature, momentum
        bound = math.sqrt(3 / dim)
        for name in ("memory_student", "memory_teacher"):
            self.register_buffer(name, torch.empty(len(class_of), dim).uniform_(-bound, bound))
        self.register_buffer("scale", torch.zeros(2))
        self.register_buffer("key", torch.randint(2**62, (1,)))
        self.register_buffer("step", torch.zeros(1, dtype=torch.int64))
        self._remember_classes(class_of)
        self._counted: tuple[int, int] | None = None
        self.register_load_state_dict_post_hook(_forget_count)  # type: ignore[no-untyped-call]

    def forward(self, student_features: Tensor, teacher_features: Tensor, index: Tensor) -> Tensor:
        """The loss of a batch, and in training the update of the memories.

        Args:
            student_features: vectors, shape (n, d).
            teacher_features: vectors, shape (n, d'); no gradient flows into them.
            index: position of each sample in the training set, shape (n,), int64.

        Returns:
            A scalar, in nats.

        Raises:
            ShapeError: features or index of the wrong shape.
            DataError: a position beyond the training set.
        """
        self._check(student_features, teacher_features, index)
        with no_autocast(student_features):
            student = _embedded(self.embed_student, student_features)
            teacher = _embedded(self.embed_teacher, teacher_features.detach())
        contrast = torch.cat((index[:, None], self._negatives(index)), dim=1)
        memories = (self.memory_student, self.memory_teacher)
        loss, scale = crd_loss(student, teacher, *memories, contrast, self.scale, temperature=self.temperature)
        if self.training and torch.is_grad_enabled():
            for memory, embeddings in zip(memories, (student, teacher), strict=True):
                crd_remember(memory, embeddings, index, momentum=self.momentum)
            self.scale.copy_(scale)
            self._advance()
        return loss

    def _remember_classes(self, class_of: Tensor) -> None:
        """Sort the training set by class; the others of a class then follow behind its end, in a circle."""
        classes, sizes = torch.unique(class_of, return_counts=True)
        if len(classes) < 2:
            raise DataError(
                f"crd: negatives are images of other classes, but the {len(class_of)} training images are of "
                f"{len(classes)} class(es)."
            )
        images = len(class_of)
        dense = torch.searchsorted(classes, class_of)
        self.register_buffer("_class_of", dense, persistent=False)
        self.register_buffer("_order", torch.argsort(dense, stable=True), persistent=False)
        self.register_buffer("_end", sizes.cumsum(0), persistent=False)
        self.register_buffer("_others", images - sizes, persistent=False)
        largest, rounds = int(sizes.max()), 1
        while self.negatives + rounds * largest > rounds * images:
            rounds += 1
        self._window = min(self.negatives + rounds * largest, rounds * images)

    def _negatives(self, index: Tensor) -> Tensor:
        """Rows of other classes, shape (n, K): for each sample a part of one permutation, shifted.

        The shifts are independent, hence so are the choices of two samples; each choice alone is uniform.
        """
        images, device = len(self._order), index.device
        if self._counted is None:
            self._counted = (int(self.key), int(self.step))
        draw = seeding.generator(self._counted[0], "crd", self._counted[1])
        circle = torch.randperm(images, generator=draw)
        start, shift = torch.randint(images, (2, len(index)), generator=draw).to(device)
        circle = circle.to(device).repeat(1 + -(-self._window // images))
        behind = circle.unfold(0, self._window, 1)[start] + shift[:, None]  # distance behind the end of the class
        behind = _wrapped(behind, images)
        own = self._class_of[index]
        kept = behind < self._others[own][:, None]
        place = kept.cumsum(dim=1).sub_(1)
        place = place.masked_fill_(~kept, self.negatives).clamp_(max=self.negatives)
        chosen = behind.new_empty(len(index), self.negatives + 1).scatter_(1, place, behind)[:, : self.negatives]
        return self._order[_wrapped(chosen + self._end[own][:, None], images)]

    def _advance(self) -> None:
        self.step += 1
        assert self._counted is not None
        self._counted = (self._counted[0], self._counted[1] + 1)

    def _check(self, student: Tensor, teacher: Tensor, index: Tensor) -> None:
        wanted = (self.embed_student.in_features, self.embed_teacher.in_features)
        if (
            student.dim() != 2
            or teacher.dim() != 2
            or (student.shape[1], teacher.shape[1]) != wanted
            or not len(student) == len(teacher) == len(index)
            or index.dim() != 1
        ):
            raise ShapeError(
                f"crd: expected student_features (n, {wanted[0]}), teacher_features (n, {wanted[1]}) and index "
                f"(n,); got {tuple(student.shape)}, {tuple(teacher.shape)} and {tuple(index.shape)}."
            )
        images = len(self._order)
        if index.device.type == "cpu" and len(index) and not 0 <= int(index.min()) <= int(index.max()) < images:
            raise DataError(
                f"crd: index runs from {int(index.min())} to {int(index.max())}, but the memories hold the "
                f"{images} images of the training set (0 to {images - 1})."
            )


CRD = crd
"""The class under the name that it has in the paper."""


def _forget_count(module: nn.Module, _: Any) -> None:
    module._counted = None  # type: ignore[assignment]


def _length(side: str, shape: tuple[int, ...]) -> int:
    if len(shape) != 1:
        raise ShapeError(
            f"crd: needs vectors, got a {side} feature of shape {tuple(shape)}. Tap the classifier's input."
        )
    return shape[0]


def _embedded(linear: nn.Linear, features: Tensor) -> Tensor:
    (features,) = promoted(features.to(linear.weight.dtype))
    return F.normalize(F.linear(features, *(w.to(features.dtype) for w in (linear.weight, linear.bias))), dim=1)


def _wrapped(position: Tensor, length: int) -> Tensor:
    """Positions below twice a length, on the circle of that length; faster than a remainder."""
    return position.sub_((position >= length) * length)


def _require_fitting(
    student: Tensor, teacher: Tensor, memory_student: Tensor, memory_teacher: Tensor, contrast: Tensor
) -> None:
    require_same("crd_loss", "n d", student=student, teacher=teacher)
    require_same("crd_loss", "m d", memory_student=memory_student, memory_teacher=memory_teacher)
    if (
        student.shape[1] != memory_student.shape[1]
        or contrast.dim() != 2
        or len(contrast) != len(student)
        or contrast.shape[1] < 2
    ):
        raise ShapeError(
            f"crd_loss: embeddings {tuple(student.shape)}, memories {tuple(memory_student.shape)} and rows "
            f"{tuple(contrast.shape)} do not belong together; expected (n, d), (m, d) and (n, 1 + K)."
        )


class _Side(torch.autograd.Function):
    """One side's loss. The gradient is computed at once: afterwards the memory may be written to."""

    @staticmethod
    def forward(
        ctx: Any, embedding: Tensor, memory: Tensor, contrast: Tensor, scale: Tensor, temperature: float
    ) -> tuple[Tensor, Tensor]:
        negatives, images = contrast.shape[1] - 1, len(memory)
        memory = memory.to(embedding.dtype)
        logits = _similarities(embedding, memory, contrast).div_(temperature)
        scale = torch.where(scale > 0, scale.to(logits.dtype), logits.exp().mean() * images)
        # In logarithms, P / (P + c) is a sigmoid, and so is c / (P + c).
        noise = math.log(negatives / images + EPS)
        logits.sub_(scale.log() + noise)
        logits[:, 0].neg_()
        values = F.softplus(logits, threshold=40)
        constant = negatives * (noise - math.log(negatives / images))
        loss = values.sum() / max(len(embedding), 1) + (constant if len(embedding) else 0.0)
        if ctx.needs_input_grad[0]:
            weights = logits.sigmoid_()
            weights[:, 0].neg_()
            weights.div_(temperature * max(len(embedding), 1))
            ctx.save_for_backward(_weighted_rows(weights, memory, contrast))
        ctx.mark_non_differentiable(scale)
        return loss, scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor, None, None, None, None]:
        (of_embedding,) = ctx.saved_tensors
        return gradient * of_embedding, None, None, None, None


def _similarities(embedding: Tensor, memory: Tensor, contrast: Tensor) -> Tensor:
    """Products with the chosen rows, shape (n, 1 + K)."""
    if _whole_bank(memory, contrast):
        return (embedding @ memory.T).gather(1, contrast)
    budget = FETCHED_BYTES["cpu" if embedding.device.type == "cpu" else "other"]
    step = max(1, budget // (contrast.shape[1] * memory.shape[1] * memory.element_size()))
    parts = zip(embedding.split(step), contrast.split(step), strict=True)
    return torch.cat([torch.bmm(memory[rows], own[:, :, None]).squeeze(2) for own, rows in parts])


def _weighted_rows(weights: Tensor, memory: Tensor, contrast: Tensor) -> Tensor:
    """Weighted sums of the chosen rows, shape (n, dim)."""
    if _whole_bank(memory, contrast):
        return weights.new_zeros(len(contrast), len(memory)).scatter_add_(1, contrast, weights) @ memory
    return F.embedding_bag(contrast, memory, per_sample_weights=weights, mode="sum")


def _whole_bank(memory: Tensor, contrast: Tensor) -> bool:
    return len(memory) <= WHOLE_BANK_UP_TO * contrast.shape[1]
