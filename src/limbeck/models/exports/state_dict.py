"""The weights alone, under the network's own names: one safetensors file that anything reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from limbeck.files import atomic_write
from limbeck.models.artefact import plain_tensors
from limbeck.models.building import build
from limbeck.models.exports.card import checked_licence, write_card
from limbeck.models.exports.exported import RELOADED, Comparison, Exported, compare
from limbeck.models.exports.source import Source, normalised, open_source
from limbeck.models.exports.staging import Target, staged

FILE = "model.safetensors"


def export_state_dict(
    path_in: str | Path,
    path_out: str | Path,
    *,
    images: Tensor | None = None,
    licence: str | None = None,
    repository: str | None = None,
    force: bool = False,
) -> Exported:
    """Write the weights as a safetensors file, for `load_state_dict` of the same architecture.

    Args:
        path_in: a model file, stage folder or run folder.
        path_out: a file named `.safetensors`, or a folder, which gets a model card too.
        images: to compare on, in [0, 1], shape (n, c, h, w); drawn unless given.
        licence: of the weights, for the card, e.g. `apache-2.0`.
        repository: `owner/name` that the folder is going to, for the card.
        force: replace what is there.

    Raises:
        InputError: `path_out` is named like another format.
        RunFolderError: something is there already.
        ModelError: the reloaded weights give other logits.
    """
    target = Target.of(path_out, FILE, force=force)
    licence = checked_licence(licence)
    with staged(target) as folder:
        source = open_source(path_in, images)
        atomic_write(folder / FILE, safetensors.torch.save(plain_tensors(source.model), {"format": "pt"}))
        compared = (_compared(source, folder / FILE),)
        if not target.alone:
            title = target.title(repository)
            write_card(
                folder,
                source,
                title=title,
                library="safetensors",
                usage=_usage(source, repository, Path(title, FILE)),
                reads=f"It takes images of shape {source.shape}: {source.normalisation}.",
                compared=compared,
                licence=licence,
            )
        files = (target.path.name,) if target.alone else ("README.md", FILE)
    return Exported(target.path, files, compared, _usage(source, None, target.model))


def _compared(source: Source, file: Path) -> Comparison:
    tensors = safetensors.torch.load_file(file)
    network = source.model if ":" in source.name else _rebuilt(source)
    network.load_state_dict(tensors)  # a class of the user's own takes the very file, in place
    network.eval()
    images = normalised(source.images, source.data)
    return compare(source, network, images, reader="load_state_dict", tolerance=RELOADED)


def _rebuilt(source: Source) -> nn.Module:
    settings = source.settings
    if "pretrained" in settings:
        settings["pretrained"] = False
    return build(source.name, **settings)


def _usage(source: Source, repository: str | None, file: Path) -> str:
    module, made = _construction(source)
    imports, given = [f"import {module}", "import safetensors.torch"], repr(str(file))
    if repository is not None:
        imports.append("from huggingface_hub import hf_hub_download")
        given = f'hf_hub_download("{repository}", "{file.name}")'
    return "\n".join(
        [*imports, "", f"model = {made}", f"model.load_state_dict(safetensors.torch.load_file({given}))"]
    )


def _construction(source: Source) -> tuple[str, str]:
    """The module to import and the call that makes the architecture, without Limbeck where that is one call."""
    spec = source.spec
    kept = {k: v for k, v in source.settings.items() if k not in ("pretrained", "in_channels", "num_classes")}
    owner, _, name = source.name.partition("/")
    channels = source.data.input_shape[0]
    if owner == "timm":
        kept = {"num_classes": source.classes, "in_chans": channels, **kept}
        return "timm", _call("timm.create_model", name.partition(".")[0], kept)
    if owner == "torchvision" and channels == 3:
        return "torchvision", _call("torchvision.models.get_model", name, {"num_classes": source.classes, **kept})
    settings = {k: v for k, v in spec.items() if k not in ("name", "pretrained")}
    return "limbeck.models", _call("limbeck.models.build", source.name, settings)


def _call(function: str, name: str, settings: dict[str, Any]) -> str:
    plain = all(key.isidentifier() for key in settings)
    given = "".join(f", {k}={v!r}" for k, v in settings.items()) if plain else f", **{settings!r}"
    return f"{function}({name!r}{given})"
