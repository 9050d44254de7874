"""A panel of networks that do nothing, and numbers about them drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from limbeck.audit.evidence import Evidence
from limbeck.audit.subjects import Network, Panel, Subject
from limbeck.audit.tally import Tally, share
from limbeck.models.data_config import DataConfig


def _subject(name: str, role: str, method: str = "", seed: int | None = None) -> Subject:
    network = Network(nn.Flatten(), DataConfig(input_shape=(1, 2, 2), mean=(0.5,), std=(0.5,)))
    return Subject(name, role, network, method=method, seed=seed)


@pytest.fixture(scope="session")
def panel_of() -> Callable[..., Panel]:
    """A teacher, students kd-s0, kd-s1, ... of each method and controls control-s0, ...."""

    def build(
        students: int = 3, controls: int = 3, methods: Sequence[str] = ("kd",), control_seeds: Sequence[int] = ()
    ) -> Panel:
        seeds = control_seeds or range(controls)
        return Panel(
            _subject("teacher", "teacher"),
            tuple(_subject(f"{m}-s{s}", "student", m, s) for m in methods for s in range(students)),
            tuple(_subject(f"control-s{s}", "control", "control", s) for s in seeds),
        )

    return build


@pytest.fixture(scope="session")
def simulated() -> Callable[..., dict[str, Tally]]:
    """Tallies of one number: what is common to an image, to a seed, and noise, plus an effect of distillation."""

    def draw(
        panel: Panel,
        generator: torch.Generator,
        *,
        effect: float = 0.0,
        images: int = 200,
        seed_sd: float = 0.02,
        image_sd: float = 0.3,
        noise_sd: float = 0.3,
        teacher: float | None = None,
    ) -> dict[str, Tally]:
        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator, dtype=torch.float64)

        of_controls, of_students = 0.5 + image_sd * normal(images), 0.5 + effect + image_sd * normal(images)
        found = {}
        for subject in panel.learners:
            common = of_students if subject.role == "student" else of_controls
            found[subject.name] = share(common + seed_sd * normal(1) + noise_sd * normal(images))
        if teacher is not None:
            found["teacher"] = share(teacher + image_sd * normal(images))
        return found

    return draw


@pytest.fixture(scope="session")
def likeness() -> Callable[..., Evidence]:
    """Evidence of a likeness, or of another kind."""

    def build(tallies: dict[str, Tally], measure: str = "same", **settings: object) -> Evidence:
        return Evidence("agreement", measure, "Same answer", settings.pop("kind", "likeness"), tallies, **settings)

    return build
