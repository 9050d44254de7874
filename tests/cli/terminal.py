"""The command line in-process, on recipes that take a moment."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

RECIPE = """\
title: Tiny
stages:
  teacher:
    kind: classify.train
    source: {name: digits, per_class: 4}
    model: {name: resnet8}
    train: {steps: 2, batch_size: 20}
  student:
    kind: classify.distill
    teacher: teacher
    source: {name: digits, per_class: 4}
    model: {name: resnet8}
    terms: kd
    weak_teacher: true
    train: {steps: 2, batch_size: 20}
smoke:
  teacher: {train: {steps: 1}}
"""


@dataclass(frozen=True)
class Done:
    """What a command left behind on the terminal."""

    code: int
    out: str
    err: str


def limbeck(*arguments: object) -> Done:
    """Run a command line in this process."""
    from limbeck.cli.main import main

    argv, handler, code = sys.argv, signal.getsignal(signal.SIGTERM), 0
    out, err = io.StringIO(), io.StringIO()
    sys.argv = ["limbeck", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as leave:
        code = leave.code if isinstance(leave.code, int) else int(leave.code is not None)
    finally:
        sys.argv = argv
        signal.signal(signal.SIGTERM, handler)
    return Done(code, out.getvalue(), err.getvalue())


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file of a folder; the lock says who held it last and is left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
