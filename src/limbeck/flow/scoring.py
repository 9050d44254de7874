"""What samples are worth: the same noise, the same real data and the same number of samples for every flow."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from limbeck.flow.config import Scoring
from limbeck.flow.data import Data, Images, as_bytes
from limbeck.flow.editing import invert
from limbeck.flow.sampling import Samples, default_solver, sample
from limbeck.flow.straightness import coupling_error, curvature, straightness
from limbeck.flow.velocity import Flow
from limbeck.measures import (
    Moments,
    energy_distance,
    frechet_distance,
    frechet_from_moments,
    mmd,
    moments,
    precision_recall,
    sliced_wasserstein,
)
from limbeck.seeding import normals, uniforms
from limbeck.specs import Spec

if TYPE_CHECKING:
    from limbeck.measures import InceptionFeatures

Features = Callable[[Tensor], Tensor]
COLUMNS: Sequence[dict[str, Any]] = (
    {"key": "evaluations", "label": "Evaluations", "unit": "count"},
    {"key": "fid", "label": "FID", "better": "lower"},
    {"key": "inception_score", "label": "Inception score", "better": "higher"},
    {"key": "frechet", "label": "Fréchet distance on features", "better": "lower"},
    {"key": "precision", "label": "Precision", "unit": "fraction", "better": "higher"},
    {"key": "recall", "label": "Recall", "unit": "fraction", "better": "higher"},
    {"key": "sliced_wasserstein", "label": "Sliced W2", "better": "lower"},
    {"key": "energy", "label": "Energy distance", "better": "lower"},
    {"key": "mmd", "label": "MMD", "better": "lower"},
    {"key": "coupling", "label": "Coupling error", "better": "lower"},
    {"key": "straightness", "label": "Straightness (0 is straight)", "better": "lower"},
    {"key": "curvature", "label": "Curvature (degrees)", "better": "lower"},
    {"key": "reconstruction", "label": "Reconstruction error", "better": "lower"},
    {"key": "seconds", "label": "Sampling", "unit": "s", "better": "lower"},
)
"""Columns of a table of scores; those that nothing was measured for are left out."""


@dataclass(frozen=True, eq=False)
class Judge:
    """The ground that all flows are compared on.

    Attributes:
        scoring: what is measured.
        data: real data.
        reference: real samples, as many as are drawn of each flow.
        noise: of all flows.
        labels: of conditional flows, or None.
        by_teacher: what the teacher makes of the noise, or None.
        features: images to features, or None.
    """

    scoring: Scoring
    data: Data
    reference: Tensor
    noise: Tensor
    labels: Tensor | None
    by_teacher: Tensor | None
    features: Features | None

    def rows(self, flow: Flow) -> list[dict[str, Any]]:
        """A row for each number of evaluations."""
        shape = self._shape(flow)
        return [{**self._row(flow, count), **shape} for count in self.scoring.evaluations]

    def floor(self) -> dict[str, Any]:
        """The distances between two sets of real data: what no sampler can do better than at this size."""
        count = len(self.reference)
        if isinstance(self.data, Images):
            both = self.data.draw(2 * count, seed=self.scoring.seed + 1)
            first, second = both[: len(both) // 2], both[len(both) // 2 :]
        else:
            first, second = (self.data.draw(count, seed=self.scoring.seed + n) for n in (1, 2))
        return {**self._distances(first, second), **self._inception(first, second)}

    def samples(self, flow: Flow, evaluations: int) -> Samples:
        """Samples of a flow with so many evaluations."""
        spec = self.scoring.solver or Spec(name=default_solver(flow))
        times = None
        if evaluations == 2 and self.scoring.two_steps is not None:
            times = (1.0, self.scoring.two_steps)
        return sample(
            flow,
            self.noise,
            self.labels if flow.classes else None,
            evaluations=evaluations,
            solver=spec,
            times=times,
            batch_size=self.scoring.batch_size,
        )

    def _row(self, flow: Flow, count: int) -> dict[str, Any]:
        began = time.perf_counter()
        made = self.samples(flow, count)
        row: dict[str, Any] = {"evaluations": made.evaluations, "seconds": time.perf_counter() - began}
        row |= self._distances(made.x[: len(self.reference)], self.reference)
        row |= self._inception(made.x)
        if self.by_teacher is not None:
            row["coupling"] = float(coupling_error(made.x, self.by_teacher).mean())
        if count in self.scoring.rounds and flow.predicts == "velocity":
            row["reconstruction"] = self._reconstruction(flow, count)
        return row

    def _distances(self, samples: Tensor, reference: Tensor) -> dict[str, float]:
        row = {
            "sliced_wasserstein": sliced_wasserstein(samples, reference),
            "energy": energy_distance(samples, reference),
            "mmd": mmd(samples, reference),
        }
        if self.features is not None:
            mine, theirs = self.features(samples), self.features(reference)
            row["frechet"] = frechet_distance(mine, theirs)
            row["precision"], row["recall"] = precision_recall(mine, theirs)
        return row

    def _inception(self, samples: Tensor, reference: Tensor | None = None) -> dict[str, float]:
        """FID and Inception score of all samples, against the whole set of real images unless told."""
        if self.scoring.inception_weights is None:
            return {}
        from limbeck.measures.inception import inception_score

        pool, logits = self._seen(_coloured(samples))
        wanted = self._whole_set if reference is None else moments(self._seen(_coloured(reference)).pool3)
        return {
            "fid": frechet_from_moments(*moments(pool), *wanted),
            "inception_score": inception_score(logits)[0],
        }

    @cached_property
    def _whole_set(self) -> tuple[Tensor, Tensor]:
        """Mean and covariance of all real images in the eyes of Inception."""
        assert isinstance(self.data, Images)
        gathered = Moments()
        for pixels in self.data.pixels.split(10_000):
            gathered.update(self._seen(pixels if pixels.shape[1] == 3 else pixels.expand(-1, 3, -1, -1)).pool3)
        return gathered.mean, gathered.covariance

    def _seen(self, images: Tensor) -> InceptionFeatures:
        from limbeck.measures.inception import inception_features

        assert self.scoring.inception_weights is not None
        weights = Path(self.scoring.inception_weights).expanduser()
        return inception_features(images, weights=weights, device=self.noise.device)

    def _shape(self, flow: Flow) -> dict[str, float]:
        if flow.predicts != "velocity":
            return {}
        some = self.noise[:500]
        labels = self.labels[:500] if flow.classes and self.labels is not None else None
        path = sample(flow, some, labels, evaluations=self.scoring.path_steps, solver="euler", keep=True)
        return {
            "straightness": float(straightness(path.states).mean()),
            "curvature": float(curvature(path.states).mean()),
        }

    def _reconstruction(self, flow: Flow, count: int) -> float:
        some = self.reference[:500]
        labels = None
        if flow.classes and isinstance(self.data, Images):
            labels = self.data.draw_labels(len(self.reference), seed=self.scoring.seed)[: len(some)]
        noise = invert(flow, some, labels, evaluations=count, blur=0.0).x
        back = sample(flow, noise, labels, evaluations=count).x
        return float((back - some).square().mean())


def judge_of(
    scoring: Scoring,
    data: Data,
    *,
    classes: int,
    device: torch.device,
    teacher: Flow | None,
    teacher_evaluations: int,
    features: Features | None,
    guidance: float | None = None,
) -> Judge:
    """The ground of a comparison; the teacher makes its samples once.

    Args:
        scoring: what is measured.
        data: real data.
        classes: of conditional flows; 0 for none.
        device: of the samples.
        teacher: whose samples the coupling error is measured to, or None.
        teacher_evaluations: of its Heun solver.
        features: images to features, or None.
        guidance: scale under which the teacher made the pairs that students learn from, or None.
    """
    count = scoring.samples
    if isinstance(data, Images):
        count = min(count, len(data))
    # Distances take as many samples as there are real images at most; the FID has a number of its own.
    made = scoring.samples if scoring.inception_weights is not None else count
    index = torch.arange(made, device=device)
    noise = normals(index, seed=scoring.seed, shape=data.image_shape)
    labels = None
    if classes:
        labels = (
            (uniforms(index, seed=scoring.seed, epoch=1, draws=1)[:, 0] * classes).long().clamp(max=classes - 1)
        )
    by_teacher = None
    if teacher is not None:
        by_teacher = sample(
            teacher,
            noise,
            labels if teacher.classes else None,
            evaluations=teacher_evaluations,
            solver="heun",
            guidance=guidance,
            batch_size=scoring.batch_size,
        ).x
    reference = data.draw(count, seed=scoring.seed)
    return Judge(scoring, data, reference, noise, labels, by_teacher, features)


def _coloured(x: Tensor) -> Tensor:
    """Bytes in three channels, which are all the Inception network takes."""
    return as_bytes(x).expand(-1, 3, -1, -1) if x.shape[1] == 1 else as_bytes(x)


def used_columns(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The columns that some row has a number for."""
    return [column for column in COLUMNS if any(row.get(column["key"]) is not None for row in rows)]
