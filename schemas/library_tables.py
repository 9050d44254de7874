"""Numbers that papers report, and the text of the library's `tables.yaml` files made from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_RD, _MD = "RepDistiller README", "mdistiller README"
_LS, _ICKD, _DIST, _KDPP = "LSKD README", "ICKD README", "DIST README", "KD++ README"
_WKD, _SIMKD, _NKD, _REVIEW = "WKD README", "SimKD README", "NKD README", "ReviewKD README"
_PADDLE = "PaddleClas documentation"

ROWS: Mapping[str, tuple[str | None, str]] = {
    # row -> (variant, source); None: no recipe
    "teacher": (None, _RD),
    "student": ("control", _RD),
    "KD": ("kd", _RD),
    "FitNet": ("hint", _RD),
    "AT": ("at", _RD),
    "SP": ("sp", _RD),
    "CC": ("cc", _RD),
    "VID": ("vid", _RD),
    "RKD": ("rkd", _RD),
    "PKT": ("pkt", _RD),
    "AB": (None, _RD),
    "FT": (None, _RD),
    "FSP": (None, _RD),
    "NST": ("nst", _RD),
    "CRD": ("crd", _RD),
    "OFD": ("ofd", _KDPP),
    "ReviewKD": ("reviewkd", _KDPP),
    "ICKD-C": ("ickd", _ICKD),
    "ICKD-C + KD": ("ickd_kd", _ICKD),
    "DKD": ("dkd", _MD),
    "DIST": ("dist", _DIST),
    "KD + LS": ("kd_ls", _LS),
    "DKD + LS": ("dkd_ls", _LS),
    "MLKD": ("mld", _LS),
    "MLKD + LS": ("mld_ls", _LS),
    "SimKD": ("simkd", _SIMKD),
    "WKD-L": ("wkd_l", _WKD),
    "WKD-F": ("wkd_f", _WKD),
    "WKD-L + WKD-F": ("wkd", _WKD),
}
REASONS = {
    "AB": "the library has no activation-boundary loss",
    "FT": "the library has no factor transfer",
    "FSP": "the library has no flow-of-solution loss",
    "SRRL": "the library has no SRRL loss",
    "SemCKD": "the library has no SemCKD loss",
    "WTTM": "the library has no WTTM loss",
    "DPK": "the library has no DPK",
    "CAT-KD": "the library has no CAT-KD loss",
    "AFD": "the library has no AFD loss",
    "MGD": "the library has no MGD loss",
    "WSL": "the library has no WSL loss",
    "SKD": "the library has no SKD loss",
}

# One line a method, one column a pair; "-" where nothing was published, "a±b" for a mean with its deviation,
# "a@source" where a number has another source than its row, "a?" where it was not looked up in the publication.
HOMOGENEOUS = """
              wrn_40_2-wrn_16_2 wrn_40_2-wrn_40_1 resnet56-resnet20 resnet110-resnet20 resnet110-resnet32 \
