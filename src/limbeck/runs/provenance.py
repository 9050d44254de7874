"""Where and with what a run was made: versions, commit, hardware, command line."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from limbeck.version import __version__

PACKAGES = ("torch", "torchvision", "timm", "accelerate", "safetensors", "numpy", "pydantic")
"""Packages whose version can change a result."""
_CPU_INFO = Path("/proc/cpuinfo")
_GPUS = Path("/proc/driver/nvidia/gpus")


def provenance(command: Sequence[str], *, packages: Sequence[str] = PACKAGES, **more: Any) -> dict[str, Any]:
    """Everything about this moment that a reader of the results may ask for; imports none of the packages.

    Args:
        command: the command line.
        packages: names of distributions whose versions are looked up.
        more: further facts, such as fingerprints of data and of loaded weights.

    Returns:
        Plain data for `provenance.json`.

    Example:
        >>> provenance(["limbeck", "run", "demo"])["command"]
        ['limbeck', 'run', 'demo']
    """
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": list(command),
        "limbeck": {"version": __version__, **_commit(Path(__file__).resolve().parents[1])},
        "python": platform.python_version(),
        "packages": _versions(packages),
        "hardware": _hardware(),
        **more,
    }


def _versions(packages: Sequence[str]) -> Mapping[str, str | None]:
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


def _commit(package: Path) -> dict[str, Any]:
    """Commit and whether files differ from it, when the package is used from its own checkout."""
    root = package.parents[1]
    if not (root / ".git").exists():  # an installed copy: the folder above may be somebody else's checkout
        return {}
    commit = _output("git", "-C", str(root), "rev-parse", "HEAD")
    if not commit:
        return {}
    changed = _output("git", "-C", str(root), "status", "--porcelain", "--untracked-files=no", "--", "src")
    return {"commit": commit, "dirty": bool(changed)}


def _hardware() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory(),
        "gpus": _gpus(),
    }


def _processor() -> str:
    if _CPU_INFO.exists():
        for line in _CPU_INFO.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if platform.system() == "Darwin":
        return _output("sysctl", "-n", "machdep.cpu.brand_string") or platform.machine()
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        return None


def _gpus() -> list[str]:
    found = []
    for path in sorted(_GPUS.glob("*/information")):
        lines = path.read_text(errors="replace").splitlines()
        found += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return found


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
