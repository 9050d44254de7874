"""Boxes and maps of teacher, student and control side by side."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from limbeck.audit.detectors.examination import DetectorExamination
from limbeck.audit.detectors.outcomes import FOUND
from limbeck.audit.detectors.subjects import DetectorSubject

Picture = tuple[bytes, str, str]
"""PNG, title and caption, as an answer has them."""
SIDE = 360
"""Pixels across of an image with boxes."""
TILE = 150
"""Pixels across of an object with a map."""
OBJECTS = 5
"""Objects whose maps are shown."""
_GAP = 6
_LINE = 26
_Colour = tuple[int, int, int]
_INK = (31, 35, 48)
_COLOURS = (
    (0, 114, 178),
    (213, 94, 0),
    (0, 158, 115),
    (204, 121, 167),
    (230, 159, 0),
    (86, 180, 233),
    (148, 103, 189),
    (140, 86, 75),
    (240, 228, 66),
    (120, 120, 120),
)
"""Told apart with colour blindness too (Okabe and Ito), three added; given to a picture's classes in order."""
_HEAT = torch.tensor(
    [[0, 0, 0], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], dtype=torch.float32
)
"""From little to much; lightness rises evenly, so that it reads without colour."""


def shown(exam: DetectorExamination) -> tuple[DetectorSubject, ...]:
    """The teacher, its first student, and the control of the same seed or the first one."""
    student = exam.panel.students[0]
    controls = sorted(exam.panel.controls, key=lambda one: one.seed != student.seed)
    return (exam.panel.teacher, student, *controls[:1])


def found_pictures(exam: DetectorExamination) -> dict[str, Picture]:
    """The image on which teacher and student most often err alike where the control does not."""
    if not exam.panel.students:
        return {}
    subjects = shown(exam)
    outcomes = [exam.outcomes(subject).outcomes for subject in subjects]
    alike = (outcomes[0] != FOUND) & (outcomes[0] == outcomes[1])
    if len(subjects) > 2:
        alike &= outcomes[2] != outcomes[0]
    counts = torch.bincount(exam.objects.owner[alike], minlength=len(exam))
    if not bool(alike.any()):
        return {}
    number = int(counts.argmax())
    sample = exam.sample(number)
    panels = [("truth", sample.boxes, sample.labels)]
    for subject in subjects:
        kept = exam.outcomes(subject).kept[number]
        panels.append((subject.name, kept["boxes"], kept["labels"]))
    here = sorted({int(label) for _, _, labels in panels for label in labels})
    colours = {label: _COLOURS[number % len(_COLOURS)] for number, label in enumerate(here)}
    pictures = [_with_boxes(sample.image, boxes, [colours[int(one)] for one in own]) for _, boxes, own in panels]
    names = [(exam.class_names[label], colour) for label, colour in colours.items()]
    png = _grid([pictures], [f"{title}: {len(boxes)}" for title, boxes, _ in panels], names)
    times = f"{int(counts[number])} object" + ("s" if counts[number] > 1 else "")
    caption = f"Teacher and {subjects[1].name} fail alike at {times} of this image" + (
        f", {subjects[2].name} does not." if len(subjects) > 2 else "."
    )
    return {"found_alike-boxes": (png, "Errors in common", caption)}


def map_pictures(
    exam: DetectorExamination, chosen: Tensor, near: Mapping[str, Tensor], surroundings: float
) -> dict[str, Picture]:
    """Some objects, and what of them each detector looks at.

    Args:
        exam: the sitting.
        chosen: numbers of the objects that have maps, shape (m,).
        near: name of a detector -> maps around the objects, shape (m, cells, cells).
        surroundings: side of a map in sides of the object.
    """
    if not exam.panel.students:
        return {}
    subjects = shown(exam)
    there = torch.stack([near[one.name].sum(dim=(1, 2)) > 0 for one in subjects]).all(dim=0).nonzero()[:, 0]
    if len(there) == 0:
        return {}
    count = min(OBJECTS, len(there))
    rows = []
    for at in there[torch.arange(count) * len(there) // count].tolist():
        number = int(chosen[at])
        picture = _cut(exam, number, surroundings)
        rows.append([picture, *(_heated(picture, near[one.name][at]) for one in subjects)])
    png = _grid(rows, ["object", *(one.name for one in subjects)], ())
    caption = (
        f"Each row is an object with its surroundings, {surroundings:g} times as large, its box in white. "
        "The lighter, the more the pixels there decide how certain the detector is of it."
    )
    return {"localisation-maps": (png, "Where they look", caption)}


def _with_boxes(image: Tensor, boxes: Tensor, colours: Sequence[_Colour]) -> Image.Image:
    factor = SIDE / image.shape[2]
    picture = _scaled(image, (SIDE, max(1, round(image.shape[1] * factor))))
    pen = ImageDraw.Draw(picture)
    for (x1, y1, x2, y2), colour in zip((boxes * factor).tolist(), colours, strict=True):
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=colour, width=3)
    return picture


