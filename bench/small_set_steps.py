"""Steps of DM and DSA, and a student of a small set, against straightforward code.

Straightforward: a network call for each class (DM), all classes' graphs kept until one backward pass (DSA), and a
DataLoader with two workers whose samples are augmented one by one by torchvision (students).

Run: python -m bench.small_set_steps --out results/bench-small-set-steps.json
"""

from __future__ import annotations

import argparse
import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from bench import harness
from limbeck.dataset import dsa
from limbeck.dataset._registry import SYNTHESES
from limbeck.dataset.matching.gradients import row_cosine
from limbeck.dataset.methods._base import Ground
from limbeck.dataset.preprocess import Normalisation
from limbeck.dataset.real import Real, Split
from limbeck.dataset.students import Recipe, train_student
from limbeck.models import build
from limbeck.seeding import seed_everything

SIZE, WIDTH, IPC, CLASSES, REAL = 16, 32, 10, 10, 64


def fresh(seed: int) -> nn.Module:
    seed_everything(seed, "weights")
    return build("convnet3", num_classes=CLASSES, width=WIDTH, image_size=SIZE)


def ground() -> Ground:
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(2000) % CLASSES
    split = Split(torch.randn(2000, 3, SIZE, SIZE, generator=draws), labels)
    real = Real(split, None, split, Normalisation((0.5,) * 3, (0.25,) * 3), tuple("abcdefghij"), "made up")
    rows = torch.cat([r[:IPC] for r in real.rows])
    return Ground(split.images[rows], labels[rows], real, fresh, 0)


def plain_dm(begun: Ground, images: Tensor, number: int) -> None:
    """Class by class, as one writes it down."""
    network = fresh(number)
    draws = torch.Generator().manual_seed(number)
    pixels = images.detach().requires_grad_(True)
    loss = torch.zeros(())
    features: list[Tensor] = []
    network.get_submodule("fc").register_forward_pre_hook(lambda _, inputs: features.append(inputs[0]))
    for label, rows in enumerate(begun.rows):
        real = begun.real.batch(label, REAL, generator=draws)
        drawn = dsa.draw(dsa.STRATEGY, real.shape, generator=draws, siamese=True)
        network(dsa.apply(real, drawn))
        wanted = features.pop().detach()
        network(dsa.apply(pixels[rows], drawn))
        loss = loss + (wanted.mean(0) - features.pop().mean(0)).square().sum()
    (gradient,) = torch.autograd.grad(loss, pixels)
    images -= gradient


def plain_dsa(begun: Ground, images: Tensor, number: int) -> None:
    """The sum over classes, then one backward pass."""
    network = fresh(number)
    parameters = list(network.parameters())
    draws = torch.Generator().manual_seed(number)
    pixels = images.detach().requires_grad_(True)
    loss = torch.zeros(())
    for label, rows in enumerate(begun.rows):
        real = begun.real.batch(label, REAL, generator=draws)
        drawn = dsa.draw(dsa.STRATEGY, real.shape, generator=draws, siamese=True)
        sides = []
        for batch, keep in ((real, False), (pixels[rows], True)):
            labels = torch.full((len(batch),), label)
            found = F.cross_entropy(network(dsa.apply(batch, drawn)), labels)
            sides.append(torch.autograd.grad(found, parameters, create_graph=keep))
        loss = loss + row_cosine(*sides)
    (gradient,) = torch.autograd.grad(loss, pixels)
    images -= 0.1 * gradient


class Samples(Dataset):
    """Images augmented one by one."""

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images, labels
        self.change = v2.RandomChoice(
            [
                v2.RandomHorizontalFlip(),
                v2.RandomCrop(SIZE, padding=2),
                v2.RandomAffine(15),
                v2.RandomAffine(0, scale=(0.83, 1.2)),
                v2.RandomErasing(p=1, scale=(0.25, 0.25), ratio=(1, 1)),
                v2.ColorJitter(0.5, 0.5, 0.5),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.change(self.images[index]), self.labels[index]


def plain_student(images: Tensor, labels: Tensor, epochs: int) -> None:
    network = fresh(0)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4)
    loader = DataLoader(Samples(images, labels), batch_size=256, shuffle=True, num_workers=2)
    for _ in range(epochs):
        for batch, wanted in loader:
            optimizer.zero_grad()
            F.cross_entropy(network(batch), wanted).backward()
            optimizer.step()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out")
    arguments.add_argument("--epochs", type=int, default=1000)
    arguments.add_argument("--repeats", type=int, default=7)
    given = arguments.parse_args()
    begun = ground()
    numbers: dict[str, float] = {}
    seconds: dict[str, Any] = {}
    ours = {
        "dm": SYNTHESES["dm"](begun, batch_real=REAL),
        "dsa": SYNTHESES["dsa"](begun, batch_real=REAL, rounds=1, passes=1),
    }
    for name, plain in (("dm", plain_dm), ("dsa", plain_dsa)):
        images = copy.deepcopy(begun.start)
        found = harness.interleaved(
            {
                f"{name}, straightforward": lambda p=plain, i=images: p(begun, i, 1),
                f"{name}, limbeck": lambda m=ours[name]: m.iteration(1),
            },
            given.repeats,
        )
        seconds |= {key: harness.summary(value) for key, value in found.items()}
        numbers[f"speed_{name}"] = (
            seconds[f"{name}, straightforward"]["median"] / seconds[f"{name}, limbeck"]["median"]
        )
    recipe = Recipe(epochs=given.epochs, schedule="constant")
    found = harness.interleaved(
        {
            "student, DataLoader": lambda: plain_student(begun.start, begun.labels, given.epochs),
            "student, limbeck": lambda: train_student(fresh(0), begun.start, begun.labels, recipe, seed=0),
        },
        1,
        warmup=0,
    )
    seconds |= {key: harness.summary(value) for key, value in found.items()}
    numbers["speed_student"] = seconds["student, DataLoader"]["median"] / seconds["student, limbeck"]["median"]
    harness.report("small_set_steps", seconds, numbers, out=given.out)


if __name__ == "__main__":
    main()
