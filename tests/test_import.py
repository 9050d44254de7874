"""Importing Limbeck is free, and what needs no torch runs without it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import limbeck

BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "torchvision", "timm", "accelerate", "sklearn", "matplotlib"}:
            raise ImportError(f"{name} is blocked in this test")
sys.meta_path.insert(0, Blocker())
"""


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)


def test_import_loads_nothing_heavy():
    heavy = [
        "torch",
        "torchvision",
        "timm",
        "accelerate",
        "sklearn",
        "matplotlib",
        "pydantic",
        "yaml",
        "typer",
        "rich",
        "numpy",
        "jinja2",
    ]
    code = f"import limbeck, sys; print([m for m in {heavy} if m in sys.modules])"
    assert python(code).stdout.strip() == "[]"


def test_public_names_are_pinned_and_exist():
    assert limbeck.__all__ == ["Taps", "__version__", "distill", "load", "train"]
    for name in limbeck.__all__:
        assert getattr(limbeck, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'distil'"):
        _ = limbeck.distil


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["list", "losses"],
        ["list", "models"],
        ["list", "recipes"],
        ["show", "wkd_transport"],
        ["check", "--syntax", "demo/digits"],
        ["cite", "demo/digits"],
        ["doctor"],
    ],
)
def test_the_command_line_answers_without_torch(arguments):
    code = BLOCKER + "import sys; from limbeck.cli.main import main; sys.argv[0] = 'limbeck'; main()"
    done = python(code, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_registries_are_described_without_importing_what_they_name():
    code = BLOCKER + (
        "from limbeck.losses._registry import LOSSES\n"
        "from limbeck.models._registry import MODELS\n"
        "from limbeck.sources._registry import AUGMENTS, SOURCES\n"
        "from limbeck.engine._registry import OPTIMIZERS, SCHEDULES\n"
        "from limbeck.classify._registry import COSTS, PROJECTORS\n"
        "for registry in (LOSSES, MODELS, SOURCES, AUGMENTS, OPTIMIZERS, SCHEDULES, COSTS, PROJECTORS):\n"
        "    for name in registry:\n"
        "        if not name.endswith('/*'):\n"
        "            assert registry.describe(name).summary, name\n"
        "print('all')"
    )
    done = python(code)
    assert done.stdout.strip() == "all", done.stderr
