"""How fast each solver comes to a known answer, and how close a trained flow comes to its closed form.

Data are N(0.4, 0.3^2) in every value, noise is independent: the flow is known, noise z ends at 0.4 + 0.3 z.
The first table is the root mean square distance to it over 100,000 draws; the order is the logarithm (base 2)
of how much the last doubling of the steps gained. The second is what `flow.train` learns of the same problem, in
shares of the mean squared velocity, for three seeds.

Run: python -m bench.solver_orders --out results/flow-solvers.json
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench import harness
from limbeck.flow import artefact
from limbeck.flow.config import TrainStage
from limbeck.flow.sampling import sample
from limbeck.flow.stages.train import run_train
from limbeck.flow.velocity import Flow
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder

MEAN, STD = 0.4, 0.3
STEPS = (1, 2, 4, 8, 16, 32, 64, 128)


def exact(x: Tensor, t: Tensor) -> Tensor:
    """Velocity of the independent coupling."""
    s, at = STD**2, t.view(-1, 1, 1, 1)
    return -MEAN + (at - (1 - at) * s) / ((1 - at) ** 2 * s + at**2) * (x - (1 - at) * MEAN)


class Exact(nn.Module):
    """A network that was trained perfectly."""

    def __init__(self) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        return exact(x, t)


def distances() -> dict[str, dict[int, float]]:
    """Solver -> steps -> distance to the known end."""
    flow = Flow(Exact(), image_shape=(1, 1, 1), rounds=0)
    noise = torch.randn(100_000, 1, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found: dict[str, dict[int, float]] = {}
    for solver in ("euler", "heun", "anchored", "anchored_heun", "sigma_heun"):
        for steps in STEPS:
            evaluations = 2 * steps - 1 if "heun" in solver else steps
            made = sample(flow, noise, evaluations=evaluations, solver=solver, trust=True, batch_size=100_000)
            error = (made.x - (MEAN + STD * noise)).square().mean().sqrt()
            found.setdefault(solver, {})[steps] = float(error)
    return found


def learnt(seed: int) -> float:
    """Mean squared error of a trained velocity in shares of the velocity's own."""
    config = TrainStage.model_validate(
        {
            "target": {"name": "gaussian", "mean": MEAN, "std": STD},
            "network": {"name": "mlp", "width": 64, "depth": 2},
            "train": {
                "steps": 3000,
                "batch_size": 256,
                "optimizer": {"name": "adamw", "lr": 0.003, "weight_decay": 0.0},
                "schedule": "cosine",
                "ema": [0.99],
            },
        }
    )
    with tempfile.TemporaryDirectory() as place:
        folder = StageFolder(Path(place) / "flow", "flow")
        run_train(config, folder, StageContext(seed=seed, inputs={}, device="cpu"))
        flow = artefact.load(folder.path)
    drawn = torch.Generator().manual_seed(1)
    t = 0.01 + 0.98 * torch.rand(20_000, generator=drawn)
    x, z = (
        MEAN + STD * torch.randn(20_000, 2, 1, 1, generator=drawn),
        torch.randn(20_000, 2, 1, 1, generator=drawn),
    )
    at = t.view(-1, 1, 1, 1)
    here = (1 - at) * x + at * z
    with torch.no_grad():
        wanted = exact(here, t)
        return float((flow(here, t) - wanted).square().mean() / wanted.square().mean())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=None)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    found = distances()
    print("| steps | " + " | ".join(found) + " |")
    print("|---|" + "---:|" * len(found))
    for steps in STEPS:
        print(f"| {steps} | " + " | ".join(f"{cells[steps]:.3g}" for cells in found.values()) + " |")
    orders = {name: math.log2(cells[64] / cells[128]) for name, cells in found.items()}
    print("| order | " + " | ".join(f"{order:.2f}" for order in orders.values()) + " |")
    errors = [learnt(seed) for seed in (0, 1, 2)]
    print("learnt, share of the mean squared velocity: " + ", ".join(f"{e:.4%}" for e in errors))
    results: dict[str, Any] = {"distance": found, "order": orders, "learnt": errors}
    if given.out is not None:
        harness.write(given.out, "solver_orders", results)


if __name__ == "__main__":
    main()
