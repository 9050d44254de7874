"""What the flow stages of a recipe may say. No torch here: recipes are checked without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from limbeck.bounds import Fraction, NonNegative, NonNegativeInt, Positive, PositiveInt
from limbeck.engine._registry import OPTIMIZERS, SCHEDULES
from limbeck.flow._registry import DISTANCES, METHODS, OBJECTIVES, PARAMETERISATIONS, SOLVERS, TARGETS, TIMES
from limbeck.models._registry import VELOCITY_NETWORKS
from limbeck.sources._registry import SOURCES
from limbeck.specs import Config, Spec, StageConfig, spec_of

SourceSpec = Annotated[Spec, spec_of(SOURCES)]
TargetSpec = Annotated[Spec, spec_of(TARGETS)]
NetworkSpec = Annotated[Spec, spec_of(VELOCITY_NETWORKS)]
ParameterisationSpec = Annotated[Spec, spec_of(PARAMETERISATIONS)]
TimesSpec = Annotated[Spec, spec_of(TIMES)]
ObjectiveSpec = Annotated[Spec, spec_of(OBJECTIVES)]
DistanceSpec = Annotated[Spec, spec_of(DISTANCES)]
MethodSpec = Annotated[Spec, spec_of(METHODS)]
SolverSpec = Annotated[Spec, spec_of(SOLVERS)]
OptimizerSpec = Annotated[Spec, spec_of(OPTIMIZERS)]
ScheduleSpec = Annotated[Spec, spec_of(SCHEDULES)]
Decay = Annotated[float, Field(gt=0, lt=1)]
Time = Annotated[float, Field(ge=0, le=1)]

PAPER = "lee2024improving"


class FlowTraining(Config):
    """How a flow is trained."""

    steps: PositiveInt = 10_000
    """Optimizer steps."""
    batch_size: PositiveInt = 128
    """Images a batch, over all processes together."""
    optimizer: OptimizerSpec = Spec(name="adamw", lr=2e-4, weight_decay=0.0)
    """The optimizer with its learning rate; Adam without decay in the paper."""
    schedule: ScheduleSpec = Spec(name="constant")
    """How the learning rate changes."""
    warmup_steps: NonNegativeInt = 0
    """Steps of linear warm-up; 5,000 in the paper."""
    accumulation: PositiveInt = 1
    """Batches whose gradients are averaged into one step."""
    clip_norm: Positive | None = None
    """Largest norm of the gradient."""
    ema: tuple[Decay, ...] = (0.9999,)
    """Decays of averages of the weights; the first is what is kept and measured, the others are written beside it.
    None of them: ()."""
    ema_warm_up: bool = True
    """Let averages forget a random initialisation quickly."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the network."""
    compile: bool = False
    """Compile the network with torch.compile."""
    log_every: PositiveInt = 50
    """Steps between lines of the records."""
    checkpoint_every: PositiveInt | None = None
    """Steps between checkpoints; unless given, the end of an epoch has one if the last is older than 5 seconds."""


class FlowStage(StageConfig):
    """What all these stages have in common."""

    seed: NonNegativeInt | None = None
    """Seed of this stage; the run's seed unless given."""


class _Data(FlowStage):
    source: SourceSpec | None = None
    """Images, kept on the device."""
    target: TargetSpec | None = None
    """Or a distribution in the plane."""
    flip: bool = False
    """Mirror half of the images in training; not for digits."""

    @model_validator(mode="after")
    def _split(self) -> Self:
        if self.source is not None and "split" in self.source.settings:
            raise ValueError(f"source {self.source.name}: 'split' is chosen by the stage; remove it")
        if self.source is not None and self.target is not None:
            raise ValueError("source and target: data come from one of them")
        return self


class TrainStage(_Data):
    """Train a flow on data: the 1-rectified flow."""

    OUTPUT: ClassVar[str] = "flow"

    kind: Literal["flow.train"] = "flow.train"
    network: NetworkSpec
    """The network."""
    parameterisation: ParameterisationSpec = Spec(name="velocity")
    """What its output means."""
    conditional: bool = False
    """Tell the network the class."""
    label_dropout: Fraction = 0.0
    """Share of labels left out in training, for guidance; 0.1 is usual."""
    times: TimesSpec = Spec(name="uniform")
    """Distribution of training times; independent pairs want uniform or logit-normal."""
    train: FlowTraining = FlowTraining()
    """How."""

    @model_validator(mode="after")
    def _has_data(self) -> Self:
        if self.source is None and self.target is None:
            raise ValueError(
                "a flow is trained on data: source: <images>, or target: <a distribution in the plane>"
            )
        if self.label_dropout and not self.conditional:
            raise ValueError("label_dropout leaves labels out, and conditional: false has none")
        if self.conditional and self.target is not None:
            raise ValueError("distributions in the plane have no classes; remove conditional")
        return self


