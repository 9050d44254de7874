"""Detectors: the stage and the command line, on scenes of digits."""

from __future__ import annotations

import json

import jsonschema
import pytest
import torch

from limbeck.audit.config import DetectorsStage
from limbeck.audit.planning import plan_detectors
from limbeck.audit.stages import detectors as stage
from limbeck.audit.stages.detectors import run_detectors
from limbeck.errors import CheckpointError, ConfigError
from limbeck.models import DataConfig, build
from limbeck.models import save as save_classifier
from limbeck.models.detectors import build_detector
from limbeck.models.detectors.artefact import save
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder

SCENES = {"name": "digit_scenes", "count": 6, "size": 48, "objects": [1, 3], "clutter": 0}
COMMON = {
    "teacher": "teacher",
    "students": {"kd-s0": "kd"},
    "controls": {"control-s0": "control"},
    "source": SCENES,
    "statistics": {"draws": 30},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Untrained detectors of digits; the student is the teacher."""
    folder = tmp_path_factory.mktemp("detectors")
    found = {}
    for name, seed in (("teacher", 0), ("kd", 0), ("control", 1)):
        torch.manual_seed(seed)
        detector = build_detector("small_ssd", num_classes=10, size=(48, 48), width=4)
        found[name] = folder / f"{name}.safetensors"
        save(detector, found[name], class_names=tuple("0123456789"))
    net = build("resnet8", num_classes=10, in_channels=3)
    found["classifier"] = folder / "classifier.safetensors"
    facts = DataConfig((3, 8, 8), (0.3,) * 3, (0.4,) * 3, tuple("0123456789"))
    save_classifier(net, found["classifier"], spec=net.limbeck_spec, data=facts)
    return found


def run(tmp_path, files, **changes):
    config = DetectorsStage.model_validate({**COMMON, **changes})
    folder = StageFolder(tmp_path / "audit", "audit")
    folder.begin(config.model_dump(mode="json"))
    run_detectors(config, folder, StageContext(seed=0, inputs=files, device="cpu"))
    return folder


def test_the_same_detector_twice(tmp_path, files, root):
    folder = run(
        tmp_path, files, questions=["found_alike", "errors", "boxes", "false_alarms", "average_precision"]
    )
    record = json.loads((folder.path / "audit.json").read_text())
    schema = json.loads((root / "schemas" / "audit.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(record)
    assert record["data"]["images"] == 6
    assert record["data"]["name"] == "digit_scenes"
    assert folder.result()["kind"] == "audit"
    for one in record["findings"]:
        if one["kind"] == "trait" and one["teacher"] is not None:
            assert one["student"]["values"]["kd-s0"] == one["teacher"], one["title"]


def test_what_is_refused(tmp_path, files, monkeypatch):
    with pytest.raises(CheckpointError, match="no detector"):
        run(tmp_path / "a", {**files, "kd": files["classifier"]}, questions=["errors"])
    with pytest.raises(ConfigError, match="two detectors are named 'a-s0'"):
        run(tmp_path / "b", files, students={"a-s0": "kd"}, controls={"a-s0": "control"}, questions=["errors"])
    monkeypatch.setattr(stage.Machine, "__init__", lambda self, **_: setattr(self, "world", 2))
    with pytest.raises(ConfigError, match="runs in one process"):
        run(tmp_path / "c", files, questions=["errors"])


def test_what_it_will_cost(files):
    config = DetectorsStage.model_validate({**COMMON, "images": 4})
    plan = plan_detectors(config, StageContext(seed=0, inputs=files, device="cpu"), {})
    assert plan["notes"] == ["4 images, one pass for predictions"]
