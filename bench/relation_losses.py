"""Losses on features, forward and backward, against the same objectives written down step by step.

Each of the straightforward forms is what one writes from the formulas: every row fetched from the memory (CRD),
every pair and triple of samples at once (RKD), every pooled map apart (ReviewKD), one projector after the other
(PEFD), one cell of the grid after the other (WKD-F).

Run: python -m bench.relation_losses --out results/bench-relation-losses.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional as F

from bench import harness
from limbeck.losses import (
    ProjectorEnsemble,
    ReviewKD,
    crd_loss,
    crd_remember,
    direction_alignment,
    rkd,
    wkd_feature,
)

SIDES = ("straightforward", "limbeck")
TAU, MOMENTUM, EPS = 0.07, 0.5, 1e-7


@dataclass(frozen=True)
class Case:
    """One objective twice.

    Attributes:
        inputs: what a gradient is asked for.
        sides: from nothing to the scalar, by name.
    """

    inputs: Sequence[Tensor]
    sides: dict[str, Callable[[], Tensor]]

    def step(self, side: str) -> Callable[[], tuple[Tensor, ...]]:
        return lambda: torch.autograd.grad(self.sides[side](), list(self.inputs))


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def leaf(*shape: int, seed: int) -> Tensor:
    return draw(*shape, seed=seed).requires_grad_()


def crd_case(images: int, negatives: int) -> Case:
    """Embeddings of a batch of 64 against a memory, which is updated."""
    student, teacher = leaf(64, 128, seed=0), leaf(64, 128, seed=1)
    generator = torch.Generator().manual_seed(2)
    contrast = torch.stack([torch.randperm(images, generator=generator)[: negatives + 1] for _ in range(64)])
    index, scale = contrast[:, 0], torch.full((2,), 2.0 * images)
    banks = {side: [F.normalize(draw(images, 128, seed=s), dim=1) for s in (3, 4)] for side in SIDES}

    def straightforward() -> Tensor:
        total = torch.zeros(())
        embeddings = F.normalize(student, dim=1), F.normalize(teacher, dim=1)
        own, other = banks["straightforward"]
        for embedding, memory, z in zip(embeddings, (other, own), scale, strict=True):
            rows = memory.index_select(0, contrast.flatten()).view(64, negatives + 1, 128)
            scores = (torch.bmm(rows, embedding[:, :, None]).squeeze(2) / TAU).exp() / z
            noise = negatives / images
            matching = (scores[:, 0] / (scores[:, 0] + noise + EPS)).log().sum()
            others = (noise / (scores[:, 1:] + noise + EPS)).log().sum()
            total = total - (matching + others) / 64
        with torch.no_grad():
            for embedding, memory in zip(embeddings, (own, other), strict=True):
                mixed = MOMENTUM * memory.index_select(0, index) + (1 - MOMENTUM) * embedding
                memory.index_copy_(0, index, mixed / mixed.norm(dim=1, keepdim=True))
        return total

    def limbeck() -> Tensor:
        embeddings = F.normalize(student, dim=1), F.normalize(teacher, dim=1)
        loss, _ = crd_loss(*embeddings, *banks["limbeck"], contrast, scale, temperature=TAU)
        for embedding, memory in zip(embeddings, banks["limbeck"], strict=True):
            crd_remember(memory, embedding, index, momentum=MOMENTUM)
        return loss

    return Case((student, teacher), {"straightforward": straightforward, "limbeck": limbeck})


def rkd_case(samples: int, dims: int) -> Case:
    student, teacher = leaf(samples, dims, seed=0), draw(samples, dims, seed=1)

    def distances(x: Tensor) -> Tensor:
        squares = x.square().sum(dim=1)
        gaps = (squares[:, None] + squares[None] - 2 * x @ x.T).clamp(min=1e-12).sqrt()
        gaps = gaps * (1 - torch.eye(samples))
        return gaps / gaps[gaps > 0].mean()

    def angles(x: Tensor) -> Tensor:
        apart = F.normalize(x[None] - x[:, None], p=2, dim=2)
        return torch.bmm(apart, apart.mT)

    def straightforward() -> Tensor:
        with torch.no_grad():
            wanted_distances, wanted_angles = distances(teacher), angles(teacher)
        far = F.smooth_l1_loss(distances(student), wanted_distances)
        return 25 * far + 50 * F.smooth_l1_loss(angles(student), wanted_angles)

    return Case((student,), {"straightforward": straightforward, "limbeck": lambda: rkd(student, teacher)})


def reviewkd_case(samples: int) -> Case:
    """ResNet-8x4 reviewed by ResNet-32x4, on images of 32 pixels."""
    shapes = [(64, 32, 32), (128, 16, 16), (256, 8, 8), (256,)]
    torch.manual_seed(0)
    loss = ReviewKD(student_shapes=shapes, teacher_shapes=shapes)
    student = [leaf(samples, *shape, seed=i) for i, shape in enumerate(shapes)]
    teacher = [draw(samples, *shape, seed=10 + i) for i, shape in enumerate(shapes)]

    def context(own: Tensor, taught: Tensor) -> Tensor:
        height = own.shape[2]
        value, total, weight = F.mse_loss(own, taught), 1.0, 1.0
        for side in (4, 2, 1):
            if side < height:
                weight /= 2
                pooled = [F.adaptive_avg_pool2d(x, (side, side)) for x in (own, taught)]
                value, total = value + weight * F.mse_loss(*pooled), total + weight
        return value / total

    def straightforward() -> Tensor:
        value, passed = torch.zeros(()), None
        taught = [x if x.dim() == 4 else x[:, :, None, None] for x in teacher]
        own = [x if x.dim() == 4 else x[:, :, None, None] for x in student]
        for block, x, wanted in zip(loss.fusions, own[::-1], taught[::-1], strict=True):
            reduced = block.reduce(x)
            if passed is not None:
                passed = F.interpolate(passed, reduced.shape[2:], mode="nearest")
                shares = torch.sigmoid(block.attention(torch.cat((reduced, passed), dim=1)))
                reduced = reduced * shares[:, :1] + passed * shares[:, 1:]
            passed = reduced
            value = value + context(block.project(passed), wanted)
        return value

    inputs = [*student, *loss.parameters()]
    return Case(inputs, {"straightforward": straightforward, "limbeck": lambda: loss(student, teacher).mean()})


def pefd_case(samples: int, dims: int) -> Case:
    torch.manual_seed(0)
    projectors = ProjectorEnsemble(student_dim=dims, teacher_dim=dims)
    student, teacher = leaf(samples, dims, seed=0), draw(samples, dims, seed=1).relu()

    def straightforward() -> Tensor:
        projected = torch.zeros(samples, dims)
        for layers in projectors.projectors:
            assert isinstance(layers, nn.Sequential)
            projected = projected + torch.relu(F.linear(student, layers[0].weight, layers[0].bias))
        projected = projected / len(projectors.projectors)
        own = projected / projected.norm(dim=1, keepdim=True)
        return (1 - (own * (teacher / teacher.norm(dim=1, keepdim=True))).sum(dim=1)).mean()

    def limbeck() -> Tensor:
        return direction_alignment(projectors(student), teacher).mean()

    inputs = [student, *projectors.parameters()]
    return Case(inputs, {"straightforward": straightforward, "limbeck": limbeck})


def wkd_feature_case(samples: int, grid: int) -> Case:
    student, teacher = leaf(samples, 256, 8, 8, seed=0), draw(samples, 256, 8, 8, seed=1)

    def moments(cell: Tensor) -> tuple[Tensor, Tensor]:
        flat = cell.flatten(2)
        return flat.mean(dim=2), (flat.var(dim=2, unbiased=True) + 1e-5).sqrt()

    def straightforward() -> Tensor:
        side, value = 8 // grid, torch.zeros(samples)
        for row in range(grid):
            for column in range(grid):
                area = (..., slice(row * side, (row + 1) * side), slice(column * side, (column + 1) * side))
                own, taught = moments(student[area]), moments(teacher[area])
                means, deviations = ((a - b).square().sum(dim=1) for a, b in zip(own, taught, strict=True))
                value = value + (4 * means + deviations) / grid**2
        return value.mean()

    def limbeck() -> Tensor:
        return wkd_feature(student, teacher, grid=grid, mean_weight=4.0).mean()

    return Case((student,), {"straightforward": straightforward, "limbeck": limbeck})


CASES: dict[str, Callable[[], Case]] = {
    "CRD, 50 000 images, 16 384 negatives": lambda: crd_case(50_000, 16_384),
    "CRD, 400 000 images, 4 096 negatives": lambda: crd_case(400_000, 4_096),
    "RKD, 64 x 256": lambda: rkd_case(64, 256),
    "RKD, 128 x 512": lambda: rkd_case(128, 512),
    "ReviewKD, ResNet-32x4 to 8x4, 64": lambda: reviewkd_case(64),
    "PEFD, 64 x 2048": lambda: pefd_case(64, 2048),
    "WKD-F, 64 x 256 x 8 x 8, grid 1": lambda: wkd_feature_case(64, 1),
    "WKD-F, 64 x 256 x 8 x 8, grid 4": lambda: wkd_feature_case(64, 4),
}


def measure(name: str, repeats: int) -> dict[str, Any]:
    case = CASES[name]()
    steps = {side: case.step(side) for side in SIDES}
    difference = _difference(case)
    seconds = harness.interleaved(steps, repeats=repeats)
    timing = {side: harness.summary(values) for side, values in seconds.items()}
    names = list(CASES)
    memory = {
        side: harness.memory_in_fresh_process(
            "bench.relation_losses", "--memory-of", side, "--only", str(names.index(name))
        )
        for side in SIDES
    }
    return {
        "case": name,
        "seconds": timing,
        "memory_bytes": memory,
        "speedup": timing["straightforward"]["median"] / timing["limbeck"]["median"],
        "gradient_difference": difference,
    }


def _difference(case: Case) -> float:
    """Relative, over all gradients; a memory is in the same state for both, each side having its own."""
    theirs, ours = (torch.cat([g.flatten() for g in case.step(side)()]) for side in SIDES)
    return float((ours - theirs).norm() / theirs.norm())


def memory_of(side: str, name: str) -> int:
    """Growth of the resident peak over one step, after a step of the smallest case loaded what torch loads."""
    CASES["RKD, 64 x 256"]().step(side)()
    step = CASES[name]().step(side)
    before = harness.peak_memory_bytes()
    step()
    return harness.peak_memory_bytes() - before


def table(results: list[dict[str, Any]]) -> Table:
    shown = Table(title="Losses on features, forward + backward: median (quartiles), peak memory above the start")
    shown.add_column("loss")
    for column in (
        "straightforward ms",
        "limbeck ms",
        "speed",
        "straightforward MiB",
        "limbeck MiB",
        "difference",
    ):
        shown.add_column(column, justify="right", no_wrap=True)
    for row in results:
        shown.add_row(
            row["case"],
            *(harness.spread(row["seconds"][side], scale=1e3) for side in SIDES),
            f"{row['speedup']:.2f}x",
            *(f"{row['memory_bytes'][side] / 2**20:.1f}" for side in SIDES),
            f"{row['gradient_difference']:.0e}",
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", type=int, nargs="+", choices=range(len(CASES)), help="positions in the table")
    parser.add_argument("--memory-of", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names = [name for i, name in enumerate(CASES) if options.only is None or i in options.only]
    if options.memory_of:
        print(memory_of(options.memory_of, names[0]))
        return
    results = [measure(name, options.repeats) for name in names]
    Console(width=150).print(table(results))
    if options.out:
        harness.write(options.out, "relation_losses", {"threads": options.threads, "rows": results})


if __name__ == "__main__":
    main()
