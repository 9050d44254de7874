import errno
import os

import pytest

from limbeck.errors import LimbeckError, RunFolderError, StorageError
from limbeck.files import append_line, atomic_write, sha256_of


def test_text_and_bytes_replace_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    atomic_write(path, "äh")
    assert path.read_text(encoding="utf-8") == "äh"
    atomic_write(path, b"\x00\x01")
    assert path.read_bytes() == b"\x00\x01"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_lines_are_appended(tmp_path):
    path = tmp_path / "lines"
    append_line(path, "one")
    append_line(path, "two")
    assert path.read_text() == "one\ntwo\n"


def test_digests_of_bytes_and_files_agree(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_of(b"abc") == sha256_of(tmp_path / "x")
    assert sha256_of(b"abc").startswith("ba7816bf")


@pytest.mark.parametrize("write", [atomic_write, append_line])
@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (errno.ENOSPC, StorageError, r"No space left on device\. What was written before is intact"),
        (errno.EIO, StorageError, "Input/output error"),
        (errno.EACCES, RunFolderError, r"cannot write .*a\.txt: Permission denied"),
        (errno.EROFS, RunFolderError, "Read-only file system"),
    ],
)
def test_failures_say_what_is_left(tmp_path, monkeypatch, write, number, kind, message):
    path = tmp_path / "a.txt"
    path.write_text("before\n")

    def fail(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("tempfile.mkstemp" if write is atomic_write else "pathlib.Path.open", fail)
    with pytest.raises(kind, match=message):
        write(path, "after")
    monkeypatch.undo()
    assert path.read_text() == "before\n"


def test_a_disk_that_fills_up_while_writing(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("before")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StorageError, match=r"writing .*a\.txt \(5 bytes\) failed"):
        atomic_write(path, "after")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.txt", "before")]


def test_no_folder(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "absent/a", tmp_path / "file/a"):
        with pytest.raises(LimbeckError, match="cannot write"):
            atomic_write(path, "x")