resnet32x4-resnet8x4 vgg13-vgg8
teacher       75.61 75.61 72.34 74.31 74.31 79.42 74.64
student       73.26 71.98 69.06 69.06 71.14 72.50 70.36
KD            74.92 73.54 70.66 70.67 73.08 73.33 72.98
FitNet        73.58 72.24 69.21 68.99 71.06 73.50 71.02
AT            74.08 72.77 70.55 70.22 72.31 73.44 71.43
SP            73.83 72.43 69.67 70.04 72.69 72.94 72.68
CC            73.56 72.21 69.63 69.48 71.48 72.97 70.71
VID           74.11 73.30 70.38 70.16 72.61 73.09 71.23
RKD           73.35 72.22 69.61 69.25 71.82 71.90 71.48
PKT           74.54 73.45 70.34 70.25 72.61 73.64 72.88
AB            72.50 72.38 69.47 69.53 70.98 73.17 70.94
FT            73.25 71.59 69.84 70.22 72.37 72.86 70.58
FSP           72.91 -     69.95 70.11 71.89 72.62 70.23
NST           73.68 72.24 69.60 69.53 71.96 73.30 71.53
CRD           75.48 74.14 71.16 71.46 73.48 75.51 73.94
OFD           -     74.33 70.98 -     -     74.95 -
ReviewKD      -     75.09 71.89 -     -     75.63 -
ICKD-C        75.64 74.33 71.76 71.68 73.89 75.25 73.42
ICKD-C + KD   75.57 74.63 71.69 71.91 74.11 75.48 73.88
DKD           76.23 74.81 71.97 71.06@LSKD README 74.11 76.32 74.68
DIST          -     74.43±0.24 71.75±0.30 - - 76.31±0.19 -
KD + LS       76.11 74.37 71.43 71.48 74.17 76.62 74.36
DKD + LS      76.39 74.89 72.32 71.85 74.29 77.01 74.81
MLKD          76.63 75.35 72.19 71.89 74.11 77.08 75.18
MLKD + LS     76.95 75.56 72.33 72.27 74.32 78.28 75.22
SimKD         -     -     -     -     -     78.08 -
WKD-L         -     -     -     -     -     76.53 -
WKD-F         -     -     -     -     -     76.77 -
WKD-L + WKD-F -     -     -     -     -     77.28 -
"""
HETEROGENEOUS = """
              vgg13-mobilenet_v2 resnet50-mobilenet_v2 resnet50-vgg8 resnet32x4-shufflenet_v1 \
resnet32x4-shufflenet_v2 wrn_40_2-shufflenet_v1
teacher       74.64 79.34 79.34 79.42 79.42 75.61
student       64.60 64.60 70.36 70.50 71.82 70.50
KD            67.37 67.35 73.81 74.07 74.45 74.83
FitNet        64.14 63.16 70.69 73.59 73.54 73.73
AT            59.40 58.58 71.84 71.73 72.73 73.32
SP            66.30 68.08 73.34 73.48 74.56 74.52
CC            64.86 65.43 70.25 71.14 71.29 71.38
VID           65.56 67.57 70.30 73.38 73.40 73.61
RKD           64.52 64.43 71.50 72.28 73.21 72.21
PKT           67.13 66.52 73.01 74.10 74.69 73.89
AB            66.06 67.20 70.65 73.55 74.31 73.34
FT            61.78 60.99 70.29 71.75 72.50 72.03
NST           58.16 64.96 71.28 74.12 74.68 74.89
CRD           69.73 69.11 74.30 75.11 75.65 76.05
OFD           -     69.04 -     75.98 76.82 -
ReviewKD      -     69.89 -     77.45 77.78 -
DKD           69.71 70.35 -     76.45 77.07 76.70
DIST          -     68.66±0.23 - 76.34±0.18 77.35±0.25 -
KD + LS       68.61 69.02 -     -     75.56 -
DKD + LS      69.98 70.45 -     -     77.37 -
MLKD          70.57 71.04 -     -     78.44 -
MLKD + LS     70.94 71.19 -     -     78.76 -
WKD-L         -     -     -     -     -     76.72
WKD-F         -     -     -     -     -     77.36
WKD-L + WKD-F -     -     -     -     -     77.50
"""
WKD_CIFAR = """
              resnet32x4-resnet8x4 wrn_40_2-shufflenet_v1
WKD-L         76.53 76.72
WKD-F         76.77 77.36
WKD-L + WKD-F 77.28 77.50
"""
MAIN = """
              resnet34-resnet18 resnet50-mobilenetv1
