"""What the stages of data-set distillation may say. No torch here: recipes are checked without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from limbeck.bounds import Fraction, NonNegative, NonNegativeInt, Positive, PositiveInt
from limbeck.dataset._registry import SYNTHESES
from limbeck.models._registry import MODELS
from limbeck.sources._registry import SOURCES
from limbeck.specs import Config, Spec, StageConfig, spec_of

ModelSpec = Annotated[Spec, spec_of(MODELS)]
SourceSpec = Annotated[Spec, spec_of(SOURCES)]
SynthesisSpec = Annotated[Spec, spec_of(SYNTHESES)]
SetName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,60}$")]

FAMILIES = "color_crop_cutout_flip_scale_rotate"
"""Families of differentiable Siamese augmentation."""
Protocol = Literal["dc", "dsa", "dm", "mtt", "soft", "soft_adamw", "idc", "sre2l"]
"""Published ways of training a student on a small set."""
SELECTIONS = ("random", "stratified", "herding", "kmeans", *(str(decile) for decile in range(10)))
Selection = Literal["random", "stratified", "herding", "kmeans", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]


class DatasetStage(StageConfig):
    """What all these stages have in common: the real data."""

    source: SourceSpec
    """Where the real images come from; they are kept in memory."""
    validation: Fraction = 0.1
    """Share of the training images held out to choose epochs, rates and iterations by; the test split never
    chooses anything. Stages that share experts share this too."""
    whiten: bool = False
    """ZCA instead of channel statistics; for images of up to 4,096 values."""
    mean: tuple[float, ...] | None = None
    """Mean of each channel to normalise with; the source's unless given."""
    std: tuple[Positive, ...] | None = None
    """Deviation of each channel to normalise with; the source's unless given."""
    split_seed: NonNegativeInt = 0
    """Another seed holds out other images; not the run's seed, so that runs of several seeds share experts."""
    seed: NonNegativeInt | None = None
    """Seed of this stage; the run's seed unless given."""

    @model_validator(mode="after")
    def _checks(self) -> Self:
        if "split" in self.source.settings:
            raise ValueError(f"source {self.source.name}: 'split' is chosen by the stage; remove it")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std are given together")
        if self.whiten and self.mean is not None:
            raise ValueError("whiten takes the place of mean and std; remove them")
        return self


