"""What Limbeck's flows cost over the loops that anyone would write, and whether pairs need memory.

- A training step on pairs through the engine (U-shaped times, pseudo-Huber, Adam, average of the weights, records)
  against the same step as a bare loop, on the same network with the same pairs.
- Sixteen Euler steps through `limbeck.flow.sample` against a bare Euler loop.
- Peak memory of making 1,000 and 10,000 pairs, each in a process of its own.

All sides of a comparison run in one process and take turns.

Run: python -m bench.flow_steps --out results/bench-flow-steps.json
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bench import harness
from bench.kd_step import ForgetfulRecords
from limbeck.engine import Machine, fit
from limbeck.engine.optimizers import adamw
from limbeck.flow.artefact import save
from limbeck.flow.config import PairsStage
from limbeck.flow.methods._base import Ground
from limbeck.flow.methods.reflow import reflow
from limbeck.flow.objectives import huber
from limbeck.flow.sampling import sample
from limbeck.flow.stages.pairs import run_pairs
from limbeck.flow.task import FlowTask
from limbeck.flow.times import u_shaped
from limbeck.flow.velocity import Flow
from limbeck.models.velocity import build_velocity_network
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder

SHAPE, BATCH = (3, 16, 16), 64


def new_flow() -> Flow:
    torch.manual_seed(0)
    return Flow(build_velocity_network("small_unet", image_shape=SHAPE, width=16), image_shape=SHAPE, rounds=1)


class MemoryPairs:
    """The same pairs again and again: data cost neither side anything."""

    batch_size = BATCH

    def __init__(self, steps: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.steps = steps
        self.x, self.z = torch.randn(2, BATCH, *SHAPE, generator=generator)

    def __len__(self) -> int:
        return self.steps

    def epoch(self, number: int, *, start: int = 0) -> Iterator[dict[str, Any]]:
        for place in range(start, self.steps):
            yield {"x": self.x, "z": self.z, "labels": None, "number": place}


def bare_training(steps: int) -> float:
    """Seconds a step of the loop that anyone would write."""
    flow = new_flow().train()
    network, stream = flow.network, MemoryPairs(steps)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-4, weight_decay=0.0)
    weights = [p.detach() for p in network.parameters()]
    average = [p.clone() for p in weights]
    values = math.prod(SHAPE)
    knee, half = 0.00054 * values, math.sinh(2.0)
    began = time.perf_counter()
    for batch in stream.epoch(1):
        x, z = batch["x"], batch["z"]
        quantile = torch.rand(BATCH)
        t = 1e-5 + (1 - 2e-5) * (0.5 + torch.asinh((2 * quantile - 1) * half) / 4)
        at = t.view(-1, 1, 1, 1)
        error = network((1 - at) * x + at * z, t) - (z - x)
        loss = (((error.flatten(1).square().sum(1) + knee**2).sqrt() - knee) / values).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        torch._foreach_lerp_(average, weights, 1e-4)
    return (time.perf_counter() - began) / steps


def limbeck_training(steps: int) -> float:
    """Seconds a step of the engine, its records included; from the start of the epoch to its evaluation."""
    times: list[float] = []

    def clock() -> dict[str, float]:
        times.append(time.perf_counter())
        return {}

    task = FlowTask(reflow(Ground(new_flow(), None, u_shaped, huber, None, steps)))
    task.start_epoch = lambda epoch, epochs: times.append(time.perf_counter())  # type: ignore[method-assign]
    with tempfile.TemporaryDirectory() as folder:
        fit(
            task,
            MemoryPairs(steps),
            machine=Machine(device="cpu"),
            records=ForgetfulRecords(Path(folder)),
            optimizer=partial(adamw, lr=2e-4, weight_decay=0.0),
            ema_decay=0.9999,
            evaluate=clock,
        )
    return (times[1] - times[0]) / steps


@torch.no_grad()
def bare_sampling(flow: Flow, noise: torch.Tensor, steps: int) -> float:
    """Seconds of an Euler loop."""
    flow.eval()
    began = time.perf_counter()
    x = noise
    for step in range(steps):
        t = torch.full((len(x),), 1 - step / steps)
        x = x - flow.network(x, t) / steps
    return time.perf_counter() - began


def limbeck_sampling(flow: Flow, noise: torch.Tensor, steps: int) -> float:
    """Seconds of `limbeck.flow.sample`."""
    began = time.perf_counter()
    sample(flow, noise, evaluations=steps)
    return time.perf_counter() - began


def memory_of_pairs(count: int) -> int:
    """Peak resident bytes of a process that makes so many pairs."""
    with tempfile.TemporaryDirectory() as place:
        folder = StageFolder(Path(place) / "pairs", "pairs")
        (Path(place) / "flow").mkdir()
        save(new_flow(), Path(place) / "flow" / "model.safetensors")
        config = PairsStage(teacher="flow", count=count, evaluations=1, shard_size=500, batch_size=100)
        folder.begin(config.model_dump(mode="json"))
        run_pairs(config, folder, StageContext(seed=0, inputs={"flow": Path(place) / "flow"}, device="cpu"))
    return harness.peak_memory_bytes()


def in_turns(sides: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """What each side says of itself, after one call of each to warm up; no side is always first."""
    names, found = list(sides), {name: [] for name in sides}
    for repeat in range(repeats + 1):
        shift = repeat % len(names)
        for name in names[shift:] + names[:shift]:
            seconds = sides[name]()
            if repeat:
                found[name].append(seconds)
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=None)
    arguments.add_argument("--steps", type=int, default=8)
    arguments.add_argument("--repeats", type=int, default=25)
    arguments.add_argument("--pairs", type=int, default=None, help="print the peak memory of making so many pairs")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    if given.pairs is not None:
        print(memory_of_pairs(given.pairs))
        return
    flow, noise = new_flow(), torch.randn(100, *SHAPE)
    train = in_turns(
        {"bare": partial(bare_training, given.steps), "limbeck": partial(limbeck_training, given.steps)},
        given.repeats,
    )
    walk = in_turns(
        {
            "bare": partial(bare_sampling, flow, noise, 16),
            "limbeck": partial(limbeck_sampling, flow, noise, 16),
        },
        given.repeats,
    )
    results: dict[str, Any] = {}
    for name, found in (("training step", train), ("sampling, 16 Euler steps", walk)):
        sides = {side: harness.summary(seconds) for side, seconds in found.items()}
        ratios = harness.summary([b / a for a, b in zip(found["bare"], found["limbeck"], strict=True)])
        results[name] = {"seconds": sides, "limbeck over bare": ratios}
        print(f"{name}: limbeck / bare {harness.spread(ratios, digits=3)}", file=sys.stderr)
    memory = {
        str(count): harness.memory_in_fresh_process("bench.flow_steps", "--pairs", str(count))
        for count in (1_000, 10_000)
    }
    results["peak bytes of making pairs"] = memory
    print(
        "peak memory: " + ", ".join(f"{c} pairs {b / 2**20:.0f} MiB" for c, b in memory.items()), file=sys.stderr
    )
    if given.out is not None:
        harness.write(given.out, "flow_steps", results)


if __name__ == "__main__":
    main()
