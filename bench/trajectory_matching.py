"""One outer iteration of trajectory matching: the exact gradient in constant memory against the unrolled form.

ConvNet-3 of width 128 at 32 pixels, 10 classes, 10 images per class, all of them in every inner step,
augmentation on. Time is taken in turns in one process, memory in a fresh process for each case.

Run: python -m bench.trajectory_matching --out results/bench-trajectory-matching.json
"""

from __future__ import annotations

import argparse
import sys

import torch

from bench import harness
from limbeck.dataset import dsa
from limbeck.dataset.flat import Flat
from limbeck.dataset.matching.trajectories import Step, matching_gradient, tesla_gradient, unrolled_gradient
from limbeck.models import build

GRADIENTS = {"unrolled": unrolled_gradient, "exact": matching_gradient, "tesla": tesla_gradient}
IPC, CLASSES = 10, 10


def case(steps: int, *, size: int, width: int):
    """Arguments of a gradient."""
    torch.manual_seed(0)
    net = Flat(build("convnet3", num_classes=CLASSES, width=width, image_size=size))
    images = torch.randn(IPC * CLASSES, 3, size, size)
    labels = torch.arange(CLASSES).repeat_interleave(IPC)
    start = net.start()
    target = start + 0.01 * torch.randn_like(start)
    draws = torch.Generator().manual_seed(0)
    inner = [
        Step(torch.randperm(len(images), generator=draws), dsa.draw(dsa.STRATEGY, images.shape, generator=draws))
        for _ in range(steps)
    ]
    return net.logits, start, target, images, labels, torch.tensor(0.01), inner


def memory(name: str, steps: int, size: int, width: int) -> None:
    """Print the extra peak memory of one gradient, in bytes."""
    arguments = case(1, size=size, width=width)
    matching_gradient(*arguments[:-1], arguments[-1])  # libraries and their workspaces
    before = harness.peak_memory_bytes()
    GRADIENTS[name](*case(steps, size=size, width=width))
    print(harness.peak_memory_bytes() - before)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out")
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--size", type=int, default=32)
    arguments.add_argument("--width", type=int, default=128)
    arguments.add_argument("--steps", type=int, default=30)
    given = arguments.parse_args()
    shape = (str(given.size), str(given.width))
    numbers: dict[str, float] = {}
    for name, steps in (("unrolled", given.steps), ("exact", 10), ("exact", given.steps), ("exact", 50)):
        extra = harness.memory_in_fresh_process("bench.trajectory_matching", "--memory", name, str(steps), *shape)
        numbers[f"extra_mib_{name}_{steps}_steps"] = extra / 2**20
    numbers["memory_unrolled_over_exact"] = (
        numbers[f"extra_mib_unrolled_{given.steps}_steps"] / numbers[f"extra_mib_exact_{given.steps}_steps"]
    )
    ready = case(given.steps, size=given.size, width=given.width)
    sides = {name: (lambda g=gradient: g(*ready)) for name, gradient in GRADIENTS.items()}
    one, other = (sides[name]() for name in ("unrolled", "exact"))
    numbers["largest_relative_difference"] = float(
        (one.images - other.images).abs().max() / one.images.abs().max()
    )
    seconds = {k: harness.summary(v) for k, v in harness.interleaved(sides, given.repeats, warmup=0).items()}
    numbers["time_exact_over_unrolled"] = seconds["exact"]["median"] / seconds["unrolled"]["median"]
    numbers["time_tesla_over_unrolled"] = seconds["tesla"]["median"] / seconds["unrolled"]["median"]
    harness.report(f"trajectory_matching, {given.steps} steps", seconds, numbers, out=given.out)


if __name__ == "__main__":
    if "--memory" in sys.argv:
        at = sys.argv.index("--memory")
        name, steps, size, width = sys.argv[at + 1 : at + 5]
        memory(name, int(steps), int(size), int(width))
    else:
        main()
