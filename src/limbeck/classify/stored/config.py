"""What `classify.store_teacher` may say. No torch here: recipes are checked without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from limbeck.bounds import Fraction, NonNegativeInt, PositiveInt
from limbeck.classify.config import AugmentSpec, OneTeacher, SourceSpec
from limbeck.specs import Config, StageConfig


class Top(Config):
    """The largest logits of each view, and one value that stands for all others."""

    top: PositiveInt
    """How many."""


class StoredOutputs(Config):
    """What is kept of each view."""

    logits: Literal["full"] | Top = "full"
    """All logits, or {top: 20} for the largest; the absent classes then share the remaining probability evenly."""
    taps: tuple[str, ...] = ()
    """Module paths in the teacher whose features are kept too, as the terms of the students will name them."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Numbers on disk; students get float32 back."""


class StoreStage(StageConfig):
    """Run a teacher once over the views that students will see, and keep what it puts out."""

    OUTPUT: ClassVar[str] = "teacher_outputs"
    INPUTS: ClassVar[Mapping[str, str]] = {"teacher": "classifier", "extends": "teacher_outputs"}

    kind: Literal["classify.store_teacher"] = "classify.store_teacher"
    teacher: OneTeacher
    """Who teaches: an earlier stage, a path, a pretrained model."""
    source: SourceSpec
    """The images, as in the stage that learns from them."""
    augment: tuple[AugmentSpec, ...] = ()
    """Augmentations, as in the stage that learns; without any, one pass serves every epoch and every seed."""
    validation: Fraction = 0.0
    """Share of the training set that the learning stage holds out."""
    epochs: PositiveInt = 1
    """Epochs of views; without augmentation all epochs have the same."""
    seeds: Annotated[tuple[NonNegativeInt, ...], Field(min_length=1)] | None = None
    """Seeds of the students, each with views of its own; the stage's seed unless given."""
    outputs: StoredOutputs = StoredOutputs()
    """What is kept of each view."""
    batch_size: PositiveInt = 64
    """Images a batch of the teacher; that of the students gives the same bits as a teacher that runs."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the teacher."""
    channels_last: bool = False
    """Keep images and weights of convolutions with channels innermost."""
    workers: NonNegativeInt = 0
    """Loader processes; sets that fit in memory need none."""
    extends: str | None = None
    """An earlier store of the same teacher and views, whose shards are taken over; the rest is added."""
    seed: NonNegativeInt | None = None
    """Seed of this stage; the run's seed unless given. It chooses the validation share."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if "split" in self.source.settings:
            raise ValueError(f"source {self.source.name}: 'split' is chosen by the stage; remove it")
        if self.seeds is not None and len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds must be distinct (got {list(self.seeds)})")
        return self
