"""A small set as a folder for the hub: Parquet for `datasets`, safetensors for plain PyTorch, a card."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from limbeck.dataset.image_set import ImageSet, load
from limbeck.dataset.picture import grid_png
from limbeck.errors import InputError, MissingExtraError
from limbeck.models.exports.card import checked_licence
from limbeck.models.exports.exported import Exported
from limbeck.models.exports.staging import Target, staged
from limbeck.version import __version__

SET, TABLE, CARD, PICTURE = "set.safetensors", "train.parquet", "README.md", "grid.png"


def export_set(path: str | Path, out: str | Path, *, licence: str | None = None, force: bool = False) -> Exported:
    """Write an image set as a folder that loads without Limbeck.

    Args:
        path: an image set, or the folder of the stage that made it.
        out: the folder.
        licence: of the data, for the card; the source's own conditions go on to hold.
        force: replace files that are there.

    Raises:
        CheckpointError: no image set there.
        RunFolderError: the folder is not empty.
        MissingExtraError: `datasets` is not installed.
    """
    file = Path(path)
    file = file / SET if file.is_dir() else file
    found = load(file)
    licence = checked_licence(licence)
    target = Target.of(out, SET, force=force, may_be_alone=False)
    with staged(target) as folder:
        shutil.copyfile(file, folder / SET)
        _write_table(found, folder / TABLE)
        (folder / PICTURE).write_bytes(grid_png(found))
        (folder / CARD).write_text(card(found, title=target.title(None), licence=licence), encoding="utf-8")
    return Exported(target.path, (SET, TABLE, PICTURE, CARD), (), usage(found))


def usage(found: ImageSet) -> str:
    """Lines of plain PyTorch that load the set and train one step on it."""
    targets = "soft" if found.soft is not None else "labels"
    return "\n".join(
        [
            "import torch",
            "from safetensors.torch import load_file",
            f'data = load_file("{SET}")',
            f'images, targets = data["0.images"], data["0.{targets}"]  # ready for a network',
        ]
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
        "image": [{"bytes": _png(one), "path": None} for one in pixels],
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


def _png(pixels: Tensor) -> bytes:
    values = (pixels * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    buffer = io.BytesIO()
    Image.fromarray(values[:, :, 0] if values.shape[2] == 1 else values).save(buffer, "PNG")
    return buffer.getvalue()


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
        "configs": [{"config_name": "default", "data_files": TABLE}],
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
    lines += ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts), ""]
    lines += ["```python", usage(found), "```", ""]
    lines += [
        "Test images need the same preprocessing as these had: its numbers are in the file as `preprocess.*`.",
        *(_recipe(found)),
        "",
        f'With `datasets`: `datasets.load_dataset("parquet", data_files="{TABLE}")`. The column `image` is for '
        "looking; `input` holds the exact numbers that were learnt.",
        "",
        "## Provenance",
        "",
        "```json",
        json.dumps(dict(found.provenance), indent=1, default=str),
        "```",
        "",
    ]
    return "\n".join(lines)


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
    return lines


def is_set(path: Path) -> bool:
    """Whether there is an image set at a path, without reading it whole."""
    file = path / SET if path.is_dir() else path
    if not file.is_file():
        return False
    import safetensors

    try:
        with safetensors.safe_open(file, "pt") as opened:
            about = json.loads((opened.metadata() or {}).get("limbeck", "{}"))
    except (OSError, safetensors.SafetensorError, ValueError):
        return False
    return isinstance(about, dict) and about.get("format") == "image set"


def refuse_set(path: Path, form: str) -> None:
    """Say so where a model's format is asked of an image set.

    Raises:
        InputError: it is one.
    """
    if is_set(path):
        raise InputError(f"{path} is an image set, not a model: --format dataset, not {form}.")