def _cut(exam: DetectorExamination, number: int, times: float) -> Image.Image:
    """An object with its surroundings, black beyond the image."""
    image = exam.sample(int(exam.objects.owner[number])).image
    x1, y1, x2, y2 = exam.objects.boxes[number].tolist()
    whole = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    wide, high = (x2 - x1) * times, (y2 - y1) * times
    left, top = (x1 + x2 - wide) / 2, (y1 + y2 - high) / 2
    edges = (left, 0.0, wide, 0.0, high, top)
    scale = (edges[2] / TILE, 0.0, edges[0], 0.0, edges[4] / TILE, edges[5])
    cut = whole.transform((TILE, TILE), Image.Transform.AFFINE, scale, Image.Resampling.BILINEAR)
    inner = TILE / times
    ends = ((TILE - inner) / 2, (TILE + inner) / 2)
    ImageDraw.Draw(cut).rectangle((ends[0], ends[0], ends[1], ends[1]), outline="white", width=1)
    return cut


def _heated(picture: Image.Image, found: Tensor) -> Image.Image:
    """A map over the faint object."""
    level = (found / found.max()).float().clamp(0, 1).sqrt()
    place = level * (len(_HEAT) - 1)
    low = place.floor().long().clamp(max=len(_HEAT) - 2)
    part = (place - low)[..., None]
    colours = (_HEAT[low] * (1 - part) + _HEAT[low + 1] * part).to(torch.uint8)
    heat = Image.fromarray(colours.numpy()).resize(picture.size, Image.Resampling.BICUBIC)
    return Image.blend(picture.convert("L").convert("RGB"), heat, 0.7)


def _scaled(image: Tensor, size: tuple[int, int]) -> Image.Image:
    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
    shrinks = size[0] < image.shape[2]
    return picture.resize(size, Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC)


def _grid(
    rows: Sequence[Sequence[Image.Image]],
    titles: Sequence[str],
    legend: Sequence[tuple[str, _Colour]],
) -> bytes:
    """Pictures of one size in rows under their titles, over the names of the colours."""
    wide, high = rows[0][0].size
    font = ImageFont.load_default(size=16)
    across = len(titles) * (wide + _GAP) - _GAP
    lines = [*_lines([(name, font.getlength(name)) for name, _ in legend], across)]
    colours = dict(legend)
    down = _LINE + len(rows) * (high + _GAP) + len(lines) * _LINE
    whole = Image.new("RGB", (across, down), "white")
    pen = ImageDraw.Draw(whole)
    for column, title in enumerate(titles):
        pen.text((column * (wide + _GAP), 2), _fitting(title, wide, font), fill=_INK, font=font)
        for row, pictures in enumerate(rows):
            whole.paste(pictures[column], (column * (wide + _GAP), _LINE + row * (high + _GAP)))
    for number, line in enumerate(lines):
        y = down - (len(lines) - number) * _LINE + _LINE // 2
        for name, x in line:
            pen.rectangle((x, y - 6, x + 12, y + 6), fill=colours[name])
            pen.text((x + 18, y), name, fill=_INK, font=font, anchor="lm")
    buffer = io.BytesIO()
    whole.save(buffer, "PNG")
    return buffer.getvalue()


def _lines(names: Sequence[tuple[str, float]], across: int) -> list[list[tuple[str, float]]]:
    """Names with their places, broken into lines."""
    lines: list[list[tuple[str, float]]] = []
    x = float(across + 1)
    for name, length in names:
        if x + 18 + length > across:
            lines.append([])
            x = 0.0
        lines[-1].append((name, x))
        x += 36 + length
    return lines


def _fitting(text: str, width: float, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
