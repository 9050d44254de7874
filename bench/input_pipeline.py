"""Small images from memory to augmented, normalised batches: ours against torchvision in a DataLoader.

Both read the same 20,000 images of 32 x 32 pixels and make one epoch of batches of 128: crop with a border of 4,
flip, to [0, 1], normalised. The DataLoader has two workers, persistent ones, as one would use it; ours has none.
The other pair adds RandAugment. Images are noise: no file is decoded on either side.

Run: python -m bench.input_pipeline --out results/bench-input-pipeline.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from bench.harness import interleaved, report, summary
from limbeck.sources import ArraySource, Loader, crop, flip, normalise, rand_augment

IMAGES, BATCH, CLASSES = 20_000, 128, 100
MEAN, STD = (0.507, 0.487, 0.441), (0.267, 0.256, 0.276)


class Plain(Dataset[Any]):
    """Images and labels behind a transform, as torchvision's data sets are."""

    def __init__(
        self, images: torch.Tensor, labels: torch.Tensor, transform: Callable[[torch.Tensor], torch.Tensor]
    ):
        self.images, self.labels, self.transform = images, labels, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(self.images[index]), int(self.labels[index])


def theirs(images: torch.Tensor, labels: torch.Tensor, extra: Sequence[Any]) -> Callable[[], None]:
    transform = v2.Compose(
        [
            v2.RandomCrop(32, padding=4),
            v2.RandomHorizontalFlip(),
            *extra,
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    loader: DataLoader[Any] = DataLoader(
        Plain(images, labels, transform), batch_size=BATCH, shuffle=True, num_workers=2, persistent_workers=True
    )

    def epoch() -> None:
        seen = sum(len(batch) for batch, _ in loader)
        assert seen == len(images)

    return epoch


def ours(images: torch.Tensor, labels: torch.Tensor, extra: Sequence[Any]) -> Callable[[], None]:
    source = ArraySource(images, labels, [str(i) for i in range(CLASSES)])
    loader = Loader(source, batch_size=BATCH, seed=0, augment=[crop, flip, *extra])
    number = iter(range(1, 10_000))

    def epoch() -> None:
        seen = 0
        for batch in loader.epoch(next(number)):
            seen += len(normalise(batch["images"], MEAN, STD))
        assert seen == len(images)

    return epoch


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--repeats", type=int, default=7)
    arguments.add_argument("--images", type=int, default=IMAGES)
    arguments.add_argument("--out")
    given = arguments.parse_args()
    numbers = np.random.default_rng(0)
    images = torch.from_numpy(numbers.integers(0, 256, (given.images, 3, 32, 32), dtype=np.uint8))
    labels = torch.from_numpy(numbers.integers(0, CLASSES, given.images))
    sides = {
        "torchvision, crop and flip": theirs(images, labels, ()),
        "Limbeck, crop and flip": ours(images, labels, ()),
        "torchvision, RandAugment too": theirs(images, labels, (v2.RandAugment(2, 10),)),
        "Limbeck, RandAugment too": ours(images, labels, (partial(rand_augment, num_ops=2, magnitude=10.0),)),
    }
    seconds = {name: summary(values) for name, values in interleaved(sides, given.repeats).items()}
    middle = {name: found["median"] for name, found in seconds.items()}
    plain, policy = ([name for name in sides if name.endswith(end)] for end in ("flip", "too"))
    found = {
        "images a second, ours, crop and flip": given.images / middle[plain[1]],
        "images a second, theirs, crop and flip": given.images / middle[plain[0]],
        "times as fast, crop and flip": middle[plain[0]] / middle[plain[1]],
        "images a second, ours, with RandAugment": given.images / middle[policy[1]],
        "images a second, theirs, with RandAugment": given.images / middle[policy[0]],
        "times as fast, with RandAugment": middle[policy[0]] / middle[policy[1]],
    }
    report("input_pipeline", seconds, found, out=given.out)


if __name__ == "__main__":
    main()
