"""The stage `detect.train`: a detector on its labels alone."""

from __future__ import annotations

from limbeck.detect.config import TrainStage, _Detector
from limbeck.detect.fitting import fit_detector
from limbeck.detect.products import write_detector
from limbeck.detect.stages._shared import open_setting
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder


def run_train(config: TrainStage, folder: StageFolder, context: StageContext) -> None:
    """Train, resuming where it was left."""
    setting = open_setting(config, context)
    fitted = fit_detector(
        setting.student(setting.seed),
        (),
        source=setting.train,
        training=config.train,
        machine=setting.machine,
        records=folder,
        seed=setting.seed,
        judge=setting.judge,
        validation=setting.validation,
        title=folder.name,
        progress=context.progress,
    )
    if setting.machine.main:
        notes = {"stage": config.kind, "seed": setting.seed}
        write_detector(
            folder,
            fitted,
            judge=setting.judge,
            source=setting.train,
            components=components_of(config),
            notes=notes,
        )
    setting.machine.wait()


def components_of(config: _Detector) -> list[str]:
    """What a stage uses, as "kind:name"."""
    return [
        f"detector:{config.model.name}",
        f"detection source:{config.source.name}",
        *(f"detection augmentation:{a.name}" for a in config.train.augment),
    ]
