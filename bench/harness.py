"""What every benchmark shares: interleaved timing, medians with spread, where it ran, and writing it down."""

from __future__ import annotations

import datetime
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def interleaved(sides: Mapping[str, Callable[[], Any]], repeats: int, warmup: int = 1) -> dict[str, list[float]]:
    """Seconds of each call, the sides taking turns so that a noisy moment hits all of them."""
    for _ in range(warmup):
        for side in sides.values():
            side()
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for repeat in range(repeats):
        shift = repeat % len(names)  # no side is always first
        for name in names[shift:] + names[:shift]:
            start = time.perf_counter()
            sides[name]()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def summary(values: Sequence[float]) -> dict[str, float]:
    """Median with the quartiles and extremes around it."""
    low, high = statistics.quantiles(values, n=4, method="inclusive")[::2] if len(values) > 1 else (values[0],) * 2
    return {
        "median": statistics.median(values),
        "quartile_low": low,
        "quartile_high": high,
        "min": min(values),
        "max": max(values),
        "repeats": len(values),
    }


def spread(numbers: Mapping[str, float], scale: float = 1.0, digits: int = 2) -> str:
    """Text such as "12.3 (11.9 to 13.0)": the median and its quartiles."""
    middle, low, high = (numbers[key] * scale for key in ("median", "quartile_low", "quartile_high"))
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def peak_memory_bytes() -> int:
    """Largest resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.is_file():  # Linux carries ru_maxrss over from the parent that started us; VmHWM is our own
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def memory_in_fresh_process(module: str, *arguments: str) -> int:
    """The number that a module, started anew with these arguments, prints as its last line."""
    command = [sys.executable, "-m", module, *arguments]
    finished = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return int(finished.stdout.split()[-1])


def environment() -> dict[str, Any]:
    """Commit, hardware and versions: what a number means nothing without."""
    versions = {}
    for package in ("limbeck", "torch", "numpy"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain")),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load": os.getloadavg()[0],
        "accelerator": _accelerator(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
    }


def report(
    name: str,
    sides: Mapping[str, Mapping[str, float]],
    numbers: Mapping[str, float],
    *,
    out: str | Path | None = None,
) -> None:
    """Print the summaries of each side and the numbers drawn from them; write both if asked to."""
    from rich.console import Console
    from rich.table import Table

    shown = Table(title=name)
    shown.add_column("side")
    shown.add_column("median (quartiles), ms", justify="right")
    for side, numbers_of_side in sides.items():
        shown.add_row(side, spread(numbers_of_side, scale=1e3))
    console = Console()
    console.print(shown)
    for label, value in numbers.items():
        console.print(f"{label}: {value:.3g}")
    if out is not None:
        write(out, name, {"seconds": dict(sides), **numbers})


def write(path: str | Path, name: str, results: Any) -> None:
    """Results with their environment as one JSON file."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {"benchmark": name, "environment": environment(), "results": results}
    target.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _git(*arguments: str) -> str:
    finished = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return finished.stdout.strip()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _accelerator() -> str | None:
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name(0) if torch is not None and torch.cuda.is_available() else None
