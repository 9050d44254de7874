"""A sampler as a program of torch.export: one file that plain torch loads, without the class of the network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from limbeck.flow.exports.card import write_flow_card
from limbeck.flow.exports.program import sampler_program, write_program
from limbeck.flow.exports.source import FlowSource, Plan, compare_images, open_flow, plan_of
from limbeck.models.exports.card import checked_licence
from limbeck.models.exports.exported import Exported
from limbeck.models.exports.staging import Target, staged

FILE = "sampler.pt2"


def export_torch(
    path_in: str | Path,
    path_out: str | Path,
    *,
    evaluations: int | None = None,
    times: Sequence[float] | None = None,
    licence: str | None = None,
    repository: str | None = None,
    force: bool = False,
) -> Exported:
    """Write a sampler that `torch.export.load(path).module()` runs: noise, and labels, to images in [-1, 1].

    It walks as `limbeck.flow.sample` does with the same evaluations and times: by Euler's rule, or for consistency
    models by jumps with new noise that depends on the row alone. All evaluations are in the graph, so that tracing
    takes longer the more there are. Noise is float32 (n, c, h, w) for any n; labels are int64 (n,), -1 for no
    class, and wanted of flows with classes alone.

    The program runs on the CPU; `torch.export.passes.move_to_device_pass(program, "cuda")` moves it.

    Args:
        path_in: a flow's file, or the folder of a stage or of a run that holds exactly one.
        path_out: a file named `.pt2`, or a folder, which gets a model card too.
        evaluations: of the network for each sample; 1 unless given, or unless `times` are.
        times: where the steps begin, falling, as in `limbeck.flow.sample`.
        licence: of the weights, for the card, e.g. `apache-2.0`.
        repository: `owner/name` that the folder is going to, for the card.
        force: replace what is there.

    Raises:
        InputError: `path_out` is named like another format.
        RunFolderError: something is there already.
        CheckpointError: there is no flow.
        ConfigError: evaluations that cannot be spent, or times that do not fall.
        ModelError: the network cannot be captured, or the program gives other images.
    """
    target = Target.of(path_out, FILE, force=force)
    licence = checked_licence(licence)
    with staged(target) as folder:
        source = open_flow(path_in)
        plan = plan_of(source.flow, evaluations, times)
        write_program(sampler_program(source, plan), folder / FILE, _facts(source, plan))
        again = torch.export.load(folder / FILE).module()
        compared = (
            compare_images(
                source,
                plan,
                lambda noise, labels: again(noise) if labels is None else again(noise, labels),
                reader=f"torch {torch.__version__}",
            ),
        )
        if not target.alone:
            title = target.title(repository)
            write_flow_card(
                folder,
                source,
                title=title,
                library="pytorch",
                usage=_usage(source, repository, Path(title, FILE)),
                reads=_reads(source, plan),
                compared=compared,
                licence=licence,
            )
        files = (target.path.name,) if target.alone else ("README.md", FILE)
    return Exported(target.path, files, compared, _usage(source, None, target.model))


def _reads(source: FlowSource, plan: Plan) -> str:
    labels = ""
    if source.labels is not None:
        labels = (
            f" `labels`, int64 of shape (batch,), are from 0 to {source.flow.classes - 1}, or -1 for no class."
        )
    return (
        f"It takes `noise`, standard normal, float32 of shape {source.shape}, and gives images of that shape, in "
        f"[-1, 1] up to what the flow itself overshoots.{labels} It spends {plan}. It runs on the CPU; "
        "`torch.export.passes.move_to_device_pass(torch.export.load(file), 'cuda').module()` runs on a GPU."
    )


def _facts(source: FlowSource, plan: Plan) -> dict[str, Any]:
    return {
        "network": source.name,
        **source.flow.facts(),
        "class_names": list(source.flow.class_names),
        "evaluations": plan.evaluations,
        "solver": plan.rule.name,
        "times": list(plan.grid),
    }


def _usage(source: FlowSource, repository: str | None, file: Path) -> str:
    lines, given = ["import torch", ""], repr(str(file))
    if repository is not None:
        lines = ["import torch", "from huggingface_hub import hf_hub_download", ""]
        given = f'hf_hub_download("{repository}", "{file.name}")'
    noise = f"noise = torch.randn(16, {', '.join(str(side) for side in source.flow.image_shape)})"
    lines += [f"sampler = torch.export.load({given}).module()", noise]
    if source.labels is None:
        return "\n".join([*lines, "images = sampler(noise)"])
    labels = f"labels = torch.arange(16) % {source.flow.classes}"
    return "\n".join([*lines, labels, "images = sampler(noise, labels)"])
