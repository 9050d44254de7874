"""The library's recipes of data-set distillation and their tables, written out from one place.

`python schemas/dataset_library.py` writes `src/limbeck/recipes/library/{small_sets,soft_labels}/`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).parents[1] / "src" / "limbeck" / "recipes" / "library"
DSA = "color_crop_cutout_flip_scale_rotate"
DATA: Mapping[str, dict[str, Any]] = {
    "cifar10": {
        "title": "CIFAR-10",
        "source": "{name: torchvision/cifar10, root: data, download: true}",
        "model": "{name: convnet3}",
        "short": "C10",
    },
    "cifar100": {
        "title": "CIFAR-100",
        "source": "{name: torchvision/cifar100, root: data, download: true}",
        "model": "{name: convnet3}",
        "short": "C100",
    },
    "tiny_imagenet": {
        "title": "TinyImageNet",
        "source": "{name: folder, root: data/tiny-imagenet-200, size: 64}",
        "model": "{name: convnet4}",
        "short": "Tiny",
    },
}
IPCS = (1, 10, 50)
CIFAR10_MEAN, CIFAR10_STD = [0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]
"""The whole literature normalises CIFAR-100 with CIFAR-10's statistics."""

# T, M, starts, batch, lr_images, lr_lr, lr, ZCA: the commands of MTT's authors
MTT = {
    ("cifar10", 1): (50, 2, (0, 2), None, 100, 1e-7, 0.01, True),
    ("cifar10", 10): (30, 2, (0, 20), None, 100, 1e-5, 0.001, True),
    ("cifar10", 50): (30, 2, (0, 40), None, 1000, 1e-5, 0.001, False),
    ("cifar100", 1): (20, 3, (0, 20), None, 1000, 1e-5, 0.01, True),
    ("cifar100", 10): (20, 2, (0, 20), None, 1000, 1e-5, 0.01, False),
    ("cifar100", 50): (80, 2, (0, 40), 125, 1000, 1e-5, 0.01, True),
    ("tiny_imagenet", 1): (10, 2, (0, 10), None, 1e4, 1e-4, 0.01, False),
    ("tiny_imagenet", 10): (20, 2, (0, 40), 200, 1e4, 1e-4, 0.01, False),
    ("tiny_imagenet", 50): (20, 2, (0, 40), 300, 1e4, 1e-4, 0.01, False),
}
# T, M, starts, first end, growth, batch, lr_images, lr_labels, lr_lr: DATM's configurations
DATM = {
    ("cifar10", 1): (80, 2, (0, 4), None, 1, 10, 100, 5, 1e-7),
    ("cifar10", 10): (80, 2, (0, 20), 10, 1000, 100, 100, 2, 1e-5),
    ("cifar10", 50): (80, 2, (0, 40), 20, 2000, 500, 1000, 2, 1e-5),
    ("cifar100", 1): (40, 3, (0, 20), 10, 1000, 1000, 1000, 10, 1e-5),
    ("cifar100", 10): (80, 2, (0, 50), 30, 2000, 1000, 1000, 10, 1e-5),
    ("cifar100", 50): (80, 2, (20, 70), None, 1, 1000, 1000, 10, 1e-5),
    ("tiny_imagenet", 1): (40, 2, (0, 20), 15, 2000, 1000, 1e4, 10, 1e-4),
    ("tiny_imagenet", 10): (40, 2, (10, 50), None, 1, 500, 100, 10, 1e-4),
    ("tiny_imagenet", 50): (20, 2, (40, 70), None, 1, 1000, 100, 10, 1e-4),
}
# expert epoch, expert's rate, student's rate: table 7 of the soft-label paper
SOFT = {
    ("cifar10", 1): (20, 5e-4, 0.01),
    ("cifar10", 10): (44, 5e-4, 0.01),
    ("cifar10", 50): (128, 5e-4, 0.01),
    ("cifar100", 1): (13, 0.01, 0.01),
    ("cifar100", 10): (36, 0.01, 0.01),
    ("cifar100", 50): (125, 0.01, 0.01),
    ("tiny_imagenet", 1): (11, 0.01, 0.01),
    ("tiny_imagenet", 10): (50, 0.01, 0.1),
    ("tiny_imagenet", 50): (90, 0.01, 0.1),
}
REPORTED: Mapping[str, Mapping[tuple[str, int], float]] = {
    "Random": dict(zip(MTT, (15.4, 31.0, 50.6, 4.2, 14.6, 33.4, 1.4, 5.0, 15.0), strict=True)),
    "DC": {
        ("cifar10", 1): 28.3,
        ("cifar10", 10): 44.9,
        ("cifar10", 50): 53.9,
        ("cifar100", 1): 12.8,
        ("cifar100", 10): 25.2,
    },
    "DSA": {
        ("cifar10", 1): 28.8,
        ("cifar10", 10): 52.1,
        ("cifar10", 50): 60.6,
        ("cifar100", 1): 13.9,
        ("cifar100", 10): 32.3,
        ("cifar100", 50): 42.8,
    },
    "DM": dict(zip(MTT, (26.0, 48.9, 63.0, 11.4, 29.7, 43.6, 3.9, 12.9, 24.1), strict=True)),
    "MTT": dict(zip(MTT, (46.2, 65.4, 71.6, 24.3, 39.7, 47.7, 8.8, 23.2, 28.0), strict=True)),
    "TESLA": {
        ("cifar10", 1): 48.5,
        ("cifar10", 10): 66.4,
        ("cifar10", 50): 72.6,
        ("cifar100", 1): 24.8,
        ("cifar100", 10): 41.7,
        ("cifar100", 50): 47.9,
    },
    "DATM": dict(zip(MTT, (46.9, 66.8, 76.1, 27.9, 47.2, 55.0, 17.1, 31.1, 39.7), strict=True)),
    "IDC": {("cifar10", 1): 50.6, ("cifar10", 10): 67.5, ("cifar10", 50): 74.5, ("cifar100", 10): 45.1},
}
SOFT_REPORTED = {
    ("tiny_imagenet", 1): (7.6, 0.3),
    ("tiny_imagenet", 10): (27.2, 0.4),
    ("tiny_imagenet", 50): (35.6, 0.4),
    ("cifar100", 1): (16.0, 0.3),
    ("cifar100", 10): (34.3, 0.2),
    ("cifar100", 50): (47.1, 0.4),
    ("cifar10", 1): (21.1, 0.5),
    ("cifar10", 10): (46.3, 0.8),
    ("cifar10", 50): (62.1, 0.5),
}
VARIANTS = {"DC": "dc", "DSA": "dsa", "DM": "dm", "MTT": "mtt", "TESLA": "tesla", "DATM": "datm", "IDC": "idc"}
SMOKE_MODEL = "{name: convnet, depth: 2, width: 4, image_size: 8}"


