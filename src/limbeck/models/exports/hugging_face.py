"""A folder for the Hugging Face hub that loads without Limbeck.

Networks of transformers and of timm load with `AutoModelForImageClassification`. Any other network has a class
that transformers does not have; its folder holds a program of torch.export, which plain torch loads, and the model
file of Limbeck's beside it.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import MissingExtraError, ModelError
from limbeck.files import atomic_write
from limbeck.models.exports.card import checked_licence, write_card
from limbeck.models.exports.exported import RELOADED, Comparison, Exported, compare, first_line
from limbeck.models.exports.program import reads
from limbeck.models.exports.source import Source, normalised, open_source
from limbeck.models.exports.staging import Target, staged
from limbeck.models.exports.timm_folder import write_timm
from limbeck.models.exports.torch_program import FILE as PROGRAM
from limbeck.models.exports.torch_program import usage_of, write_program

_BILINEAR = 2  # of PIL


def export_hf(
    path_in: str | Path,
    folder: str | Path,
    *,
    images: Tensor | None = None,
    licence: str | None = None,
    repository: str | None = None,
    force: bool = False,
) -> Exported:
    """Write a folder for the Hugging Face hub.

    Args:
        path_in: a model file, stage folder or run folder.
        folder: made if it is not there.
        images: to compare on, in [0, 1], shape (n, c, h, w); drawn unless given.
        licence: of the weights, for the card, e.g. `apache-2.0`.
        repository: `owner/name` that the folder is going to, for the card.
        force: replace what is there.

    Raises:
        MissingExtraError: transformers is not installed and the network is one of its or of timm's.
        RunFolderError: something is there already.
        ModelError: the network cannot be captured, or what was written gives other logits.
    """
    target = Target.of(folder, "model.safetensors", force=force, may_be_alone=False)
    licence = checked_licence(licence)
    with staged(target) as staging:
        source = open_source(path_in, images)
        if source.name.startswith(("hf/", "timm/")):
            library = "transformers" if source.name.startswith("hf/") else "timm"
            compared = _for_transformers(source, staging)
            said = _prepared(source)
        else:
            library = "pytorch"
            compared = _for_torch(source, staging)
            said = f"{reads(source, 'inside', 'float32')} Limbeck's `load` gives the network itself."
        title = target.title(repository)
        write_card(
            staging,
            source,
            title=title,
            library=library,
            usage=_usage(source, repository, Path(title)),
            reads=said,
            compared=compared,
            licence=licence,
        )
        files = tuple(sorted(file.name for file in staging.iterdir()))
    return Exported(target.path, files, compared, _usage(source, None, target.path))


def _for_transformers(source: Source, folder: Path) -> tuple[Comparison, ...]:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError.of("transformers", "hf", "a folder for transformers") from error
    with _quiet(transformers):
        if source.name.startswith("timm/"):
            write_timm(source, folder)
        else:
            _save_pretrained(source, folder)
            if _has_processor(source):
                atomic_write(folder / "preprocessor_config.json", json.dumps(_processor(source), indent=2) + "\n")
        try:
            network = transformers.AutoModelForImageClassification.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # whatever it likes
            raise ModelError(
                f"transformers {transformers.__version__} cannot rebuild {source.name} from its config "
                f"({first_line(error)}). What holds it: --format onnx or torch, and state-dict for its weights."
            ) from error
        network = network.float().eval()
        images = normalised(source.images, source.data)
        reader = f"transformers {transformers.__version__}"
        compared = compare(source, network, images, reader=reader, tolerance=RELOADED)
        if _has_processor(source):
            _check_processor(source, folder, transformers)
    return (compared,)


def _save_pretrained(source: Source, folder: Path) -> None:
    model: Any = source.model
    if source.class_names:
        model.config.id2label = dict(enumerate(source.class_names))
        model.config.label2id = {name: i for i, name in enumerate(source.class_names)}
    model.save_pretrained(folder)  # under the names that every version of transformers reads


def _processor(source: Source) -> dict[str, Any]:
    _, height, width = source.data.input_shape
    return {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "size": {"height": height, "width": width},
        "resample": _BILINEAR,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(source.data.mean),
        "image_std": list(source.data.std),
    }


def _check_processor(source: Source, folder: Path, transformers: Any) -> None:
    """Make sure that the image processor makes of a picture what the model was trained on."""
    from PIL import Image

    pixels = (source.images[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels)
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True)
        found = torch.as_tensor(processor(picture, return_tensors="pt")["pixel_values"])
    except Exception as error:  # as above
        raise ModelError(
            f"the export was refused: the image processor cannot be read or run ({first_line(error)})."
        ) from error
    wanted = normalised(torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255, source.data)
    if found.shape != wanted.shape or not torch.allclose(found.float(), wanted, atol=1e-4):
        raise ModelError(
            "the export was checked and refused: the image processor does not normalise as the model was trained."
        )


def _for_torch(source: Source, folder: Path) -> tuple[Comparison, ...]:
    compared = write_program(source, folder / PROGRAM, normalise="inside", precision="float32")
    atomic_write(folder / "model.safetensors", source.file.read_bytes())
    atomic_write(folder / "config.json", json.dumps(_plain_config(source), indent=2) + "\n")
    return (compared,)


def _plain_config(source: Source) -> dict[str, Any]:
    names = source.class_names or tuple(f"LABEL_{i}" for i in range(source.classes))
    return {
        "architecture": source.name,
        "num_labels": source.classes,
        "id2label": {str(i): name for i, name in enumerate(names)},
        "label2id": {name: i for i, name in enumerate(names)},
        "input_shape": list(source.data.input_shape),
        "image_mean": list(source.data.mean),
        "image_std": list(source.data.std),
        "input": reads(source, "inside", "float32"),
    }


def _prepared(source: Source) -> str:
    if _has_processor(source):
        return f"`pixel_values` has shape {source.shape}; `processor(picture, return_tensors='pt')` prepares one."
    return (
        f"`pixel_values` has shape {source.shape}: {source.normalisation}. There is no image processor, as "
        "transformers has them for 1 or 3 channels alone."
    )


def _has_processor(source: Source) -> bool:
    return source.data.input_shape[0] in (1, 3)


def _usage(source: Source, repository: str | None, folder: Path) -> str:
    if not source.name.startswith(("hf/", "timm/")):
        return usage_of(repository, folder / PROGRAM)
    where = repr(repository or str(folder))
    names = ["AutoImageProcessor"] if _has_processor(source) else []
    lines = [
        f"from transformers import {', '.join([*names, 'AutoModelForImageClassification'])}",
        "",
        f"model = AutoModelForImageClassification.from_pretrained({where})",
        *[f"processor = {name}.from_pretrained({where})" for name in names],
    ]
    return "\n".join(lines)


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """No progress bars for files that are written in a moment, and no remarks on optional speed."""
    logging = transformers.utils.logging
    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
