import contextlib

import pytest

from limbeck.errors import InputError, RunFolderError
from limbeck.models.exports.staging import Target, staged

NAME = "model.onnx"


def test_a_name_says_whether_it_is_a_file(tmp_path):
    assert Target.of(tmp_path / "x.onnx", NAME, force=False).alone
    assert not Target.of(tmp_path / "x", NAME, force=False).alone
    (tmp_path / "folder.onnx").mkdir()
    assert not Target.of(tmp_path / "folder.onnx", NAME, force=False).alone
    with pytest.raises(InputError, match=r"this format is a folder: name one, e.g. .*x, not x.onnx"):
        Target.of(tmp_path / "x.onnx", NAME, force=False, may_be_alone=False)


def test_a_folder_with_something_in_it_is_refused_and_kept(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(RunFolderError, match=r"is not empty.*--force"):
        Target.of(tmp_path, NAME, force=False)
    (tmp_path / NAME).write_text("old")
    with staged(Target.of(tmp_path, NAME, force=True)) as folder:
        (folder / NAME).write_text("new")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"thesis.tex": "mine", NAME: "new"}


def test_a_file_where_a_folder_goes(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(RunFolderError, match=r"x is a file"):
        Target.of(tmp_path / "x", NAME, force=True)


def test_a_failure_changes_nothing(tmp_path):
    for path in (tmp_path / "a/b/c", tmp_path / "a/b/c.onnx"):
        with contextlib.suppress(ZeroDivisionError), staged(Target.of(path, NAME, force=False)) as folder:
            (folder / NAME).write_text("half")
            _ = 1 / 0
        assert list(tmp_path.iterdir()) == []


def test_a_new_folder_is_readable_by_others(tmp_path):
    with staged(Target.of(tmp_path / "a/b", NAME, force=False)) as folder:
        (folder / NAME).write_text("x")
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o755
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]


def test_the_folder_one_stands_in(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    target = Target.of(".", NAME, force=False)
    with staged(target) as folder:
        (folder / NAME).write_text("x")
    assert [p.name for p in (tmp_path / "here").iterdir()] == [NAME]
    assert [p.name for p in tmp_path.iterdir()] == ["here"]
    assert target.title(None) == "here"
    assert target.title("me/net") == "net"


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunFolderError, match=r"cannot make the folder .*file"),
        staged(Target.of(tmp_path / "file/sub/x.onnx", NAME, force=False)),
    ):
        pass
