"""What the stages of an audit may say. No torch here: recipes are checked without it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from limbeck.audit.detectors._registry import DETECTOR_QUESTIONS
from limbeck.audit.questions._registry import QUESTIONS
from limbeck.bounds import NonNegativeInt, PositiveInt
from limbeck.errors import did_you_mean
from limbeck.models._registry import MODELS
from limbeck.sources._registry import DETECTION_SOURCES, SOURCES
from limbeck.specs import Config, Spec, StageConfig, spec_of

PAPER = "ojha2023knowledge"

ModelSpec = Annotated[Spec, spec_of(MODELS)]
SourceSpec = Annotated[Spec, spec_of(SOURCES)]
DetectionSourceSpec = Annotated[Spec, spec_of(DETECTION_SOURCES)]
QuestionSpec = Annotated[Spec, spec_of(QUESTIONS)]
DetectorQuestionSpec = Annotated[Spec, spec_of(DETECTOR_QUESTIONS)]

STANDARD: tuple[str, ...] = (
    "fidelity",
    "mistakes",
    "classes",
    "calibration",
    "localisation",
    "adversarial",
    "colour",
    "crops",
    "corruptions",
    "representations",
)
"""What is asked unless the recipe says otherwise: everything that needs nothing but test images."""
STANDARD_OF_DETECTORS: tuple[str, ...] = (
    "found_alike",
    "errors",
    "boxes",
    "false_alarms",
    "localisation",
    "average_precision",
)

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_., +-]{0,40}")


def _names(value: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in value:
        if not _NAME.fullmatch(name) or name == "teacher":
            raise ValueError(
                f"'{name}' is no name of a student: letters, digits and ._,+- up to 41, and not 'teacher'; "
                "kd-s0 stands for method kd, seed 0"
            )
    return value


def _one_named(value: Any) -> Any:
    """One student alone, without a name."""
    if isinstance(value, str) or (isinstance(value, Mapping) and "name" in value):
        return {"student": value}
    return value


def _one_control(value: Any) -> Any:
    found = _one_named(value)
    return {"control": value} if found is not value else value


Students = Annotated[
    Mapping[str, str | ModelSpec], BeforeValidator(_one_named), AfterValidator(_names), Field(default_factory=dict)
]
Controls = Annotated[
    Mapping[str, str | ModelSpec],
    BeforeValidator(_one_control),
    AfterValidator(_names),
    Field(default_factory=dict),
]


class Statistics(Config):
    """How findings become verdicts."""

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """Chance of any false "transferred" among the verdicts of a method that is put up with."""
    correction: Literal["holm", "benjamini_hochberg"] = "holm"
    """For asking many questions at once: against any false claim, or against too large a share of them."""
    draws: PositiveInt = 2000
    """Bootstrap draws of the images."""
    precision: Annotated[float, Field(gt=0, lt=0.5)] | None = None
    """Refuse a set with which a share would be known less exactly than this (half a 95% interval)."""


class _Audit(StageConfig):
    """What all audits share."""

    OUTPUT: ClassVar[str] = "audit"

    statistics: Statistics = Statistics()
    """How findings become verdicts."""
    fail_on: tuple[str, ...] = ()
    """Conditions that make the stage fail once everything is written: "worst_group_drop > 0.05"."""
    batch_size: PositiveInt = 250
    """Images at a time."""
    seed: NonNegativeInt | None = None
    """Of everything drawn; the run's seed unless given."""

    def cites(self) -> tuple[str, ...]:
        """The paper whose questions are asked."""
        return (PAPER,)