def flow(values: Mapping[str, Any]) -> str:
    """A mapping on one line."""
    parts = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            text = flow(value)
        elif isinstance(value, tuple | list):
            text = "[" + ", ".join(flow(v) if isinstance(v, Mapping) else str(v) for v in value) + "]"
        elif isinstance(value, bool):
            text = str(value).lower()
        elif value is None:
            text = "null"
        elif isinstance(value, float):
            text = _float(value)
        else:
            text = str(value)
        parts.append(f"{key}: {text}")
    return "{" + ", ".join(parts) + "}"


def _float(value: float) -> str:
    if value >= 1e-3:
        return f"{value:g}"
    mantissa, _, exponent = f"{value:e}".partition("e")
    return f"{float(mantissa):.1f}e{int(exponent)}"


def mtt(data: str, ipc: int) -> dict[str, Any]:
    """MTT's settings of one cell."""
    steps, span, starts, batch, lr_images, lr_lr, lr, _ = MTT[data, ipc]
    found: dict[str, Any] = {"name": "mtt", "steps": steps, "expert_epochs": span, "start_epochs": starts}
    if batch:
        found["batch_size"] = batch
    return {**found, "lr": float(lr), "lr_images": float(lr_images), "lr_lr": float(lr_lr)}


def variants(data: str, ipc: int) -> dict[str, dict[str, Any]]:
    """Overlays of the methods other than MTT."""
    whiten = MTT[data, ipc][-1]

    def over(
        stage: dict[str, Any], look: dict[str, Any] | None = None, *, zca: bool | None = None
    ) -> dict[str, Any]:
        changed: dict[str, Any] = {} if zca is None else {"whiten": zca}
        if zca and data == "cifar100":
            changed |= {"mean": None, "std": None}
        if zca is False and data == "cifar100":
            changed |= {"mean": CIFAR10_MEAN, "std": CIFAR10_STD}
        found = {"experts": dict(changed), "set": {**changed, **stage}, "look": {**changed, **(look or {})}}
        return {name: values for name, values in found.items() if values}

    unwhitened = False if whiten else None
    found: dict[str, dict[str, Any]] = {"mtt": {}}
    if (data, ipc) == ("cifar10", 1):
        found["tesla"] = over({"method": {"name": "tesla"}, "iterations": 10000}, zca=unwhitened)
    steps, span, starts, first, grows, batch, lr_images, lr_labels, lr_lr = DATM[data, ipc]
    datm = {
        "name": "datm",
        "steps": steps,
        "expert_epochs": span,
        "start_epochs": starts,
        "grows_from": first,
        "grows_for": grows,
        "batch_size": batch,
        "lr_images": float(lr_images),
        "lr_labels": float(lr_labels),
        "lr_lr": float(lr_lr),
    }
    found["datm"] = over({"method": datm, "iterations": 10000}, {"labels": ["soft"]}, zca=None if whiten else True)
    found["datm"].setdefault("experts", {})["epochs"] = 100
    if data != "tiny_imagenet":
        students = {"students": {"protocol": "dsa", "seeds": list(range(20))}}
        found["dsa"] = over({"method": {"name": "dsa"}, "iterations": 1000}, students, zca=unwhitened)
        found["dc"] = over(
            {"method": {"name": "dc"}, "iterations": 1000, "initialise": "noise"},
            {"students": {"protocol": "dc", "seeds": list(range(20))}},
            zca=unwhitened,
        )
        idc = {"method": {"name": "idc"}, "iterations": 2000}
        found["idc"] = over(idc, {"students": {"protocol": "idc"}}, zca=unwhitened)
    found["dm"] = over(
        {"method": {"name": "dm"}, "iterations": 20000},
        {"students": {"protocol": "dm", "seeds": list(range(20))}},
        zca=unwhitened,
    )
    if ipc > 1:
        # The published script whitens at 50 images per class of CIFAR-10, where MTT's does not.
        found["seqmatch"] = over(seqmatch(data, ipc), zca=True if (data, ipc) == ("cifar10", 50) else None)
    return found


