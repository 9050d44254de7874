"""A detector as a program of torch.export, and what a file of it says of itself."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from limbeck.errors import ModelError
from limbeck.models.detectors.exports.candidates import Candidates, candidates_of
from limbeck.models.detectors.exports.source import DetectorSource
from limbeck.models.exports.exported import first_line
from limbeck.models.exports.program import culprit, forget_paths


def captured(source: DetectorSource, wrap: Callable[[Candidates], nn.Module]) -> torch.export.ExportedProgram:
    """Trace a detector for one image of one size.

    Args:
        source: the detector.
        wrap: makes the module that is traced, called with images (1, 3, h, w), of its candidates.

    Raises:
        ModelError: the detector does what no graph can hold, or not at this size.
    """
    size = f"{source.size[0]} x {source.size[1]}"
    try:
        with torch.no_grad(), quiet():
            module = wrap(candidates_of(source.detector, source.size)).eval()
            program = torch.export.export(module, (source.images[0][None],), strict=False)
    except ModelError:
        raise
    except Exception as error:  # the tracer raises whatever it likes
        raise ModelError(
            f"{source.name} cannot be captured as a graph for images of {size}: "
            f"{culprit(error, source.detector)}{first_line(error)}. As Python: --format torchvision."
        ) from error
    forget_paths(program)
    return program


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing is said of torchvision's own way to describe its suppression to a tracer, which is an old one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="`create_unbacked_symint`", category=FutureWarning)
        yield


def reads(source: DetectorSource) -> str:
    """What a program takes and gives, in words."""
    height, width = source.size
    return (
        f"It takes `images`, one RGB image, float32 of shape (1, 3, {height}, {width}) with values in [0, 1], not "
        "normalised; and gives `boxes`, float32 of shape (k, 4), as x1, y1, x2, y2 in pixels of that image, "
        f"`labels`, int64 of shape (k,), from 0 to {source.classes - 1}, and `scores`, float32 of shape (k,), the "
        "most certain first. Overlapping boxes are already dropped; k may be 0."
    )


def facts(source: DetectorSource, candidates: Candidates) -> dict[str, Any]:
    """What a program file says of itself, as JSON."""
    return {
        "architecture": source.name,
        "family": source.family,
        "class_names": list(source.class_names),
        "classes": source.classes,
        "input": reads(source),
        "input_shape": [1, 3, *source.size],
        "mean": list(source.data.mean),
        "std": list(source.data.std),
        "score_threshold": candidates.score_threshold,
        "nms_threshold": candidates.nms_threshold,
        "detections": candidates.most,
    }
