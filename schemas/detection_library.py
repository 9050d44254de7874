"""What papers report of detectors that were taught, as the tables of the library's recipes.

`python schemas/detection_library.py` writes `src/limbeck/recipes/library/detect/tables.yaml`; the recipes beside
it are kept by hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

LIBRARY = Path(__file__).parents[1] / "src" / "limbeck" / "recipes" / "library"

Cell = dict[str, Any]

MEASURES = {"mAP": "AP", "AP50": "AP50", "AP75": "AP75", "APs": "APs", "APm": "APm", "APl": "APl", "mAR": "AR100"}
"""Column -> number of a result."""
METHODS = {"alone": "control", "KD_cls": "kd_cls", "loc": "loc", "loc + KD_loc": "loc_kd_loc", "all": "all"}
"""Row of the first table -> variant."""

# Table 1: a line a method in the order of METHODS, mAP, AP50, AP75, APs, APm, APl, mAR.
COMPACT = {
    ("SSD300-VGG16", "ssd300-vgg16"): """
        25.6 43.8 26.3 6.8 27.8 42.2 37.6
        26.3 45.2 27.2 7.3 28.5 43.6 38.4
        27.1 43.2 28.4 7.5 29.4 43.3 40.0
        27.2 43.3 28.5 7.5 29.5 43.5 40.2
        27.9 45.1 29.2 8.1 30.1 45.4 40.4""",
    ("SSD512-VGG16", "ssd512-vgg16"): """
        29.4 49.3 31.0 11.7 34.1 44.9 42.7
        30.3 51.1 31.7 12.7 34.6 45.5 43.3
        30.8 48.8 32.9 12.8 35.8 46.2 44.7
        31.0 49.1 32.8 12.6 35.8 46.2 45.0
        32.1 51.0 34.0 13.3 36.6 47.9 45.3""",
    ("Faster R-CNN-QR50", "faster_rcnn-qr50"): """
        23.3 40.7 23.9 13.1 25.0 30.7 40.2
        25.9 45.5 26.2 15.3 27.9 34.0 42.8
        24.2 41.1 25.0 13.7 25.8 32.1 41.7
        24.3 41.0 25.1 13.0 25.9 32.5 41.6
        27.2 46.0 27.7 15.2 29.3 36.2 44.5""",
    ("Faster R-CNN-MobileNetV2", "faster_rcnn-mobilenet_v2"): """
        31.9 52.0 34.0 18.5 34.4 41.0 47.5
        32.6 53.3 34.6 18.9 34.8 42.3 48.1
        32.2 51.9 34.2 18.3 34.4 41.8 47.9
        32.3 52.0 34.7 18.1 34.8 41.6 48.0
        32.7 52.9 35.0 19.0 35.0 42.9 48.4""",
}

# Table 2, mAP; "-" where nothing was published, "?" where the number is known from others' notes alone.
TOGETHER = """
                          alone FGFI GID  FKD  DICOD DICOD+FKD