def seqmatch(data: str, ipc: int) -> dict[str, Any]:
    """The published three subsets of CIFAR-10 with 50 images; elsewhere two, with MTT's settings."""
    if (data, ipc) == ("cifar10", 50):
        # Published intervals [0, 20), [0, 20), [0, 10) end with the segment; ours count its start.
        method = {"start_epochs": (0, 18), "lr_images": 100.0}
        later = [{"lr": 0.01, "start_epochs": (0, 18)}, {"lr": 0.01, "start_epochs": (0, 8)}]
        return {"subsets": [17, 17, 16], "regenerated": 20, "method": method, "later": later}
    low, high = MTT[data, ipc][2]
    return {"subsets": 2, "regenerated": 20, "later": [{"start_epochs": (low, min(high, 18))}]}


def block(values: Mapping[str, Any], indent: int) -> list[str]:
    """A mapping of mappings over several lines."""
    pad = " " * indent
    return [
        f"{pad}{name}: {flow(value) if isinstance(value, Mapping) else value}" for name, value in values.items()
    ]


def small_set(data: str, ipc: int) -> str:
    """The recipe of one cell's methods."""
    about, whiten = DATA[data], MTT[data, ipc][-1]
    prepared = ["    whiten: true"] if whiten else []
    if data == "cifar100" and not whiten:
        prepared = [f"    mean: {CIFAR10_MEAN}", f"    std: {CIFAR10_STD}"]
    lines = [
        f"# What it does: {ipc} image{'s' if ipc > 1 else ''} per class of {about['title']}, learnt by any of the"
        " published methods below.",
        f"# Run:    limbeck run small_sets/{data}-{ipc} --variant mtt --reuse runs/small-sets",
        "#         (--reuse lets the methods share the experts.)",
        "# Cost:   100 experts of 50 epochs, then thousands of outer iterations; what that means here is said by",
        f"#         limbeck plan small_sets/{data}-{ipc}",
        "# Expect: limbeck table small_sets/convnet",
        "# Written by schemas/dataset_library.py.",
        f"title: {ipc} image{'s' if ipc > 1 else ''} per class of {about['title']}",
        "seed: 0",
        "stages:",
        "  experts:",
        "    kind: dataset.experts",
        f"    source: {about['source']}",
        *prepared,
        f"    model: {about['model']}",
        "    experts: 100",
        "    epochs: 50",
        "  set:",
        "    kind: dataset.synthesize",
        f"    source: {about['source']}",
        *prepared,
        "    experts: experts",
        f"    method: {flow(mtt(data, ipc))}",
        f"    ipc: {ipc}",
        "    iterations: 5000",
        "    judge_every: 500",
        "  look:",
        "    kind: dataset.evaluate",
        f"    source: {about['source']}",
        *prepared,
        "    sets: {set: set}",
        f"    models: {{convnet: {about['model']}}}",
        "    labels: [hard]",
        "variants:",
    ]
    for name, overlay in variants(data, ipc).items():
        lines += [f"  {name}: {{}}"] if not overlay else [f"  {name}:", *block(overlay, 4)]
    lines += smoke()
    return "\n".join(lines) + "\n"


