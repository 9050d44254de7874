"""Kill a run with SIGKILL at random moments, resume it each time, and compare the weights at the end.

A run of two stages (a teacher, then a student distilled with PEFD, both augmented) goes once without interruption,
then again and again with `kill -9` after a random time, until the wanted number of kills is reached. Every byte of
both model files has to agree.

Run: python -m bench.kill_resume --kills 20 --out results/kill-resume.json
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import harness

RECIPE = """\
title: Killed again and again
seed: 3
stages:
  teacher:
    kind: classify.train
    source: {{name: digits, per_class: 60}}
    model: {{name: resnet8}}
    train: {train}
  student:
    kind: classify.distill
    teacher: teacher
    source: {{name: digits, per_class: 60}}
    model: {{name: resnet8}}
    terms: pefd
    train: {train}
"""
TRAIN = "{{epochs: {epochs}, batch_size: 32, workers: {workers}, checkpoint_every: 4, augment: [translate]}}"


def command(recipe: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "limbeck", "run", str(recipe), "--out", str(out), "--quiet"]


def products(out: Path) -> dict[str, bytes]:
    return {stage: (out / stage / "model.safetensors").read_bytes() for stage in ("teacher", "student")}


def killed_run(recipe: Path, out: Path, kills: int, whole_s: float, draw: random.Random) -> list[float]:
    """Run until done, with `kills` SIGKILLs spread over starting, training and writing."""
    moments: list[float] = []
    while True:
        process = subprocess.Popen(command(recipe, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if len(moments) < kills:
            wait = draw.uniform(0.3 * whole_s, 0.9 * whole_s)
            try:
                process.wait(timeout=wait)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
                moments.append(wait)
                continue
        else:
            process.wait()
        if process.returncode != 0:
            raise SystemExit(f"the run failed: {process.stderr.read().decode() if process.stderr else ''}")
        return moments


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--kills", type=int, default=20)
    arguments.add_argument("--epochs", type=int, default=30)
    arguments.add_argument("--workers", type=int, default=0)
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument("--out", type=Path, default=None)
    given = arguments.parse_args()
    draw, moments, runs = random.Random(given.seed), [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recipe = folder / "killed.yaml"
        recipe.write_text(RECIPE.format(train=TRAIN.format(epochs=given.epochs, workers=given.workers)))
        began = time.perf_counter()
        subprocess.run(command(recipe, folder / "whole"), check=True, stdout=subprocess.DEVNULL)
        whole_s = time.perf_counter() - began
        wanted = products(folder / "whole")
        while len(moments) < given.kills:
            out = folder / f"killed-{runs}"
            moments += killed_run(recipe, out, given.kills - len(moments), whole_s, draw)
            runs += 1
            if products(out) != wanted:
                raise SystemExit(f"the weights differ after kills at {moments} seconds")
            print(f"{len(moments)} kills so far, weights identical", flush=True)
    if given.out is not None:
        found = {
            "kills": len(moments),
            "runs": runs,
            "uninterrupted_s": whole_s,
            "seconds_before_each_kill": moments,
            "workers": given.workers,
            "identical": True,
        }
        harness.write(given.out, "kill -9 and resume", found)


if __name__ == "__main__":
    main()
