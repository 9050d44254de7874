"""`limbeck export`: take a model out, for programs that know nothing of Limbeck."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from limbeck.cli.console import say
from limbeck.errors import InputError


def export(
    model: Annotated[
        Path, typer.Argument(metavar="MODEL", help="A model file, a stage's folder or a run folder.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The file (state-dict) or folder (timm) to write.")],
    form: Annotated[str, typer.Option("--format", help="state-dict or timm.")] = "state-dict",
) -> None:
    """Take a model out, for programs without Limbeck.

    As a plain state dict or as a folder that timm loads; it is reloaded and its logits compared.
    """
    if form not in ("state-dict", "timm"):
        raise InputError(f"--format {form}: there are state-dict and timm.")
    from limbeck.models import export_state_dict, export_timm

    written = export_state_dict(model, out) if form == "state-dict" else export_timm(model, out)
    say(f"{written} (reloaded and compared: the same logits)")
    if form == "state-dict":
        say(f"load     model.load_state_dict(safetensors.torch.load_file({str(written)!r}))")
    else:
        say(f"load     timm.create_model({f'local-dir:{written}'!r}, pretrained=True)")
