"""An audit that was judged: findings, what conditions can ask for, and the sentence that sums it up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Any

from limbeck.audit.conditions import Quantities, Verdicts, check, parse, verdicts_of
from limbeck.audit.conditions import quantities_of as numbers_of
from limbeck.audit.evidence import Answer
from limbeck.audit.findings import Finding
from limbeck.audit.statistics.judging import judge
from limbeck.audit.statistics.verdicts import Verdict
from limbeck.audit.subjects import Members
from limbeck.errors import UnknownNameError, did_you_mean

_SHORT = {"accuracy": "fidelity.accuracy", "agreement": "fidelity.agreement", "ece": "calibration.ece"}


@dataclass(frozen=True, eq=False)
class Audit:
    """What was found out about a teacher and its students.

    Attributes:
        panel: who was audited.
        answers: name of a question -> what it gave, with tables, figures and pictures.
        findings: every number of every method, with interval; the primary ones with a verdict.
        data: what the networks were shown.
        questions: what was asked, with every setting.
        skipped: questions that were left out, with the reason.
        statistics: how findings became verdicts.
    """

    panel: Members
    answers: Mapping[str, Answer]
    findings: Sequence[Finding]
    data: Mapping[str, Any]
    questions: Sequence[Mapping[str, Any]]
    skipped: Mapping[str, str] = field(default_factory=dict)
    statistics: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def quantities(self) -> Quantities:
        """Every number that a condition can ask for: name -> method -> number.

        Those of the findings (`adversarial.fooled` and its kin), the plain numbers of the questions under their
        own names, and in short `accuracy`, `accuracy_drop`, `agreement`, `ece`, `worst_group_drop`.
        """
        found: dict[str, dict[str, Any]] = numbers_of(self.findings)
        for answer in self.answers.values():
            for name, values in answer.numbers.items():
                if isinstance(values, Mapping):
                    found.setdefault(name, {}).update(self._by_method(values))
        for short, long in _SHORT.items():
            named = [one for one in self.findings if one.name == long]
            if named:
                found[short] = {one.method: one.student.mean for one in named}
            if named and short == "accuracy":
                found["accuracy_drop"] = {one.method: one.teacher - one.student.mean for one in named}
        if "worst_group_drop" not in found and "worst_class_drop" in found:
            found["worst_group_drop"] = dict(
                found["worst_class_drop"]
            )  # without groups the classes are the groups
        return found

    def _by_method(self, values: Mapping[str, Any]) -> dict[str, float]:
        """Numbers of methods as they are, those of single students as the mean of each method."""
        found = {}
        for method in self.panel.methods:
            names = [one.name for one in self.panel.students if one.method == method]
            own = [values[name] for name in ([method] if method in values else names) if name in values]
            if own and all(isinstance(value, int | float) for value in own):
                found[method] = fmean(own)
        return found

    @cached_property
    def verdicts(self) -> Verdicts:
        """Name of a finding, or of a question with a single one -> method -> verdict."""
        return verdicts_of(self.findings)

    def finding(self, name: str, method: str | None = None) -> Finding:
        """One finding.

        Args:
            name: question and measure: "adversarial.fooled".
            method: of the students; may be left out where there is one.

        Raises:
            UnknownNameError: no such finding.
        """
        wanted = method if method is not None else self.panel.methods[0]
        for one in self.findings:
            if (one.name, one.method) == (name, wanted):
                return one
        names = list(dict.fromkeys(one.name for one in self.findings))
        raise UnknownNameError(
            f"the audit has no finding '{name}' of method '{wanted}'.{did_you_mean(name, names)} Findings: "
            f"{', '.join(names)}; methods: {', '.join(self.panel.methods)}."
        )

    def broken(self, *conditions: str) -> list[str]:
        """Which conditions hold, in words; the audit is passed where none does.

        Args:
            conditions: such as "worst_group_drop > 0.05" or "bias.gap == transferred".

        Raises:
            ConfigError: one that cannot be read, or asks for what was not measured.
        """
        found = check([parse(text) for text in conditions], self.quantities, self.verdicts)
        return [str(one) for one in found]

    @property
    def summary(self) -> str:
        """The outcome in a sentence or two."""
        primary = [one for one in self.findings if one.primary]
        if not self.panel.controls:
            return f"{len(primary)} numbers measured; without a control nothing can be said about transfer."
        found: dict[str, list[str]] = {method: [] for method in self.panel.methods}
        for one in primary:
            if one.verdict is Verdict.TRANSFERRED:
                found[one.method].append(one.title)
        count = len({one.name for one in primary})
        properties = f"{count} {'property' if count == 1 else 'properties'}"
        if not any(found.values()):
            return f"Of {properties} none was shown to have transferred."
        if len(found) == 1:
            titles = next(iter(found.values()))
            return f"{len(titles)} of {properties} transferred: {'; '.join(titles)}."
        parts = [f"{method} {len(titles) or 'none'}" for method, titles in found.items()]
        return f"Transferred, of {properties}: {', '.join(parts)}."


def judged(
    panel: Members,
    answers: Mapping[str, Answer],
    *,
    data: Mapping[str, Any],
    questions: Sequence[Mapping[str, Any]],
    statistics: Mapping[str, Any],
    seed: int,
    skipped: Mapping[str, str] | None = None,
) -> Audit:
    """Judge the answers of all questions together.

    Args:
        panel: who was audited.
        answers: name of a question -> what it gave.
        data: what they were shown.
        questions: what was asked.
        statistics: alpha, correction and draws.
        seed: of the draws.
        skipped: questions that were left out, with the reason.
    """
    evidence = [one for answer in answers.values() for one in answer.evidence]
    findings = judge(
        evidence,
        panel,
        alpha=statistics["alpha"],
        correction=statistics["correction"],
        draws=statistics["draws"],
        seed=seed,
    )
    kept = {**statistics, "seed": seed}
    return Audit(panel, answers, findings, data, questions, dict(skipped or {}), kept)
