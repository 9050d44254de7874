"""CC: how neighbouring samples of a batch differ between teacher and student [peng2019correlation]."""

from __future__ import annotations

from torch import Tensor, nn

from limbeck.bounds import PositiveInt
from limbeck.errors import ShapeError
from limbeck.losses._registry import relational
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.precision import promoted


def correlation_congruence(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    r"""Products of the deviations of consecutive samples, summed over dimensions, mean over pairs.

    .. math:: \ell = \frac{1}{n-1} \sum_{i=1}^{n-1} \sum_k |s_{ik} - t_{ik}| \, |s_{i+1,k} - t_{i+1,k}|

    Args:
        student_features: embedded vectors, shape (n, d).
        teacher_features: embedded vectors, shape (n, d).

    Returns:
        A scalar, in squared units of the embedding; 0 where there is no pair.

    Raises:
        ShapeError: the vectors differ in shape.

    Example:
        >>> import torch
        >>> correlation_congruence(torch.zeros(3, 2), torch.ones(3, 2))
        tensor(2.)

    References:
        Peng et al., Correlation Congruence for Knowledge Distillation, ICCV 2019 [peng2019correlation], in the
        form that common programs give it. It depends on the order of the batch.
    """
    require_same(
        "correlation_congruence", "n d", student_features=student_features, teacher_features=teacher_features
    )
    student, teacher = promoted(student_features, teacher_features)
    gaps = (student - teacher).abs()
    return (gaps[:-1] * gaps[1:]).sum() / max(len(gaps) - 1, 1)


@relational
class cc(nn.Module):
    """Correlation congruence after a linear embedding of both features; the embeddings are trained along.

    Args:
        student_shape: (d,) of the student's vector.
        teacher_shape: (d,) of the teacher's vector.
        dim: of both embeddings; 128 in common programs.

    Raises:
        ShapeError: a feature that is no vector.

    Example:
        >>> import torch
        >>> loss = cc(student_shape=(4,), teacher_shape=(6,))
        >>> loss(torch.zeros(3, 4), torch.zeros(3, 6)).shape
        torch.Size([])

    References:
        Peng et al., Correlation Congruence for Knowledge Distillation, ICCV 2019 [peng2019correlation]; weight
        0.02 beside the cross entropy.
    """

    def __init__(
        self, *, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...], dim: PositiveInt = 128
    ) -> None:
        super().__init__()
        require_above("cc", 0, dim=dim)
        self.embed_student = nn.Linear(_length("student", student_shape), dim)
        self.embed_teacher = nn.Linear(_length("teacher", teacher_shape), dim)

    def forward(self, student_features: Tensor, teacher_features: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            student_features: vectors, shape (n, d).
            teacher_features: vectors, shape (n, d'); no gradient flows into them.

        Returns:
            A scalar.

        Raises:
            ShapeError: features of another length.
        """
        for name, features, layer in (
            ("student", student_features, self.embed_student),
            ("teacher", teacher_features, self.embed_teacher),
        ):
            if features.dim() != 2 or features.shape[1] != layer.in_features:
                raise ShapeError(
                    f"cc: expected {name}_features (n, {layer.in_features}), got {tuple(features.shape)}."
                )
        student = self.embed_student(student_features.to(self.embed_student.weight.dtype))
        teacher = self.embed_teacher(teacher_features.detach().to(self.embed_teacher.weight.dtype))
        return correlation_congruence(student, teacher)


def _length(side: str, shape: tuple[int, ...]) -> int:
    if len(shape) != 1:
        raise ShapeError(
            f"cc: needs vectors, got a {side} feature of shape {tuple(shape)}. Tap the classifier's input."
        )
    return shape[0]