teacher       73.31 76.16
student       69.75 68.87
KD            71.03 70.50
CRD           71.17 71.37
SRRL          71.73 72.49
ReviewKD      71.61 72.56
DKD           71.70 72.05
NKD           71.96 72.58
DIST          72.07 73.24
KD + LS       71.45 -
OFD           -     71.25
PEFD          72.23 -
WKD-L         72.49 73.17
WKD-F         72.50 73.12
WKD-L + WKD-F 72.76 73.69
WTTM          72.19? 73.09?
DPK           72.51? 73.26?
MLKD          71.90? 73.01?
CAT-KD        71.26? 72.24?
ICKD-C        72.19? -
"""
MAIN_ROWS: Mapping[str, tuple[str | None, str]] = {
    "teacher": (None, f"{_REVIEW}, {_KDPP}"),
    "student": ("control", f"{_REVIEW}, {_KDPP}"),
    "KD": ("kd", _MD),
    "CRD": ("crd", _KDPP),
    "SRRL": (None, _KDPP),
    "ReviewKD": ("reviewkd", _REVIEW),
    "DKD": ("dkd", _MD),
    "NKD": ("nkd", _NKD),
    "DIST": ("dist", _DIST),
    "KD + LS": ("kd_ls", "log released with LSKD"),
    "OFD": ("ofd", "OFD README"),
    "PEFD": ("pefd", _PADDLE),
    "WKD-L": ("wkd_l", _WKD),
    "WKD-F": ("wkd_f", _WKD),
    "WKD-L + WKD-F": ("wkd", _WKD),
    "WTTM": (None, "its authors"),
    "DPK": (None, "its authors"),
    "MLKD": ("mld", "its authors"),
    "CAT-KD": (None, "its authors"),
    "ICKD-C": ("ickd", "its authors"),
}
MAIN_NOTES = {
    ("NKD", "resnet34-resnet18"): "its student alone has 69.90",
    ("NKD", "resnet50-mobilenetv1"): "its student alone has 69.21",
    ("DIST", "resnet50-mobilenetv1"): "its student alone has 70.13",
    ("KD + LS", "resnet34-resnet18"): "the best epoch; the last has 71.26",
    ("OFD", "resnet50-mobilenetv1"): "printed as error: 28.75; its student alone 31.13",
    ("PEFD", "resnet34-resnet18"): "of another training recipe, whose student alone has 70.8",
    ("WKD-L + WKD-F", "resnet34-resnet18"): "the released weight of WKD-F is 50 times that of WKD-F alone",
}
DIST_TEACHERS = """
        resnet50-resnet18 resnet101-resnet18 resnet152-resnet18 \
resnet50-resnet34 resnet101-resnet34 resnet152-resnet34
KD      71.35 71.09 71.12 74.73 74.89 74.87
DIST    72.12 72.08 72.24 75.06 75.36 75.42
"""
NO_TEACHER = "the teacher's weights are torchvision's; no stage trains it"
MLKD_NOTE = "trained with two views and a learning rate of its own"
MLKD_LS_NOTE = "its authors train twice as long as the other rows (480 epochs)"


@dataclass(frozen=True)
class _Cell:
    row: str
    column: str
    recipe: str | None
    variant: str | None
    reported: float
    source: str
    stage: str = "student"
    spread: float | None = None
    verified: bool = True
    note: str = ""
    reason: str = ""


def columns_of(table: str) -> list[str]:
    """The pairs of a table of CIFAR-100."""
    return {"homogeneous": HOMOGENEOUS, "heterogeneous": HETEROGENEOUS}[table].strip().splitlines()[0].split()


def quoted(text: str) -> str:
    """Text as YAML; in quotes where it could be read as something else."""
    plain = (
        text and text[0].isalnum() and not any(c in text for c in ":#{}[],&*!|>'\"%@`\n") and text == text.strip()
    )
    words = ("true", "false", "null", "no", "yes", "on", "off")
    number = text.replace(".", "", 1).replace("-", "").replace("e", "").isdigit()
    if plain and text not in words and not number:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_TITLES = {
    "mobilenet_v2": "MobileNetV2",
    "mobilenetv1": "MobileNetV1",
    "shufflenet_v1": "ShuffleNetV1",
    "shufflenet_v2": "ShuffleNetV2",
}


def _column(pair: str) -> str:
    """A pair as a column's name."""
    teacher, student = pair.split("-")
    return f"{_short(teacher)} → {_short(student)}"


def _short(model: str) -> str:
    if model in _TITLES:
        return _TITLES[model]
    return model.replace("_", "-").upper().replace("RESNET", "R").replace("X4", "x4")


