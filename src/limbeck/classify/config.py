"""What the classification stages of a recipe may say. No torch here: recipes are checked without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from limbeck.bounds import Fraction, NonNegative, NonNegativeInt, Positive, PositiveInt
from limbeck.classify._registry import COSTS, MAIN_VIEW, PROJECTORS
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

TAP_SYMBOLS = ("@stages", "@preactivations", "@pooled", "@last")
"""What may stand in place of module paths, to be found in each network."""


class Mix(Config):
    """Pairs of images in one, with labels in the same shares."""

    mixup: NonNegative = 0.8
    """Parameter of MixUp's beta distribution; 0 leaves it out."""
    cutmix: NonNegative = 1.0
    """Parameter of CutMix's beta distribution; 0 leaves it out."""
    probability: Fraction = 1.0
    """Share of batches that are mixed."""
    switch: Fraction = 0.5
    """Share of mixed batches that take CutMix, where both are on."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.mixup == 0 and self.cutmix == 0:
            raise ValueError("mixup and cutmix are both 0; leave out `mix`")
        return self


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
    mix: Mix | None = None
    """MixUp and CutMix of training images and labels; views of a method stay unmixed."""
    accumulation: PositiveInt = 1
    """Batches whose gradients are averaged into one step."""
    clip_norm: Positive | None = None
    """Largest norm of the gradient."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the weights, which is then what is evaluated and kept."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the networks; losses stay in float32."""
    freeze: tuple[str, ...] = ()
    """Modules of the student that keep their weights, as paths or patterns ("layer1", "*.bn*"); they stay in eval
    mode."""
    lr_factors: Mapping[str, NonNegative] = Field(default_factory=dict)
    """Module path or pattern -> factor of the learning rate, e.g. {"fc": 10}; the first that matches counts."""
    sync_batchnorm: bool = False
    """Batch norm over the images of all processes instead of each process's own."""
    channels_last: bool = False
    """Keep images and weights of convolutions with channels innermost, which is faster on most processors."""
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


TapPaths = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value, json_schema_input_type=str),
    Field(min_length=1),
]


class TapPair(Config):
    """Where a term reads the student and where the teacher."""

    student: TapPaths
    """Module paths in the student, ":input" behind a path for the module's input; or what stands for them:
    "@stages" (the last map of each size), "@preactivations" (what the last ReLU of each size is given),
    "@pooled" (the input of the classifier), "@last" (the last map)."""
    teacher: TapPaths
    """Module paths in the teacher; where "@stages" finds more in one network, its last ones are taken."""

    @model_validator(mode="after")
    def _symbols_exist(self) -> TapPair:
        for path in (*self.student, *self.teacher):
            if path.startswith("@") and path not in TAP_SYMBOLS:
                near = did_you_mean(path, TAP_SYMBOLS)
                raise ValueError(f"'{path}' stands for nothing.{near} Known: {', '.join(TAP_SYMBOLS)}")
        return self


class Decay(Config):
    """Cosine decay of a term's weight to zero at the last epoch (WKD's schedule)."""

    start: Fraction = 0.0
    """Share of the training after which the decay begins."""


class Warmup(Config):
    """Growth of a term's weight: epoch e has min(e / epochs, 1) of it (the schedule of DKD and ReviewKD)."""

    epochs: Positive
    """Epochs until the whole weight counts."""


def _tap_pair(value: Any) -> Any:
    return {"student": value, "teacher": value} if isinstance(value, str | list | tuple) else value


class Term(Config):
    """One loss with its weight, and what it is computed from."""

    loss: LossSpec
    """The loss and its settings."""
    weight: Positive | tuple[Positive, ...] = 1.0
    """Factor of the loss in the sum; a list gives each pair of taps its own."""
    taps: (
        Annotated[TapPair, BeforeValidator(_tap_pair, json_schema_input_type=TapPair | str | tuple[str, ...])]
        | None
    ) = None
    """What is read of both networks. Without taps a loss on maps takes each network's last feature map, a loss on
    features the input of its classifier. With several, a loss on one map is summed over the pairs."""
    projector: ProjectorSpec | Literal["auto"] | None = "auto"
    """Trainable map from student to teacher feature; auto takes a convolution for maps, an ensemble for vectors,
    and none for losses that compare features of different sizes; null takes none."""
    cost: CostSpec | None = None
    """Ground cost between classes, for losses that take one."""
    logits: Literal["raw", "standardised"] = "raw"
    """Standardised logits have mean 0 and deviation 1 over the classes of each image, on both sides (LSKD)."""
    view: str = MAIN_VIEW
    """Which view of the images the term looks at: the training images, or one of `views`."""
    teacher: str | None = None
    """Which of several teachers; unless given, their logits are averaged."""
    warmup: Warmup | None = None
    """How the weight grows at the start."""
    decay: Decay | None = None
    """How the weight shrinks towards the end."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")] | None = None
    """Name in the records, of letters, digits, - and _; the loss's name unless given."""


def _terms(value: Any) -> Any:
    if isinstance(value, str):
        if value not in METHODS:
            known = ", ".join(METHODS)
            raise ValueError(f"unknown method '{value}'.{did_you_mean(value, METHODS)} Known: {known}.")
        return [dict(term) for term in METHODS[value]["terms"]]
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


class HeadReuse(Config):
    """The student keeps its body and predicts with the teacher's classifier, behind a transfer block (SimKD)."""

    factor: PositiveInt = 2
    """Channels of the teacher's map over the channels inside the transfer block."""


