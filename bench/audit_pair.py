"""How long the standard audit of a pair of CIFAR networks takes, question by question, and its peak memory.

A ResNet-20 and two ResNet-8, each trained for a moment on enlarged digits so that its answers differ, are asked
every standard question about 2,000 images of 32 x 32 pixels. What is asked costs the same whatever they learnt.

Run: python -m bench.audit_pair --threads 2 --out results/bench-audit-pair.json
"""

from __future__ import annotations

import argparse
import time

import torch
import torch.nn.functional as F

from bench import harness
from limbeck.audit.asking import ask
from limbeck.audit.config import STANDARD
from limbeck.audit.examination import Examination, Material
from limbeck.audit.outcome import judged
from limbeck.audit.subjects import Network, Panel, Subject
from limbeck.models import DataConfig, build
from limbeck.sources import build as build_source
from limbeck.specs import Spec

CLASSES = tuple(f"class {number}" for number in range(10))


def digits_in_colour(count: int) -> Material:
    """Handwritten digits of 8 x 8 pixels, enlarged, on a coloured ground with noise."""
    found = build_source("digits", split="train")
    rows = torch.arange(count) % len(found)
    draws = torch.Generator().manual_seed(0)
    small = found.images[rows].float() / 255
    large = F.interpolate(small, size=(32, 32), mode="bilinear", align_corners=False)
    ground = torch.rand(count, 3, 1, 1, generator=draws)
    noise = 0.1 * torch.randn(count, 3, 32, 32, generator=draws)
    images = ((large + (1 - large) * ground + noise).clamp(0, 1) * 255).to(torch.uint8)
    return Material(images, torch.as_tensor(found.labels)[rows], CLASSES, "digits")


def trained(name: str, material: Material, *, seed: int, steps: int = 60) -> Network:
    torch.manual_seed(seed)
    data = DataConfig((3, 32, 32), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), CLASSES)
    network = Network(build(name, num_classes=10), data).requires_grad_(True).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for step in range(steps):
        rows = torch.arange(64) + 64 * step
        images, labels = material.images[rows % len(material)], material.labels[rows % len(material)]
        F.cross_entropy(network(images.float() / 255), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
    return Network(network.model, data)


def panel(material: Material) -> Panel:
    return Panel(
        Subject("teacher", "teacher", trained("resnet20", material, seed=0)),
        (Subject("kd-s0", "student", trained("resnet8", material, seed=1), "kd", 0),),
        (Subject("control-s0", "control", trained("resnet8", material, seed=2), "control", 0),),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", help="JSON file to write")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    material = digits_in_colour(options.images)
    networks = panel(material)
    seconds: dict[str, list[float]] = {name: [] for name in (*STANDARD, "statistics", "whole")}
    for _ in range(options.repeats):
        exam = Examination(networks, material)
        answers, begun = {}, time.perf_counter()
        for name in STANDARD:
            before = time.perf_counter()
            found, _ = ask(exam, [Spec(name=name)])
            answers |= found
            seconds[name].append(time.perf_counter() - before)
        before = time.perf_counter()
        judged(
            exam.panel,
            answers,
            data={},
            questions=[],
            statistics={"alpha": 0.05, "correction": "holm", "draws": 2000},
            seed=0,
        )
        seconds["statistics"].append(time.perf_counter() - before)
        seconds["whole"].append(time.perf_counter() - begun)
    numbers = {
        "images": float(options.images),
        "threads": float(options.threads),
        "peak_mib": harness.peak_memory_bytes() / 2**20,
    }
    harness.report(
        "audit_of_a_pair", {k: harness.summary(v) for k, v in seconds.items()}, numbers, out=options.out
    )


if __name__ == "__main__":
    main()
