"""Conditions on which an audit fails: `worst_group_drop>0.05`, `bias.gap==transferred`."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from limbeck.audit.findings import Finding
from limbeck.audit.statistics.verdicts import Verdict
from limbeck.errors import ConfigError, did_you_mean

Value: TypeAlias = "float | None"
Quantities: TypeAlias = Mapping[str, Mapping[str, Value]]
Verdicts: TypeAlias = Mapping[str, Mapping[str, Verdict]]


def _same(left: float, right: float) -> bool:
    # 5% and 0.05 are the same number to whoever wrote them.
    return math.isclose(left, right, rel_tol=1e-9, abs_tol=1e-12)


_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": _same,
    "!=": lambda left, right: not _same(left, right),
}
_FORM = re.compile(r"\s*(?P<name>[^<>=!\s][^<>=!]*?)\s*(?P<sign>>=|<=|==|!=|>|<|=)\s*(?P<value>[^<>=!]+?)\s*")
_EXAMPLES = "worst_group_drop>0.05, shape_bias.gap_closed>=20%, bias.gap==transferred"


@dataclass(frozen=True)
class Condition:
    """One condition; an audit fails where it holds for any method.

    Attributes:
        name: of the number or finding, with or without the method in front.
        sign: one of > >= < <= == !=.
        value: a number, or a verdict for == and !=.

    Example:
        >>> str(parse("worst_group_drop > 5%")), str(parse("bias.gap = not_transferred"))
        ('worst_group_drop>0.05', "bias.gap=='not transferred'")
    """

    name: str
    sign: str
    value: float | Verdict

    def __str__(self) -> str:
        value = f"'{self.value}'" if isinstance(self.value, Verdict) else f"{self.value!r}"
        return f"{self.name}{self.sign}{value}"

    def holds(self, found: float | Verdict) -> bool:
        """Whether it holds for one value of its kind."""
        if isinstance(self.value, Verdict):
            return (found == self.value) == (self.sign == "==")
        return _COMPARE[self.sign](float(found), self.value)


@dataclass(frozen=True)
class Broken:
    """A condition that holds, which it must not.

    Attributes:
        condition: as it was asked for.
        method: for which it holds.
        value: of that method.
    """

    condition: Condition
    method: str
    value: float | Verdict

    def __str__(self) -> str:
        shown = self.value if isinstance(self.value, Verdict) else f"{self.value:.6g}"
        return f"{self.condition} holds for {self.method}: {self.condition.name} is {shown}"


def parse(text: str) -> Condition:
    """Read one condition.

    Args:
        text: `<name><sign><value>`; spaces and quotes around the parts do not matter. The sign is one of > >= < <=
            == != (a single = is read as ==), the value a number, a percentage, or, with == and !=, one of the
            verdicts "transferred", "not transferred", "cannot tell" (or with underscores).

    Raises:
        ConfigError: anything else.

    Example:
        >>> parse("kd.worst_group_drop>=5%")
        Condition(name='kd.worst_group_drop', sign='>=', value=0.05)
    """
    match = _FORM.fullmatch(_unquoted(text))
    if match is None:
        raise ConfigError(
            f"--fail-on '{text}': a condition is a name, one of {' '.join(_COMPARE)}, and a value: {_EXAMPLES}."
        )
    sign = "==" if match["sign"] == "=" else match["sign"]
    value = _value(text, match["value"])
    if isinstance(value, Verdict) and sign not in ("==", "!="):
        raise ConfigError(f"--fail-on '{text}': verdicts have no order; ask with == or !=, not with {sign}.")
    return Condition(match["name"], sign, value)


def check(
    conditions: Iterable[Condition], quantities: Quantities, verdicts: Verdicts | None = None
) -> list[Broken]:
    """Which conditions hold, and for which methods.

    Args:
        conditions: that must not hold.
        quantities: name of a number -> method -> value, None or NaN where it could not be computed.
        verdicts: name of a finding -> method -> verdict.

    Returns:
        In the order of the conditions and methods; empty when the audit passes.

    Raises:
        ConfigError: a name that is not known, or a number that could not be computed: a condition that cannot be
            checked must not pass.

    Example:
        >>> [str(found) for found in check([parse("drop>5%")], {"drop": {"kd": 0.07, "dkd": 0.02}})]
        ['drop>0.05 holds for kd: drop is 0.07']
    """
    broken = []
    for condition in conditions:
        known: Mapping[str, Mapping[str, float | Verdict | None]]
        known = (verdicts or {}) if isinstance(condition.value, Verdict) else quantities
        for method, value in _asked(condition, known).items():
            if value is None or (not isinstance(value, Verdict) and math.isnan(value)):
                raise ConfigError(
                    f"--fail-on '{condition}': {condition.name} could not be computed for {method}, so the "
                    "condition cannot be checked."
                )
            if condition.holds(value):
                broken.append(Broken(condition, method, value))
    return broken


def quantities_of(findings: Sequence[Finding]) -> dict[str, dict[str, Value]]:
    """The numbers of findings that conditions can ask for, by name and method.

    For a finding `adversarial.fooled` these are `adversarial.fooled` (the difference to the controls, positive
    towards the teacher), `.low` and `.high` (its interval), `.p` (corrected where it is primary), `.student`,
    `.control` (means), and for traits `.teacher` and `.gap_closed`.
    """
    found: dict[str, dict[str, Value]] = {}
    for finding in findings:
        numbers = {
            "": finding.difference,
            ".low": finding.low,
            ".high": finding.high,
            ".p": finding.p_corrected if finding.primary else finding.p,
            ".student": finding.student.mean,
            ".control": finding.control.mean,
        }
        if finding.kind == "trait":
            numbers |= {".teacher": finding.teacher, ".gap_closed": finding.gap_closed}
        for ending, value in numbers.items():
            found.setdefault(finding.name + ending, {})[finding.method] = value
    return found


def verdicts_of(findings: Sequence[Finding]) -> dict[str, dict[str, Verdict]]:
    """The verdicts that conditions can ask for, by name and method.

    A question with a single primary number answers to its own name too: `shape_bias` for `shape_bias.shape`.
    """
    found: dict[str, dict[str, Verdict]] = {}
    measures: dict[str, set[str]] = {}
    for finding in findings:
        if finding.verdict is not None:
            found.setdefault(finding.name, {})[finding.method] = finding.verdict
            measures.setdefault(finding.question, set()).add(finding.name)
    for question, names in measures.items():
        if len(names) == 1:
            found.setdefault(question, found[next(iter(names))])
    return found


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


def _value(text: str, written: str) -> float | Verdict:
    word = _unquoted(written)
    verdict = " ".join(word.lower().replace("_", " ").split())
    if verdict in tuple(Verdict):
        return Verdict(verdict)
    percent = word.endswith("%")
    try:
        value = float(word.removesuffix("%"))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        allowed = ", ".join(f"'{option}'" for option in Verdict)
        hint = did_you_mean(verdict, Verdict)
        raise ConfigError(
            f"--fail-on '{text}': '{written}' is neither a number (0.05, 5%) nor a verdict ({allowed}).{hint}"
        )
    return value / 100 if percent else value


def _asked(
    condition: Condition, known: Mapping[str, Mapping[str, float | Verdict | None]]
) -> Mapping[str, float | Verdict | None]:
    name = condition.name
    if name in known:
        if not known[name]:
            raise ConfigError(f"--fail-on '{condition}': {name} could not be computed for any method.")
        return known[name]
    # `kd.worst_group_drop`: the method in front; names of methods may hold points themselves.
    for place in (match.start() for match in re.finditer(r"\.", name)):
        method, rest = name[:place], name[place + 1 :]
        if rest in known and method in known[rest]:
            return {method: known[rest][method]}
    methods = list(dict.fromkeys(method for values in known.values() for method in values))
    options = [*known, *(f"{method}.{entry}" for method in methods for entry in known if method in known[entry])]
    kind = "finding with a verdict" if isinstance(condition.value, Verdict) else "number"
    listed = ", ".join(sorted(known)) or "nothing"
    front = f" (or with a method in front: {', '.join(methods)})" if methods else ""
    raise ConfigError(
        f"--fail-on '{condition}': no {kind} is named '{name}'.{did_you_mean(name, options)} "
        f"There can be asked for: {listed}{front}."
    )
