"""Is the student fooled by images that were made to fool the teacher?"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from limbeck.audit.attacks.budget import choose_budget
from limbeck.audit.attacks.crafting import craft
from limbeck.audit.attacks.fooling import fooled, on_successful
from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.examination import Examination, Material
from limbeck.audit.picture import grid
from limbeck.audit.questions._registry import register
from limbeck.audit.questions._shared import bars, by_method, of_learners, representatives
from limbeck.audit.subjects import Subject
from limbeck.bounds import Fraction, PositiveInt
from limbeck.errors import ConfigError, DataError

_CALIBRATED_ON = 100
_FEWEST = 10


@register
def adversarial(
    exam: Examination,
    *,
    attack: Literal["ifgsm", "pgd", "mifgsm"] = "ifgsm",
    eps: float | None = None,
    step: float | None = None,
    iterations: PositiveInt = 5,
    wanted: Fraction = 0.85,
    images: PositiveInt = 1000,
    matrix_images: PositiveInt = 100,
) -> Answer:
    """Share of the images that fooled the teacher which fool a network too: whose prediction they change.

    The control of specificity is the same on images that were made on the unrelated network, if one was given, and
    else on the same images under noise of the same size.

    Args:
        exam: networks and images.
        attack: made on the teacher, with the true labels.
        eps: largest change of a pixel, in units of [0, 1]; chosen so that about `wanted` of the images fool the
            teacher unless given, since with much more everybody is fooled and with much less nobody.
        step: of one iteration; a quarter of `eps` unless given.
        iterations: of the attack; five in the paper.
        wanted: share that is to fool the teacher; about that of all teachers in the paper.
        images: at most so many; the paper takes 5,000.
        matrix_images: for the matrix of who is fooled by whose images.

    Raises:
        ConfigError: a budget outside (0, 1].
        DataError: fewer than ten images fooled the teacher.

    References:
        [ojha2023knowledge], section 4.2; the attack is that of Kurakin et al. [kurakin2017adversarial].
    """
    if eps is not None and not 0 < eps <= 1:
        raise ConfigError(
            f"audit: the attack's eps is {eps:g}, and pixels lie in [0, 1]. Eight grey levels are 8/255 = 0.0314."
        )
    material = exam.material.part(images)
    given, labels = _pixels(exam, material)
    teacher = exam.panel.teacher
    settings: dict[str, Any]
    if eps is None:
        chosen = choose_budget(
            teacher.network,
            given[:_CALIBRATED_ON],
            labels[:_CALIBRATED_ON],
            wanted=wanted,
            attack=attack,
            iterations=iterations,
            batch_size=exam.batch_size,
        )
        settings = {**chosen.settings}
    else:
        settings = {"eps": eps, "iterations": iterations}
    settings["step"] = step if step is not None else settings["eps"] / 4
    changed = craft(attack, teacher.network, given, labels, batch_size=exam.batch_size, **settings)
    hit = _fooled(exam, teacher, given, changed)
    if int(hit.sum()) < _FEWEST:
        advice = "Give a larger eps, or leave it out."
        if eps is None:
            advice = "No larger eps did better: it may be wrong on most of them, or give one answer to all."
        raise DataError(
            f"audit: with eps {settings['eps']:.4f} only {int(hit.sum())} of {len(material)} images fool the "
            f"teacher, too few to ask whom else they fool. {advice}"
        )
    rates = of_learners(exam.panel, lambda one: on_successful(_fooled(exam, one, given, changed), hit))
    if exam.panel.foreign is not None:
        foreign = exam.panel.foreign
        others = craft(attack, foreign.network, given, labels, batch_size=exam.batch_size, **settings)
        foreign_hit = _fooled(exam, foreign, given, others)
        specificity = of_learners(
            exam.panel, lambda one: on_successful(_fooled(exam, one, given, others), foreign_hit)
        )
        against = "images made on an unrelated network"
    else:
        rows = torch.arange(len(given), device=given.device)
        noisy = craft(
            "sign_noise", teacher.network, given, labels, index=rows, eps=settings["eps"], seed=exam.seed
        )
        specificity = of_learners(exam.panel, lambda one: on_successful(_fooled(exam, one, given, noisy), hit))
        against = "noise of the same size"
    noise_rate = by_method(exam.panel, specificity)
    constants = {
        "attack": attack,
        **settings,
        "eps_in_grey_levels": round(255 * settings["eps"], 2),
        "teacher_fooled": float(hit.mean()),
        "against": against,
    }
    evidence = Evidence(
        "adversarial",
        "fooled",
        "Fooled by the teacher's adversarial images",
        "likeness",
        rates,
        specificity=specificity,
        specificity_note=against,
        better="lower",
        constants=constants,
        note=f"{attack} with eps {255 * settings['eps']:.2f}/255, step {255 * settings['step']:.2f}/255, "
        f"{settings['iterations']} iterations fools the teacher on {100 * float(hit.mean()):.0f} % of "
        f"{len(material):,} images; the others' rates are over those. Under {against}: "
        + ", ".join(f"{method} {100 * sum(v) / len(v):.1f} %" for method, v in noise_rate.items())
        + ".",
    )
    return Answer(
        (evidence,),
        figures={
            "fooled": bars(
                exam.panel,
                rates,
                title="Fooled by the teacher's adversarial images",
                caption=f"Share of the {int(hit.sum()):,} images that fooled the teacher.",
            ),
            "matrix": _matrix(exam, given[:matrix_images], labels[:matrix_images], attack, settings),
        },
        pictures=_picture(exam, material, given, changed, hit, settings["eps"]),
    )


def _pixels(exam: Examination, material: Material) -> tuple[Tensor, Tensor]:
    parts = [(images, labels) for images, labels, _ in exam.batches(material)]
    return torch.cat([images for images, _ in parts]), torch.cat([labels for _, labels in parts])


def _fooled(exam: Examination, one: Subject, clean: Tensor, changed: Tensor) -> Tensor:
    before = exam.logits(one, clean).argmax(dim=1)
    return fooled(before, exam.logits(one, changed).argmax(dim=1))


def _matrix(
    exam: Examination, images: Tensor, labels: Tensor, attack: str, settings: dict[str, Any]
) -> dict[str, Any]:
    """Rows: on whom the images were made; columns: whom they fool, of those that fooled the first."""
    shown = representatives(exam.panel)
    names = [one.method or one.name for one in shown]
    values = []
    for maker in shown:
        changed = craft(attack, maker.network, images, labels, batch_size=exam.batch_size, **settings)
        hit = _fooled(exam, maker, images, changed)
        values.append([_share(on_successful(_fooled(exam, one, images, changed), hit)) for one in shown])
    return {
        "title": "Who is fooled by whose adversarial images",
        "caption": f"Rows: the network that was attacked; columns: the network that looks. {len(images)} "
        f"images, one "
        "network of each kind, the teacher's budget.",
        "kind": "matrix",
        "unit": "fraction",
        "full": 1.0,
        "rows": names,
        "columns": names,
        "values": values,
        "x_label": "looks",
        "y_label": "attacked",
    }


def _share(values: Tensor) -> float | None:
    known = values[~values.isnan()]
    return float(known.mean()) if len(known) else None


def _picture(
    exam: Examination, material: Material, clean: Tensor, changed: Tensor, hit: Tensor, eps: float, count: int = 6
) -> dict[str, tuple[bytes, str, str]]:
    rows = hit.nonzero().flatten()[:count]
    before = exam.predictions(exam.panel.teacher, exam.material)[rows]
    after = exam.logits(exam.panel.teacher, changed[rows.to(changed.device)]).argmax(dim=1)
    names = [
        f"{material.class_names[int(a)]} → {material.class_names[int(b)]}"
        for a, b in zip(before, after, strict=True)
    ]
    rows = rows.to(clean.device)
    difference = (changed[rows] - clean[rows]) / (2 * eps) + 0.5
    shown = [list(clean[rows]), list(changed[rows]), list(difference)]
    return {
        "images": (
            grid(shown, row_names=["image", "adversarial", "change"], column_names=names),
            "Adversarial images",
            f"What the teacher saw before and after; the change is drawn {1 / (2 * eps):.0f} times as large.",
        )
    }
