"""`limbeck doctor`: what is installed, what is missing and for which feature, and what the machine offers."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path

from limbeck.cli.console import heading, say, show_rows
from limbeck.version import __version__

CORE = (
    "torch", "torchvision", "timm", "accelerate", "numpy", "scikit-learn", "safetensors", "pydantic", "pyyaml",
    "typer", "rich", "jinja2",
)  # fmt: skip
EXTRAS = {
    "export": {"onnx": "ONNX files", "onnxscript": "writing ONNX files", "onnxruntime": "checking ONNX files"},
    "hf": {
        "pyarrow": "reading parquet files",
        "datasets": "streaming from the Hugging Face hub",
        "transformers": "Hugging Face models",
        "huggingface-hub": "publishing models",
    },
    "track": {"tensorboard": "the TensorBoard tracker"},
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def doctor() -> None:
    """Say what is installed and what is missing.

    Packages by feature, accelerator, disk; nothing is changed.
    """
    heading(f"limbeck {__version__}, Python {platform.python_version()}, {platform.platform()}")
    missing = [name for name in CORE if _version(name) is None]
    show_rows(["package", "version", "state"], [_core(name) for name in CORE])
    heading("extras")
    rows = [
        [
            package,
            _version(package) or "-",
            f"{purpose}{'' if _version(package) else f': pip install limbeck[{extra}]'}",
        ]
        for extra, packages in EXTRAS.items()
        for package, purpose in packages.items()
    ]
    show_rows(["package", "version", "for"], rows)
    heading("machine")
    show_rows(["what", "found"], _machine("torch" in missing))
    say()
    if missing:
        say(f"missing: {', '.join(missing)}. Training needs them: pip install limbeck")
    else:
        say("everything that the core needs is here.")


def _core(name: str) -> list[str]:
    found = _version(name)
    return [name, found or "-", "ok" if found else "missing"]


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _machine(no_torch: bool) -> list[list[str]]:
    free = shutil.disk_usage(Path.cwd()).free
    browser = next((name for name in BROWSERS if shutil.which(name)), None)
    return [
        ["cores", str(os.cpu_count())],
        ["disk free here", f"{free / 1e9:.1f} GB"],
        ["accelerator", "unknown without torch" if no_torch else _accelerator()],
        ["browser", browser or "none (only the report's tests look for one)"],
    ]


def _accelerator() -> str:
    try:
        import torch
    except (ImportError, OSError) as error:
        return f"torch does not load: {error}"
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        return f"{count} x {torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}"
    if torch.backends.mps.is_available():
        return "Apple GPU (mps)"
    return f"none, training runs on the CPU ({torch.get_num_threads()} threads)"