class ExpertsStage(DatasetStage):
    """Train experts on real images and keep their weights at chosen epochs."""

    OUTPUT: ClassVar[str] = "trajectories"

    kind: Literal["dataset.experts"] = "dataset.experts"
    model: ModelSpec
    """The network, without running statistics."""
    experts: PositiveInt = 1
    """How many; the published buffers have 100."""
    epochs: PositiveInt = 50
    """Passes over the training images."""
    snapshots: tuple[NonNegative, ...] | None = None
    """Epochs after which weights are kept, 0 for the initialisation; fractions are possible. Every epoch unless
    given."""
    batch_size: PositiveInt = 256
    """Images a step."""
    lr: Positive = 0.01
    """Constant rate of SGD; small, so that early training is finely resolved."""
    momentum: Fraction = 0.0
    """Of SGD; the published experts have none."""
    weight_decay: NonNegative = 0.0
    """Of SGD; the published experts have none."""
    augment: str = FAMILIES
    """Families of DSA joined by underscores, one drawn a step; leave out flip for digits; "" for none."""
    half: bool = False
    """Keep snapshots in float16, at half the bytes."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        taken = self.snapshots
        if taken is not None and (len(taken) < 2 or list(taken) != sorted(set(taken)) or taken[-1] > self.epochs):
            raise ValueError(
                f"snapshots are at least two epochs in rising order up to epochs ({self.epochs}); got "
                f"{list(taken)}"
            )
        return self

    @property
    def taken(self) -> tuple[float, ...]:
        """Epochs after which weights are kept."""
        return tuple(float(e) for e in (self.snapshots or range(self.epochs + 1)))


class Students(Config):
    """How students of a small set are trained and counted."""

    protocol: Protocol = "mtt"
    """The published recipe that the other values start from."""
    epochs: PositiveInt | None = None
    """Passes over the small set; the protocol's unless given."""
    lr: Positive | None = None
    """Learning rate; the protocol's unless given. Protocols with a learned rate take the set's own, where it has
    one."""
    rates: tuple[Positive, ...] = ()
    """Further rates to try on the first seed; the one with the best validation accuracy is taken for all
    seeds, for every set and kind of label on its own."""
    batch_size: PositiveInt | None = None
    """Images a step; the protocol's unless given."""
    augment: str | None = None
    """Families of DSA; the protocol's unless given."""
    seeds: tuple[NonNegativeInt, ...] = (0, 1, 2, 3, 4)
    """One student for each."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must be distinct and at least one (got {list(self.seeds)})")
        return self


class Labels(Config):
    """Soft labels of experts."""

    epoch: NonNegative
    """Snapshot of the experts that labels, in epochs: young ones for few images, mature ones for many."""
    beta: Positive = 1.0
    """Multiplies the logits: an inverse temperature (1/T)."""
    experts: PositiveInt = 1
    """Mean of the logits of so many experts."""
    ema: Fraction = 0.0
    """Decay of a moving average of the experts' weights over their snapshots up to the epoch; 0 takes the
    snapshot itself."""
    views: PositiveInt = 1
    """Labels averaged over so many augmented views of each image, the plain one among them."""
    top_k: PositiveInt | None = None
    """Keep the k largest probabilities; all unless given."""
    renormalise: bool = False
    """Let the kept probabilities sum to one again; the paper does not."""


_SOFT_LABELS = ("qin2024label",)


class LabelStage(DatasetStage):
    """A small set of real images, or one made before, with labels of an expert."""

    OUTPUT: ClassVar[str] = "image set"
    INPUTS: ClassVar[Mapping[str, str]] = {"experts": "trajectories", "set": "image set"}

    kind: Literal["dataset.label"] = "dataset.label"
    experts: str | None = None
    """The stage or folder of expert trajectories; needed for soft labels and for selection by difficulty."""
    set: str | None = None
    """Label this set anew instead of picking real images."""
    ipc: PositiveInt | None = None
    """Images per class to pick."""
    megabytes: Positive | None = None
    """Pick as many images per class as fit into so many megabytes (10^6 bytes), labels counted."""
    select: Selection = "random"
    """How they are picked: random, by decile of difficulty (0 is easiest), stratified (one of each of ipc equal
    groups), herding, or nearest to the centres of k-means on an expert's features."""
    select_epoch: NonNegative | None = None
    """Snapshot whose difficulty or features decide; the last unless given."""
    labels: Labels | None = None
    """Soft labels; hard ones alone unless given."""

    @model_validator(mode="after")
    def _what(self) -> Self:
        if sum(value is not None for value in (self.set, self.ipc, self.megabytes)) != 1:
            raise ValueError(
                "give one of ipc and megabytes, to pick real images, or set, to label one that exists"
            )
        if self.experts is None and (self.labels is not None or self.select != "random"):
            raise ValueError("soft labels and selection by an expert need experts: <a stage of dataset.experts>")
        return self

    def cites(self) -> tuple[str, ...]:
        """The soft-label account, where an expert labels."""
        return _SOFT_LABELS if self.labels is not None else ()