ViewName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
Views = Mapping[ViewName, tuple[AugmentSpec, ...]]


class Objective(Config):
    """What a student is trained for: terms, and what they need beside the two networks."""

    terms: Terms
    """The objective: a list of terms, or a method by name."""
    views: Views = Field(default_factory=dict)
    """Name -> augmentations of a further view of every training image, for terms that say `view`."""
    head: HeadReuse | None = None
    """Predict with the teacher's classifier; the student has one of its own unless given."""

    @model_validator(mode="before")
    @classmethod
    def _named_method(cls, values: Any) -> Any:
        """A method's name stands for its terms and brings along its views and its head."""
        if isinstance(values, str | list | tuple):
            values = {"terms": values}
        if isinstance(values, Mapping) and isinstance(values.get("terms"), str):
            belongs = METHODS.get(values["terms"], {})
            return {**{k: v for k, v in belongs.items() if k != "terms"}, **values}
        return values

    @model_validator(mode="after")
    def _views_are_given(self) -> Self:
        for term in self.terms:
            if term.view not in (MAIN_VIEW, *self.views):
                known = ", ".join((MAIN_VIEW, *self.views))
                raise ValueError(f"a term looks at the view '{term.view}', which is not among the views: {known}")
        return self


class EmaTeacher(Config):
    """A student that learns from its own moving average (self-distillation; the mean teacher)."""

    ema: Annotated[float, Field(gt=0, lt=1)]
    """Weight of the past in the average, at each optimizer step; 0.999 is common."""


OneTeacher = str | ModelSpec
"""An earlier stage, a path to a model file or run folder, or a model by name (pretrained, say)."""


def _teacher_branch(value: Any) -> str:
    if isinstance(value, EmaTeacher) or (isinstance(value, Mapping) and set(value) == {"ema"}):
        return "average"
    if isinstance(value, str | Spec) or (isinstance(value, Mapping) and "name" in value):
        return "one"
    return "several"


Teacher = Annotated[
    Annotated[OneTeacher, Tag("one")]
    | Annotated[EmaTeacher, Tag("average")]
    | Annotated[Mapping[ViewName, OneTeacher], Tag("several")],
    Discriminator(_teacher_branch),
]
"""One teacher, several by name, or {ema: 0.999} for the student's own moving average."""


class ClassifierStage(StageConfig):
    """What training and distilling have in common."""

    OUTPUT: ClassVar[str] = "classifier"
    INPUTS: ClassVar[Mapping[str, str]] = {"start_from": "classifier"}

    source: SourceSpec
    """Where the images come from; its train split is learnt, its test split measured."""
    test_source: SourceSpec | None = None
    """Measure on the test split of this source instead."""
    model: ModelSpec
    """The network to train."""
    start_from: str | None = None
    """Begin with the weights of this earlier stage or model file (fine-tuning); a classifier for other classes is
    left out and starts anew."""
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


TAUGHT: Mapping[str, str] = {"teacher": "classifier", "stored": "teacher_outputs"}
"""What a stage with a teacher may refer to."""


class TrainStage(ClassifierStage):
    """Train a classifier on labels alone."""

    kind: Literal["classify.train"] = "classify.train"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the target spread over all classes."""
    terms: Annotated[tuple[Term, ...], AfterValidator(_some)] | None = None
    """What is minimised, without a teacher; the cross entropy unless given. A classifier that is to teach
    detectors with softmax heads and with sigmoid heads takes cross_entropy and sigmoid_focal."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.terms is not None and self.label_smoothing:
            raise ValueError("label_smoothing belongs to the cross entropy: give it there, among the terms")
        return self


class DistillStage(Objective, ClassifierStage):
    """Train a student classifier with a teacher."""

    INPUTS: ClassVar[Mapping[str, str]] = {**ClassifierStage.INPUTS, **TAUGHT}

    kind: Literal["classify.distill"] = "classify.distill"
    teacher: Teacher
    """Who teaches: an earlier stage, a path, a pretrained model; several by name; or {ema: 0.999}."""
    stored: str | None = None
    """Take the teacher's outputs from this stage or folder of `classify.store_teacher` instead of running it."""
    weak_teacher: bool = False
    """Go on with a teacher that does no better than guessing."""


class CompareStage(ClassifierStage):
    """Distil one student by several methods over several seeds with an equal budget, beside a control."""

    OUTPUT: ClassVar[str] = "comparison"
    INPUTS: ClassVar[Mapping[str, str]] = {**ClassifierStage.INPUTS, **TAUGHT}

    kind: Literal["classify.compare"] = "classify.compare"
    teacher: Teacher
    """Who teaches: an earlier stage, a path, a pretrained model; several by name; or {ema: 0.999}."""
    stored: str | None = None
    """Take the teacher's outputs from this stage or folder of `classify.store_teacher` instead of running it."""
    weak_teacher: bool = False
    """Go on with a teacher that does no better than guessing."""
    methods: Mapping[str, Objective]
    """Name in the table -> a method's name, a list of terms, or terms with their views and head."""
    seeds: tuple[NonNegativeInt, ...] = (0, 1, 2)
    """One student for each seed and method."""

    @model_validator(mode="after")
    def _check(self) -> CompareStage:
        if not self.methods:
            raise ValueError("methods is empty; name at least one, e.g. {kd: kd}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must be distinct and at least one (got {list(self.seeds)})")
        return self
