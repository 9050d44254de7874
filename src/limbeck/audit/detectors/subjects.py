"""The detectors of an audit and the part that each has in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import nn

from limbeck.audit.subjects import Role


@dataclass(frozen=True, eq=False)
class DetectorSubject:
    """One detector of an audit.

    Attributes:
        name: unique within the audit: "teacher", "pkd-s0", "control-s0".
        role: teacher, student (distilled) or control (the same without a teacher).
        detector: of any family of `limbeck.models.detectors`; it is put in eval mode and keeps its gradients off.
        method: how it was distilled; "control" for controls and empty for the teacher.
        seed: students and controls of one seed began with the same weights and saw the same images.
    """

    name: str
    role: Role
    detector: nn.Module
    method: str = ""
    seed: int | None = None

    def __post_init__(self) -> None:
        self.detector.eval().requires_grad_(False)


@dataclass(frozen=True, eq=False)
class DetectorPanel:
    """Which detectors are audited.

    Attributes:
        teacher: whose properties are looked for.
        students: distilled from it, by one or several methods.
        controls: the same detectors trained without it; without any no transfer can be claimed.
    """

    teacher: DetectorSubject
    students: tuple[DetectorSubject, ...]
    controls: tuple[DetectorSubject, ...] = ()

    def __iter__(self) -> Iterator[DetectorSubject]:
        """Teacher, students, controls."""
        return iter((self.teacher, *self.students, *self.controls))

    @property
    def learners(self) -> tuple[DetectorSubject, ...]:
        """Students and controls."""
        return (*self.students, *self.controls)

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the students, in the order in which they were given."""
        return tuple(dict.fromkeys(student.method for student in self.students))
