"""Are the student's features like the teacher's, layer by layer?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.examination import Examination
from limbeck.audit.questions._registry import register
from limbeck.audit.subjects import Subject
from limbeck.audit.tally import Tally
from limbeck.bounds import PositiveInt
from limbeck.errors import DataError, TapError
from limbeck.measures.cka_map import LEAST, CkaMap
from limbeck.taps import Taps, stage_maps, tap_points

LOGITS = "."
_MOST_BLOCKS = 12


@register
def representations(
    exam: Examination,
    *,
    images: PositiveInt = 2000,
    batch: PositiveInt = 50,
    layers: Literal["stages", "all"] = "stages",
    kernel: Literal["linear", "rbf"] = "linear",
    positions: Literal["mean", "flatten"] = "mean",
) -> Answer:
    """Unbiased CKA between the layers of teacher and student, in batches whose sums are divided at the end.

    The evidence is the mean over corresponding stages and the logits, counted from the last; the picture shows all
    pairs. Logits are what most methods match, so see the last stage by itself too. With
    the biased estimate and few images everything would look alike.

    Args:
        exam: networks and images.
        images: at most so many.
        batch: images of a batch; the memory that is needed depends on it alone.
        layers: ends of the stages and the logits; or every block as well, for the picture.
        kernel: linear, or Gaussian with the width set by the median distance within a batch.
        positions: average a map over its positions first, or take it as it is.

    Raises:
        DataError: fewer than five batches, or features that are not finite.

    References:
        [kornblith2019similarity], [nguyen2021wide]; the paper's section 11.6 [ojha2023knowledge].
    """
    material = exam.material.part(images)
    if len(material) < 5 * batch or batch < LEAST:
        raise DataError(
            f"audit: the question 'representations' needs at least five batches, and {len(material)} images of "
            f"{material.name} make {len(material) // batch} of {batch}. Give more images, or say batch: "
            f"{max(LEAST, len(material) // 20)}."
        )
    example = material.images[:2].to(exam.device).float() / 255
    paths = {one.name: layer_paths(one, example, layers) for one in exam.panel}
    maps = {one.name: CkaMap(positions=positions, kernel=kernel) for one in exam.panel.learners}
    taps = {one.name: Taps(one.network.model, paths[one.name]) for one in exam.panel}
    try:
        with torch.no_grad():
            for rows in torch.arange(len(material)).split(batch):
                if len(rows) < batch:
                    continue  # batches weigh the same
                given = material.images[rows].to(exam.device).float() / 255
                features = {}
                for one in exam.panel:
                    one.network(given)
                    features[one.name] = _finite(one, taps[one.name].take())
                for name, found in maps.items():
                    found.update(features[exam.panel.teacher.name], features[name])
    finally:
        for hooks in taps.values():
            hooks.close()
    stages = {one.name: stage_places(one, example, paths[one.name]) for one in exam.panel}
    theirs = stages[exam.panel.teacher.name]
    tallies = {name: diagonal_tally(found, theirs[:-1], stages[name][:-1]) for name, found in maps.items()}
    constants = {
        "kernel": kernel,
        "positions": positions,
        "batch": batch,
        "estimator": "unbiased",
        "layers": paths,
    }
    evidence = Evidence(
        "representations",
        "cka",
        "Features like the teacher's (CKA of the stages)",
        "likeness",
        tallies,
        unit="",
        chance=0.0,
        constants=constants,
        note=f"Mean over stages of unbiased {kernel} CKA, the logits left out; what is drawn anew for the "
        f"interval are batches of {batch}.",
        counted=f"batches of {batch}",
    )
    last = Evidence(
        "representations",
        "cka_last",
        "Features of the last stage like the teacher's (CKA)",
        "likeness",
        {name: diagonal_tally(found, theirs[-2:-1], stages[name][-2:-1]) for name, found in maps.items()},
        unit="",
        primary=False,
        chance=0.0,
    )
    logits = Evidence(
        "representations",
        "cka_logits",
        "Logits like the teacher's (CKA)",
        "likeness",
        {name: diagonal_tally(found, theirs[-1:], stages[name][-1:]) for name, found in maps.items()},
        unit="",
        primary=False,
        chance=0.0,
    )
    return Answer((evidence, last, logits), figures=_figures(exam, maps, paths))


def _finite(one: Subject, features: dict[str, Tensor]) -> dict[str, Tensor]:
    for path, values in features.items():
        if not bool(values.isfinite().all()):
            raise DataError(
                f"audit: {one.name} puts out features that are not finite in layer '{path}'. Its training "
                "diverged, or its file holds damaged weights."
            )
    return features


def layer_paths(one: Subject, example: Tensor, layers: str) -> list[str]:
    """What is read of a network: ends of its stages, every block if that is asked for, and the logits.

    Args:
        one: the network.
        example: images in [0, 1].
        layers: "stages" or "all".

    Raises:
        TapError: it has neither maps nor tokens.
    """
    model = one.network.model
    prepared = one.network.prepared(example)
    stages = stage_maps(model, prepared) or _token_blocks(one, prepared)
    if layers == "stages":
        return [*stages, LOGITS]
    containers = {name for name, module in model.named_modules() if next(module.children(), None) is not None}
    points = [p.path for p in tap_points(model, prepared) if p.path and len(p.shape) in (3, 4)]
    kept = [path for path in points if path in containers or path in stages]
    return [*dict.fromkeys(kept), LOGITS]


def _token_blocks(one: Subject, prepared: Tensor) -> list[str]:
    """Blocks of a transformer, evenly spread: modules that put out tokens and hold others."""
    model = one.network.model
    containers = {name for name, module in model.named_modules() if next(module.children(), None) is not None}
    depth = [p.path for p in tap_points(model, prepared) if len(p.shape) == 3 and p.path in containers]
    blocks = [path for path in depth if path.rsplit(".", 1)[-1].isdigit()] or depth
    if not blocks:
        raise TapError(
            f"audit: {one.name} puts out neither maps nor tokens on the way, so there are no layers to compare."
        )
    step = max(1, -(-len(blocks) // _MOST_BLOCKS))
    return blocks[::-1][::step][::-1]


def stage_places(one: Subject, example: Tensor, paths: Sequence[str]) -> list[int]:
    """Where the ends of the stages, and the logits, stand among the paths."""
    prepared = one.network.prepared(example)
    stages = stage_maps(one.network.model, prepared) or _token_blocks(one, prepared)
    return [paths.index(path) for path in (*stages, LOGITS) if path in paths]


def diagonal_tally(found: CkaMap, rows: Sequence[int], columns: Sequence[int]) -> Tally:
    """Mean CKA of corresponding layers, counted from the last, batch by batch.

    Args:
        found: all batches.
        rows: places of the teacher's layers.
        columns: places of the other's.
    """
    count = min(len(rows), len(columns))
    left, right = torch.tensor(rows[len(rows) - count :]), torch.tensor(columns[len(columns) - count :])
    cross = found.cross[:, left, right]
    columns_ = torch.cat([cross, found.self_a[:, left], found.self_b[:, right]], dim=1)

    def mean(sums: Tensor) -> Tensor:
        shared, own, other = sums[..., :count], sums[..., count : 2 * count], sums[..., 2 * count :]
        return (shared / (own.clamp_min(0) * other.clamp_min(0)).sqrt()).mean(dim=-1)

    return Tally(columns_, mean)


def _figures(
    exam: Examination, maps: Mapping[str, CkaMap], paths: Mapping[str, list[str]]
) -> dict[str, dict[str, Any]]:
    """One matrix for the control and for each method: means over seeds."""
    found: dict[str, dict[str, Any]] = {}
    methods: dict[str, list[Subject]] = {}
    for one in (*exam.panel.controls, *exam.panel.students):
        methods.setdefault(one.method, []).append(one)
    for method, subjects in methods.items():
        matrix = torch.stack([maps[one.name].result() for one in subjects]).mean(dim=0)
        found[f"cka-{''.join(c if c.isalnum() else '-' for c in method)}"] = {
            "title": f"CKA of teacher and {method}",
            "caption": "Rows are the teacher's layers, columns the other network's; 1 is the same up to "
            "rotation and "
            "scale, 0 is unrelated. Mean over seeds.",
            "kind": "matrix",
            "full": 1.0,
            "rows": [_word(path) for path in paths[exam.panel.teacher.name]],
            "columns": [_word(path) for path in paths[subjects[0].name]],
            "values": [[round(float(v), 3) for v in line] for line in matrix],
            "x_label": method,
            "y_label": "teacher",
        }
    return found


def _word(path: str) -> str:
    return "logits" if path == LOGITS else path
