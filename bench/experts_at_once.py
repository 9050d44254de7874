"""Training several experts as one batched network by torch.func against one after another.

Run: python -m bench.experts_at_once --out results/bench-experts-at-once.json
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from bench import harness
from limbeck.models import build

EXPERTS, BATCH, SIZE = 4, 256, 16


def networks(kind: str) -> list[nn.Module]:
    """Experts of one kind."""
    if kind == "mlp":
        return [
            nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE**2, 64), nn.ReLU(), nn.Linear(64, 10))
            for _ in range(EXPERTS)
        ]
    return [build("convnet3", num_classes=10, width=32, image_size=SIZE) for _ in range(EXPERTS)]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out")
    given = arguments.parse_args()
    images, labels = torch.randn(BATCH, 3, SIZE, SIZE), torch.arange(BATCH) % 10
    numbers: dict[str, float] = {}
    seconds = {}
    for kind in ("convnet3", "mlp"):
        each = networks(kind)
        parameters, buffers = stack_module_state(each)
        base = each[0]

        def loss(weights: dict[str, Tensor], state: dict[str, Tensor], net: nn.Module = base) -> Tensor:
            return F.cross_entropy(functional_call(net, (weights, state), (images,)), labels)

        def one_by_one(nets: list[nn.Module] = each) -> None:
            for net in nets:
                F.cross_entropy(net(images), labels).backward()

        batched = vmap(grad(loss))
        found = harness.interleaved(
            {
                f"{kind}, one by one": one_by_one,
                f"{kind}, at once": lambda b=batched, p=parameters, s=buffers: b(p, s),
            },
            7,
        )
        seconds |= {name: harness.summary(value) for name, value in found.items()}
        numbers[f"speed_{kind}_at_once"] = (
            seconds[f"{kind}, one by one"]["median"] / seconds[f"{kind}, at once"]["median"]
        )
    harness.report(f"{EXPERTS} experts, a step of each", seconds, numbers, out=given.out)


if __name__ == "__main__":
    main()