class SynthesizeStage(DatasetStage):
    """Learn a small set of images, at once or subset by subset (SeqMatch)."""

    OUTPUT: ClassVar[str] = "image set"
    INPUTS: ClassVar[Mapping[str, str]] = {
        "experts": "trajectories",
        "teacher": "classifier",
        "start_from": "image set",
    }

    kind: Literal["dataset.synthesize"] = "dataset.synthesize"
    method: SynthesisSpec
    """How, with its settings."""
    experts: str | None = None
    """The stage or folder of expert trajectories, for methods that follow them."""
    teacher: str | None = None
    """A trained classifier, as stage, folder or file, for methods that ask one (sre2l, rded)."""
    model: ModelSpec | None = None
    """The network to learn with; the experts' unless given."""
    ipc: PositiveInt | None = None
    """Images per class in all."""
    megabytes: Positive | None = None
    """As many images per class as fit into so many megabytes (10^6 bytes), labels counted, instead of `ipc`."""
    subsets: PositiveInt | tuple[PositiveInt, ...] = 1
    """SeqMatch: learn the set in so many parts one after another, or in parts of these images per class."""
    later: tuple[Mapping[str, float | int | tuple[int, int]], ...] = ()
    """Settings of the method that differ in the second, third, ... subset."""
    segment: Literal["regenerate", "slice"] = "regenerate"
    """Where later subsets' trajectories come from: experts trained on from networks that learnt the earlier
    subsets, or later slices of the ordinary ones."""
    regenerated: PositiveInt = 20
    """Epochs of real training in regenerated trajectories."""
    initialise: Literal["real", "noise"] = "real"
    """First images: real ones picked at random, or Gaussian noise."""
    start_from: str | None = None
    """First images from this set instead, such as one chosen by k-means."""
    iterations: PositiveInt = 5000
    """Outer iterations of each subset."""
    students: Students = Students(seeds=(0,))
    """How the set is judged on validation images, and how later subsets' networks learn earlier ones."""
    judge_every: PositiveInt | None = None
    """Iterations between two judgements, of which the best set is kept; the last one is kept unless given."""
    log_every: PositiveInt = 10
    """Iterations between lines of the records."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if (self.ipc is None) == (self.megabytes is None):
            raise ValueError("give either ipc or megabytes: how large is the set to be?")
        if self.ipc is not None and isinstance(self.subsets, int) and self.subsets > self.ipc:
            raise ValueError(f"{self.ipc} images per class cannot be cut into {self.subsets} subsets")
        if self.ipc is not None and not isinstance(self.subsets, int) and sum(self.subsets) != self.ipc:
            raise ValueError(
                f"subsets {list(self.subsets)} have {sum(self.subsets)} images per class, ipc says {self.ipc}"
            )
        if self.judge_every is not None and self.validation == 0:
            raise ValueError("judge_every chooses an iteration, which needs a validation share")
        return self

    @property
    def parts(self) -> tuple[int, ...]:
        """Images per class of each subset, larger ones first."""
        if not isinstance(self.subsets, int):
            return tuple(self.subsets)
        assert self.ipc is not None
        base, more = divmod(self.ipc, self.subsets)
        return tuple(base + (i < more) for i in range(self.subsets))

    def cites(self) -> tuple[str, ...]:
        """SeqMatch, where the set is learnt in parts."""
        return ("du2023seqmatch",) if self.subsets not in (1, (self.ipc,)) else ()


class EvaluateStage(DatasetStage):
    """Train students on small sets, beside random real images at the same budget, and say what earned its keep."""

    OUTPUT: ClassVar[str] = "evaluation"
    OUTPUT_WITH: ClassVar[Mapping[str, str]] = {"keep_students": "comparison"}
    LATER: ClassVar[Mapping[str, object]] = {"keep_students": False}
    INPUTS: ClassVar[Mapping[str, str]] = {"sets": "image set", "experts": "trajectories"}

    kind: Literal["dataset.evaluate"] = "dataset.evaluate"
    sets: Mapping[SetName, str]
    """Name in the table -> stage or folder of an image set."""
    models: Mapping[SetName, ModelSpec]
    """Name in the table -> network to train; the first is the one that scores are of."""
    students: Students = Students()
    """How they are trained."""
    labels: tuple[Literal["hard", "soft"], ...] = ("hard", "soft")
    """Which labels of each set; soft ones only where it has some or `experts` are there to give them."""
    experts: str | None = None
    """Experts that label the random control, and sets without soft labels of their own."""
    soft: Labels | None = None
    """How they label."""
    controls: tuple[Literal["random", "kmeans", "herding"], ...] = ("random",)
    """Sets of real images at the budget of each set, with the same labels."""
    sequence: bool = True
    """Train in the order of the subsets, where a set has several, and report the union beside it."""
    robust: bool = False
    """Also without augmentation, for the augmentation-robust score."""
    full: bool = False
    """Also train on all real images with hard labels, for the label-robust score."""
    full_epochs: PositiveInt = 30
    """Passes over all real images there."""
    keep_students: bool = False
    """Keep every student as a model file in its trial's folder, for an audit: `comparison` of audit.compare. Not
    for whitened sets, since a model file says a mean and a deviation of each channel. Sets named dm-s0, dm-s1 with
    one student each count as one method with as many seeds, so that its spread is that of the sets."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.sets or not self.models:
            raise ValueError("sets and models name at least one each")
        if (self.experts is None) != (self.soft is None):
            raise ValueError("experts and soft belong together")
        if self.keep_students and self.whiten:
            raise ValueError(
                "keep_students: a model file says a mean and a deviation of each channel, which ZCA is not; make "
                f"the sets ({', '.join(self.sets)}) without it and say whiten: false"
            )
        return self

    def cites(self) -> tuple[str, ...]:
        """DD-Ranking, whose scores are counted."""
        return ("li2025ddranking",) if self.full or self.robust else ()


