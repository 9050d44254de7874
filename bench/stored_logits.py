"""An epoch with the teacher's logits from disk against one in which the teacher runs.

ResNet-32x4 teaches ResNet-8x4 at 32 pixels, batch 64, Hinton KD plus cross entropy, random crops and flips,
through the engine and its loader. Three sides take turns: the teacher beside the student in float32, its stored
logits in float32, and its stored logits with the student in bfloat16 and channels last. All start from the same
weights and see the same views, so their loss curves are compared as well.

Run: python -m bench.stored_logits --out results/bench-stored-logits.json
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import nn

from bench import harness
from limbeck.classify.config import Training
from limbeck.classify.data import split_data, training_stream
from limbeck.classify.signals import LiveTeacher, TeacherSignals
from limbeck.classify.stages import as_teacher
from limbeck.classify.stored import Views, contents_of, open_store, write_store
from limbeck.classify.task import BoundTerm, ClassifyTask
from limbeck.classify.teachers import Teacher
from limbeck.engine import Machine, fit
from limbeck.engine.optimizers import sgd
from limbeck.losses import cross_entropy, kd
from limbeck.models import build
from limbeck.sources import ArraySource

CLASSES, BATCH = 100, 64
LIVE, STORED, FAST = "teacher runs, float32", "stored, float32", "stored, bfloat16, channels last"


@dataclass
class Curve:
    """Records that keep the losses."""

    path: Path
    losses: list[float] = field(default_factory=list)

    def write_scalars(self, values: Mapping[str, float]) -> None:
        if "loss" in values:
            self.losses.append(values["loss"])

    def truncate_scalars(self, step: int) -> None:
        pass


class Bench:
    """The images, the teacher, and its outputs for one epoch, stored."""

    def __init__(self, steps: int, folder: Path, device: str) -> None:
        draw = torch.Generator().manual_seed(0)
        images = torch.randint(256, (steps * BATCH, 3, 32, 32), dtype=torch.uint8, generator=draw)
        labels = torch.randint(CLASSES, (steps * BATCH,), generator=draw)
        source = ArraySource(images, labels, [str(i) for i in range(CLASSES)])
        self.steps, self.folder, self.device = steps, folder, device
        self.data = split_data(source, source, validation=0.0, seed=0)
        self.training = Training.model_validate({"batch_size": BATCH, "augment": ["crop", "flip"]})
        machine = Machine(device=device)
        torch.manual_seed(0)
        self.teacher: Teacher = as_teacher(build("resnet32x4", num_classes=CLASSES), self.data, machine)
        began = time.perf_counter()
        self.written = write_store(
            folder / "store",
            teacher=self.teacher,
            source=self.data.train,
            views=Views(seeds=(0,), epochs=1, augment=self.training.augment),
            contents=contents_of(self.teacher),
            machine=machine,
            batch_size=BATCH,
        )
        self.storing = time.perf_counter() - began

    def signals(self, side: str) -> TeacherSignals:
        if side == LIVE:
            return LiveTeacher(self.teacher)
        return open_store(
            self.folder / "store", teacher=self.teacher, data=self.data, training=self.training, seed=0
        )

    def epoch(self, side: str) -> tuple[float, list[float]]:
        """Seconds of one epoch, and its losses; opening the store counts, building the student does not."""
        machine = Machine(device=self.device, precision="bfloat16" if side == FAST else "float32")
        torch.manual_seed(1)
        student: nn.Module = build("resnet8x4", num_classes=CLASSES).to(machine.device)
        if side == FAST:
            student.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        terms = [
            BoundTerm("cross_entropy", cross_entropy, ("student", "labels"), weight=0.1),
            BoundTerm("kd", kd, ("student", "teacher"), weight=0.9),
        ]
        stream = training_stream(self.data.train, self.training, machine=machine, seed=0)
        with tempfile.TemporaryDirectory() as folder:
            records, ends = Curve(Path(folder)), []

            def clock() -> dict[str, float]:
                machine.synchronize()
                ends.append(time.perf_counter())
                return {}

            began = time.perf_counter()
            task = ClassifyTask(
                student,
                terms,
                mean=self.data.train.mean,
                std=self.data.train.std,
                teachers={"teacher": self.teacher},
                signals={"teacher": self.signals(side)},
            )
            fit(
                task,
                stream,
                machine=machine,
                records=records,
                optimizer=partial(sgd, lr=0.05),
                log_every=1,
                evaluate=clock,
                checkpoint_seconds=1e9,
            )
            task.close()
        return ends[0] - began, records.losses


def difference(one: list[float], other: list[float]) -> float:
    """Largest difference between two curves, relative to the first."""
    return max(abs(a - b) / abs(a) for a, b in zip(one, other, strict=True))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=None)
    arguments.add_argument("--steps", type=int, default=40, help="of one epoch")
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--device", default="cpu")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(given.steps, Path(folder), given.device)
        curves: dict[str, list[float]] = {}
        times: dict[str, list[float]] = {side: [] for side in (LIVE, STORED, FAST)}
        for turn in range(given.repeats + 1):
            names = list(times)
            for side in names[turn % 3 :] + names[: turn % 3]:
                seconds, curves[side] = bench.epoch(side)
                if turn:  # the first round warms up
                    times[side].append(seconds)
    ratios = {
        name: harness.summary([live / fast for live, fast in zip(times[LIVE], times[side], strict=True)])
        for name, side in (("stored", STORED), ("stored_bfloat16_channels_last", FAST))
    }
    harness.report(
        f"Epoch of {given.steps} steps, resnet32x4 -> resnet8x4, batch {BATCH}",
        {side: harness.summary(values) for side, values in times.items()},
        {
            **{f"speedup_{name}_{k}": v for name, numbers in ratios.items() for k, v in numbers.items()},
            "largest_relative_loss_difference_stored": difference(curves[LIVE], curves[STORED]),
            "largest_relative_loss_difference_bfloat16": difference(curves[LIVE], curves[FAST]),
            "seconds_to_store": bench.storing,
            "bytes_of_the_store": bench.written.bytes,
            "bytes_planned": bench.written.plan.bytes,
        },
        out=given.out,
    )


if __name__ == "__main__":
    main()
