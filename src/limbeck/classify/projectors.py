"""Trainable maps from a student's feature to a teacher's, sized from the shapes that a probe found."""

from __future__ import annotations

from typing import Literal

from torch import nn

from limbeck.bounds import PositiveInt
from limbeck.errors import ShapeError
from limbeck.losses.feature_projectors import (
    BottleneckProjector,
    ConnectorProjector,
    ConvProjector,
    TransferProjector,
)
from limbeck.losses.projector_ensemble import ProjectorEnsemble


def conv(*, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> nn.Module:
    """One convolution, batch norm and ReLU on feature maps; the convolution also bridges sizes.

    Args:
        student_shape: (c, h, w) of the student's map.
        teacher_shape: (c, h, w) of the teacher's map.

    References:
        The regressor of FitNets [romero2015fitnets] and of WKD-F on CIFAR [lv2024wasserstein].
    """
    return ConvProjector(student_shape=_map("conv", student_shape), teacher_shape=_map("conv", teacher_shape))


def bottleneck(
    *, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...], hidden: PositiveInt = 256
) -> nn.Module:
    """Three convolutions (1x1, 3x3, 1x1), then batch norm and ReLU, on maps of equal size.

    Args:
        student_shape: (c, h, w) of the student's map.
        teacher_shape: (c, h, w) of the teacher's map.
        hidden: channels in the middle; 256 in the ImageNet settings of WKD-F.

    References:
        The projector of WKD-F on ImageNet [lv2024wasserstein].
    """
    return BottleneckProjector(
        student_shape=_map("bottleneck", student_shape),
        teacher_shape=_map("bottleneck", teacher_shape),
        hidden=hidden,
    )


def connector(
    *,
    student_shape: tuple[int, ...],
    teacher_shape: tuple[int, ...],
    init: Literal["default", "fan_out"] = "default",
) -> nn.Module:
    """A 1x1 convolution without bias and batch norm on feature maps; no activation, and the size stays.

    Args:
        student_shape: (c, h, w) of the student's map.
        teacher_shape: (c, h, w) of the teacher's map.
        init: of the convolution; fan_out as in the overhaul of feature distillation.

    References:
        The connector of the overhaul of feature distillation [heo2019comprehensive].
    """
    return ConnectorProjector(
        student_shape=_map("connector", student_shape), teacher_shape=_map("connector", teacher_shape), init=init
    )


def transfer(
    *, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...], factor: PositiveInt = 2
) -> nn.Module:
    """Three convolutions (1x1, 3x3, 1x1), each with batch norm and ReLU, narrow in the middle.

    Args:
        student_shape: (c, h, w) of the student's map; averaged to the teacher's size where it is larger.
        teacher_shape: (c, h, w) of the teacher's map.
        factor: the middle has the teacher's channels divided by it; 2 in the best results of SimKD.

    References:
        The projector of SimKD [chen2022knowledge].
    """
    return TransferProjector(
        student_shape=_map("transfer", student_shape),
        teacher_shape=_map("transfer", teacher_shape),
        factor=factor,
    )


def linear(*, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> nn.Module:
    """One linear map: on vectors a matrix, on maps of equal size a 1x1 convolution.

    Args:
        student_shape: (d,) or (c, h, w) of the student's feature.
        teacher_shape: (d,) or (c, h, w) of the teacher's feature.
    """
    if len(student_shape) == 1 and len(teacher_shape) == 1:
        return nn.Linear(student_shape[0], teacher_shape[0])
    if len(student_shape) == 3 and student_shape[1:] == teacher_shape[1:]:
        return nn.Conv2d(student_shape[0], teacher_shape[0], 1)
    raise ShapeError(
        f"projector linear: no linear map from {student_shape} to {teacher_shape}; it takes vectors, or maps "
        "of equal height and width. For maps of other sizes use conv."
    )


def ensemble(
    *,
    student_shape: tuple[int, ...],
    teacher_shape: tuple[int, ...],
    projectors: PositiveInt = 3,
    depth: PositiveInt = 1,
    hidden: PositiveInt | None = None,
    activation: Literal["relu", "gelu", "none"] = "relu",
    init: Literal["default", "orthogonal", "kaiming"] = "default",
) -> nn.Module:
    """Several differently initialised projectors of a vector, averaged.

    Args:
        student_shape: (d,) of the student's vector.
        teacher_shape: (m,) of the teacher's vector.
        projectors: how many; 3 in the paper.
        depth: layers of each, 1 is one linear layer with its activation.
        hidden: width between layers; the teacher's unless given.
        activation: after every layer; none for teachers with negative features.
        init: of the weights.

    References:
        PEFD [chen2022projector], section 3.
    """
    if len(student_shape) != 1 or len(teacher_shape) != 1:
        raise ShapeError(
            f"projector ensemble: needs vectors, got shapes {student_shape} and {teacher_shape}. Tap the "
            "classifier's input (leave out taps), or use conv for maps."
        )
    return ProjectorEnsemble(
        student_dim=student_shape[0],
        teacher_dim=teacher_shape[0],
        projectors=projectors,
        depth=depth,
        hidden_dim=hidden,
        activation=activation,
        init=init,
    )


def _map(projector: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    if len(shape) != 3:
        raise ShapeError(
            f"projector {projector}: needs feature maps (c, h, w), got a feature of shape {shape}. "
            "Tap a layer that puts out maps, or use linear or ensemble for vectors."
        )
    return (shape[0], shape[1], shape[2])