class CompareStage(_Audit):
    """Ask in which ways students became like their teacher, next to controls trained without it."""

    INPUTS: ClassVar[Mapping[str, str]] = {
        "teacher": "classifier",
        "students": "classifier",
        "controls": "classifier",
        "foreign": "classifier",
        "comparison": "comparison",
        "placebo": "comparison",
    }
    LATER: ClassVar[Mapping[str, Any]] = {"control": "control"}

    kind: Literal["audit.compare"] = "audit.compare"
    teacher: str | ModelSpec
    """An earlier stage, a model file or run folder, or a model by name (pretrained)."""
    comparison: str | None = None
    """A stage or folder of classify.compare: all its students, by method and seed, and its controls. Or of
    dataset.evaluate with keep_students: every set is a method."""
    control: str = "control"
    """Which method of the comparison is the control: random, for random images beside small sets."""
    students: Students
    """Further students: method, or method-s<seed> -> stage, file or model by name."""
    controls: Controls
    """Further controls: control-s<seed> -> stage, file or model by name."""
    placebo: str | None = None
    """A stage or folder of classify.compare whose teacher lacks the property: what shows with its students as well
    is not this teacher's doing."""
    placebo_questions: tuple[str, ...] | None = None
    """Which questions are held against the placebo; all but fidelity unless given."""
    foreign: str | ModelSpec | None = None
    """A network that has nothing to do with the others: its adversarial images must fool students and controls
    alike."""
    source: SourceSpec
    """Where the images come from; its test split is shown to all."""
    split: Literal["train", "test"] = "test"
    """Which split; the train split is of use for fidelity on training images alone."""
    domains: Mapping[str, SourceSpec] = Field(default_factory=dict)
    """Name -> images of another distribution with the same classes, for the question `domains`."""
    images: PositiveInt | None = 2000
    """At most so many test images, drawn at random; all of them for null."""
    layers: Mapping[str, str] = Field(default_factory=dict)
    """Method, `teacher` or `control` -> module path of the map that attributions read; found unless given."""
    questions: Annotated[tuple[QuestionSpec, ...], Field(min_length=1)] = tuple(
        Spec(name=name) for name in STANDARD
    )
    """What is asked."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.comparison is None and not self.students:
            raise ValueError("whom to audit? students: {kd: <stage or file>}, or comparison: <classify.compare>")
        if self.comparison is None and self.control != "control":
            raise ValueError(
                f"control: '{self.control}' is to be a method of the comparison, and there is none; networks "
                "without a teacher are named under controls: {control-s0: <stage or file>}"
            )
        names = [question.name for question in self.questions]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(f"questions: '{twice}' is asked twice; give its settings in one place")
        for name in self.placebo_questions or ():
            if name not in names:
                raise ValueError(f"placebo_questions: '{name}' is not asked.{did_you_mean(name, names)}")
        if "domains" in names and not self.domains:
            raise ValueError("questions: 'domains' needs domains: {sketch: {name: parquet, root: ...}}")
        for spec in (self.source, *self.domains.values()):
            if "split" in spec.settings:
                raise ValueError(f"source {spec.name}: 'split' is said beside it; remove it there")
        return self


class DetectorsStage(_Audit):
    """Ask where detectors look and which errors they share with their teacher."""

    INPUTS: ClassVar[Mapping[str, str]] = {
        "teacher": "detector",
        "students": "detector",
        "controls": "detector",
        "comparison": "comparison",
    }

    kind: Literal["audit.detectors"] = "audit.detectors"
    teacher: str
    """An earlier stage, or a model file or run folder."""
    comparison: str | None = None
    """A stage or folder of detect.compare: all its students, by method and seed, and its controls."""
    students: Annotated[
        Mapping[str, str], BeforeValidator(_one_named), AfterValidator(_names), Field(default_factory=dict)
    ]
    """Further students: method, or method-s<seed> -> stage or file."""
    controls: Annotated[
        Mapping[str, str], BeforeValidator(_one_control), AfterValidator(_names), Field(default_factory=dict)
    ]
    """Further controls: control-s<seed> -> stage or file."""
    source: DetectionSourceSpec
    """Images with boxes."""
    split: Literal["train", "validation", "test"] = "test"
    """Which split."""
    images: PositiveInt | None = None
    """At most so many; all of them unless given."""
    score: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Confidence from which detections count; unless given, each detector keeps as many as there are objects."""
    batch_size: PositiveInt = 8
    """Images at a time."""
    questions: Annotated[tuple[DetectorQuestionSpec, ...], Field(min_length=1)] = tuple(
        Spec(name=name) for name in STANDARD_OF_DETECTORS
    )
    """What is asked."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.comparison is None and not self.students:
            raise ValueError("whom to audit? students: {kd: <stage or file>}, or comparison: <detect.compare>")
        if "split" in self.source.settings:
            raise ValueError(f"source {self.source.name}: 'split' is said beside it; remove it there")
        return self