class TeacherStage(FlowStage):
    """Take in a diffusion model or a flow that was trained elsewhere."""

    OUTPUT: ClassVar[str] = "flow"

    kind: Literal["flow.teacher"] = "flow.teacher"
    weights: str
    """A state dict (safetensors, or a .pt that holds tensors alone), or a folder of Diffusers."""
    network: NetworkSpec | None = None
    """The network that a state dict is of; a Diffusers folder says so itself."""
    parameterisation: ParameterisationSpec | None = None
    """What its output means: edm, edm_ve, edm_vp, ddpm, velocity with its direction; a Diffusers folder with a
    scheduler says so itself."""
    image_shape: tuple[PositiveInt, PositiveInt, PositiveInt] | None = None
    """Channels, height, width; a Diffusers folder says so itself."""
    classes: NonNegativeInt = 0
    """Labels it is conditioned on."""
    class_names: tuple[str, ...] = ()
    """In the order of the labels."""
    rounds: NonNegativeInt | None = 0
    """Reflows behind it: 0 for diffusion models and flows of independent pairs; null where nobody knows."""
    prefix: str = ""
    """What names of the state dict begin with and the network's do not, as `model.` in EDM's files."""


class PairsStage(_Data):
    """Couple noise with data by following a flow: generated pairs, or real data with their noise."""

    OUTPUT: ClassVar[str] = "pairs"
    INPUTS: ClassVar[Mapping[str, str]] = {"teacher": "flow"}

    kind: Literal["flow.pairs"] = "flow.pairs"
    teacher: str
    """The flow to follow: a stage or a file."""
    count: PositiveInt | None = None
    """Pairs to generate; inverted pairs are as many as images, unless given."""
    invert: bool = False
    """Follow the flow from real images to noise instead; needs a source."""
    solver: SolverSpec = Spec(name="heun")
    """How; sigma_heun is EDM's own sampler, for diffusion teachers."""
    evaluations: PositiveInt = 35
    """Of the network for each pair: 35 on CIFAR-10, 79 at 64 pixels; 128 for inverted pairs in the paper."""
    guidance: Positive | None = None
    """Scale of classifier-free guidance; the paper has none."""
    keep: Literal["uint8", "float16", "float32"] = "uint8"
    """How images are kept; points need float32."""
    shard_size: PositiveInt = 10_000
    """Pairs a file."""
    batch_size: PositiveInt = 500
    """Pairs at once; memory does not grow with their number."""

    @model_validator(mode="after")
    def _what(self) -> Self:
        if self.invert and self.source is None and self.target is None:
            raise ValueError("invert follows the flow from real data: source: <images>")
        if not self.invert and self.count is None:
            raise ValueError("count: how many pairs shall be generated?")
        if self.invert and self.target is not None and self.count is None:
            raise ValueError("count: how many points shall be inverted?")
        if self.invert and self.solver.name not in ("euler", "heun", "adaptive"):
            raise ValueError(f"{self.solver.name} only generates; invert with euler or heun")
        return self


class Learning(Config):
    """How a few-step student learns: every choice of the paper can be switched alone."""

    method: MethodSpec = Spec(name="reflow")
    """reflow, or what it is compared with."""
    times: TimesSpec = Spec(name="u_shaped")
    """Distribution of training times; reflow and mean_flow take it, the others have times of their own."""
    objective: ObjectiveSpec = Spec(name="huber")
    """What is minimised; progressive, reflow and direct take it, the others have losses of their own."""
    distance: DistanceSpec | None = None
    """The perceptual distance, for objectives that have such a term."""
    initialise: Literal["teacher", "random"] = "teacher"
    """Begin with the teacher's weights, or with fresh ones."""
    dropout: Fraction | None = None
    """Of the student's network; the teacher's unless given."""
    real_share: Fraction = 0.0
    """How often a real pair stands in a generated one's place; 1 trains on real pairs alone."""
    guidance_dropout: Fraction = 0.0
    """Share of labels left out in training, so that the student can be guided."""
    on_data: bool = False
    """Pair real data with independent noise instead of taking pairs: consistency training, MeanFlow."""


