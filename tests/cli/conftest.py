"""Fixtures of the command line's tests."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def _load_terminal() -> Any:
    # Tests are imported without packages; the helper is a module of its own name.
    spec = importlib.util.spec_from_file_location("terminal", Path(__file__).with_name("terminal.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["terminal"] = module
    spec.loader.exec_module(module)
    return module


terminal = _load_terminal()


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Run a command line in an empty folder; what plugins register is forgotten afterwards."""
    from limbeck.losses._registry import LOSSES

    monkeypatch.setattr(LOSSES, "_registered", dict(LOSSES._registered))
    monkeypatch.chdir(tmp_path)
    return terminal.limbeck  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of the tiny recipe; not to be written to."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(terminal.RECIPE)
    done = terminal.limbeck("run", folder / "tiny.yaml", "--out", folder / "run", "--quiet", "--device", "cpu")
    assert done.code == 0, done.err
    return folder / "run"
