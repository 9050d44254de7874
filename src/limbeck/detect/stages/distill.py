"""The stage `detect.distill`: a detector taught by a classifier, a larger detector, or both."""

from __future__ import annotations

from limbeck.detect.config import DistillStage
from limbeck.detect.fitting import fit_detector
from limbeck.detect.products import write_detector
from limbeck.detect.stages._shared import open_setting
from limbeck.detect.stages.train import components_of
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder


def run_distill(config: DistillStage, folder: StageFolder, context: StageContext) -> None:
    """Distil, resuming where it was left."""
    setting = open_setting(config, context)
    teachers = setting.teachers(config)
    fitted = fit_detector(
        setting.student(setting.seed),
        config.terms,
        source=setting.train,
        training=config.train,
        machine=setting.machine,
        records=folder,
        seed=setting.seed,
        judge=setting.judge,
        validation=setting.validation,
        teachers=teachers,
        title=folder.name,
        progress=context.progress,
    )
    if setting.machine.main:
        components = [*components_of(config), *(f"detection loss:{term.loss.name}" for term in config.terms)]
        notes = {"stage": config.kind, "seed": setting.seed}
        write_detector(
            folder, fitted, judge=setting.judge, source=setting.train, components=components, notes=notes
        )
    setting.machine.wait()
