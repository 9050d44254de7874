"""The images of a stage: train, validation and test, with the batches made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from limbeck.classify.config import ClassifierStage, Training
from limbeck.engine import Machine
from limbeck.errors import DataError
from limbeck.models import DataConfig
from limbeck.protocols import Source
from limbeck.seeding import derive, generator
from limbeck.sources import AUGMENTS, Loader, Mix, StreamSource, Subset, build, loader_of, part_of
from limbeck.sources.nesting import without_limits
from limbeck.specs import Spec

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Data:
    """What a stage learns from, chooses by and is measured on.

    Attributes:
        train: without the validation share.
        validation: None unless a share was held out.
        test: never chooses anything.
    """

    train: Source
    validation: Source | None
    test: Source

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the labels."""
        return tuple(self.train.class_names)

    @property
    def config(self) -> DataConfig:
        """The facts that travel with a model trained on this data."""
        return DataConfig(
            input_shape=tuple(self.train.image_shape),
            mean=tuple(self.train.mean),
            std=tuple(self.train.std),
            class_names=self.class_names,
        )

    def example(self, device: torch.device, images: int = 2) -> Tensor:
        """The first test images in [0, 1], to probe networks with."""
        count = min(images, len(self.test))
        if isinstance(self.test, StreamSource):  # some of its images may be damaged, and to be left out
            return self.test.first(count).to(device).float() / 255
        return torch.stack([self.test[i][0] for i in range(count)]).to(device).float() / 255


def load_data(config: ClassifierStage, *, seed: int) -> Data:
    """The data that a stage's configuration names; limits on its size hold for the training split alone.

    Raises:
        DataError: train and test do not belong together.
    """
    spec, settings = config.source, config.source.settings
    test_spec = config.test_source or Spec(name=spec.name, **without_limits(settings))
    train = build(spec.name, split="train", **settings)
    test = build(test_spec.name, split="test", **test_spec.settings)
    return split_data(train, test, validation=config.train.validation, seed=seed)


def split_data(train: Source, test: Source, *, validation: float, seed: int) -> Data:
    """Hold out a share of the training images to choose the best epoch by.

    Raises:
        DataError: train and test do not belong together, or a share so small that it holds nothing.
    """
    if tuple(train.class_names) != tuple(test.class_names) or train.image_shape != test.image_shape:
        raise DataError(
            f"train and test differ: {len(train.class_names)} classes of {train.image_shape} images against "
            f"{len(test.class_names)} classes of {test.image_shape} images. Both need the same classes and size."
        )
    if validation == 0:
        return Data(train, None, test)
    held = round(validation * len(train))
    if not 0 < held < len(train):
        raise DataError(f"validation: {validation} of {len(train)} training images leaves {held} held out.")
    order = torch.randperm(len(train), generator=generator(seed, "validation")).tolist()
    return Data(part_of(train, order[held:]), part_of(train, order[:held]), test)


def labels_of(source: Source) -> Tensor:
    """The label of every image, shape (images,), int64; sources that do not keep them are read through."""
    if isinstance(source, Subset):
        return labels_of(source.source)[source.indices]
    labels = getattr(source, "labels", None)
    if labels is None:
        labels = [source[i][1] for i in range(len(source))]
    return torch.as_tensor(labels, dtype=torch.int64)


def training_stream(
    source: Source,
    training: Training,
    *,
    machine: Machine,
    seed: int,
    views: Mapping[str, Sequence[Spec]] | None = None,
) -> Loader:
    """Shuffled, augmented batches; `views` are further augmentations of the same images."""
    return loader_of(source)(
        source,
        batch_size=training.batch_size,
        seed=derive(seed, "data"),
        shuffle=True,
        # Batch norm cannot learn from a single image, and every process needs one.
        drop_last=0 < len(source) % training.batch_size < max(2, 2 * machine.world) < len(source),
        augment=_augmentations(training.augment),
        source_views=True,
        views={name: _augmentations(found) for name, found in (views or {}).items()},
        mix=Mix(**training.mix.model_dump()) if training.mix is not None else None,
        workers=training.workers,
        device=machine.device,
        rank=machine.rank,
        world=machine.world,
    )


def _augmentations(specs: Sequence[Spec]) -> list[partial[Tensor]]:
    return [partial(AUGMENTS[spec.name], **spec.settings) for spec in specs]


def evaluation_stream(source: Source, *, machine: Machine, whole: bool = False, workers: int = 0) -> Loader:
    """Batches in order, as they are; `whole` gives every process the whole set."""
    return loader_of(source)(
        source,
        batch_size=EVALUATION_BATCH,
        seed=0,
        shuffle=False,
        workers=workers,
        device=machine.device,
        rank=0 if whole else machine.rank,
        world=1 if whole else machine.world,
    )
