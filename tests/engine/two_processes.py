"""What `test_processes.py` starts, as one process or as two: a linear classifier on digits through the engine."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from limbeck.engine import Machine, evaluate, fit
from limbeck.engine.optimizers import sgd
from limbeck.protocols import StepOutput
from limbeck.runs.folder import StageFolder
from limbeck.sources import Loader, build


class Linear:
    """Without batch norm, so that the mean of the halves is the mean of the whole."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.trainable: nn.Module = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        self.frozen: dict[str, nn.Module] = {}

    def start_epoch(self, epoch: int, epochs: float) -> None:
        pass

    def step(self, batch) -> StepOutput:
        loss = F.cross_entropy(self.trainable(batch["images"]), batch["labels"])
        return StepOutput(loss, {"cross_entropy": loss.detach()})


def main(out: Path) -> None:
    torch.set_num_threads(1)
    machine = Machine(device="cpu")
    train, test = build("digits", split="train", per_class=16), build("digits", split="test")
    place = {"device": machine.device, "rank": machine.rank, "world": machine.world}
    task, folder = Linear(), StageFolder(out / "stage", "stage")
    if machine.main:
        folder.begin({"processes": machine.world})
    machine.wait()
    judge = Loader(test, batch_size=64, seed=0, shuffle=False, **place)
    seen = {}

    def look() -> dict[str, float]:
        found = evaluate(lambda x: module(x), judge, machine=machine, classes=10, modules=(module,))
        seen["images"] = found.images
        return {"test/accuracy": found.accuracy, "test/loss": found.loss}

    module = task.trainable
    fit(
        task,
        Loader(train, batch_size=32, seed=0, **place),
        machine=machine,
        records=folder,
        optimizer=partial(sgd, lr=0.5),
        epochs=3,
        log_every=1,
        checkpoint_every=2,
        ema_decay=0.9,
        evaluate=look,
    )
    assert seen["images"] == len(test)
    if machine.main:
        torch.save(module.state_dict(), out / "weights.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