def _matrix(
    text: str,
    folder: str,
    rows: Mapping[str, tuple[str | None, str]],
    variants: Mapping[str, set[str]],
    notes: Mapping[tuple[str, str], str] | None = None,
    *,
    teacher: bool = True,
) -> Iterator[_Cell]:
    """The cells of a matrix of numbers."""
    first, *lines = [line for line in text.strip("\n").splitlines() if line.strip()]
    pairs = first.split()
    names = sorted(rows, key=len, reverse=True)
    for line in lines:
        row = next(name for name in names if line.startswith(f"{name} "))
        variant, source = rows[row]
        for pair, number in zip(pairs, _numbers(line.removeprefix(row)), strict=True):
            if number == "-":
                continue
            value, _, own = number.partition("@")
            value, _, spread = value.partition("±")
            note = (notes or {}).get((row, pair), "")
            if folder == "cifar100" and row == "MLKD + LS":
                note = MLKD_LS_NOTE
            stage, recipe, reason = "student", f"{folder}/{pair}", ""
            if row == "teacher" and teacher:
                stage = "teacher"
            elif row == "teacher":
                recipe, reason = None, NO_TEACHER
            elif variant is None:
                recipe, reason = None, REASONS[row]
            elif variant not in variants[pair]:
                recipe, reason = None, f"the library has no method '{variant}'"
            yield _Cell(
                row=row,
                column=_column(pair),
                recipe=recipe,
                variant=variant if recipe is not None else None,
                stage=stage,
                reported=float(value.rstrip("?")),
                spread=float(spread) if spread else None,
                source=own or source,
                verified=not value.endswith("?"),
                note=note,
                reason=reason,
            )


def _numbers(line: str) -> list[str]:
    """The entries of a line; a source behind an @ may have blanks."""
    found: list[str] = []
    for word in line.split():
        if word == "-" or word[0].isdigit():
            found.append(word)
        else:
            found[-1] += f" {word}"
    return found


# --- tables that are no plain matrix


def _simkd(variants: Mapping[str, set[str]]) -> Iterator[_Cell]:
    pair = "resnet32x4-resnet8x4"
    beside = "here the method was trained beside KD of weight 1; the recipe's variant stands alone"
    for row, value in (
        ("student", 73.09),
        ("KD", 74.42),
        ("FitNet", 74.32),
        ("AT", 75.07),
        ("SP", 74.29),
        ("VID", 74.55),
        ("CRD", 75.59),
        ("SRRL", 75.39),
        ("SemCKD", 76.23),
        ("SimKD, f = 8", 76.73),
        ("SimKD, f = 4", 77.88),
        ("SimKD, f = 2", 78.08),
    ):
        variant = {"student": "control", "SimKD, f = 2": "simkd"}.get(row)
        variant = variant or {"SimKD, f = 4": "simkd_f4", "SimKD, f = 8": "simkd_f8"}.get(row)
        found = variant in variants[pair]
        reason = "" if found else REASONS.get(row, beside if variant is None else f"no method '{variant}'")
        recipe = f"cifar100/{pair}" if found else None
        yield _Cell(row, _column(pair), recipe, variant if found else None, value, _SIMKD, reason=reason)


def _also_cifar(variants: Mapping[str, set[str]]) -> Iterator[_Cell]:
    looked_up = (
        ("KD (KD++ README)", "resnet50-mobilenet_v2", "kd", 67.65, _KDPP, "the README of CRD prints 67.35"),
        ("DIST (KD++ README)", "resnet32x4-resnet8x4", "dist", 75.79, _KDPP, "its authors print 76.31"),
        (
            "DKD (KD++ README)",
            "resnet32x4-resnet8x4",
            "dkd",
            75.44,
            _KDPP,
            "a reproduction; its authors print 76.32",
        ),
        ("DKD (LSKD README)", "wrn_40_2-wrn_16_2", "dkd", 76.24, _LS, "its authors print 76.23"),
    )
    for row, pair, variant, value, source, note in looked_up:
        yield _cell(row, "cifar100", pair, variant, value, source, variants, note=note)
    review = {
        "wrn_40_2-wrn_16_2": (76.12, 75.24),
        "resnet110-resnet32": (73.89, 73.23),
        "vgg13-vgg8": (74.84, 73.95),
        "vgg13-mobilenet_v2": (70.37, 69.48),
        "wrn_40_2-shufflenet_v1": (77.14, 75.85),
    }
    for at, (row, variant) in enumerate((("ReviewKD", "reviewkd"), ("OFD", "ofd"))):
        for pair, values in review.items():
            yield _cell(row, "cifar100", pair, variant, values[at], "its authors", variants, verified=False)


