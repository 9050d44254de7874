"""What teaching a detector costs over a plain step and the teacher's forward pass, and what stored labels save.

For each method three sides take turns in one process, each a forward and a backward pass over the same batches:

- plain: the detector as torchvision runs it, on its own losses;
- teacher: the teacher's forward pass alone on what it is shown in that step (crops of all objects and of chosen
  predictions, or the batch), with the backward pass to the predicted crops where the method has one;
- taught: Limbeck's step with the method.

The ratio is taught over (plain + teacher). Stored labels: the step of KD_cls with the classifier run live over the
step with the objects' logits read from memory.

Run: python -m bench.detect_step --out results/bench-detect-step.json
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench import harness
from limbeck.detect import ClassifierTeacher, Teachers, label_objects
from limbeck.detect.config import Teaching, Term
from limbeck.detect.lesson import Lesson
from limbeck.detect.methods import METHODS
from limbeck.detect.task import DetectTask
from limbeck.detect.terms import bind
from limbeck.models import DataConfig, build
from limbeck.models.detectors import build_detector
from limbeck.models.detectors.watching import Watch
from limbeck.sources.detection.building import build_detection
from limbeck.sources.detection.loader import DetectionLoader

SIZE, BATCH, CLASSES, CROP = 160, 8, 10, 32
DETECTORS: Mapping[str, Mapping[str, Any]] = {
    "small_ssd": {"name": "small_ssd", "size": (SIZE, SIZE), "width": 16},
    "retinanet": {
        "name": "retinanet",
        "backbone": "torchvision/resnet18",
        "size": (SIZE, SIZE),
        "fpn_channels": 64,
    },
}


class Sides:
    """The three sides of one detector and one method, on the same batch."""

    def __init__(self, kind: str, method: str, *, stored: bool = False) -> None:
        source = build_detection("digit_scenes", split="train", count=BATCH, size=SIZE, objects=(4, 12))
        self.batch = next(DetectionLoader(source, batch_size=BATCH, seed=0).epoch(1))
        self.plain = detector(kind).train()
        classifier = build("resnet20", num_classes=CLASSES, in_channels=3)
        facts = DataConfig((3, CROP, CROP), (0.5,) * 3, (0.2,) * 3, tuple(source.class_names))
        self.teachers = Teachers(
            ClassifierTeacher(classifier, facts, source.class_names),
            Watch(detector(kind, seed=1).eval().requires_grad_(False)),
            teaching=Teaching(),
        )
        if stored:
            classifier_teacher = self.teachers.classifier
            assert classifier_teacher is not None
            self.teachers.labels = label_objects(source, classifier_teacher, device=torch.device("cpu"))
        taught = detector(kind)
        terms = [Term.model_validate(dict(term)) for term in METHODS[method]]
        bound = bind(terms, taught, self.teachers, examples=self.batch["images"][:2])
        self.task = DetectTask(taught, bound, self.teachers)
        self.task.root.train()
        self.shown = self._shown()

    def run_plain(self) -> None:
        """torchvision's own step."""
        inside = [{"boxes": t["boxes"], "labels": t["labels"] + 1} for t in self.batch["targets"]]
        losses = self.plain(self.batch["images"], inside)
        torch.stack(tuple(losses.values())).sum().backward()
        self.plain.zero_grad(set_to_none=True)

    def run_taught(self) -> None:
        """Limbeck's step."""
        torch.manual_seed(0)
        self.task.step(self.batch).loss.backward()
        self.task.root.zero_grad(set_to_none=True)

    def _shown(self) -> Lesson:
        """What the teacher is shown in such a step."""
        torch.manual_seed(0)
        watch = Watch(self.task.root.detector)
        _, seen = watch.forward(self.batch["images"], self.batch["targets"])
        lesson = Lesson(seen, self.teachers, self.task.root.detector, heads=False)
        with torch.no_grad():
            lesson.true_crops, lesson.predicted_crops  # noqa: B018
        return lesson

    def classifier_logits(self) -> None:
        """The classifier on the crops of all objects."""
        self._classifier.logits(self.shown.object_crops)

    def classifier_first_layers(self) -> None:
        """Its first layers on the crops of all objects, and there and back on those of the chosen predictions."""
        with torch.no_grad():
            self._classifier.maps(self.shown.object_crops, ("@stem",))
        crops = self.shown.predicted_crops.detach().requires_grad_()
        (maps,) = self._classifier.maps(crops, ("@stem",))
        maps.sum().backward()

    def classifier_both(self) -> None:
        """All of it."""
        self.classifier_logits()
        self.classifier_first_layers()

    def detector_maps(self) -> None:
        """The backbone of the larger detector on the batch."""
        assert self.teachers.detector is not None
        with torch.no_grad():
            self.teachers.detector.detector.backbone(self.shown.seen.images)

    @property
    def _classifier(self) -> ClassifierTeacher:
        assert self.teachers.classifier is not None
        return self.teachers.classifier


TEACHER: Mapping[str, Callable[[Sides], Callable[[], None]]] = {
    "kd_cls": lambda sides: sides.classifier_logits,
    "kd_loc": lambda sides: sides.classifier_first_layers,
    "dicod": lambda sides: sides.classifier_both,
    "pkd": lambda sides: sides.detector_maps,
}


def detector(kind: str, seed: int = 0) -> nn.Module:
    """With fresh weights."""
    torch.manual_seed(seed)
    settings = dict(DETECTORS[kind])
    return build_detector(settings.pop("name"), num_classes=CLASSES, **settings)


def ratios(found: Mapping[str, list[float]]) -> list[float]:
    """Taught over plain plus teacher, turn by turn."""
    return [
        taught / (plain + teacher)
        for plain, teacher, taught in zip(found["plain"], found["teacher"], found["taught"], strict=True)
    ]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--out", type=Path, default=None)
    arguments.add_argument("--repeats", type=int, default=25)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {}
    for kind in DETECTORS:
        for method, teacher in TEACHER.items():
            sides = Sides(kind, method)
            found = harness.interleaved(
                {"plain": sides.run_plain, "teacher": teacher(sides), "taught": sides.run_taught}, given.repeats, 3
            )
            ratio = harness.summary(ratios(found))
            results[f"{kind}, {method}"] = {
                "seconds": {side: harness.summary(seconds) for side, seconds in found.items()},
                "taught over plain plus teacher": ratio,
            }
            said = f"{kind}, {method}: taught / (plain + teacher) {harness.spread(ratio, digits=3)}"
            print(said, file=sys.stderr)
        live, stored = Sides(kind, "kd_cls"), Sides(kind, "kd_cls", stored=True)
        found = harness.interleaved({"live": live.run_taught, "stored": stored.run_taught}, given.repeats, 3)
        gain = harness.summary([a / b for a, b in zip(found["live"], found["stored"], strict=True)])
        results[f"{kind}, stored labels"] = {
            "seconds": {side: harness.summary(seconds) for side, seconds in found.items()},
            "live over stored": gain,
        }
        print(f"{kind}, stored labels: live / stored {harness.spread(gain)}", file=sys.stderr)
    if given.out is not None:
        harness.write(given.out, "detect_step", results)


if __name__ == "__main__":
    main()
