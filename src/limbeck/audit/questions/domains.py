"""What became of domains that the students never saw?"""

from __future__ import annotations

import torch

from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.examination import Examination, Material
from limbeck.audit.questions._registry import register
from limbeck.audit.questions._shared import by_method, of_everyone, of_learners
from limbeck.audit.questions.fidelity import kappa_tally
from limbeck.audit.tally import Tally
from limbeck.bounds import PositiveInt
from limbeck.errors import ConfigError


@register
def domains(exam: Examination, *, images: PositiveInt | None = None) -> Answer:
    """Consensus with the teacher and accuracy on images of other distributions.

    Where the teacher was trained on a domain and the students were not, the accuracy there is knowledge that came
    with the teacher (section 5.1 of the paper); where nobody was, the consensus shows whether students generalise
    as their teacher does (section 4.4). The audit's own images stand first, for comparison.

    Args:
        exam: networks, images and domains.
        images: at most so many of each domain; all of the audit's unless given.

    Raises:
        ConfigError: no domain was given, or one is named 'seen'.

    References:
        [ojha2023knowledge], sections 4.4 and 5.1.
    """
    if not exam.domains:
        raise ConfigError(
            "audit: the question 'domains' needs images of another distribution: "
            "domains: {sketch: {name: parquet, root: ...}}, or --domain sketch=PATH."
        )
    if "seen" in exam.domains:
        raise ConfigError("audit: a domain is named 'seen', which stands for the audit's own images; rename it.")
    evidence: list[Evidence] = []
    rows: list[dict[str, object]] = []
    own = exam.material.name if exam.material.name not in exam.domains else f"{exam.material.name} (the audit's)"
    for name, found in {own: exam.material, **exam.domains}.items():
        material = found if images is None else found.part(images)
        key = "seen" if found is exam.material else name
        consensus, kappa, right = _measured(exam, material)
        unseen = found is not exam.material
        evidence += [
            Evidence(
                "domains",
                f"consensus_{key}",
                f"Same prediction as the teacher on {name}",
                "likeness",
                consensus,
                primary=unseen,
                constants={"images": len(material)},
            ),
            Evidence(
                "domains",
                f"kappa_{key}",
                f"Same prediction beyond chance on {name}",
                "likeness",
                kappa,
                unit="",
                primary=False,
                chance=0.0,
            ),
            Evidence(
                "domains",
                f"accuracy_{key}",
                f"Accuracy on {name}",
                "trait",
                right,
                better="higher",
                primary=unseen,
                note=_few(material),
            ),
        ]
        rows += [
            {
                "domain": name,
                "images": len(material),
                "method": method,
                "accuracy": sum(values) / len(values),
                "consensus": None if method == "teacher" else _mean(by_method(exam.panel, consensus)[method]),
                "kappa": None if method == "teacher" else _mean(by_method(exam.panel, kappa)[method]),
            }
            for method, values in by_method(exam.panel, right).items()
        ]
    table = {
        "title": "Domains",
        "columns": [
            {"key": "domain", "label": "Domain"},
            {"key": "images", "label": "Images", "unit": "count"},
            {"key": "method", "label": "Network"},
            {"key": "accuracy", "label": "Accuracy", "unit": "fraction"},
            {"key": "consensus", "label": "Consensus", "unit": "fraction"},
            {"key": "kappa", "label": "Kappa"},
        ],
        "rows": rows,
        "note": "Means over seeds. Consensus: share of equal predictions with the teacher, right or wrong.",
    }
    return Answer(tuple(evidence), tables={"domains": table}, figures={"domains": _figure(exam, rows)})


def _measured(
    exam: Examination, material: Material
) -> tuple[dict[str, Tally], dict[str, Tally], dict[str, Tally]]:
    teacher = exam.logits(exam.panel.teacher, material)
    theirs = teacher.argmax(dim=1)
    return (
        of_learners(exam.panel, lambda one: (exam.predictions(one, material) == theirs).double()),
        of_learners(exam.panel, lambda one: kappa_tally(exam.logits(one, material), teacher)),
        of_everyone(exam.panel, lambda one: (exam.predictions(one, material) == material.labels).double()),
    )


def _few(material: Material) -> str:
    present = len(torch.unique(material.labels))
    missing = len(material.class_names) - present
    return f"Images of {present} of the {len(material.class_names)} classes." if missing else ""


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _figure(exam: Examination, rows: list[dict[str, object]]) -> dict[str, object]:
    names = list(dict.fromkeys(str(row["domain"]) for row in rows))
    methods = list(dict.fromkeys(str(row["method"]) for row in rows))
    found = {(row["domain"], row["method"]): row["accuracy"] for row in rows}
    return {
        "title": "Accuracy by domain",
        "caption": "Rows are networks, columns domains; means over seeds.",
        "kind": "matrix",
        "unit": "fraction",
        "full": 1.0,
        "rows": methods,
        "columns": names,
        "values": [[found[(name, method)] for name in names] for method in methods],
    }