def _also_imagenet(variants: Mapping[str, set[str]]) -> Iterator[_Cell]:
    small, large = "resnet34-resnet18", "resnet50-mobilenetv1"
    for row, pair, variant, value, source, note in (
        ("student (NKD README)", small, "control", 69.90, _NKD, ""),
        ("student (NKD README)", large, "control", 69.21, _NKD, ""),
        ("student (DIST README)", large, "control", 70.13, _DIST, ""),
        ("student (WKD)", small, "control", 69.76, "torchvision's weights", ""),
        ("KD (KD++ README)", small, "kd", 70.66, _KDPP, "older tables print this value"),
        ("KD + LS, last epoch", small, "kd_ls", 71.26, "log released with LSKD", ""),
    ):
        yield _cell(row, "imagenet", pair, variant, value, source, variants, note=note)
    yield _Cell(
        "KD, T = 4 (DIST README)",
        _column(small),
        None,
        None,
        71.21,
        _DIST,
        reason="the recipe of this pair has the temperature 1",
    )
    yield _Cell(
        "Miles & Mikolajczyk",
        _column(small),
        None,
        None,
        71.87,
        "README of their release",
        reason="the library has no loss of theirs",
    )


def _paddle() -> Iterator[_Cell]:
    other = "of another training recipe, whose student alone has 70.8"
    for row, value in (
        ("student", 70.8),
        ("PEFD", 72.23),
        ("AFD", 71.68),
        ("DKD", 72.59),
        ("DIST", 71.99),
        ("MGD", 71.86),
        ("WSL", 72.23),
        ("SKD", 72.84),
    ):
        reason = REASONS.get(row, "no recipe has this training schedule")
        if row == "PEFD":
            pair = "resnet34-resnet18"
            yield _Cell(row, _column(pair), f"imagenet/{pair}", "pefd", value, _PADDLE, note=other)
        else:
            yield _Cell(row, "R34 → R18", None, None, value, _PADDLE, reason=reason, note=other)


def _coco() -> Iterator[_Cell]:
    columns = ("R101 → R18", "R101 → R50", "R50 → MobileNetV2")
    for row, *values in (
        ("teacher", 42.04, 42.04, 40.22),
        ("student", 33.26, 37.93, 29.47),
        ("KD", 33.97, 38.35, 30.13),
        ("FitNet", 34.13, 38.76, 30.20),
        ("FGFI", 35.44, 39.44, 31.16),
        ("ReviewKD", 36.75, 40.36, 33.71),
        ("DKD", 35.05, 39.25, 32.34),
        ("DKD + ReviewKD", 37.01, 40.65, 34.35),
    ):
        for column, value in zip(columns, values, strict=True):
            reason = "another program's schedule; detect/faster_rcnn-r50 has the usual one"
            yield _Cell(row, column, None, None, value, "their authors", verified=False, reason=reason)


def _cell(
    row: str,
    folder: str,
    pair: str,
    variant: str,
    value: float,
    source: str,
    variants: Mapping[str, set[str]],
    **more: Any,
) -> _Cell:
    if variant in variants[pair]:
        return _Cell(row, _column(pair), f"{folder}/{pair}", variant, value, source, **more)
    return _Cell(row, _column(pair), None, None, value, source, reason=f"no method '{variant}'", **more)


# --- the files


