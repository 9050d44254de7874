"""CKA of every layer of ResNet-20 with every layer of ResNet-8: all pairs at once against pair after pair.

Both sides run each network once on each batch and estimate HSIC without bias from the flattened maps. Pair after
pair is what one writes from the formula, and what common packages do: the kernel matrices of a pair are made for
that pair, in the single precision of the features, and each of the three HSICs takes its traces and sums; ours are
in double precision. Peak memory is that of a fresh process.

Run: python -m bench.cka --out results/bench-cka.json
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor, nn

from bench import harness
from limbeck.measures import cka_map
from limbeck.models import build
from limbeck.taps import Taps, tap_points

NETWORKS = ("resnet20", "resnet8")


def networks() -> list[nn.Module]:
    torch.manual_seed(0)
    return [build(name, num_classes=10).eval() for name in NETWORKS]


def maps_of(network: nn.Module) -> list[str]:
    """Every module that puts out a map."""
    points = tap_points(network, torch.zeros(2, 3, 32, 32))
    return list(dict.fromkeys(point.path for point in points if len(point.shape) == 4))


def batches(images: int, size: int) -> Iterator[Tensor]:
    """Synthetic images, made when they are asked for."""
    for seed in range(images // size):
        yield torch.rand(size, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def hsic(left: Tensor, right: Tensor) -> Tensor:
    """The three terms of the unbiased estimate, from kernel matrices with zeros on the diagonal."""
    n = len(left)
    product = left @ right
    found = product.trace() + left.sum() * right.sum() / ((n - 1) * (n - 2)) - 2 * product.sum() / (n - 2)
    return found / (n * (n - 3))


def gram(features: Tensor, dtype: torch.dtype) -> Tensor:
    rows = features.flatten(1).to(dtype)
    return (rows @ rows.T).fill_diagonal_(0)


@torch.no_grad()
def pair_after_pair(images: int, size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    left, right = networks()
    with Taps(left, maps_of(left)) as taps_left, Taps(right, maps_of(right)) as taps_right:
        sums = torch.zeros(3, len(taps_left.paths), len(taps_right.paths), dtype=dtype)
        for batch in batches(images, size):
            left(batch)
            right(batch)
            features, others = taps_left.take(), taps_right.take()
            for i, x in enumerate(features.values()):
                ours = gram(x, dtype)
                sums[1, i] += hsic(ours, ours)
                for j, y in enumerate(others.values()):
                    theirs = gram(y, dtype)
                    sums[0, i, j] += hsic(ours, theirs)
                    sums[2, i, j] += hsic(theirs, theirs)
    return sums[0] / (sums[1] * sums[2]).sqrt()


def all_at_once(images: int, size: int, positions: Literal["mean", "flatten"] = "flatten") -> Tensor:
    left, right = networks()
    layers = maps_of(left), maps_of(right)
    found = cka_map(
        left, right, batches(images, size), layers_a=layers[0], layers_b=layers[1], positions=positions
    )
    return found.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--images", type=int, default=512, help="for times; memory is taken at ten times as many too"
    )
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory:
        all_at_once(options.memory, options.batch)
        print(harness.peak_memory_bytes())
        return
    images, size = options.images, options.batch
    sides = {
        "pair after pair": lambda: pair_after_pair(images, size),
        "all at once": lambda: all_at_once(images, size),
        "all at once, positions averaged": lambda: all_at_once(images, size, positions="mean"),
    }
    ours = all_at_once(size, size)
    differences = {}
    for dtype in (torch.float64, torch.float32):
        apart = (pair_after_pair(size, size, dtype).double() - ours).abs()
        differences[f"largest_difference_from_{str(dtype).removeprefix('torch.')}"] = float(
            apart[apart.isfinite()].max()
        )
    times = harness.interleaved(sides, options.repeats, warmup=0)  # the comparisons above were the warmup
    seconds = {side: harness.summary(values) for side, values in times.items()}
    speed = {side: seconds["pair after pair"]["median"] / numbers["median"] for side, numbers in seconds.items()}
    peaks = {
        count: harness.memory_in_fresh_process(
            "bench.cka", "--memory", str(count), "--batch", str(size), "--threads", str(options.threads)
        )
        for count in (images, 10 * images)
    }
    numbers = {
        "layers_of_one": float(ours.shape[0]),
        "layers_of_the_other": float(ours.shape[1]),
        "images": float(images),
        "batch": float(size),
        "threads": float(options.threads),
        "times_as_fast_all_at_once": speed["all at once"],
        "times_as_fast_positions_averaged": speed["all at once, positions averaged"],
        **differences,
        **{f"peak_mib_{count}_images": peak / 2**20 for count, peak in peaks.items()},
    }
    harness.report("cka_of_all_layers", seconds, numbers, out=options.out)


if __name__ == "__main__":
    main()