class DistillStage(_Data, Learning):
    """Learn a sampler of few steps from a teacher's pairs."""

    OUTPUT: ClassVar[str] = "flow"
    INPUTS: ClassVar[Mapping[str, str]] = {
        "teacher": "flow",
        "pairs": "pairs",
        "real_pairs": "pairs",
        "features": "classifier",
        "begin": "flow",
    }

    kind: Literal["flow.distill"] = "flow.distill"
    teacher: str
    """The flow that made the pairs: it gives the network, the first weights, and answers where a method asks."""
    pairs: str | None = None
    """Its pairs."""
    real_pairs: str | None = None
    """Inverted pairs, mixed in by real_share."""
    features: str | None = None
    """A classifier for distance: classifier."""
    network: NetworkSpec | None = None
    """Another network than the teacher's, under the same parameterisation; needs initialise: random."""
    begin: str | None = None
    """Begin with this flow's weights instead of the teacher's, as the paper's fine-tuning on real pairs does."""
    train: FlowTraining = FlowTraining()
    """How."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        check_learning(self, pairs=self.pairs, real_pairs=self.real_pairs, features=self.features)
        if self.on_data and self.source is None and self.target is None:
            raise ValueError("on_data: true takes real data: source: <images>")
        if self.begin is not None and self.initialise == "random":
            raise ValueError("begin: weights to begin with, and initialise: random, exclude each other")
        if self.network is not None and self.initialise == "teacher":
            raise ValueError(
                "network: another network cannot begin with the teacher's weights; initialise: random"
            )
        return self

    def cites(self) -> tuple[str, ...]:
        """The paper of the recipe."""
        return (PAPER,)


def check_learning(
    learning: Learning, *, pairs: str | None, real_pairs: str | None, features: str | None, where: str = ""
) -> None:
    """Make sure that a student has what its choices need.

    Raises:
        ValueError: pairs, a distance or a network are missing.
    """
    name = learning.method.name
    if not learning.on_data and pairs is None:
        raise ValueError(f"{where}pairs: which pairs? A stage of flow.pairs makes some; or on_data: true")
    if learning.on_data and name in ("reflow", "direct", "progressive"):
        raise ValueError(f"{where}on_data: {name} learns from pairs that belong together")
    if learning.real_share and real_pairs is None:
        raise ValueError(f"{where}real_share mixes real pairs in: real_pairs: <a stage of flow.pairs with invert>")
    sees = learning.objective.name in ("perceptual", "perceptual_huber")
    sees = sees or learning.method.settings.get("loss") == "perceptual"
    if sees and learning.distance is None:
        raise ValueError(
            f"{where}objective {learning.objective.name}: which distance? distance: lpips_vgg or classifier"
        )
    if learning.distance is not None and learning.distance.name == "classifier" and features is None:
        raise ValueError(f"{where}distance: classifier needs features: <a stage or file of a trained classifier>")


class Scoring(Config):
    """What is measured of samples."""

    evaluations: tuple[PositiveInt, ...] = (1, 2, 4, 8)
    """Numbers of network evaluations to sample with."""
    solver: SolverSpec | None = None
    """How; what the model is made for unless given."""
    two_steps: Time | None = None
    """Where the second of two steps is evaluated; 0.8 in the paper, 0.5 on the uniform grid."""
    samples: Annotated[int, Field(ge=10)] = 2000
    """How many, at most as many as there are images; every set that is compared has the same number."""
    seed: NonNegativeInt = 1234
    """Of the noise."""
    batch_size: PositiveInt = 500
    """Samples at once."""
    path_steps: Annotated[int, Field(ge=2)] = 16
    """Steps that straightness and curvature are measured over."""
    inception_weights: str | None = None
    """File of the Inception network (pt_inception-2015-12-05-6726825d.pth); with it FID and Inception score are
    measured. The published FID of CIFAR-10 takes samples: 50000."""
    rounds: tuple[PositiveInt, ...] = ()
    """Which of the evaluations to spend each way of an inversion and reconstruction, for its error."""

    @model_validator(mode="after")
    def _countable(self) -> Self:
        if self.solver is not None and self.solver.name == "adaptive":
            raise ValueError("solver: scores stand beside numbers of evaluations, and adaptive chooses its own")
        return self


class ScoreStage(_Data):
    """Measure samplers by the number of their network evaluations."""

    OUTPUT: ClassVar[str] = "scores"
    INPUTS: ClassVar[Mapping[str, str]] = {"flows": "flow", "teacher": "flow", "features": "classifier"}

    kind: Literal["flow.score"] = "flow.score"
    flows: Mapping[str, str]
    """Name in the table -> the flow."""
    teacher: str | None = None
    """The flow whose samples the coupling error is measured to."""
    teacher_evaluations: PositiveInt = 63
    """Of the teacher's Heun solver, for those samples."""
    features: str | None = None
    """A classifier whose penultimate layer gives the features of Fréchet distance and precision/recall."""
    scoring: Scoring = Scoring()
    """What is measured."""

    @model_validator(mode="after")
    def _has_data(self) -> Self:
        if self.source is None and self.target is None:
            raise ValueError("samples are compared with data: source: <images>, or target: <a distribution>")
        if not self.flows:
            raise ValueError("flows: which? {name: <stage or file>}")
        return self


