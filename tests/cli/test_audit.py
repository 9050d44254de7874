"""`limbeck audit`: what it writes, its exit codes, and one clear message for each kind of bad input."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest
import torch
from terminal import Done, limbeck, snapshot

DIGITS = tuple("0123456789")
RECIPE = """\
title: Taught and asked
stages:
  teacher:
    kind: classify.train
    source: {name: digits, per_class: 4}
    model: {name: resnet8}
    train: {steps: 2, batch_size: 20}
  students:
    kind: classify.compare
    teacher: teacher
    source: {name: digits, per_class: 4}
    model: {name: resnet8}
    methods: {kd: kd}
    seeds: [0]
    weak_teacher: true
    train: {steps: 2, batch_size: 20}
  audit:
    kind: audit.compare
    teacher: teacher
    comparison: students
    source: digits
    images: 60
    questions: [fidelity, classes, {name: localisation, images: 20, pictures: 2}]
    statistics: {draws: 50}
    fail_on: ["accuracy < 0"]
"""
STAGE = """\
stages:
  audit:
    kind: audit.compare
    teacher: teacher.safetensors
    students: {{kd: kd.safetensors}}
    controls: {{control: control.safetensors}}
    source: digits
    images: 60
    questions: [fidelity]
    {more}
"""
PLUGIN = '''\
from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.questions._registry import register
from limbeck.audit.tally import share


@register
def brightness(exam, *, scale: float = 1.0):
    """Whether the logits rise."""
    tallies = {one.name: share(scale * exam.logits(one, exam.material).mean(dim=1)) for one in exam.panel.learners}
    return Answer((Evidence("brightness", "level", "Level of the logits", "likeness", tallies),))
'''


def save_net(path, *, seed=0, classes=DIGITS, channels=1, shape=(8, 8), harm=None):
    from limbeck.models import DataConfig, build, save

    torch.manual_seed(seed)
    net = build("resnet8", num_classes=len(classes), in_channels=channels)
    if harm is not None:
        harm(net)
    facts = DataConfig((channels, *shape), (0.3,) * channels, (0.4,) * channels, tuple(classes))
    save(net, path, spec=net.limbeck_spec, data=facts)
    return path


def comparison(folder, *, seeds=(0, 1)):
    """A comparison's folder as far as an audit reads it."""
    for number, method in enumerate(("control", "kd")):
        for seed in seeds:
            trial = folder / "trials" / f"{method}-s{seed}"
            trial.mkdir(parents=True)
            (trial / "config.json").write_text(json.dumps({"method": method, "seed": seed}))
            (trial / "result.json").write_text(json.dumps({"model": "model.safetensors"}))
            save_net(trial / "model.safetensors", seed=10 * number + seed)
    return folder


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Model files: teacher, kd, control; and a comparison."""
    folder = tmp_path_factory.mktemp("networks")
    for seed, name in enumerate(("teacher", "kd", "control")):
        save_net(folder / f"{name}.safetensors", seed=seed)
    comparison(folder / "students")
    return folder


@pytest.fixture
def world(networks, cli, tmp_path):
    shutil.copytree(networks, tmp_path, dirs_exist_ok=True)
    return tmp_path


def audit(*more, teacher="teacher.safetensors", student="kd=kd.safetensors", **given):
    """The shortest right command line, with what a case says in its place; None leaves an option out."""
    options = {
        "teacher": teacher,
        "student": student,
        "control": "control.safetensors",
        "data": "digits",
        "images": 60,
        "ask": "fidelity",
        "out": "out",
    } | given
    words = []
    for name, values in options.items():
        for value in values if isinstance(values, list) else [values]:
            words += [] if value is None else [f"--{name.replace('_', '-')}", value]
    return limbeck("audit", *words, "--device", "cpu", "--quiet", *more)


# --- what it does


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A recipe of which an audit is the last stage; not to be written to."""
    folder = tmp_path_factory.mktemp("taught")
    (folder / "my.yaml").write_text(RECIPE)
    done = limbeck("run", folder / "my.yaml", "--out", folder / "run", "--quiet", "--device", "cpu")
    assert done.code == 0, done.err
    return folder / "run"


