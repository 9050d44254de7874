"""WKD-L, forward and backward: one shared kernel against the textbook form that repeats it for every sample.

Run: python -m bench.wkd_logit --out results/bench-wkd-logit.json
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional as F

from bench import harness
from limbeck.losses import wkd_transport

TEMPERATURE, REG, ITERATIONS, GUARD = 4.0, 0.05, 10, 1e-8
SETTINGS = {"temperature": TEMPERATURE, "reg": REG, "iterations": ITERATIONS}


def textbook(student: Tensor, teacher: Tensor, labels: Tensor, cost: Tensor) -> Tensor:
    """The same numbers with a cost and a kernel of (classes - 1, classes - 1) for each sample."""
    samples, classes = student.shape
    kept = torch.ones_like(student, dtype=torch.bool).scatter(1, labels[:, None], False)
    rows = F.softmax(student[kept].view(samples, classes - 1) / TEMPERATURE, dim=1)[:, :, None]
    columns = F.softmax(teacher[kept].view(samples, classes - 1) / TEMPERATURE, dim=1)[:, :, None]
    pairs = kept[:, :, None] & kept[:, None, :]
    ground = torch.relu(cost) + 1e-8
    ground = ground.repeat(samples, 1, 1)[pairs].view(samples, classes - 1, classes - 1)
    kernel = torch.exp(-ground / REG)
    u = torch.full_like(rows, 1 / (classes - 1))
    v = columns
    for _ in range(ITERATIONS):
        v = columns / (kernel.mT @ u + GUARD)
        u = rows / (kernel @ v + GUARD)
    plan = u * kernel * v.mT
    return (plan * ground).sum(dim=(1, 2))


def shared(student: Tensor, teacher: Tensor, labels: Tensor, cost: Tensor) -> Tensor:
    return wkd_transport(student, teacher, labels, cost, **SETTINGS)


SIDES: dict[str, Callable[..., Tensor]] = {"textbook": textbook, "limbeck": shared}


def inputs(classes: int, samples: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A confident teacher, a noisy student and a cost like those of real classifiers."""
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(classes, (samples,), generator=draw)
    teacher = 2 * torch.randn(samples, classes, generator=draw)
    teacher[torch.arange(samples), labels] += 8
    student = (teacher + torch.randn(samples, classes, generator=draw)).requires_grad_()
    distance = 0.5 + 0.35 * torch.rand(classes, classes, generator=draw)
    cost = 1 - torch.exp(-(distance + distance.T) / 2)
    return student, teacher, labels, cost.fill_diagonal_(0)


def step(side: str, tensors: tuple[Tensor, ...]) -> Callable[[], Tensor]:
    def run() -> Tensor:
        (gradient,) = torch.autograd.grad(SIDES[side](*tensors).mean(), tensors[0])
        return gradient

    return run


def measure(classes: int, samples: int, repeats: int) -> dict[str, Any]:
    tensors = inputs(classes, samples)
    steps = {side: step(side, tensors) for side in SIDES}
    ours, theirs = steps["limbeck"](), steps["textbook"]()
    seconds = harness.interleaved(steps, repeats=repeats)
    memory = {
        side: harness.memory_in_fresh_process(
            "bench.wkd_logit", "--memory-of", side, "--classes", str(classes), "--samples", str(samples)
        )
        for side in SIDES
    }
    timing = {side: harness.summary(values) for side, values in seconds.items()}
    return {
        "classes": classes,
        "samples": samples,
        "seconds": timing,
        "memory_bytes": memory,
        "speedup": timing["textbook"]["median"] / timing["limbeck"]["median"],
        "memory_ratio": memory["textbook"] / max(memory["limbeck"], 1),
        "gradient_difference": float((ours - theirs).norm() / theirs.norm()),
    }


def memory_of(side: str, classes: int, samples: int) -> int:
    """Growth of the resident peak over one step, after a step on a tiny problem loaded what torch loads."""
    step(side, inputs(5, 2))()
    tensors = inputs(classes, samples)
    before = harness.peak_memory_bytes()
    step(side, tensors)()
    return harness.peak_memory_bytes() - before


def table(results: list[dict[str, Any]]) -> Table:
    shown = Table(title="WKD-L forward + backward: median (quartiles), peak memory above the start")
    for column in (
        "classes",
        "batch",
        "textbook ms",
        "limbeck ms",
        "speed",
        "textbook MiB",
        "limbeck MiB",
        "memory",
    ):
        shown.add_column(column, justify="right", no_wrap=True)
    for row in results:
        shown.add_row(
            str(row["classes"]),
            str(row["samples"]),
            *(harness.spread(row["seconds"][side], scale=1e3) for side in SIDES),
            f"{row['speedup']:.1f}x",
            *(f"{row['memory_bytes'][side] / 2**20:.1f}" for side in SIDES),
            f"1/{row['memory_ratio']:.0f}",
        )
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--classes", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=7, help="at 1000 classes; ten times as many at 100")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory-of", choices=list(SIDES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory_of:
        print(memory_of(options.memory_of, options.classes[0], options.samples))
        return
    results = [
        measure(classes, options.samples, options.repeats * (10 if classes <= 200 else 1))
        for classes in options.classes
    ]
    Console(width=140).print(table(results))
    if options.out:
        harness.write(
            options.out, "wkd_logit", {"threads": options.threads, "settings": SETTINGS, "rows": results}
        )


if __name__ == "__main__":
    main()
