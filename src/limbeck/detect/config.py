"""What the detection stages of a recipe may say. No torch here: recipes are checked without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from limbeck.bounds import Fraction, NonNegative, NonNegativeInt, Positive, PositiveInt
from limbeck.detect.methods import METHODS, default_method
from limbeck.engine._registry import OPTIMIZERS, SCHEDULES
from limbeck.errors import did_you_mean
from limbeck.losses._registry import DETECTION_LOSSES
from limbeck.models._registry import DETECTORS
from limbeck.sources._registry import DETECTION_AUGMENTS, DETECTION_SOURCES
from limbeck.specs import Config, Spec, StageConfig, spec_of

DetectorSpec = Annotated[Spec, spec_of(DETECTORS)]
SourceSpec = Annotated[Spec, spec_of(DETECTION_SOURCES)]
AugmentSpec = Annotated[Spec, spec_of(DETECTION_AUGMENTS)]
OptimizerSpec = Annotated[Spec, spec_of(OPTIMIZERS)]
ScheduleSpec = Annotated[Spec, spec_of(SCHEDULES)]
LossSpec = Annotated[Spec, spec_of(DETECTION_LOSSES)]

PAPER = "guo2021distilling"


class DetectTraining(Config):
    """How a detector is trained."""

    epochs: PositiveInt = 12
    """Passes over the training set; 12 is the schedule called 1x."""
    steps: PositiveInt | None = None
    """Stop after this many optimizer steps; the schedule is that of the steps."""
    batch_size: PositiveInt = 8
    """Images a batch, over all processes together."""
    optimizer: OptimizerSpec = Spec(name="sgd", lr=0.01, momentum=0.9, weight_decay=1e-4)
    """The optimizer with its learning rate."""
    schedule: ScheduleSpec = Spec(name="cosine")
    """How the learning rate changes."""
    warmup_epochs: NonNegative = 0.0
    """Epochs of linear warm-up; half an epoch of COCO has 500 iterations of 64 images and more."""
    augment: tuple[AugmentSpec, ...] = (Spec(name="flip"),)
    """Augmentations of training images and their boxes, in order."""
    accumulation: PositiveInt = 1
    """Batches whose gradients are averaged into one step."""
    clip_norm: Positive | None = 10.0
    """Largest norm of the gradient."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the weights, which is then what is evaluated and kept."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the networks; boxes, crops and losses stay in float32."""
    freeze: tuple[str, ...] = ()
    """Modules of the detector that keep their weights, as paths or patterns ("backbone.body.layer1")."""
    lr_factors: Mapping[str, NonNegative] = Field(default_factory=dict)
    """Module path or pattern -> factor of the learning rate; the first that matches counts."""
    workers: NonNegativeInt = 0
    """Loader processes; sets that fit in memory need none."""
    evaluate_every: PositiveInt | None = None
    """Epochs between evaluations on the validation split while training; none unless given."""
    keep: Literal["last", "best"] = "last"
    """Which epoch's weights become the product; best is chosen on the validation split, never on the test
    split."""
    checkpoint_every: PositiveInt | None = None
    """Steps between checkpoints; unless given, the end of an epoch has one if the last is older than 5 seconds."""
    log_every: PositiveInt = 10
    """Steps between lines of the records."""
    trackers: tuple[Literal["tensorboard", "wandb", "trackio", "mlflow"], ...] = ()
    """Where scalars go beside the run folder."""

    @model_validator(mode="after")
    def _best_is_chosen(self) -> Self:
        if self.keep == "best" and self.evaluate_every is None:
            raise ValueError("keep: best chooses among evaluated epochs; say evaluate_every: 1")
        return self


class Scoring(Config):
    """How detectors are measured."""

    split: Literal["train", "validation", "test"] = "test"
    """Which split; the one that training never saw, unless only plumbing is to be tried."""
    limit: PositiveInt | None = None
    """Measure on at most so many images, spread evenly over the split; all of them unless given."""
    max_detections: PositiveInt = 100
    """Detections an image that count, as COCO has it."""
    foreground_iou: Fraction = 0.5
    """Overlap from which a detection of the right class is right, in the breakdown of errors."""
    background_iou: Fraction = 0.1
    """Overlap below which a detection is one of background, in the breakdown of errors."""
    batch_size: PositiveInt = 16
    """Images at once."""
    pictures: NonNegativeInt = 4
    """Images shown with their boxes."""
    picture_score: Fraction = 0.3
    """Detections with less confidence are not drawn."""


TapPaths = Annotated[
    tuple[str, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value, json_schema_input_type=str),
    Field(min_length=1),
]


class Term(Config):
    """One loss with its weight, and what it is computed from."""

    loss: LossSpec
    """The loss and its settings."""
    weight: Positive = 1.0
    """Factor of the loss in the sum."""
    taps: TapPaths = ("@stem",)
    """Where the classifier's first layers are read, for kd_loc_features: module paths, or "@stem", the first
    layer with the pooling behind it."""
    levels: TapPaths | None = None
    """Which feature maps of the detectors are compared, by their names in the backbone's output; all that both
    have unless given."""
    tower: NonNegativeInt | None = None
    """For crosskd: the student's features behind this convolution of the head's towers (from 0) enter the
    teacher's head; the last but one unless given, the third of four in the paper."""
    start: NonNegativeInt = 0
    """Optimizer steps before the term counts; FGFI's code waits 400."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,60}$")] | None = None
    """Name in the records; the loss's name unless given."""

    @model_validator(mode="after")
    def _reads_what_it_says(self) -> Self:
        inputs = set(DETECTION_LOSSES.describe(self.loss.name).inputs)
        for setting, asked in _READERS.items():
            if getattr(self, setting) != type(self).model_fields[setting].default and not asked & inputs:
                raise ValueError(f"'{setting}' says nothing to the loss '{self.loss.name}'; remove it")
        return self