class SearchStage(DatasetStage):
    """Real images labelled by experts of every age: best epoch, scaling law, Pareto frontier."""

    OUTPUT: ClassVar[str] = "evaluation"
    INPUTS: ClassVar[Mapping[str, str]] = {"experts": "trajectories"}

    kind: Literal["dataset.search"] = "dataset.search"
    experts: str
    """Stage or folder of expert trajectories."""
    ipcs: tuple[PositiveInt, ...]
    """Images per class."""
    epochs: tuple[NonNegative, ...]
    """Snapshots that label."""
    top_k: tuple[NonNegativeInt, ...] = ()
    """Labels of the k largest probabilities beside the whole ones; the scaling law's axis of knowledge."""
    beta: Positive = 1.0
    """Multiplies the logits of every label."""
    model: ModelSpec | None = None
    """The student; the experts' network unless given."""
    students: Students = Students(protocol="soft", seeds=(0, 1))
    """How they are trained; each seed picks its own images."""
    student_epochs: Mapping[PositiveInt, PositiveInt] = Field(default_factory=dict)
    """Images per class -> passes, where budgets need different ones."""
    label_dtype: Literal["float16", "bfloat16", "float32"] = "float16"
    """Type of a stored probability, for the storage frontier."""

    def cites(self) -> tuple[str, ...]:
        """The soft-label account."""
        return _SOFT_LABELS


class AblateStage(DatasetStage):
    """What in a soft label does the work: hard, swapped, cut, smoothed and tempered labels on the same images."""

    OUTPUT: ClassVar[str] = "evaluation"
    INPUTS: ClassVar[Mapping[str, str]] = {"experts": "trajectories"}

    kind: Literal["dataset.ablate"] = "dataset.ablate"
    experts: str
    """Stage or folder of expert trajectories."""
    ipc: PositiveInt
    """Images per class."""
    epoch: NonNegative
    """Snapshot that labels."""
    beta: Positive = 1.0
    """Multiplies the logits."""
    swaps: tuple[PositiveInt, ...] = (1, 2, 3)
    """Ranks k whose probability changes places with the smallest one."""
    tops: tuple[PositiveInt, ...] = (1, 2, 3)
    """Numbers k of largest probabilities to keep."""
    erase: tuple[NonNegativeInt, ...] = ()
    """Classes whose images, or whose share in other images' labels, are left out; measured on that class alone."""
    model: ModelSpec | None = None
    """The student; the experts' network unless given."""
    students: Students = Students(protocol="soft", seeds=(0, 1))
    """How they are trained."""

    def cites(self) -> tuple[str, ...]:
        """The soft-label account."""
        return _SOFT_LABELS
