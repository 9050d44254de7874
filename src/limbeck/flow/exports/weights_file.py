"""The weights under the network's own names, with everything that is needed to rebuild the flow around them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch

from limbeck.files import atomic_write
from limbeck.flow.artefact import flow_of, network_of, save
from limbeck.flow.exports.card import write_flow_card
from limbeck.flow.exports.source import FlowSource, compare_velocities, halves, interval_of, open_flow
from limbeck.flow.velocity import Flow
from limbeck.models.exports.card import checked_licence
from limbeck.models.exports.exported import Comparison, Exported
from limbeck.models.exports.staging import Target, staged
from limbeck.version import __version__

FILE = "model.safetensors"
CONFIG = "config.json"


def export_safetensors(
    path_in: str | Path,
    path_out: str | Path,
    *,
    licence: str | None = None,
    repository: str | None = None,
    force: bool = False,
) -> Exported:
    """Write the weights as a safetensors file, and a `config.json` that says what they are.

    `config.json` holds the network with its settings, the parameterisation that turns its output into a velocity,
    shape, classes, and which times were trained. The file itself says the same in its metadata, so that
    `limbeck.load` reads either; nothing else of the run goes with it.

    Args:
        path_in: a flow's file, or the folder of a stage or of a run that holds exactly one.
        path_out: a file named `.safetensors`, or a folder, which gets `config.json` and a model card too.
        licence: of the weights, for the card, e.g. `apache-2.0`.
        repository: `owner/name` that the folder is going to, for the card.
        force: replace what is there.

    Raises:
        InputError: `path_out` is named like another format.
        RunFolderError: something is there already.
        CheckpointError: there is no flow.
        ModelError: what was written gives other velocities.
    """
    target = Target.of(path_out, FILE, force=force)
    licence = checked_licence(licence)
    with staged(target) as folder:
        source = open_flow(path_in)
        save(source.flow, folder / FILE, class_names=source.flow.class_names)
        atomic_write(folder / CONFIG, json.dumps(config_of(source), indent=2) + "\n")
        compared = (_compared(source, folder),)
        if not target.alone:
            title = target.title(repository)
            write_flow_card(
                folder,
                source,
                title=title,
                library="safetensors",
                usage=_usage(repository, Path(title)),
                reads=(
                    f"The network takes points of shape {source.shape}, times and labels; `{CONFIG}` says with "
                    "which settings it is built and what its output means."
                ),
                compared=compared,
                licence=licence,
            )
        files = (target.path.name,) if target.alone else ("README.md", CONFIG, FILE)
    return Exported(target.path, files, compared, _usage(None, target.path))


def config_of(source: FlowSource) -> dict[str, Any]:
    """What `config.json` says."""
    return {
        "format": "limbeck flow",
        "limbeck": __version__,
        "network": dict(source.spec),
        **source.flow.facts(),
        "class_names": list(source.flow.class_names),
        "time": "0 is data, 1 is noise: x_t = (1 - t) x + t z; the velocity is that of z - x",
        "values": [-1, 1],
    }


def _compared(source: FlowSource, folder: Path) -> Comparison:
    """Rebuild the flow from the two files alone; a network of the user's own takes the weights in place."""
    config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    network = source.flow.network if ":" in source.name else network_of(config["network"])
    network.load_state_dict(safetensors.torch.load_file(folder / FILE))
    again: Flow = flow_of(network, config).eval()
    return compare_velocities(
        source,
        lambda x, labels: again(x, halves(x), labels, *interval_of(again, x)),
        reader=f"safetensors {safetensors.__version__}",
    )


def _usage(repository: str | None, path: Path) -> str:
    if repository is None:
        return f"import limbeck\n\nflow = limbeck.load({str(path)!r})"
    return (
        "import limbeck\nfrom huggingface_hub import snapshot_download\n\n"
        f'flow = limbeck.load(snapshot_download("{repository}"))'
    )
