from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from limbeck.errors import RunFolderError
from limbeck.runs.lock import locked

HOLD = """
import os, sys, time
from pathlib import Path
from limbeck.runs.lock import locked
with locked(Path(sys.argv[1])):
    child = os.fork() if sys.argv[2] == "fork" else 1
    if child == 0:
        os.close(1)  # a data worker that outlives its parent
        time.sleep(30)
        os._exit(0)
    print(child, flush=True)
    time.sleep(30)
"""


def holder(folder: Path, how: str) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder), how], stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


def test_a_second_process_is_refused_by_name(tmp_path):
    process, _ = holder(tmp_path, "alone")
    try:
        says = f"being written by process {process.pid} on .* since 20"
        with pytest.raises(RunFolderError, match=says), locked(tmp_path):
            pass
    finally:
        process.kill()
        process.communicate()


def test_the_lock_of_a_dead_process_is_taken_over_even_if_its_child_lives(tmp_path):
    process, child = holder(tmp_path, "fork")
    try:
        process.kill()
        process.communicate()
        assert (tmp_path / ".lock").read_text()  # the dead one's name still stands there
        with locked(tmp_path):
            assert f'"pid": {os.getpid()}' in (tmp_path / ".lock").read_text()
    finally:
        os.kill(child, signal.SIGKILL)


def test_released_after_the_block_and_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    with locked(tmp_path):
        pass
    assert (tmp_path / ".lock").read_text() == ""


def test_the_same_process_twice_is_refused(tmp_path):
    with locked(tmp_path), pytest.raises(RunFolderError, match=f"process {os.getpid()}"), locked(tmp_path):
        pass


def test_a_holder_that_wrote_nothing_yet(tmp_path):
    with locked(tmp_path):
        (tmp_path / ".lock").write_text("")
        with pytest.raises(RunFolderError, match="by another process"), locked(tmp_path):
            pass


def test_a_read_only_folder(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(RunFolderError, match=r"Permission denied.*--out"), locked(tmp_path):
        pass