def smoke() -> list[str]:
    """The overlay that tries a recipe out on the built-in digits in seconds."""
    students = "{epochs: 2, seeds: [0]}"
    return [
        "smoke:",
        "  experts: {source: {name: digits}, model: " + SMOKE_MODEL + ", experts: 1, epochs: 3, batch_size: 512}",
        "  set: {source: {name: digits}, method: {name: mtt, steps: 2, expert_epochs: 1, start_epochs: [0, 1]}, "
        "iterations: 2, judge_every: null, ipc: 2, subsets: 1, later: [], regenerated: 2, initialise: real, "
        "students: {epochs: 2}}",
        "  look: {source: {name: digits}, models: {convnet: "
        + SMOKE_MODEL
        + f"}}, labels: [hard], students: {students}}}",
    ]


def soft(data: str, ipc: int) -> str:
    """The recipe of one cell of the soft-label baseline."""
    about, (epoch, lr, student) = DATA[data], SOFT[data, ipc]
    whiten = data == "cifar10"
    prepared = ["    whiten: true"] if whiten else []
    if data == "cifar100":
        prepared = [f"    mean: {CIFAR10_MEAN}", f"    std: {CIFAR10_STD}"]
    lines = [
        f"# What it does: {ipc} random image{'s' if ipc > 1 else ''} per class of {about['title']} with the labels"
        " of an early-stopped expert.",
        f"# Run:    limbeck run soft_labels/{data}-{ipc}",
        f"# Cost:   {epoch} epochs for the expert, 3000 for each of five students; that is, here:",
        f"#         limbeck plan soft_labels/{data}-{ipc}",
        "# Expect: limbeck table soft_labels/convnet",
        "# Written by schemas/dataset_library.py.",
        f"title: Soft labels for {ipc} random image{'s' if ipc > 1 else ''} per class of {about['title']}",
        "seed: 0",
        "stages:",
        "  experts:",
        "    kind: dataset.experts",
        f"    source: {about['source']}",
        *prepared,
        f"    model: {about['model']}",
        f"    epochs: {epoch}",
        f"    snapshots: [0, {epoch}]",
        f"    lr: {_float(lr)}",
        "  set:",
        "    kind: dataset.label",
        f"    source: {about['source']}",
        *prepared,
        "    experts: experts",
        f"    ipc: {ipc}",
        f"    labels: {{epoch: {epoch}}}",
        "  look:",
        "    kind: dataset.evaluate",
        f"    source: {about['source']}",
        *prepared,
        "    sets: {set: set}",
        f"    models: {{convnet: {about['model']}}}",
        "    labels: [soft, hard]",
        "    controls: []",
        f"    students: {{protocol: soft, lr: {_float(student)}}}",
        "smoke:",
        "  experts: {source: {name: digits}, model: " + SMOKE_MODEL + ", epochs: 2, snapshots: [0, 2]}",
        "  set: {source: {name: digits}, labels: {epoch: 2}}",
        "  look: {source: {name: digits}, models: {convnet: "
        + SMOKE_MODEL
        + "}, students: {epochs: 2, seeds: [0]}}",
    ]
    return "\n".join(lines) + "\n"


