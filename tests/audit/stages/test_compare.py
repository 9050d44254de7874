"""The stage from its configuration: what it is given, what it leaves, what it costs."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from limbeck.audit.config import CompareStage
from limbeck.audit.planning import plan_compare
from limbeck.audit.stages import compare
from limbeck.audit.stages.compare import run_compare
from limbeck.errors import ConfigError, TapError
from limbeck.models import DataConfig, build, save
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder

COMMON = {
    "teacher": "teacher",
    "students": {"kd-s0": "kd-s0", "kd-s1": "kd-s1"},
    "controls": {"control-s0": "control-s0", "control-s1": "control-s1"},
    "source": "digits",
    "images": 80,
    "questions": ["fidelity", "classes"],
    "statistics": {"draws": 50},
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Model files by name; the first student is a copy of the teacher."""
    folder = tmp_path_factory.mktemp("files")
    found = {}
    for seed, name in enumerate(("teacher", "kd-s0", "kd-s1", "control-s0", "control-s1")):
        torch.manual_seed(0 if name == "kd-s0" else seed)
        net = build("resnet8", num_classes=10, in_channels=1)
        found[name] = folder / f"{name}.safetensors"
        facts = DataConfig((1, 8, 8), (0.3,), (0.4,), tuple("0123456789"))
        save(net, found[name], spec=net.limbeck_spec, data=facts)
    return found


def run(tmp_path, files, **changes):
    config = CompareStage.model_validate({**COMMON, **changes})
    folder = StageFolder(tmp_path / "audit", "audit")
    folder.begin(config.model_dump(mode="json"))
    run_compare(config, folder, StageContext(seed=5, inputs=files, device="cpu"))
    return folder, json.loads((folder.path / "audit.json").read_text())


def of(record, name):
    return next(one for one in record["findings"] if f"{one['question']}.{one['measure']}" == name)


def test_seeds_are_matched_and_the_seed_of_the_run_is_used(tmp_path, files):
    folder, record = run(tmp_path, files)
    agreement = of(record, "fidelity.agreement")
    assert agreement["student"]["values"]["kd-s0"] == 1.0
    assert agreement["matched"]
    assert set(agreement["per_seed"]) == {"kd-s0", "kd-s1"}
    assert agreement["scope"] == "the method"
    assert record["statistics"]["seed"] == 5
    assert folder.finished
    assert folder.result()["components"] == ["question:fidelity", "question:classes"]


def test_another_seed_shows_other_images(tmp_path, files):
    _, first = run(tmp_path / "a", files)
    _, same = run(tmp_path / "b", files, seed=5)
    _, other = run(tmp_path / "c", files, seed=6)
    assert first["findings"] == same["findings"]
    assert first["findings"] != other["findings"]


def test_only_the_named_questions_are_held_against_the_placebo(tmp_path, files):
    placebo = tmp_path / "placebo/trials"
    for seed in (0, 1):
        trial = placebo / f"kd-s{seed}"
        trial.mkdir(parents=True)
        (trial / "config.json").write_text(json.dumps({"method": "kd", "seed": seed}))
        (trial / "result.json").write_text("{}")
        (trial / "model.safetensors").write_bytes(files[f"kd-s{seed}"].read_bytes())
    given = {**files, "placebo": placebo.parent}
    changes = {"placebo": "placebo", "questions": ["fidelity", "classes", "mistakes"]}
    _, record = run(tmp_path / "a", given, **changes)
    assert of(record, "classes.profile")["specificity"]["note"].endswith("(placebo)")
    assert of(record, "mistakes.repeated")["specificity"] is not None
    assert of(record, "fidelity.agreement")["specificity"] is None
    assert [one["name"] for one in record["placebos"]] == ["placebo kd-s0", "placebo kd-s1"]
    _, record = run(tmp_path / "b", given, **changes, placebo_questions=["mistakes"])
    assert of(record, "classes.profile")["specificity"] is None
    assert of(record, "mistakes.repeated")["specificity"] is not None


def test_a_condition_that_cannot_be_read_is_told_before_the_work(tmp_path, files, monkeypatch):
    monkeypatch.setattr(compare, "open_examination", lambda *_: pytest.fail("it has begun"))
    with pytest.raises(ConfigError, match="a condition is a name"):
        run(tmp_path, files, fail_on=["worst_group_drop"])


def test_several_processes_are_refused(tmp_path, files, monkeypatch):
    monkeypatch.setattr(compare, "Machine", lambda **_: SimpleNamespace(world=4, device=torch.device("cpu")))
    with pytest.raises(ConfigError, match=r"runs in one process \(4 were started\)"):
        run(tmp_path, files)


def test_a_layer_by_name_reaches_the_maps(tmp_path, files):
    questions = [{"name": "localisation", "images": 20, "pictures": 1}]
    layers = {"teacher": "layer2", "kd": "layer2", "control": "layer2"}
    _, record = run(tmp_path / "a", files, questions=questions, layers=layers)
    assert set(of(record, "localisation.cosine")["constants"]["layers"].values()) == {"layer2"}
    # In the standard set, too, a layer that does not exist is a slip and no reason to leave a question out.
    standard = CompareStage.model_fields["questions"].default
    with pytest.raises(TapError, match=r"kd-s0 .*no module 'layer22'"):
        run(tmp_path / "b", files, questions=list(standard), layers={"kd": "layer22"})


def test_what_it_will_cost(files):
    context = StageContext(seed=0, inputs=files, device="cpu")
    plan = plan_compare(CompareStage.model_validate(COMMON), context, {})
    assert plan["parameters"] > 5 * 70_000
    assert plan["seconds"] > 0
    assert plan["notes"] == ["5 networks, 80 images, about 2 passes over them"]
    dear = plan_compare(CompareStage.model_validate({**COMMON, "questions": ["corruptions"]}), context, {})
    assert "about 10 passes" in dear["notes"][0]
    later = plan_compare(CompareStage.model_validate(COMMON), StageContext(seed=0, inputs={}, device="cpu"), {})
    assert later["notes"][0].startswith("not timed: a network is not there yet")
