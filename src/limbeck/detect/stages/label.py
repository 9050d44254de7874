"""The stage `detect.label`: a classifier's soft labels of all objects, computed once."""

from __future__ import annotations

import time

from limbeck.detect.config import LabelStage
from limbeck.detect.labels import FILE_NAME, accuracy, label_objects, write_labels
from limbeck.detect.left_out import write_left_out
from limbeck.detect.stages._shared import open_setting
from limbeck.detect.units import number
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder


def run_label(config: LabelStage, folder: StageFolder, context: StageContext) -> None:
    """Label the objects of the training split."""
    setting = open_setting(config, context, one_process=True)
    classifier = setting.classifier(config.classifier, crop_size=config.crop_size)
    began = time.perf_counter()
    logits = label_objects(setting.train, classifier, device=setting.device, batch_size=config.batch_size)
    seconds = time.perf_counter() - began
    write_labels(folder.path, logits, source=setting.train, classifier=classifier)
    right = accuracy(logits, setting.train)
    confidence = float(logits.softmax(1).amax(1).mean()) if len(logits) else float("nan")
    folder.write_result(
        {
            "kind": "object_labels",
            "labels": FILE_NAME,
            "numbers": {
                "objects": number(len(logits), "count"),
                "accuracy": number(right, "fraction", "higher"),
                "confidence": number(confidence, "fraction"),
                "bytes": number(logits.numel() * 4, "B", "lower"),
                "seconds": number(seconds, "s", "lower"),
            },
            "summary": f"{len(logits):,} objects of the training split labelled; the classifier is right about "
            f"{right:.1%} of them, its mean confidence is {confidence:.3f}.",
            "skipped": write_left_out(folder, {"train": setting.train}),
            "components": [f"detection source:{config.source.name}"],
        }
    )
