"""What the classification stages of a recipe may say. No torch here: recipes are checked without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from limbeck.bounds import Fraction, NonNegative, NonNegativeInt, Positive, PositiveInt
from limbeck.classify._registry import COSTS, PROJECTORS
from limbeck.classify.methods import METHODS
from limbeck.engine._registry import OPTIMIZERS, SCHEDULES
from limbeck.errors import did_you_mean
from limbeck.losses._registry import LOSSES
from limbeck.models._registry import MODELS
from limbeck.sources._registry import AUGMENTS, SOURCES
from limbeck.specs import Config, Spec, StageConfig, spec_of

ModelSpec = Annotated[Spec, spec_of(MODELS)]
SourceSpec = Annotated[Spec, spec_of(SOURCES)]
AugmentSpec = Annotated[Spec, spec_of(AUGMENTS)]
OptimizerSpec = Annotated[Spec, spec_of(OPTIMIZERS)]
ScheduleSpec = Annotated[Spec, spec_of(SCHEDULES)]
LossSpec = Annotated[Spec, spec_of(LOSSES)]
ProjectorSpec = Annotated[Spec, spec_of(PROJECTORS)]
CostSpec = Annotated[Spec, spec_of(COSTS)]


class Training(Config):
    """How a network is trained: the part that every stage with a loop shares."""

    epochs: PositiveInt = 1
    """Passes over the training set."""
    steps: PositiveInt | None = None
    """Stop after this many optimizer steps; the schedule is that of the steps."""
    batch_size: PositiveInt = 64
    """Images a batch, over all processes together."""
    optimizer: OptimizerSpec = Spec(name="sgd")
    """The optimizer with its learning rate."""
    schedule: ScheduleSpec = Spec(name="cosine")
    """How the learning rate changes."""
    warmup_epochs: NonNegative = 0.0
    """Epochs of linear warm-up before the schedule's full rate."""
    augment: tuple[AugmentSpec, ...] = ()
    """Augmentations of training images, in order."""
    accumulation: PositiveInt = 1
    """Batches whose gradients are averaged into one step."""
    clip_norm: Positive | None = None
    """Largest norm of the gradient."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the weights, which is then what is evaluated and kept."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the networks; losses stay in float32."""
    compile: bool = False
    """Compile the trainable module with torch.compile."""
    workers: NonNegativeInt = 0
    """Loader processes; sets that fit in memory need none."""
    evaluate_every: PositiveInt = 1
    """Epochs between evaluations; the last epoch is always evaluated."""
    checkpoint_every: PositiveInt | None = None
    """Steps between checkpoints; unless given, the end of an epoch has one if the last is older than 5 seconds."""
    log_every: PositiveInt = 10
    """Steps between lines of the records."""
    validation: Fraction = 0.0
    """Share of the training set held out to choose the best epoch; the test set never chooses anything."""
    keep: Literal["last", "best"] = "last"
    """Which epoch's weights become the product; best needs a validation share."""
    trackers: tuple[Literal["tensorboard", "wandb", "trackio", "mlflow"], ...] = ()
    """Where scalars go beside the run folder."""

    @model_validator(mode="after")
    def _best_needs_validation(self) -> Training:
        if self.keep == "best" and self.validation == 0:
            raise ValueError("keep: best chooses an epoch, which needs validation: 0.1, say (not the test set)")
        return self


class TapPair(Config):
    """Where a term reads the student and where the teacher."""

    student: str
    """Module path in the student, ":input" behind it for the module's input."""
    teacher: str
    """Module path in the teacher."""


class Decay(Config):
    """Cosine decay of a term's weight to zero at the last epoch (WKD's schedule)."""

    start: Fraction = 0.0
    """Share of the training after which the decay begins."""


def _tap_pair(value: Any) -> Any:
    return {"student": value, "teacher": value} if isinstance(value, str) else value


