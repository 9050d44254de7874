"""A task, a stream and records small enough to see through."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from limbeck.protocols import StepOutput
from limbeck.seeding import permutation


class ToyStream:
    """Rows of a fixed table in an order that is a pure function of the epoch."""

    def __init__(self, rows: int = 20, batch_size: int = 4) -> None:
        self.table = torch.randn(rows, 3, generator=torch.Generator().manual_seed(0))
        self.batch_size = batch_size

    def __len__(self) -> int:
        return len(self.table) // self.batch_size

    def epoch(self, number: int, *, start: int = 0):
        order = permutation(len(self.table), 0, number)
        for batch in list(order.split(self.batch_size))[start : len(self)]:
            yield {"images": self.table[batch], "labels": batch, "index": batch}


class ToyTask:
    """Regress the sum of a row, with dropout and batch norm so that randomness and buffers matter."""

    def __init__(self, seed: int = 0, poison: int | None = None) -> None:
        torch.manual_seed(seed)
        self.trainable: nn.Module = nn.Sequential(
            nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1)
        )
        self.frozen: dict[str, nn.Module] = {}
        self.poison = poison
        self.calls = 0
        self.epochs: list[int] = []

    def start_epoch(self, epoch: int, epochs: float) -> None:
        self.epochs.append(epoch)

    def step(self, batch) -> StepOutput:
        self.calls += 1
        x = batch["images"]
        fit = (self.trainable(x).squeeze(1) - x.sum(1)).square().mean()
        if self.calls == self.poison:
            fit = fit * float("nan")
        size = 0.01 * self.trainable(x).square().mean()
        return StepOutput(fit + size, {"fit": fit.detach(), "size": size.detach()})


class ToyRecords:
    """Records in memory that write themselves to a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.file = path / "scalars.jsonl"

    @property
    def lines(self) -> list[dict[str, float]]:
        return [json.loads(line) for line in self.file.read_text().splitlines()] if self.file.exists() else []

    def write_scalars(self, values) -> None:
        with self.file.open("a") as file:
            file.write(json.dumps(dict(values)) + "\n")

    def truncate_scalars(self, step: int) -> None:
        kept = [line for line in self.lines if line["step"] <= step]
        self.file.write_text("".join(json.dumps(line) + "\n" for line in kept))
