"""PEFD: match the direction of the teacher's feature vector through an ensemble of projectors [chen2022projector].

Even where dimensions agree, a projector lets the student's own features stay discriminative while their
projection imitates the teacher. Several projectors that start differently, averaged, do better than one.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from limbeck.bounds import PositiveInt
from limbeck.errors import ConfigError, did_you_mean
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.precision import promoted

SMALLEST_NORM = 1e-12
ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU, "none": nn.Identity}
INITIALISATIONS = ("default", "orthogonal", "kaiming")


def direction_alignment(student_features: Tensor, teacher_features: Tensor) -> Tensor:
    r"""One minus the cosine between projected student and teacher features, per sample.

    .. math:: \ell_i = 1 - \frac{\langle f_i, t_i \rangle}{|f_i| \, |t_i|}

    The length of either vector does not matter, so the gradient is orthogonal to f and shrinks as 1/|f|.

    Args:
        student_features: projected vectors f, shape (n, d), e.g. from `ProjectorEnsemble`.
        teacher_features: vectors t, shape (n, d); no gradient flows into them.

    Returns:
        One value per sample between 0 and 2, dimensionless, shape (n,); 1 where either vector is zero.

    Raises:
        ShapeError: the vectors differ in shape.

    Example:
        >>> direction_alignment(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]]))
        tensor([1.])

    References:
        Chen et al., Improved Feature Distillation via Projector Ensemble, NeurIPS 2022 [chen2022projector], there
        with weight 25 beside the cross entropy. Differs from the released program where all projectors give
        zero: that yields no number there and 1 here.
    """
    require_same(
        "direction_alignment", "n d", student_features=student_features, teacher_features=teacher_features
    )
    student, teacher = promoted(student_features, teacher_features.detach())
    cosine: Tensor = (_directions(student) * _directions(teacher)).sum(dim=1)
    return 1 - cosine


def _directions(vectors: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    return vectors / lengths.clamp_min(SMALLEST_NORM)


class ProjectorEnsemble(nn.Module):
    """Several projectors of a feature vector, averaged after their activations.

    Each projector draws its own initial weights. Copies of one projector would receive equal gradients and stay
    equal for ever, so they are never made from a common module.

    Args:
        student_dim: size of the student's vector.
        teacher_dim: size of the teacher's vector.
        projectors: how many; 3 in the paper.
        depth: linear layers in each, every one followed by the activation.
        hidden_dim: width between the layers; the teacher's unless given.
        activation: relu suits teachers whose features passed a ReLU; none those with negative features.
        init: of the weights; default is that of `torch.nn.Linear`.

    Raises:
        ConfigError: a setting out of range.

    Example:
        >>> ensemble = ProjectorEnsemble(student_dim=8, teacher_dim=16)
        >>> ensemble(torch.zeros(2, 8)).shape
        torch.Size([2, 16])

    References:
        [chen2022projector]. The released program creates a fourth projector that it never uses.
    """

    def __init__(
        self,
        *,
        student_dim: PositiveInt,
        teacher_dim: PositiveInt,
        projectors: PositiveInt = 3,
        depth: PositiveInt = 1,
        hidden_dim: PositiveInt | None = None,
        activation: Literal["relu", "gelu", "none"] = "relu",
        init: Literal["default", "orthogonal", "kaiming"] = "default",
    ) -> None:
        super().__init__()
        hidden = teacher_dim if hidden_dim is None else hidden_dim
        require_above(
            "ProjectorEnsemble",
            0,
            student_dim=student_dim,
            teacher_dim=teacher_dim,
            projectors=projectors,
            depth=depth,
            hidden_dim=hidden,
        )
        _require_choice("activation", activation, ACTIVATIONS)
        _require_choice("init", init, INITIALISATIONS)
        dims = [student_dim, *[hidden] * (depth - 1), teacher_dim]
        self.projectors = nn.ModuleList(_projector(dims, activation, init) for _ in range(projectors))

    def forward(self, student_features: Tensor) -> Tensor:
        """Average projection, shape (n, teacher_dim)."""
        return torch.stack([projector(student_features) for projector in self.projectors]).mean(dim=0)


def _require_choice(setting: str, value: str, choices: dict[str, type[nn.Module]] | tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(
            f"ProjectorEnsemble: unknown {setting} '{value}'.{did_you_mean(value, choices)} "
            f"Known: {', '.join(choices)}."
        )


def _projector(dims: list[int], activation: str, init: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(dims):
        linear = nn.Linear(inputs, outputs)
        if init == "orthogonal":
            nn.init.orthogonal_(linear.weight)
        elif init == "kaiming":
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        layers += [linear, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers)