class CompareStage(_Data):
    """Distil students by several choices over several seeds with an equal budget, and measure them all."""

    OUTPUT: ClassVar[str] = "comparison"
    INPUTS: ClassVar[Mapping[str, str]] = {
        "teacher": "flow",
        "pairs": "pairs",
        "real_pairs": "pairs",
        "features": "classifier",
        "seeded": "flow",
    }

    kind: Literal["flow.compare"] = "flow.compare"
    teacher: str
    """The flow that made the pairs."""
    pairs: str | None = None
    """Its pairs."""
    real_pairs: str | None = None
    """Inverted pairs, for variants that mix them in."""
    features: str | None = None
    """A classifier for features and for distance: classifier."""
    seeded: Mapping[str, str] = Field(default_factory=dict)
    """Further flows to measure beside the students, by name."""
    variants: Mapping[str, Learning]
    """Name in the table -> how it learns."""
    seeds: tuple[NonNegativeInt, ...] = (0, 1, 2)
    """One student for each seed and variant."""
    train: FlowTraining = FlowTraining()
    """How; the same for all."""
    equal: Literal["passes", "steps"] = "passes"
    """What all have the same of: forward passes of networks in training, counted as the paper counts them, or
    steps. A method that asks its teacher three times takes a quarter of reflow's steps under `passes`."""
    teacher_evaluations: PositiveInt = 63
    """Of the teacher's Heun solver, for the samples that the coupling error is measured to."""
    scoring: Scoring = Scoring()
    """What is measured."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.source is None and self.target is None:
            raise ValueError("samples are compared with data: source: <images>, or target: <a distribution>")
        if not self.variants:
            raise ValueError("variants: which? {name: {objective: ...}}")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must be distinct and at least one (got {list(self.seeds)})")
        for name, variant in self.variants.items():
            where = f"variant '{name}': "
            check_learning(
                variant, pairs=self.pairs, real_pairs=self.real_pairs, features=self.features, where=where
            )
        return self

    def cites(self) -> tuple[str, ...]:
        """The paper of the recipe."""
        return (PAPER,)


class SampleStage(_Data):
    """Make samples, and show what the noise of real images allows."""

    OUTPUT: ClassVar[str] = "samples"
    INPUTS: ClassVar[Mapping[str, str]] = {"flow": "flow"}

    kind: Literal["flow.sample"] = "flow.sample"
    flow: str
    """The sampler: a stage or a file."""
    count: PositiveInt = 64
    """Samples, kept as PNG-ready bytes in samples.safetensors."""
    evaluations: tuple[PositiveInt, ...] | None = None
    """Numbers of network evaluations, each with the same noise; 1 and 2 unless given, as many as it chooses for
    the adaptive solver."""
    solver: SolverSpec | None = None
    """How; what the model is made for unless given."""
    times: tuple[Time, ...] | None = None
    """Where the steps of the last number of evaluations begin: [1, 0.8] is the paper's two steps."""
    guidance: NonNegative | None = None
    """Scale of classifier-free guidance."""
    labels: tuple[NonNegativeInt, ...] | None = None
    """Classes to make, in turn; all of them unless given."""
    trust: bool = False
    """Take the noise-anchored rule on a flow that is not known to be straight."""
    batch_size: PositiveInt = 500
    """Samples at once."""
    reconstruct: PositiveInt | None = None
    """Evaluations each way of an inversion and reconstruction of real images; needs a source."""
    interpolate: PositiveInt | None = None
    """Images between pairs of real images; needs a source."""
    translate: tuple[NonNegativeInt, NonNegativeInt] | None = None
    """From the first of these classes to the second, on real images; needs a source and a conditional flow."""

    @model_validator(mode="after")
    def _real(self) -> Self:
        wants = [n for n in ("reconstruct", "interpolate", "translate") if getattr(self, n) is not None]
        if wants and self.source is None and self.target is None:
            raise ValueError(f"{wants[0]} begins with real images: source: <images>")
        return self
