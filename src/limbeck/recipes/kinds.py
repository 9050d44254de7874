"""The stage kinds: one closed table. A kind's module is imported when a recipe mentions it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from limbeck.specs import StageConfig


@dataclass(frozen=True, slots=True)
class StageKind:
    """Where a kind's parts are, each as `module:name`.

    Attributes:
        config: class of its settings; importing it needs no torch.
        run: function (config, folder, context).
        plan: function (config, context, stages) that says what it will cost.
    """

    config: str
    run: str
    plan: str

    def config_class(self) -> type[StageConfig]:
        """The class of its settings."""
        found = load_attribute(self.config)
        assert isinstance(found, type)
        assert issubclass(found, StageConfig)
        return found


_CLASSIFY = "limbeck.classify"
_DATASET = "limbeck.dataset"


def _dataset_stage(name: str) -> StageKind:
    return StageKind(
        f"{_DATASET}.config:{name.capitalize()}Stage",
        f"{_DATASET}.stages.{name}:run_{name}",
        f"{_DATASET}.planning:plan_{name}",
    )


_DETECT = "limbeck.detect"


def _detect_stage(name: str) -> StageKind:
    return StageKind(
        f"{_DETECT}.config:{name.capitalize()}Stage",
        f"{_DETECT}.stages.{name}:run_{name}",
        f"{_DETECT}.planning:plan_{name}",
    )


_FLOW = "limbeck.flow"


def _flow_stage(name: str) -> StageKind:
    return StageKind(
        f"{_FLOW}.config:{name.capitalize()}Stage",
        f"{_FLOW}.stages.{name}:run_{name}",
        f"{_FLOW}.planning:plan_{name}",
    )


_AUDIT = "limbeck.audit"


def _audit_stage(name: str) -> StageKind:
    return StageKind(
        f"{_AUDIT}.config:{name.capitalize()}Stage",
        f"{_AUDIT}.stages.{name}:run_{name}",
        f"{_AUDIT}.planning:plan_{name}",
    )


STAGES: Mapping[str, StageKind] = {
    "classify.train": StageKind(
        f"{_CLASSIFY}.config:TrainStage", f"{_CLASSIFY}.stages:run_train", f"{_CLASSIFY}.planning:plan_train"
    ),
    "classify.distill": StageKind(
        f"{_CLASSIFY}.config:DistillStage", f"{_CLASSIFY}.stages:run_distill", f"{_CLASSIFY}.planning:plan_distill"
    ),
    "classify.compare": StageKind(
        f"{_CLASSIFY}.config:CompareStage",
        f"{_CLASSIFY}.compare:run_compare",
        f"{_CLASSIFY}.planning:plan_compare",
    ),
    "classify.store_teacher": StageKind(
        f"{_CLASSIFY}.stored.config:StoreStage",
        f"{_CLASSIFY}.stored.stage:run_store",
        f"{_CLASSIFY}.stored.stage:plan_store",
    ),
    "dataset.experts": _dataset_stage("experts"),
    "dataset.label": _dataset_stage("label"),
    "dataset.synthesize": _dataset_stage("synthesize"),
    "dataset.evaluate": _dataset_stage("evaluate"),
    "dataset.search": _dataset_stage("search"),
    "dataset.ablate": _dataset_stage("ablate"),
    "detect.train": _detect_stage("train"),
    "detect.distill": _detect_stage("distill"),
    "detect.compare": _detect_stage("compare"),
    "detect.label": _detect_stage("label"),
    "detect.evaluate": _detect_stage("evaluate"),
    "flow.train": _flow_stage("train"),
    "flow.teacher": _flow_stage("teacher"),
    "flow.pairs": _flow_stage("pairs"),
    "flow.distill": _flow_stage("distill"),
    "flow.compare": _flow_stage("compare"),
    "flow.sample": _flow_stage("sample"),
    "flow.score": _flow_stage("score"),
    "audit.compare": _audit_stage("compare"),
    "audit.detectors": _audit_stage("detectors"),
}


def load_attribute(path: str) -> Any:
    """What `module:name` stands for."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)
