"""Projectors and class costs by name."""

from __future__ import annotations

from limbeck.registry import Registry

PROJECTORS = Registry(
    "projector",
    dict.fromkeys(("conv", "bottleneck", "linear", "ensemble"), "limbeck.classify.projectors"),
)
"""`name(*, student_shape, teacher_shape, ...) -> nn.Module` from a student's to a teacher's feature."""

COSTS = Registry("class cost", dict.fromkeys(("prototypes", "cka", "file"), "limbeck.classify.class_costs"))
"""`name(teacher, /, *, ...) -> Tensor`, the ground cost between classes, shape (C, C)."""
