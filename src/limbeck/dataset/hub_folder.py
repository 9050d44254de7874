"""A small set as a folder for the hub: Parquet for `datasets`, safetensors for plain PyTorch, a card."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from limbeck.dataset.image_set import ImageSet, load, save
from limbeck.dataset.picture import encoded, grid_png
from limbeck.errors import CheckpointError, InputError, MissingExtraError, RunFolderError
from limbeck.models.exports.card import checked_licence
from limbeck.models.exports.exported import Exported
from limbeck.models.exports.staging import Target, staged
from limbeck.runs.records import read_json
from limbeck.version import __version__

SET, CARD, PICTURE = "set.safetensors", "README.md", "grid.png"
TABLE = "data/train-00000-of-00001.parquet"
"""Named as the hub names the only part of a split."""
_KIND = "image set"


def export_set(path: str | Path, out: str | Path, *, licence: str | None = None, force: bool = False) -> Exported:
    """Write an image set as a folder that loads without Limbeck.

    Args:
        path: an image set, the folder of the stage that made it, or a run folder with one such stage.
        out: the folder.
        licence: of the data, for the card; the source's own conditions go on to hold.
        force: replace files that are there.

    Returns:
        What was written. Folders of this machine are named neither in the card nor in the set.

    Raises:
        CheckpointError: no image set there.
        RunFolderError: the folder is not empty, or the stage is not finished.
        InputError: a licence that is no identifier.
        MissingExtraError: `datasets` is not installed.
    """
    given = load(find_set(Path(path)))
    found = replace(given, provenance=_public(given.provenance))
    licence = checked_licence(licence)
    target = Target.of(out, SET, force=force, may_be_alone=False)
    with staged(target) as folder:
        save(found, folder / SET)
        (folder / TABLE).parent.mkdir()
        _write_table(found, folder / TABLE)
        (folder / PICTURE).write_bytes(grid_png(found))
        (folder / CARD).write_text(card(found, title=target.title(None), licence=licence), encoding="utf-8")
        _merge_table(folder, target.path)
    return Exported(target.path, (SET, TABLE, PICTURE, CARD), (), usage(found, target.path / SET))


def _merge_table(folder: Path, out: Path) -> None:
    """Put the table into a `data` folder that is there: a whole folder takes the place of an empty one alone."""
    if not (out / TABLE).parent.exists():
        return
    try:
        (folder / TABLE).replace(out / TABLE)
        (folder / TABLE).parent.rmdir()
    except OSError as error:
        raise RunFolderError(f"cannot write {out / TABLE}: {error.strerror or error}.") from error


def usage(found: ImageSet, file: Path | str = SET) -> str:
    """Three lines of plain PyTorch that load the set.

    Args:
        found: the set.
        file: where it is.
    """
    targets = "soft" if found.soft is not None else "labels"
    if len(found.subsets) == 1:
        last = f'images, targets = data["0.images"], data["0.{targets}"]'
    else:
        pair = f'(data[f"{{i}}.images"], data[f"{{i}}.{targets}"])'
        last = f"subsets = [{pair} for i in range({len(found.subsets)})]  # images and targets, in order"
    return "\n".join(
        ["from safetensors.torch import load_file", f"data = load_file({json.dumps(str(file))})", last]
    )


def _write_table(found: ImageSet, path: Path) -> None:
    """A picture to look at, the exact numbers, class, soft label, subset and rate of every image."""
    try:
        import datasets
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError.of("datasets", "hf", "writing a set as Parquet") from error
    pixels = found.preprocess.invert(found.images).clamp(0, 1)
    columns: dict[str, Any] = {
        "image": [{"bytes": encoded(one), "path": None} for one in pixels],
        "input": found.images.float().numpy(),
        "label": found.labels.tolist(),
        "subset": [number for number, s in enumerate(found.subsets) for _ in range(len(s.labels))],
    }
    features: dict[str, Any] = {
        "image": datasets.Image(),
        "input": datasets.Array3D(shape=tuple(found.image_shape), dtype="float32"),
        "label": datasets.ClassLabel(names=list(found.class_names)),
        "subset": datasets.Value("int32"),
    }
    if found.soft is not None:
        columns["soft_label"] = found.soft.float().tolist()
        features["soft_label"] = datasets.Sequence(datasets.Value("float32"), length=found.classes)
    if any(s.lr is not None for s in found.subsets):
        columns["learning_rate"] = [s.lr for s in found.subsets for _ in range(len(s.labels))]
        features["learning_rate"] = datasets.Value("float32")
    table = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
    # Its own `to_parquet` draws a progress bar on the terminal.
    parquet.write_table(table.data.table, path)


def card(found: ImageSet, *, title: str, licence: str | None) -> str:
    """The README.md of the folder.

    Args:
        found: the set.
        title: its heading.
        licence: identifier; "unknown" unless given.
    """
    images = len(found.labels)
    front = {
        "license": licence or "unknown",
        "task_categories": ["image-classification"],
        "tags": ["dataset-distillation", "limbeck"],
        "pretty_name": title,
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": TABLE}]}],
    }
    soft = found.soft is not None
    facts = [
        ("images", f"{images:,}, {found.ipc} per class, {' x '.join(map(str, found.image_shape))}"),
        ("classes", ", ".join(found.class_names[:20]) + (", ..." if found.classes > 20 else "")),
        ("labels", "hard and soft" if soft else "hard"),
        ("bytes", f"{found.bytes:,}, {found.label_bytes:,} of them labels"),
        ("preprocessing", _prepared(found)),
        ("augmentation of students", found.augment or "none"),
        ("learned rates", ", ".join(f"{s.lr:.4g}" for s in found.subsets if s.lr is not None) or "none"),
        ("subsets", f"{len(found.subsets)}, to be learnt in order" if len(found.subsets) > 1 else "1"),
    ]
    lines = ["---", *(f"{key}: {json.dumps(value)}" for key, value in front.items()), "---", f"# {title}", ""]
    lines += [
        f"A small set that stands for a large one, made by Limbeck {__version__}.",
        "",
        f"![]({PICTURE})",
        "",
    ]
    lines += ["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in facts), ""]
    lines += ["```python", usage(found), "```", ""]
    lines += [
        "Test images need the same preprocessing as these had: its numbers are in the file as `preprocess.*`.",
        *(_recipe(found)),
        "",
        "With `datasets`, in this folder; elsewhere the path of the folder will do, or its name on the hub:",
        "",
        "```python",
        "import datasets",
        f'rows = datasets.load_dataset("parquet", data_files="{TABLE}")["train"].with_format("torch")',
        "```",
        "",
        "The column `image` is for looking; `input` holds the exact numbers that were learnt.",
        "",
        "## Provenance",
        "",
        "```json",
        json.dumps(dict(found.provenance), indent=1, default=str),
        "```",
        "",
        "## Licence",
        "",
        f"`{licence}`"
        if licence
        else "Not stated by whoever exported the set; that of the data it was made from may bind it.",
        "",
    ]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _public(value: Any) -> Any:
    """Provenance with the last names of paths in place of the paths."""
    if isinstance(value, Mapping):
        return {key: _public(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_public(one) for one in value]
    if isinstance(value, str) and value.startswith(("/", "./", "../", "~")):
        return Path(value).name
    return value


def _prepared(found: ImageSet) -> str:
    if found.preprocess.name == "zca":
        return "ZCA of pixels in [0, 1]: `(x.flatten(1) - mean) @ matrix`"
    return "`(x - mean) / std` of pixels in [0, 1]"


def _recipe(found: ImageSet) -> list[str]:
    lines = []
    if found.factor > 1:
        lines.append(
            f"Each stored image is cut into {found.factor} x {found.factor} tiles, each enlarged to full size."
        )
    if found.soft is not None:
        lines.append("Soft labels are probabilities for `torch.nn.functional.cross_entropy`.")
        if found.provenance.get("truncated"):
            lines.append("They were cut to their largest entries and sum to less than one on purpose.")
    return lines


def find_set(path: Path) -> Path:
    """The one image set that a path stands for: a file, the folder of a stage or an export, or a run folder.

    Raises:
        CheckpointError: none, or several.
        RunFolderError: the stage is not finished.
    """
    if not path.is_dir():
        return path
    if (named := _named_by(path)) is not None:
        return named
    if (result := read_json(path / "result.json")) is not None:
        kind = result.get("kind") if isinstance(result, dict) else None
        raise CheckpointError(f"{path} is a stage that made no image set, but: {kind or 'nothing that is known'}.")
    if (path / "config.json").is_file():
        raise RunFolderError(
            f"the stage in {path} is not finished: it has no result.json. The command that began it continues it."
        )
    if (path / SET).is_file():
        return path / SET
    # ".old-" is what --fresh kept aside.
    found = [one for d in sorted(path.iterdir()) if d.is_dir() and ".old-" not in d.name and (one := _named_by(d))]
    if len(found) == 1:
        return found[0]
    if not found:
        raise CheckpointError(
            f"{path} holds no image set ({SET}), neither itself nor in a finished stage's folder."
        )
    listed = ", ".join(one.parent.name for one in found[:6]) + (", ..." if len(found) > 6 else "")
    raise CheckpointError(f"{path} holds {len(found)} image sets ({listed}); give the folder of one of them.")


def _named_by(folder: Path) -> Path | None:
    """The set that the result of a finished stage names."""
    result = read_json(folder / "result.json")
    if not isinstance(result, dict) or result.get("kind") != _KIND:
        return None
    name = result.get("set")
    return folder / name if isinstance(name, str) else None


def is_set(path: Path) -> bool:
    """Whether a file, or what a stage's folder holds, is an image set; without reading it whole."""
    file = (_named_by(path) or path / SET) if path.is_dir() else path
    if not file.is_file():
        return False
    import safetensors

    try:
        with safetensors.safe_open(file, "pt") as opened:
            about = json.loads((opened.metadata() or {}).get("limbeck", "{}"))
    except (OSError, safetensors.SafetensorError, ValueError):
        return False
    return isinstance(about, dict) and about.get("format") == _KIND


def refuse_set(path: Path, form: str) -> None:
    """Say so where a model's format is asked of an image set.

    Raises:
        InputError: it is one.
    """
    if is_set(path):
        raise InputError(f"{path} is an image set, not a model: --format dataset, not {form}.")