Faster_R-CNN-R50          38.4  39.1 40.2 41.5 38.8  41.9
RetinaNet-R50             37.4  38.6 39.1 39.6 37.9  40.7
Faster_R-CNN-MobileNetV2  31.9  -    -    33.9 32.7  34.2
Faster_R-CNN-QR50         23.3  -    -    26.1 27.2  28.0?
SSD512-VGG16              29.4  -    -    31.2 32.1  32.6?
"""
RECIPES = {
    "Faster R-CNN-R50": "faster_rcnn-r50",
    "RetinaNet-R50": "retinanet-r50",
    "Faster R-CNN-MobileNetV2": "faster_rcnn-mobilenet_v2",
    "Faster R-CNN-QR50": "faster_rcnn-qr50",
    "SSD512-VGG16": "ssd512-vgg16",
}

OVERLAPS = {
    "alone": "43.8 41.3 38.4 35.1 31.2 26.3 20.3 13.0 5.2 0.5",
    "KD_cls": "45.2 42.6 39.9 36.1 31.6 27.2 21.0 13.5 5.1 0.5",
    "loc + KD_loc": "43.3 41.3 38.8 36.0 32.9 28.5 23.0 16.5 8.4 1.3",
    "all": "45.1 42.8 40.2 37.0 34.0 29.2 23.9 17.0 8.8 1.2",
}

ABLATION = {
    "KD_cls, weight 0.1, T 1": ("kc-01-t1", 25.8),
    "KD_cls, weight 0.1, T 2": ("kc-01-t2", 25.4),
    "KD_cls, weight 0.2, T 1": ("kc-02-t1", 25.8),
    "KD_cls, weight 0.3, T 1": ("kc-03-t1", 26.0),
    "KD_cls, weight 0.4, T 1": ("kc-04-t1", 26.1),
    "KD_cls, weight 0.4, T 2": ("kc-04-t2", 26.3),
    "KD_cls, weight 0.4, T 3": ("kc-04-t3", 26.0),
    "KD_cls, classifier ResNet-18": ("teacher-r18", 25.9),
    "KD_cls, classifier ResNet-50": ("teacher-r50", 26.3),
    "KD_cls, classifier ResNeXt-101": ("teacher-x101", 25.3),
    "KD_cls, classifier sees 56 px": ("input-56", 26.2),
    "KD_cls, classifier sees 112 px": ("input-112", 26.3),
    "KD_cls, classifier sees 224 px": ("input-224", 26.2),
    "loc, crops of 14 px": ("crop-14", 26.4),
    "loc, crops of 28 px": ("crop-28", 26.7),
    "loc, crops of 56 px": ("crop-56", 26.8),
    "loc, crops of 112 px": ("crop-112", 27.0),
    "loc, crops of 224 px": ("crop-224", 27.0),
    "loc, 2 cells a side": ("pool-2", 26.6),
    "loc, 4 cells a side": ("pool-4", 27.0),
    "loc, 8 cells a side": ("pool-8", 27.1),
    "loc, 16 cells a side": ("pool-16", 26.9),
    "pixels": ("taps-pixels", 27.1),
    "first layer": ("taps-0", 26.8),
    "pixels + first layer": ("taps-pixels-0", 27.2),
    "pixels + first layer + next block": ("taps-pixels-0-1", 26.9),
}

CLASSIFIERS = {
    "ResNet-18, 112 px": ("teacher-r18", 75.78),
    "ResNet-50, 112 px": ("teacher-r50", 80.30),
    "ResNeXt-101-32x8d, 112 px": ("teacher-x101", 83.35),
    "ResNet-50, 56 px": ("input-56", 76.26),
    "ResNet-50, 224 px": ("input-224", 80.41),
}

QUOTED = "DICOD, table 2, of others"
FROM_R101 = "from R101"
NO_OTHER = "the library has no such method"
NO_GID = "the library has no GID"
GFL = "distributions-r50"
NO_REPPOINTS = "the library has no RepPoints"
NO_ATSS = "the library has no ATSS"
NO_GFL = "the library has no GFL"
LIKE_GFL = "the recipe's detector is FCOS with distributions of box sides, not GFL"
NO_MASKS = "the library has no Mask R-CNN"
STRONGER = "their teacher is a stronger one than the recipe's over ResNet-101"
UNKNOWN = "which detector taught is not known; the recipe's is over ResNet-101"
RELEASED = "the recipe's setting is the one released for VOC"

# Section 7: row, column, before, after, recipe, variant, source, note or reason.
DETECTORS: Sequence[tuple[str, str, float, float, str | None, str | None, str, str]] = (
    ("FGFI", "Faster R-CNN-R50", 38.4, 39.1, "faster_rcnn-r50", "fgfi", QUOTED, RELEASED),
    ("FGFI", "RetinaNet-R50", 37.4, 38.6, "retinanet-r50", "fgfi", QUOTED, RELEASED),
    (
        "Chen et al. 2017",
        "Faster R-CNN-R50",
        38.4,
        38.7,
        None,
        None,
        QUOTED,
        NO_OTHER,
    ),
    ("GID", "Faster R-CNN-R50", 38.4, 40.2, None, None, QUOTED, NO_GID),
    ("GID", "RetinaNet-R50", 37.4, 39.1, None, None, QUOTED, NO_GID),
    ("DeFeat, 1x", "Faster R-CNN-R50", 37.4, 40.9, "faster_rcnn-r50", "defeat", "their repository", RELEASED),
    ("DeFeat, 1x", "RetinaNet-R50", 36.5, 39.7, "retinanet-r50", "defeat", "their repository", RELEASED),
    ("FKD, 1x", "Faster R-CNN-R50", 37.4, 39.3, "faster_rcnn-r50", "fkd_1x", "mmrazor", "from R101, 39.4"),
    ("FKD", "Faster R-CNN-R50", 38.4, 41.5, "faster_rcnn-r50", "fkd", QUOTED, STRONGER),
    ("FKD", "RetinaNet-R50", 37.4, 39.6, "retinanet-r50", "fkd", QUOTED, UNKNOWN),
    ("FGD", "Faster R-CNN-R50", 38.4, 42.0, "faster_rcnn-r50", "fgd", "their repository", STRONGER),
    ("FGD", "RetinaNet-R50", 37.4, 40.7, "retinanet-r50", "fgd", "their repository", STRONGER),
    ("FGD", "FCOS-R50", 38.5, 42.7, "fcos-r50", "fgd", "their repository", STRONGER),
    ("FGD", "RepPoints-R50", 38.6, 42.0, None, None, "their repository", NO_REPPOINTS),
    ("FGD", "GFL-R50", 40.2, 43.5, None, None, "their repository", NO_GFL),
    ("MGD", "Faster R-CNN-R50", 38.4, 42.1, "faster_rcnn-r50", "mgd", "their repository", UNKNOWN),
    ("MGD", "RetinaNet-R50", 37.4, 41.0, "retinanet-r50", "mgd", "their repository", UNKNOWN),
    ("MGD", "RepPoints-R50", 38.6, 42.3, None, None, "their repository", NO_REPPOINTS),
    ("PKD", "Faster R-CNN-R50", 38.4, 40.3, "faster_rcnn-r50", "pkd", "mmrazor", FROM_R101),
    ("PKD", "RetinaNet-R50", 37.4, 40.8, "retinanet-r50", "pkd", "mmrazor", "from X101"),
    ("PKD from FCOS, 1x", "RetinaNet-R50", 36.5, 40.3, "retinanet-r50", "pkd_fcos", "mmrazor", "from FCOS-X101"),
    ("PKD from Mask R-CNN-Swin", "RetinaNet-R50", 37.4, 41.5, None, None, "mmrazor", NO_MASKS),
    ("PKD", "RepPoints-R50", 38.6, 42.3, None, None, "mmrazor", NO_REPPOINTS),
    ("CWD", "GFL-R50", 40.2, 41.9, None, None, "mmrazor", NO_GFL),
    ("LD, positives alone, 1x", "GFL-R50", 40.1, 41.1, GFL, "ld_positives", "their repository", LIKE_GFL),
    ("LD, 1x", "GFL-R50", 40.1, 42.1, GFL, "ld", "their repository", LIKE_GFL),
    ("CrossKD", "GFL-R50", 40.2, 43.7, GFL, "crosskd", "their repository", LIKE_GFL),
    ("CrossKD", "RetinaNet-R50", 37.4, 39.7, "retinanet-r50", "crosskd", "their repository", FROM_R101),
    ("CrossKD", "FCOS-R50", 38.5, 41.1, "fcos-r50", "crosskd", "their repository", FROM_R101),
    ("CrossKD", "ATSS-R50", 39.4, 41.8, None, None, "their repository", NO_ATSS),
    ("CrossKD + PKD", "GFL-R50", 40.2, 43.9, GFL, "crosskd_pkd", "their repository", LIKE_GFL),
    (
        "CrossKD + PKD",
        "RetinaNet-R50",
        37.4,
        39.8,
        "retinanet-r50",
        "crosskd_pkd",
        "their repository",
        FROM_R101,
    ),
    ("CrossKD + PKD", "FCOS-R50", 38.5, 41.3, "fcos-r50", "crosskd_pkd", "their repository", FROM_R101),
    ("CrossKD + PKD", "ATSS-R50", 39.4, 41.8, None, None, "their repository", NO_ATSS),
)


def of_recipe(row: str, column: str, recipe: str, variant: str, reported: float, source: str, **more: Any) -> Cell:
    """A cell that a recipe reproduces."""
    known = {"row": row, "column": column, "recipe": f"detect/{recipe}", "variant": variant}
    return {**known, "number": "AP", "reported": reported, "source": source, **more}


def compact() -> Iterator[Cell]:
    """Table 1."""
    for (student, recipe), text in COMPACT.items():
        lines = [line.split() for line in text.split("\n") if line.strip()]
        for (method, variant), values in zip(METHODS.items(), lines, strict=True):
            row = student if method == "alone" else f"{student} + {method}"
            for (column, number), value in zip(MEASURES.items(), values, strict=True):
                yield of_recipe(row, column, recipe, variant, float(value), "paper, table 1", number=number)


def together() -> Iterator[Cell]:
    """Table 2."""
    head, *lines = (line.split() for line in TOGETHER.strip().split("\n"))
    variants = {"alone": "control", "FGFI": "fgfi", "FKD": "fkd", "DICOD": "dicod", "DICOD+FKD": "dicod_fkd"}
    for name, *values in lines:
        row = name.replace("_", " ")
        recipe = RECIPES[row]
        for column, text in zip(head, values, strict=True):
            if text == "-":
                continue
            variant = variants.get(column)
            if variant == "dicod" and recipe not in ("faster_rcnn-r50", "retinanet-r50"):
                variant = "all"
            known = not text.endswith("?")
            more: dict[str, Any] = {} if known else {"verified": False}
            source = "paper, table 2" if known else "a note on the published version"
            value = float(text.rstrip("?"))
            title = column.replace("+", " + ")
            unknown = recipe.startswith("ssd") and column in ("FKD", "DICOD+FKD")
            if variant is None or unknown:
                reason = "which detector taught was not published" if unknown else NO_GID
                cell = {"row": row, "column": title, "recipe": None, "reported": value, "source": source}
                yield {**cell, **more, "reason": reason}
            else:
                yield of_recipe(row, title, recipe, variant, value, source, **more)


def overlaps() -> Iterator[Cell]:
    """AP at each overlap."""
    for row, values in OVERLAPS.items():
        for place, value in enumerate(values.split()):
            iou = 50 + 5 * place
            yield of_recipe(
                row, f"0.{iou}", "ssd300-vgg16", METHODS[row], float(value), "paper, analysis", number=f"AP{iou}"
            )


def ablation() -> Iterator[Cell]:
    """One choice at a time."""
    for row, (variant, value) in ABLATION.items():
        yield of_recipe(row, "mAP", "ssd300-ablation", variant, value, "paper, ablations")


def classifiers() -> Iterator[Cell]:
    """How many objects the teachers name rightly."""
    for row, (variant, value) in CLASSIFIERS.items():
        cell = of_recipe(row, "objects of COCO", "ssd300-ablation", variant, value, "paper, section 4")
        yield {**cell, "stage": "classifier", "number": "accuracy"}


def detectors() -> Iterator[Cell]:
    """From a larger detector; the student alone is in the note."""
    for row, column, before, after, recipe, variant, source, said in DETECTORS:
        gained = f"{after - before:+.1f} over {before}"
        more: dict[str, Any] = {"verified": False} if source == QUOTED else {}
        if recipe is None or variant is None:
            cell = {"row": row, "column": column, "recipe": None, "reported": after, "source": source}
            yield {**cell, **more, "note": gained, "reason": said}
        else:
            yield of_recipe(row, column, recipe, variant, after, source, note=f"{gained}; {said}", **more)


TABLES: Mapping[str, tuple[str, str, str, Any]] = {
    "compact": ("Small detectors with a classifier that teaches, COCO 2017", "mAP and mAR, %", "", compact),
    "together": (
        "A classifier, a larger detector, and both, COCO 2017",
        "mAP, %",
        "Numbers of other methods are as this paper quotes them.",
        together,
    ),
    "overlaps": ("AP by the overlap asked for, SSD300-VGG16 on COCO 2017", "AP, %", "", overlaps),
    "ablation": (
        "SSD300-VGG16 on COCO 2017, one choice at a time",
        "mAP, %",
        "The student alone has 25.6.",
        ablation,
    ),
    "classifiers": ("Classifiers of the objects of COCO", "top-1 %", "", classifiers),
    "detectors": (
        "Students of a larger detector, COCO 2017",
        "mAP, %",
        "Each paper has teachers, schedules and baselines of its own: read the gain in the note, not the rank.",
        detectors,
    ),
}


def shown(value: Any) -> str:
    """A value as YAML has it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    special = isinstance(value, str) and (set(value) & set(":,#") or value[:1] in "+-0123456789")
    return json.dumps(value, ensure_ascii=False) if special else str(value)


def text() -> str:
    """The file of tables."""
    lines = [
        "# Published numbers, each with its source and the recipe that reproduces it: `limbeck table`.",
        "# Written by schemas/detection_library.py.",
        "tables:",
    ]
    for name, (title, unit, note, cells) in TABLES.items():
        lines += [f"  {name}:", f"    title: {json.dumps(title)}", f"    unit: {json.dumps(unit)}"]
        lines += [f"    note: {json.dumps(note)}"] if note else []
        lines.append("    cells:")
        for cell in cells():
            lines.append("      - {" + ", ".join(f"{key}: {shown(value)}" for key, value in cell.items()) + "}")
    return "\n".join(lines) + "\n"


def files() -> dict[str, str]:
    """Path under the library -> text."""
    return {"detect/tables.yaml": text()}


def main() -> None:
    """Write every file."""
    for name, content in files().items():
        path = LIBRARY / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