_READERS: Mapping[str, frozenset[str]] = {
    "taps": frozenset({"predicted_maps", "true_maps"}),
    "levels": frozenset({"student_maps", "teacher_maps", "anchor_masks"}),
    "tower": frozenset({"crossed_logits", "crossed_boxes", "crossed_sides"}),
}
"""Setting of a term -> the inputs that it bears upon."""


def _terms(value: Any) -> Any:
    if isinstance(value, str):
        if value not in METHODS:
            raise ValueError(
                f"unknown method '{value}'.{did_you_mean(value, METHODS)} Known: {', '.join(METHODS)}."
            )
        return [dict(term) for term in METHODS[value]]
    return value


_MethodInput = Literal[tuple(METHODS)] | tuple[Term, ...]  # type: ignore[valid-type]
Method = Annotated[tuple[Term, ...], BeforeValidator(_terms, json_schema_input_type=_MethodInput)]
"""A list of terms, or the name of a published method."""


class Teaching(Config):
    """How the classifier's knowledge reaches the detector."""

    crop_size: PositiveInt | None = None
    """Pixels a side of the crops that the classifier sees; those of its own input unless given, 112 in the
    paper."""
    max_positives: PositiveInt | None = 32
    """Positives an image whose predicted boxes are cropped, drawn at random; an image with more weighs as if it
    had so many. null takes all, as the released code does."""
    least_side: Positive = 1.0
    """Pixels a side that a predicted box has inside the image to be cropped; the released code crops all of them,
    those outside come out mirrored."""


class DetectStage(StageConfig):
    """What all these stages have in common."""

    source: SourceSpec
    """Images and boxes: the train split is learnt, the test split measured."""
    seed: NonNegativeInt | None = None
    """Seed of this stage; the run's seed unless given."""

    @model_validator(mode="after")
    def _no_split(self) -> Self:
        if "split" in self.source.settings:
            raise ValueError(f"source {self.source.name}: 'split' is chosen by the stage; remove it")
        return self


class _Detector(DetectStage):
    model: DetectorSpec
    """The detector to train."""
    start_from: str | None = None
    """Begin with the weights of this earlier stage or model file (fine-tuning); heads for other classes start
    anew."""
    start_backbone: str | None = None
    """Begin with the body of this classifier, an earlier stage or a model file, for a backbone of the same name
    ("limbeck/quarter_resnet50")."""
    train: DetectTraining = DetectTraining()
    """How it is trained."""
    scoring: Scoring = Scoring()
    """How it is measured."""


_STARTS: Mapping[str, str] = {"start_from": "detector", "start_backbone": "classifier"}


class TrainStage(_Detector):
    """Train a detector on its labels alone."""

    OUTPUT: ClassVar[str] = "detector"
    INPUTS: ClassVar[Mapping[str, str]] = _STARTS

    kind: Literal["detect.train"] = "detect.train"


