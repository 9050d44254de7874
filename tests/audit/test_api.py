"""An audit in Python: modules, files and names; what comes back, and what it leaves behind."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
import torch
from torch import nn

from limbeck.audit import audit
from limbeck.errors import ConfigError, DataError, ModelError, TapError, UnknownNameError
from limbeck.models import DataConfig, build, save
from limbeck.sources import build as build_source

QUICK = {"draws": 100}


def net(seed, classes=10, channels=1):
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Conv2d(channels, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, classes)),
    )


@pytest.fixture(scope="module")
def pixels():
    """Two classes of images and what a linear rule says of them."""
    draws = np.random.default_rng(0)
    images = draws.integers(0, 256, (120, 8, 8), dtype=np.uint8)
    return images, (images.mean(axis=(1, 2)) > 127).astype(np.int64)


def test_a_copy_of_the_teacher_is_like_it_in_everything(examined, validator, tmp_path):
    exam = examined()
    source = (exam.material.images[:, 0].numpy(), exam.material.labels.numpy())
    teacher, student, control = (exam.panel.teacher, exam.panel.students[0], exam.panel.controls[0])
    questions = [
        *("fidelity", "mistakes", "classes", "calibration", "gradients", {"name": "representations", "batch": 20}),
        {"name": "localisation", "images": 60},
        {"name": "adversarial", "images": 100, "iterations": 2},
        {"name": "boundaries", "triplets": 4, "resolution": 7, "margin_images": 10},
        {"name": "barrier", "images": 60, "points": 3},
    ]
    found = audit(
        teacher.network.model,
        {"copy": student.network.model},
        {"control": control.network.model},
        source=source,
        questions=questions,
        images=200,
        statistics=QUICK,
        out=tmp_path / "run",
    )

    def of_copy(name):
        return found.finding(name, "copy").student.mean

    perfect = {
        **{"fidelity.agreement": 1, "fidelity.kappa": 1, "fidelity.kl": 0, "fidelity.js": 0},
        **{
            "mistakes.error_consistency": 1,
            "mistakes.repeated": 1,
            "classes.profile": 1,
            "localisation.cosine": 1,
        },
        **{"calibration.confidence": 0, "gradients.cosine": 1, "representations.cka": 1, "adversarial.fooled": 1},
        **{"boundaries.same_regions": 1, "barrier.loss": 0},
    }
    assert {name: of_copy(name) for name in perfect} == pytest.approx(perfect, abs=1e-5)
    assert found.finding("fidelity.agreement").verdict == "transferred"
    assert abs(found.finding("fidelity.kappa").control.mean) < 0.3
    assert found.summary.startswith("10 of 13 properties transferred: ")
    record = json.loads((tmp_path / "run/audit/audit.json").read_text())
    validator.validate(record)
    assert record["verdicts"]["fidelity.agreement"] == {"copy": "transferred"}
    assert found.broken("fidelity.agreement == transferred", "accuracy_drop > 0.5") == [
        "fidelity.agreement=='transferred' holds for copy: fidelity.agreement is transferred"
    ]


@pytest.fixture(scope="module")
def validator(root):
    schema = json.loads((root / "schemas" / "audit.schema.json").read_text())
    return jsonschema.Draft202012Validator(schema)


def test_modules_are_given_back_as_they_were(pixels):
    teacher, student = net(0, 2), net(1, 2)
    student.train()
    teacher.eval()
    student[0].requires_grad_(False)
    weights = {name: value.clone() for name, value in student.state_dict().items()}
    audit(teacher, student, source=pixels, questions=["fidelity", "gradients"], statistics=QUICK)
    assert student.training
    assert not teacher.training
    assert [one.requires_grad for one in student.parameters()] == [False, False, True, True, True, True]
    assert all(one.requires_grad and one.grad is None for one in teacher.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in student.state_dict().items())
    with pytest.raises(UnknownNameError):
        audit(teacher, student, source=pixels, questions=["fidelity"], statistics=QUICK).finding(
            "fidelity.agreemnt"
        )
    assert student.training


def test_without_controls_nothing_is_transferred(pixels):
    teacher = net(0, 2)
    found = audit(teacher, teacher, source=pixels, questions=["fidelity", "mistakes"], statistics=QUICK)
    assert found.finding("fidelity.agreement").student.mean == 1.0
    assert {str(one.verdict) for one in found.findings if one.primary} == {"cannot tell"}
    assert "without a control nothing can be said about transfer" in found.summary
    assert all("no control" in one.reason.lower() for one in found.findings if one.primary)


def test_files_and_names_and_modules_in_one_audit(tmp_path):
    teacher = build("resnet8", num_classes=10, in_channels=1)
    facts = DataConfig((1, 8, 8), (0.3,), (0.4,), tuple("0123456789"))
    save(teacher, tmp_path / "teacher.safetensors", spec=teacher.limbeck_spec, data=facts)
    found = audit(
        tmp_path / "teacher.safetensors",
        {"kd-s0": str(tmp_path / "teacher.safetensors"), "kd-s1": teacher},
        {"control-s0": net(1), "control-s1": net(2)},
        source={"name": "digits"},
        questions=["fidelity"],
        images=100,
        statistics=QUICK,
    )
    finding = found.finding("fidelity.agreement")
    assert finding.student.values["kd-s0"] == 1.0
    # The module knows no normalisation and was given that of the source, which is not the file's.
    assert finding.seeds == 2
    assert finding.matched
    assert [one.seed for one in found.panel.controls] == [0, 1]


def test_the_same_audit_twice_is_the_same_and_another_is_refused(pixels, tmp_path):
    def asked(**more):
        return audit(
            net(0, 2), net(1, 2), net(2, 2), source=pixels, questions=["fidelity"], out=tmp_path / "o", **more
        )

    first = asked(seed=3)
    before = (tmp_path / "o/audit/audit.json").read_bytes()
    again = asked(seed=3)
    assert [one.to_json() for one in again.findings] == [one.to_json() for one in first.findings]
    assert (tmp_path / "o/audit/audit.json").read_bytes() == before
    with pytest.raises(ConfigError, match=r"seed: 3 -> 4(.|\n)*Give another `out`"):
        asked(seed=4)
    from limbeck.report.page import build as page

    assert "Same prediction as the teacher" in page(tmp_path / "o")


def test_domains_foreign_and_layers(pixels):
    found = audit(
        net(0, 2),
        net(1, 2),
        net(2, 2),
        source=pixels,
        domains={"negative": (255 - pixels[0], pixels[1])},
        foreign=net(3, 2),
        layers={"student": "1", "teacher": "3"},
        questions=["domains", {"name": "localisation", "images": 40}, {"name": "adversarial", "eps": 0.3}],
        statistics=QUICK,
    )
    assert found.data["domains"] == {"negative": 120}
    constants = found.finding("localisation.cosine").constants
    assert constants["layers"] == {"teacher": "3", "student": "1", "control": "found"}
    assert found.finding("adversarial.fooled").constants["against"] == "images made on an unrelated network"


WRONG = {
    "no classes in common": ({"students": net(1, 3)}, ModelError, "student tells 3 classes apart, and .* has 2"),
    "other channels": ({"students": net(1, 2, 3)}, ModelError, "cannot take images|channels"),
    "no question": ({"questions": []}, ConfigError, "questions"),
    "an unknown question": ({"questions": ["fidelty"]}, ConfigError, "Did you mean 'fidelity'"),
    "an unknown statistic": ({"statistics": {"drawz": 3}}, ConfigError, "drawz"),
    "no student": ({"students": {}}, ConfigError, "no student was given"),
    "one class": ({"source": (np.zeros((9, 8, 8), np.uint8), np.zeros(9, int))}, DataError, "at least two"),
    "no weights": ({"students": {"name": "resnet8"}}, ModelError, "network without weights.*pretrained: true"),
    "another layer": ({"layers": {"student": "7.conv"}}, TapError, "student .*has no module '7.conv'"),
    "a layer of nobody": ({"layers": {"students": "1"}}, ConfigError, "Did you mean 'student'"),
    "one name twice": (
        {"students": {"kd": net(1, 2)}, "controls": {"kd": net(1, 2)}},
        ConfigError,
        "two networks share a name",
    ),
    "a student that is a control": ({"students": {"control-s1": net(1, 2)}}, ConfigError, "had no teacher"),
    "too few images": ({"statistics": {"precision": 0.01}}, DataError, "120 images .*which needs"),
    "an unknown split": (
        {"source": {"name": "digits", "split": "train"}},
        ConfigError,
        "'split' is not said here",
    ),
    "another domain": ({"domains": {"digits": "digits"}}, DataError, "domain 'digits' has other classes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused(name, pixels):
    changes, kind, says = WRONG[name]
    given = {"teacher": net(0, 2), "students": net(1, 2), "source": pixels, "questions": ["fidelity"]} | changes
    with pytest.raises(kind, match=says):
        audit(**given)


def test_an_order_of_classes_that_is_not_the_images(pixels):
    student = net(1)
    student.limbeck_data = replace(DataConfig((1, 8, 8), (0.3,), (0.4,)), class_names=tuple("1023456789"))
    source = build_source("digits", split="test")
    with pytest.raises(ModelError, match=r"class 0 is '1' for student and '0' in"):
        audit(net(0), student, source=source, questions=["fidelity"])
    student.limbeck_data = replace(student.limbeck_data, class_names=("0", "1"))
    with pytest.raises(ModelError, match="puts out 10 logits and names 2 classes"):
        audit(net(0), student, source=source, questions=["fidelity"])
