"""A place beside the target, where an export is written and checked before it takes the target's name."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from limbeck.errors import InputError, RunFolderError

_MODEL_SUFFIXES = frozenset({".safetensors", ".onnx", ".pt2", ".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle"})


@dataclass(frozen=True)
class Target:
    """Where an export goes: a folder, or one file where its name says so.

    Attributes:
        path: as given.
        file: the name of the model file in the folder.
        alone: `path` is that file, and nothing else is written.
    """

    path: Path
    file: str
    alone: bool

    @property
    def model(self) -> Path:
        """The model file, once it is written."""
        return self.path if self.alone else self.path / self.file

    def title(self, repository: str | None) -> str:
        """What the export is called in its card: nothing of the path to it."""
        return (repository or self.path.absolute().name).rpartition("/")[2]

    @classmethod
    def of(cls, path: str | Path, file: str, *, force: bool, may_be_alone: bool = True) -> Target:
        """Check a target before anything is computed.

        Args:
            path: where the export goes.
            file: name of the model file; its suffix says whether `path` is one.
            force: what is there may be replaced.
            may_be_alone: whether the format is ever one file.

        Raises:
            InputError: a name that belongs to another format.
            RunFolderError: something is there already.
        """
        path = Path(path)
        suffix = Path(file).suffix
        alone = may_be_alone and path.suffix == suffix and not path.is_dir()
        if not alone and path.suffix in _MODEL_SUFFIXES and not path.is_dir():
            raise InputError(_other_name(path, suffix, may_be_alone))
        if alone and path.exists() and not force:
            raise RunFolderError(f"{path} is there already. Choose another name, or replace it: --force.")
        if not alone and path.exists() and not path.is_dir():
            raise RunFolderError(f"{path} is a file; this format is a folder. Choose another name.")
        if not alone and path.is_dir() and any(path.iterdir()) and not force:
            raise RunFolderError(
                f"the folder {path} is not empty. Choose another, or replace the files of the same names: --force."
            )
        return cls(path, file, alone)


def _other_name(path: Path, suffix: str, may_be_alone: bool) -> str:
    if not may_be_alone:
        return f"this format is a folder: name one, e.g. {path.with_suffix('')}, not {path.name}."
    pickles = "" if path.suffix in (".safetensors", ".onnx", ".pt2") else ", not a pickle"
    return (
        f"this format is a {suffix} file{pickles}: name the file {path.with_suffix(suffix).name}, "
        f"not {path.name}; or name a folder."
    )


@contextlib.contextmanager
def staged(target: Target) -> Iterator[Path]:
    """An empty folder to write into; when the block ends well, its files take their places.

    A new folder appears whole, by one rename; into one that is there, each file is renamed. When the block fails,
    nothing has changed.

    Args:
        target: where the files go.

    Raises:
        RunFolderError: the folder cannot be made or written.
    """
    path = target.path.absolute()
    parent = path.parent
    made = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    staging = None
    try:
        try:
            parent.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(dir=parent, prefix=f".{path.name}."))
        except OSError as error:
            raise RunFolderError(
                f"cannot make the folder {target.path if staging else parent}: {error.strerror or error}."
            ) from error
        staging.chmod(0o755)  # mkdtemp makes it private
        yield staging
        _put(staging, target)
    except BaseException:
        _remove(staging, made)
        raise
    _remove(staging, [])


def _put(staging: Path, target: Target) -> None:
    try:
        if target.alone:
            (staging / target.file).replace(target.path)
        elif not target.path.exists():
            staging.replace(target.path)
        else:
            for file in sorted(file for file in staging.rglob("*") if file.is_file()):
                place = target.path / file.relative_to(staging)
                place.parent.mkdir(parents=True, exist_ok=True)
                file.replace(place)
    except OSError as error:
        raise RunFolderError(f"cannot write {target.path}: {error.strerror or error}.") from error


def _remove(staging: Path | None, made: list[Path]) -> None:
    if staging is not None:
        shutil.rmtree(staging, ignore_errors=True)
    for folder in made:
        with contextlib.suppress(OSError):
            folder.rmdir()