_TAUGHT: Mapping[str, str] = {"classifier": "classifier", "detector": "detector", "labels": "object_labels"}


class _Taught(_Detector):
    classifier: str | None = None
    """A classifier of the objects that teaches: a stage, or a model file."""
    detector: str | None = None
    """A larger detector that teaches: a stage, or a model file."""
    labels: str | None = None
    """Take the classifier's soft labels of the objects from this stage of `detect.label` instead of computing
    them in every step; augmentations then leave the objects' pixels alone (flips, brightness)."""
    teaching: Teaching = Teaching()
    """How the classifier's knowledge reaches the detector."""


class DistillStage(_Taught):
    """Train a detector with a classifier, a larger detector, or both."""

    OUTPUT: ClassVar[str] = "detector"
    INPUTS: ClassVar[Mapping[str, str]] = {**_STARTS, **_TAUGHT}

    kind: Literal["detect.distill"] = "detect.distill"
    method: Method | None = None
    """A published method by name, or terms; unless given, dicod for a classifier, kd_cls for stored labels alone,
    pkd for a detector, and their sum for both."""

    @property
    def terms(self) -> tuple[Term, ...]:
        """The method's terms, the usual one for these teachers unless one was named."""
        if self.method is not None:
            return self.method
        return default_terms(
            classifier=self.classifier is not None,
            detector=self.detector is not None,
            labels=self.labels is not None,
        )

    @model_validator(mode="after")
    def _is_taught(self) -> Self:
        if not self.terms and (self.classifier, self.detector, self.labels) == (None, None, None):
            raise ValueError("who teaches? classifier: <stage or file>, detector: <stage or file>, or both")
        return self


def default_terms(*, classifier: bool, detector: bool, labels: bool) -> tuple[Term, ...]:
    """What these teachers usually do."""
    terms = default_method(classifier=classifier, detector=detector, labels=labels)
    return tuple(Term.model_validate(dict(term)) for term in terms)


CONTROL = "control"
"""The row of the undistilled detector: the same budget, labels alone."""


def folder_word(method: str) -> str:
    """A method's name in the table as part of a folder's.

    Example:
        >>> folder_word("both, PKD")
        'both--PKD'
    """
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in method)


class CompareStage(_Taught):
    """Train one detector by several methods over several seeds with an equal budget, beside a control."""

    OUTPUT: ClassVar[str] = "comparison"
    INPUTS: ClassVar[Mapping[str, str]] = {**_STARTS, **_TAUGHT}

    kind: Literal["detect.compare"] = "detect.compare"
    methods: Mapping[str, Method]
    """Name in the table -> a method's name, or terms."""
    seeds: tuple[NonNegativeInt, ...] = (0, 1, 2)
    """One student for each seed and method."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.methods:
            raise ValueError("methods is empty; name at least one, e.g. {both: dicod}")
        if CONTROL in self.methods:
            raise ValueError(f"methods: '{CONTROL}' is the undistilled detector, which is always there; rename it")
        folders: dict[str, str] = {}
        for name in self.methods:
            if folders.setdefault(folder_word(name), name) != name:
                raise ValueError(f"methods: '{folders[folder_word(name)]}' and '{name}' would share a folder")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must be distinct and at least one (got {list(self.seeds)})")
        return self


class LabelStage(DetectStage):
    """Compute a classifier's soft labels of all objects once, and store them."""

    OUTPUT: ClassVar[str] = "object_labels"
    INPUTS: ClassVar[Mapping[str, str]] = {"classifier": "classifier"}

    kind: Literal["detect.label"] = "detect.label"
    classifier: str
    """The classifier: a stage, or a model file."""
    crop_size: PositiveInt | None = None
    """Pixels a side of the crops; those of the classifier's own input unless given."""
    batch_size: PositiveInt = 8
    """Images at once."""


class EvaluateStage(DetectStage):
    """Measure detectors side by side: average precision, the breakdown of their errors, pictures."""

    OUTPUT: ClassVar[str] = "scores"
    INPUTS: ClassVar[Mapping[str, str]] = {"detectors": "detector"}

    kind: Literal["detect.evaluate"] = "detect.evaluate"
    detectors: Mapping[str, str]
    """Name in the table -> a stage, or a model file; the first is what the others are compared with."""
    scoring: Scoring = Scoring()
    """How."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.detectors:
            raise ValueError("detectors is empty; name at least one, e.g. {student: distil}")
        return self
