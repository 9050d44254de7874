"""Projectors and class costs by name."""

from __future__ import annotations

from limbeck.registry import Registry

PROJECTORS = Registry(
    "projector",
    dict.fromkeys(
        ("conv", "bottleneck", "connector", "transfer", "linear", "ensemble"), "limbeck.classify.projectors"
    ),
)
"""`name(*, student_shape, teacher_shape, ...) -> nn.Module` from a student's to a teacher's feature."""

COSTS = Registry("class cost", dict.fromkeys(("prototypes", "cka", "file"), "limbeck.classify.class_costs"))
"""`name(teacher, /, *, ...) -> Tensor`, the ground cost between classes, shape (C, C)."""

MAIN_VIEW = "images"
"""The view of the training images that the stage's own augmentation makes; the key of the images in a batch."""