class Term(Config):
    """One loss with its weight, and what it is computed from."""

    loss: LossSpec
    """The loss and its settings."""
    weight: Positive = 1.0
    """Factor of the loss in the sum."""
    taps: Annotated[TapPair, BeforeValidator(_tap_pair, json_schema_input_type=TapPair | str)] | None = None
    """Module paths to read; without them a loss on maps takes each network's last feature map, a loss on
    features the input of its classifier."""
    projector: ProjectorSpec | Literal["auto"] | None = "auto"
    """Trainable map from student to teacher feature; auto takes a convolution for maps and an ensemble for
    vectors, as the published methods do; null takes none."""
    cost: CostSpec | None = None
    """Ground cost between classes, for losses that take one."""
    decay: Decay | None = None
    """Schedule of the weight."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")] | None = None
    """Name in the records, of letters, digits, - and _; the loss's name unless given."""


def _terms(value: Any) -> Any:
    if isinstance(value, str):
        if value not in METHODS:
            known = ", ".join(METHODS)
            raise ValueError(f"unknown method '{value}'.{did_you_mean(value, METHODS)} Known: {known}.")
        return [dict(term) for term in METHODS[value]]
    return value


def _some(terms: Sequence[Term]) -> Sequence[Term]:
    if not terms:
        raise ValueError("at least one term is needed, e.g. {loss: {name: cross_entropy}}")
    return terms


_TermsInput = Literal[tuple(METHODS)] | tuple[Term, ...]  # type: ignore[valid-type]
Terms = Annotated[
    tuple[Term, ...], AfterValidator(_some), BeforeValidator(_terms, json_schema_input_type=_TermsInput)
]
"""A list of terms, or the name of a published method."""

Teacher = str | ModelSpec
"""An earlier stage, a path to a model file or run folder, or a model by name (pretrained, say)."""


class ClassifierStage(StageConfig):
    """What training and distilling have in common."""

    OUTPUT: ClassVar[str] = "classifier"

    source: SourceSpec
    """Where the images come from; its train split is learnt, its test split measured."""
    test_source: SourceSpec | None = None
    """Measure on the test split of this source instead."""
    model: ModelSpec
    """The network to train."""
    train: Training = Training()
    """How it is trained."""
    seed: NonNegativeInt | None = None
    """Seed of this stage; the run's seed unless given."""

    @model_validator(mode="after")
    def _no_split(self) -> Self:
        for spec in (self.source, self.test_source):
            if spec is not None and "split" in spec.settings:
                raise ValueError(f"source {spec.name}: 'split' is chosen by the stage; remove it")
        return self


class TrainStage(ClassifierStage):
    """Train a classifier on labels alone."""

    kind: Literal["classify.train"] = "classify.train"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target spread over all classes."""


class DistillStage(ClassifierStage):
    """Train a student classifier with a teacher."""

    INPUTS: ClassVar[Mapping[str, str]] = {"teacher": "classifier"}

    kind: Literal["classify.distill"] = "classify.distill"
    teacher: Teacher
    """Who teaches."""
    terms: Terms
    """The objective: a list of terms, or a method by name."""


class CompareStage(ClassifierStage):
    """Distil one student by several methods over several seeds with an equal budget, beside a control."""

    OUTPUT: ClassVar[str] = "comparison"
    INPUTS: ClassVar[Mapping[str, str]] = {"teacher": "classifier"}

    kind: Literal["classify.compare"] = "classify.compare"
    teacher: Teacher
    """Who teaches."""
    methods: Mapping[str, Terms]
    """Name in the table -> terms, or a method's name."""
    seeds: tuple[NonNegativeInt, ...] = (0, 1, 2)
    """One student for each seed and method."""

    @model_validator(mode="after")
    def _check(self) -> CompareStage:
        if not self.methods:
            raise ValueError("methods is empty; name at least one, e.g. {kd: kd}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must be distinct and at least one (got {list(self.seeds)})")
        return self
