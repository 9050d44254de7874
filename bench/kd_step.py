"""A distillation step through Limbeck's engine against the same step as a bare PyTorch loop.

ResNet-32x4 teaches ResNet-8x4, batch 64, Hinton KD plus cross entropy, SGD. Both sides take the same batches from
memory, run in one process and alternate, so that the machine's moods meet both.

Run: python -m bench.kd_step --out results/bench-kd-step.json
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F

from bench import harness
from limbeck.classify.task import BoundTerm, ClassifyTask
from limbeck.classify.teachers import Teacher
from limbeck.engine import Machine, fit
from limbeck.engine.optimizers import sgd
from limbeck.losses import cross_entropy, kd
from limbeck.models import DataConfig, build

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
CLASSES, BATCH = 100, 64


class MemoryStream:
    """The same few batches again and again: data costs neither side anything."""

    batch_size = BATCH

    def __init__(self, steps: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.steps = steps
        self.images = torch.rand(BATCH, 3, 32, 32, generator=generator)
        self.labels = torch.randint(CLASSES, (BATCH,), generator=generator)

    def __len__(self) -> int:
        return self.steps

    def epoch(self, number: int, *, start: int = 0) -> Iterator[dict[str, torch.Tensor]]:
        for _ in range(start, self.steps):
            yield {"images": self.images, "labels": self.labels, "index": torch.arange(BATCH)}


class ForgetfulRecords:
    """Records that go nowhere new: the engine writes them as in any run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write_scalars(self, values: object) -> None:
        with (self.path / "scalars.jsonl").open("a") as file:
            file.write(f"{values}\n")

    def truncate_scalars(self, step: int) -> None:
        pass


def networks() -> tuple[torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(0)
    return build("resnet8x4", num_classes=CLASSES), build("resnet32x4", num_classes=CLASSES).eval().requires_grad_(
        False
    )


def bare(steps: int) -> float:
    """Seconds a step of the loop that anyone would write."""
    student, teacher = networks()
    student.train()
    stream = MemoryStream(steps)
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (MEAN, STD))
    began = time.perf_counter()
    for batch in stream.epoch(1):
        images = (batch["images"] - mean) / std
        with torch.no_grad():
            target = teacher(images)
        logits = student(images)
        soft = F.kl_div(
            F.log_softmax(logits / 4, 1), F.log_softmax(target / 4, 1), log_target=True, reduction="batchmean"
        )
        loss = 0.1 * F.cross_entropy(logits, batch["labels"]) + 0.9 * 16 * soft
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return (time.perf_counter() - began) / steps


def limbeck(steps: int, folder: Path) -> float:
    """Seconds a step of the engine, its records included; from the start of the epoch to its evaluation."""
    student, teacher = networks()
    facts = DataConfig(input_shape=(3, 32, 32), mean=MEAN, std=STD, class_names=tuple(map(str, range(CLASSES))))
    terms = [
        BoundTerm("cross_entropy", cross_entropy, ("student", "labels"), weight=0.1),
        BoundTerm("kd", kd, ("student", "teacher"), weight=0.9),
    ]
    task = ClassifyTask(
        student,
        terms,
        mean=MEAN,
        std=STD,
        teachers={"teacher": Teacher(teacher, facts, torch.zeros(2, 3, 32, 32), lambda: ())},
    )
    machine = Machine(device="cpu")
    stream = MemoryStream(steps)
    times: list[float] = []

    def clock() -> dict[str, float]:
        times.append(time.perf_counter())
        return {}

    task.start_epoch = lambda epoch, epochs: times.append(time.perf_counter())  # type: ignore[method-assign]
    fit(
        task,
        stream,
        machine=machine,
        records=ForgetfulRecords(folder),
        optimizer=lambda p: sgd(p, lr=0.05),
        evaluate=clock,
    )
    return (times[1] - times[0]) / steps


def in_new_folder(steps: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return limbeck(steps, Path(folder))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=None)
    arguments.add_argument("--steps", type=int, default=4)
    arguments.add_argument("--repeats", type=int, default=15)
    given = arguments.parse_args()
    sides = {"bare": lambda: bare(given.steps), "limbeck": lambda: in_new_folder(given.steps)}
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(given.repeats + 1):
        for name in list(sides)[:: 1 if turn % 2 else -1]:
            seconds = sides[name]()
            if turn:  # the first round warms up
                times[name].append(seconds)
    overhead = [100 * (a / b - 1) for a, b in zip(times["limbeck"], times["bare"], strict=True)]
    harness.report(
        "KD step, resnet32x4 -> resnet8x4, batch 64",
        {name: harness.summary(values) for name, values in times.items()},
        {f"overhead_percent_{k}": v for k, v in harness.summary(overhead).items()},
        out=given.out,
    )


if __name__ == "__main__":
    main()