def texts(cifar: Mapping[str, set[str]], imagenet: Mapping[str, set[str]]) -> dict[str, str]:
    """The files of tables by folder.

    Args:
        cifar: variants that exist, by recipe of CIFAR-100.
        imagenet: variants that exist, by recipe of ImageNet.
    """
    dist_rows: Mapping[str, tuple[str | None, str]] = {"KD": ("kd", _DIST), "DIST": ("dist", _DIST)}
    dist_note = {("KD", p): "T = 4; the weights of the two terms are not printed" for p in imagenet}
    last = "Published numbers are of the last or the best epoch, as their authors chose; ours are of the last."
    return {
        "cifar100": _file(
            ["torchvision/cifar100", "parquet"],
            {
                "homogeneous": (
                    "CIFAR-100, teacher and student of one family",
                    last,
                    list(_matrix(HOMOGENEOUS, "cifar100", ROWS, cifar)),
                ),
                "heterogeneous": (
                    "CIFAR-100, teacher and student of different families",
                    last,
                    list(_matrix(HETEROGENEOUS, "cifar100", ROWS, cifar)),
                ),
                "wkd": (
                    "CIFAR-100, WKD as released",
                    "Trained with Nesterov momentum and float16 there; the recipes keep to float32.",
                    list(_matrix(WKD_CIFAR, "cifar100", ROWS, cifar)),
                ),
                "simkd": (
                    "CIFAR-100, the table of SimKD with a student of its own",
                    "",
                    list(_simkd(cifar)),
                ),
                "also": (
                    "CIFAR-100, other values in print for the same cells",
                    "",
                    list(_also_cifar(cifar)),
                ),
            },
        ),
        "imagenet": _file(
            ["folder"],
            {
                "main": (
                    "ImageNet, the two pairs that papers report",
                    last,
                    list(_matrix(MAIN, "imagenet", MAIN_ROWS, imagenet, MAIN_NOTES, teacher=False)),
                ),
                "dist-teachers": (
                    "ImageNet, stronger teachers, the table of DIST",
                    "",
                    list(_matrix(DIST_TEACHERS, "imagenet", dist_rows, imagenet, dist_note)),
                ),
                "also": (
                    "ImageNet, other values in print for the same cells",
                    "",
                    list(_also_imagenet(imagenet)),
                ),
                "paddle": ("ImageNet, re-implementations in PaddleClas", "", list(_paddle())),
            },
        ),
        "coco": _file(
            [],
            {"detection": ("COCO, Faster R-CNN with feature pyramids", "", list(_coco()))},
            unit="mAP",
        ),
    }


def _file(
    same_data: Sequence[str], tables: Mapping[str, tuple[str, str, Sequence[_Cell]]], *, unit: str = ""
) -> str:
    lines = ["# Published numbers, each with its source and the recipe that reproduces it: `limbeck table`."]
    lines.append("# Written by schemas/library.py.")
    if same_data:
        lines.append(f"same_data: [{', '.join(same_data)}]")
    lines.append("tables:")
    for name, (title, note, cells) in tables.items():
        lines += [f"  {name}:", f"    title: {quoted(title)}"]
        lines += [f"    unit: {unit}"] if unit else []
        lines += [f"    note: {quoted(note)}"] if note else []
        lines += ["    cells:", *(f"      - {_line(cell)}" for cell in cells)]
    return "\n".join(lines) + "\n"


def _line(cell: _Cell) -> str:
    values: dict[str, str] = {
        "row": quoted(cell.row),
        "column": quoted(cell.column),
        "recipe": cell.recipe or "null",
    }
    if cell.variant is not None:
        values["variant"] = cell.variant
    if cell.recipe is not None and cell.stage != "student":
        values["stage"] = cell.stage
    values["reported"] = f"{cell.reported:.2f}"
    if cell.spread is not None:
        values["spread"] = f"{cell.spread:.2f}"
    values["source"] = quoted(cell.source)
    if not cell.verified:
        values["verified"] = "false"
    for key in ("note", "reason"):
        if getattr(cell, key):
            values[key] = quoted(getattr(cell, key))
    return "{" + ", ".join(f"{key}: {value}" for key, value in values.items()) + "}"