def cell(values: Mapping[str, Any]) -> str:
    """A cell of a table on one line."""

    def shown(value: Any) -> str:
        if value is None:
            return "null"
        special = isinstance(value, str) and set(value) & set(":,")
        return json.dumps(value, ensure_ascii=False) if special else str(value)

    return "      - {" + ", ".join(f"{key}: {shown(value)}" for key, value in values.items()) + "}"


def small_tables() -> str:
    """What is reported of ConvNets on small sets."""
    lines = [
        "# Published numbers, each with its source and the recipe that reproduces it: `limbeck table`.",
        "# Written by schemas/dataset_library.py.",
        "same_data: [torchvision/cifar10, torchvision/cifar100, folder, parquet]",
        "tables:",
        "  convnet:",
        '    title: "Small sets, ConvNet students trained from scratch"',
        '    note: "Published numbers are of the iteration that was best on test images; ours are of the one that '
        'was best on validation images."',
        "    cells:",
    ]
    for row, cells in REPORTED.items():
        for (data, ipc), value in cells.items():
            variant = VARIANTS.get(row)
            having = variant in variants(data, ipc) if variant else False
            entry: dict[str, Any] = {"row": row, "column": f"{DATA[data]['short']}-{ipc}"}
            if having:
                entry |= {"recipe": f"small_sets/{data}-{ipc}", "variant": variant, "stage": "look"}
            else:
                entry["recipe"] = None
            entry |= {"reported": value, "source": "IDC README" if row == "IDC" else "DATM repository table"}
            if not having:
                entry["reason"] = (
                    "a line of every evaluation, as control"
                    if row == "Random"
                    else "settings of this cell are not published where we could read them"
                )
            lines.append(cell(entry))
    return "\n".join(lines) + "\n"


def soft_tables() -> str:
    """What the soft-label paper reports."""
    lines = [
        "# Published numbers, each with its source and the recipe that reproduces it: `limbeck table`.",
        "# Written by schemas/dataset_library.py.",
        "same_data: [torchvision/cifar10, torchvision/cifar100, folder, parquet]",
        "tables:",
        "  convnet:",
        '    title: "Random real images with labels of an early-stopped expert, ConvNet"',
        '    note: "Published numbers are the best evaluation on test images; ours are of the last epoch."',
        "    cells:",
    ]
    for (data, ipc), (value, spread) in SOFT_REPORTED.items():
        lines.append(
            cell(
                {
                    "row": "Soft labels",
                    "column": f"{DATA[data]['short']}-{ipc}",
                    "recipe": f"soft_labels/{data}-{ipc}",
                    "stage": "look",
                    "reported": value,
                    "spread": spread,
                    "source": "paper, table 2",
                }
            )
        )
    imagenet = {
        1: (0.6, 0.1, 6.6, 0.4),
        10: (3.9, 0.6, 23.9, 0.4),
        50: (20.4, 0.4, 47.9, 0.6),
        100: (28.2, 0.3, 53.4, 0.5),
        200: (37.8, 0.5, 56.8, 0.4),
    }
    lines += ["  imagenet:", '    title: "ImageNet-1K, ResNet-18 labels and learns random images"', "    cells:"]
    for ipc, (hard, hard_sd, labelled, labelled_sd) in imagenet.items():
        for row, value, spread in (("Hard labels", hard, hard_sd), ("Soft labels", labelled, labelled_sd)):
            lines.append(
                cell(
                    {
                        "row": row,
                        "column": f"IPC {ipc}",
                        "recipe": None,
                        "reported": value,
                        "spread": spread,
                        "source": "paper, table 1",
                        "reason": "the stages keep all real images in memory, which ImageNet-1K does not fit",
                    }
                )
            )
    return "\n".join(lines) + "\n"


def files() -> dict[str, str]:
    """Path under the library -> text."""
    found = {f"small_sets/{data}-{ipc}.yaml": small_set(data, ipc) for data, ipc in MTT}
    found |= {f"soft_labels/{data}-{ipc}.yaml": soft(data, ipc) for data, ipc in SOFT}
    return {**found, "small_sets/tables.yaml": small_tables(), "soft_labels/tables.yaml": soft_tables()}


def main() -> None:
    """Write every file."""
    for name, text in files().items():
        path = LIBRARY / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