def record(folder: Path) -> dict:
    return json.loads((folder / "audit.json").read_text())


@pytest.fixture(scope="module")
def validator(root):
    schema = json.loads((root / "schemas" / "audit.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_last_stage_of_a_recipe(taught, validator):
    found = record(taught / "audit")
    validator.validate(found)
    assert [one["name"] for one in found["students"]] == ["kd-s0"]
    assert [one["name"] for one in found["controls"]] == ["control-s0"]
    assert found["data"]["images"] == 60
    assert found["conditions"] == ["accuracy < 0"]
    assert found["broken"] == []
    page = (taught / "report.html").read_text()
    assert "Verdicts" in page
    for heading in ("Fidelity", "Classes", "Localisation"):
        assert f"<h3>{heading}</h3>" in page
    result = json.loads((taught / "audit/result.json").read_text())
    assert result["kind"] == "audit"
    assert result["components"] == ["question:fidelity", "question:classes", "question:localisation"]


def test_a_run_folder_and_its_comparison(taught, cli, validator, tmp_path):
    before = snapshot(taught)
    arguments = (
        "audit",
        "--teacher",
        taught / "teacher",
        "--student",
        taught,
        "--images",
        60,
        "--ask",
        "fidelity",
    )
    done = limbeck(*arguments, "--out", "out", "--device", "cpu")
    assert done.code == 0, done.err
    assert "Same prediction as the teacher" in done.out
    assert snapshot(taught) == before
    found = record(tmp_path / "out/audit")
    validator.validate(found)
    assert found["data"]["name"] == "digits"  # the teacher's own, without `per_class`
    assert [one["name"] for one in found["students"] + found["controls"]] == ["kd-s0", "control-s0"]
    first = snapshot(tmp_path / "out")
    again = limbeck(*arguments, "--out", "out", "--device", "cpu", "--quiet")
    assert again.code == 0
    unchanged = ("audit/audit.json", "audit/result.json", "audit/tables/verdicts.json")
    assert all(snapshot(tmp_path / "out")[name] == first[name] for name in unchanged)
    other = limbeck(*arguments[:-1], "mistakes", "--out", "out", "--device", "cpu")
    assert other.code == 2
    assert "other settings" in other.err
    fresh = limbeck(*arguments[:-1], "mistakes", "--out", "out", "--device", "cpu", "--quiet", "--fresh")
    assert fresh.code == 0, fresh.err
    assert (tmp_path / "out/audit.old-1/audit.json").exists()
    assert {one["question"] for one in record(tmp_path / "out/audit")["findings"]} == {"mistakes"}


def test_the_recipe_in_the_run_folder_repeats_it(world):
    assert audit().code == 0
    done = limbeck("run", "out/recipe.yaml", "--out", "again", "--device", "cpu", "--quiet")
    assert done.code == 0, done.err
    assert record(world / "again/audit")["findings"] == record(world / "out/audit")["findings"]


def test_a_condition_that_holds_leaves_with_three_and_everything_written(world, validator):
    done = audit(fail_on=["fidelity.agreement.student < 2", "worst_group_drop > 2"], ask=["fidelity", "classes"])
    assert done.code == 3, done.err
    assert "not passed: fidelity.agreement.student<2.0 holds for kd" in done.err
    found = record(world / "out/audit")
    validator.validate(found)
    assert len(found["broken"]) == 1
    assert (world / "out/report.html").exists()
    before = snapshot(world / "out/audit")
    again = audit(fail_on=["fidelity.agreement.student < 2", "worst_group_drop > 2"], ask=["fidelity", "classes"])
    assert (again.code, again.err) == (3, done.err)
    assert snapshot(world / "out/audit") == before


def test_a_condition_that_cannot_be_checked_does_not_pass(world):
    first = audit(fail_on="worst_grup_drop > 0.05", ask="classes")
    assert first.code == 3
    assert "Did you mean 'worst_group_drop'" in first.err
    assert record(world / "out/audit")["broken"]
    assert audit(fail_on="worst_grup_drop > 0.05", ask="classes").code == 3


def test_without_a_control_nothing_is_claimed(world):
    assert audit(control=None, student=["kd=teacher.safetensors"]).code == 0
    found = record(world / "out/audit")
    assert next(one for one in found["findings"] if one["measure"] == "agreement")["student"]["mean"] == 1.0
    verdicts = {one["verdict"] for one in found["findings"] if one["primary"]}
    assert verdicts == {"cannot tell"}
    note = json.loads((world / "out/audit/tables/verdicts.json").read_text())["note"]
    assert note.startswith("No control was given")


def test_seeds_are_told_apart_by_their_names(world):
    done = audit(
        student=["kd.safetensors", "teacher.safetensors"],
        control=["control-s0=control.safetensors"],
        ask="classes",
    )
    assert done.code == 0, done.err
    found = record(world / "out/audit")
    assert found["students"] == [{"name": f"student-s{n}", "method": "student", "seed": n} for n in (0, 1)]
    assert found["controls"] == [{"name": "control-s0", "method": "control", "seed": 0}]


def test_placebo_foreign_domain_and_groups(world):
    done = audit(
        student="students",
        control=None,
        placebo="students",
        foreign="teacher.safetensors",
        data="{name: joined, of: [digits, {name: digits}], names: [first, second]}",
        domain="away={name: digits}",
        ask=["domains", "{name: bias, smallest: 5}"],
    )
    assert done.code == 0, done.err
    found = record(world / "out/audit")
    assert found["foreign"]
    assert [one["method"] for one in found["placebos"]] == ["placebo kd"] * 2
    assert found["data"]["domains"] == {"away": 60}
    gap = next(one for one in found["findings"] if one["measure"] == "gap")
    assert sum(gap["constants"]["groups"].values()) == 60


SCENES = "{name: digit_scenes, count: 4, size: 48, objects: [1, 2], clutter: 0}"


@pytest.fixture
def detector(world):
    from limbeck.models.detectors import build_detector
    from limbeck.models.detectors.artefact import save

    torch.manual_seed(0)
    save(
        build_detector("small_ssd", num_classes=10, size=(48, 48), width=4),
        world / "detector.safetensors",
        class_names=DIGITS,
    )
    return "detector.safetensors"


def test_detectors(world, detector):
    given = {"teacher": detector, "student": f"kd={detector}", "control": f"control={detector}", "data": SCENES}
    done = audit(**given, images=None, ask=["errors", "found_alike"])
    assert done.code == 0, done.err
    assert {one["question"] for one in record(world / "out/audit")["findings"]} == {"errors", "found_alike"}
    given |= {"images": None, "ask": None, "out": "other"}
    refused(audit(**given, domain="a=b"), "--domain is for classifiers, and detector.safetensors is a detector")
    refused(audit(**given, foreign="x"), "--foreign is for classifiers")
    refused(audit(**given, placebo="students"), "placebo")
    refused(audit(**{**given, "ask": "fidelity"}), "fidelity")
    refused(audit(**{**given, "student": "kd=kd.safetensors"}), "holds a model, but no detector|no detector")
    refused(audit(**{**given, "data": "digits"}), "digits")
    refused(audit(student=f"kd={detector}", out="other"), "detector")


def test_a_question_of_a_plugin(world):
    from limbeck.audit.questions._registry import QUESTIONS

    before = dict(QUESTIONS._registered)
    (world / "my.py").write_text(PLUGIN)
    try:
        done = audit("--plugin", "my.py", ask="{name: brightness, scale: 2}")
        assert done.code == 0, done.err
        assert [one["question"] for one in record(world / "out/audit")["findings"]] == ["brightness"]
        QUESTIONS._registered.clear()  # another process knows nothing of the first one's plugins
        QUESTIONS._registered.update(before)
        wrong = audit("--plugin", "my.py", ask="{name: brightness, sclae: 2}", out="other")
        assert wrong.code == 2
        assert "Did you mean 'scale'" in wrong.err
    finally:
        QUESTIONS._registered.clear()
        QUESTIONS._registered.update(before)


# --- bad input


@dataclass(frozen=True)
class Case:
    """One kind of bad input."""

    says: str
    options: dict = field(default_factory=dict)
    prepare: object = None
    recipe: str = ""


def nan_weights(net):
    next(net.parameters()).data.fill_(float("nan"))


def rewrite(name, change):
    def harm(world):
        content = (world / name).read_bytes()
        (world / name).write_bytes(change(content))

    return harm


def two_models(world):
    for name in ("a", "b"):
        (world / "several" / name).mkdir(parents=True)
        shutil.copy(world / "kd.safetensors", world / "several" / name / "model.safetensors")


def pictures(world, names=("cat", "dog")):
    from PIL import Image

    for name in names:
        (world / "photos" / name).mkdir(parents=True)
        for number in range(4):
            Image.effect_noise((8, 8), 40 + number).save(world / "photos" / name / f"{number}.png")


def two_comparisons(world):
    for name in ("first", "second"):
        (world / "twice" / name / "trials").mkdir(parents=True)


def unfinished(world):
    (world / "students/trials/kd-s1/result.json").unlink()


def saved(**how):
    return lambda world: save_net(world / "kd.safetensors", **how)


CASES = {
    "other classes": Case("kd tells 7 classes apart, and digits has 10", prepare=saved(classes="0123456")),
    "another order": Case(
        "class 0 is '9' for kd and '0' in digits.*same order", prepare=saved(classes=DIGITS[::-1])
    ),
    "other channels": Case("kd takes images of 3 channels, and those of digits have 1", prepare=saved(channels=3)),
    "weights that are not finite": Case("kd puts out logits that are not finite", prepare=saved(harm=nan_weights)),
    "the same with the standard questions": Case(
        "kd puts out logits that are not finite", {"ask": None}, prepare=saved(harm=nan_weights)
    ),
    "a truncated file": Case("kd.safetensors", prepare=rewrite("kd.safetensors", lambda data: data[:-50])),
    "no such model": Case("there is no model at|no such", {"student": "kd=nowhere.safetensors"}),
    "no such teacher": Case("there is no model at|no such", {"teacher": "nowhere"}),
    "several models in a folder": Case("holds 2 models", {"student": "kd=several"}, prepare=two_models),
    "a pickle": Case(
        "kd.pt is a pickle.*can run any code",
        {"student": "kd=kd.pt"},
        lambda w: torch.save({"a": 1}, w / "kd.pt"),
    ),
    "an exported program": Case(
        "unpickling it", {"student": "kd=kd.pt2"}, prepare=lambda world: (world / "kd.pt2").write_bytes(b"PK")
    ),
    "a network without weights": Case(
        "'timm/resnet10t'.* network without weights.*pretrained: true",
        {"student": "kd={name: timm/resnet10t, pretrained: false}"},
    ),
    "an unknown network": Case("resnet81.*Did you mean 'resnet8", {"student": "kd={name: resnet81}"}),
    "too few images": Case(
        r"60 images of digits.*±12\.\d points at best, and ±2\.0 was asked for.*needs 2,398", {"precision": 0.02}
    ),
    "a precision of points": Case("precision", {"precision": 2}),
    "one class": Case("are of class '\\d'.*at least two", {"images": 1}),
    "grey levels as eps": Case("eps is 8.*8/255 = 0.0314", {"ask": "{name: adversarial, eps: 8}"}),
    "an eps of nothing": Case("eps is 0.*pixels lie in", {"ask": "{name: adversarial, eps: 0}"}),
    "a teacher that is not fooled": Case(
        "only [0-9] of 60 images fool the teacher", {"ask": "{name: adversarial, eps: 1.0e-6, matrix_images: 2}"}
    ),
    "too few images for CKA": Case("at least five batches.*say batch: 4", {"ask": "representations"}),
    "an unknown question": Case("Did you mean 'localisation'", {"ask": "localization"}),
    "an unknown setting": Case("has no setting 'epz'.*Did you mean 'eps'", {"ask": "{name: adversarial, epz: 1}"}),
    "a setting of the wrong kind": Case("images", {"ask": "{name: fidelity, images: many}"}),
    "a question without a name": Case("to be a question: {name", {"ask": "{eps: 0.1}"}),
    "a question twice": Case("'fidelity' is asked twice", {"ask": ["fidelity", "fidelity"]}),
    "domains without domains": Case("'domains' needs domains", {"ask": "domains"}),
    "a domain without a name": Case("--domain 'photos': write NAME=DATA", {"domain": "photos"}),
    "a domain with other classes": Case(
        "domain 'away' has 2 classes \\(cat, dog.*relabelled",
        {"domain": "away={name: folder, root: photos, size: 8, channels: 1, test_share: 1.0}", "ask": "domains"},
        prepare=pictures,
    ),
    "bias without groups": Case("'bias' needs groups, and digits has none", {"ask": "bias"}),
    "groups that are too small": Case(
        "groups of at least 50 images.*first: \\d+, second: \\d+",
        {
            "data": "{name: joined, of: [digits, digits], names: [first, second]}",
            "ask": "{name: bias, smallest: 50}",
        },
    ),
    "an unfinished comparison": Case("kd-s1 is not finished", {"student": "students"}, prepare=unfinished),
    "two comparisons": Case("one comparison's folder at a time", {"student": ["students", "students"]}),
    "a method in place of a control": Case("has a 'control' of its own", {"student": "students", "control": "kd"}),
    "a placebo that is none": Case(
        "comparison's folder, and holds 2", {"placebo": "twice"}, prepare=two_comparisons
    ),
    "no data": Case("--data is missing.*teacher.safetensors does not say", {"data": None}),
    "unknown data": Case("Did you mean 'digits'", {"data": "digitz"}),
    "another split": Case("split.*(test|train)", {"split": "validation"}),
    "two students of one name": Case(
        "'kd' was given already.*kd-s1", {"student": ["kd=kd.safetensors", "kd=teacher.safetensors"]}
    ),
    "a student named like a control": Case(
        "stands for networks that had no teacher|two networks are named",
        {"student": "control=kd.safetensors", "control": None},
    ),
    "a condition that cannot be read": Case("a condition is a name, one of", {"fail_on": "worst_group_drop"}),
    "an ordered verdict": Case("verdicts have no order", {"fail_on": "fidelity.agreement > transferred"}),
    "no such layer": Case("kd \\(.*has no module 'layer33'.*Did you mean", recipe="layers: {kd: layer33}"),
    "a layer of nobody": Case("nobody's method is 'kdd'.*Did you mean 'kd'", recipe="layers: {kdd: layer3}"),
    "a placebo question that is not asked": Case(
        "'fidelty' is not asked.*Did you mean 'fidelity'", recipe="placebo_questions: [fidelty]"
    ),
    "a name that is none": Case("is no name of a student", {"student": "_kd=kd.safetensors"}),
}


@pytest.mark.parametrize("name", CASES)
def test_one_clear_message(name, world):
    case = CASES[name]
    if case.prepare is not None:
        case.prepare(world)
    before = snapshot(world)
    if case.recipe:
        (world / "my.yaml").write_text(STAGE.format(more=case.recipe))
        done = limbeck("run", "my.yaml", "--out", "out", "--quiet", "--device", "cpu")
    else:
        done = audit(**case.options)
    refused(done, case.says)
    after = snapshot(world)
    assert {name: after[name] for name in before} == before
    assert not (world / "out/audit/result.json").exists()


def refused(done: Done, says: str) -> None:
    text = done.out + done.err
    assert done.code == 2, text
    assert re.search(says, text, flags=re.DOTALL), text
    assert "Traceback" not in text
    assert "unexpected" not in text


def test_two_processes(world, monkeypatch):
    from limbeck.audit.stages import compare

    machine = SimpleNamespace(world=2, device=torch.device("cpu"))
    monkeypatch.setattr(compare, "Machine", lambda **_: machine)
    refused(audit(), r"audit.compare runs in one process \(2 were started\).*without accelerate")


def test_a_finished_audit_survives_a_slip(world):
    assert audit().code == 0
    before = snapshot(world / "out/audit")
    refused(audit(images=61), "images: 60 -> 61")
    refused(audit("--fresh", ask="{name: adversarial, eps: 8}", out="elsewhere"), "eps is 8")
    assert snapshot(world / "out/audit") == before
