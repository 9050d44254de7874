"""Every method trains every detector that it is meant for, on the student's own input and nothing else."""

from __future__ import annotations

import pytest
import torch

from limbeck.detect.config import Teaching, Term
from limbeck.detect.lesson import Lesson, Teachers
from limbeck.detect.methods import METHODS
from limbeck.detect.task import DetectTask
from limbeck.detect.terms import bind
from limbeck.errors import ConfigError, ModelError
from limbeck.models.detectors.watching import Watch

ONE_STAGE = ("small_ssd", "retinanet", "fcos")
MAPS = ("fgfi", "defeat", "fkd", "fgd", "mgd", "pkd", "cwd", "wkd_maps")
CASES = [
    *(
        (name, method)
        for name in (*ONE_STAGE, "faster_rcnn")
        for method in ("kd_cls", "kd_loc", "dicod", "dicod+pkd")
    ),
    *(("retinanet", method) for method in MAPS),
    *(("small_ssd", method) for method in MAPS),
    ("retinanet", "crosskd"),
    ("fcos", "crosskd"),
    ("fcos", "fgd_fcos"),
    *(
        ("faster_rcnn", method)
        for method in ("defeat_two_stage", "fgd_two_stage", "mgd_two_stage", "wkd_l", "wkd_f", "pkd")
    ),
]


def terms_of(method):
    return [Term.model_validate(dict(term)) for term in METHODS[method]]


def task_of(name, method, detectors, watched, classifier_teacher, examples, **settings):
    student = detectors(name, **settings)
    teachers = Teachers(classifier_teacher, watched(name, **settings), teaching=Teaching())
    return DetectTask(student, bind(terms_of(method), student, teachers, examples=examples), teachers)


@pytest.mark.parametrize(("name", "method"), CASES)
def test_every_term_speaks_and_reaches_the_student(name, method, detectors, watched, classifier_teacher, batch):
    task = task_of(name, method, detectors, watched, classifier_teacher, batch["images"][:2])
    task.root.train()
    torch.manual_seed(0)
    output = task.step(batch)
    said = {term.name or term.loss.name for term in terms_of(method)}
    assert said <= set(output.terms)
    assert all(float(output.terms[name]) > 0 for name in said)
    torch.testing.assert_close(output.loss.detach(), sum(output.terms.values()))
    output.loss.backward()
    assert all(p.grad is None for m in task.frozen.values() for p in m.parameters())
    assert all(torch.isfinite(p.grad).all() for p in task.root.parameters() if p.grad is not None)
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in task.root.detector.backbone.parameters())


def test_localisation_distillation_of_distributional_heads(detectors, watched, classifier_teacher, batch):
    task = task_of("fcos", "ld", detectors, watched, classifier_teacher, batch["images"][:2], bins=8)
    task.root.train()
    output = task.step(batch)
    assert float(output.terms["ld"]) > 0
    assert float(output.terms["ld_classes"]) > 0


def test_the_region_of_localisation_distillation_is_on_the_levels_of_the_objects(detectors):
    student = detectors("fcos", bins=8, size=(128, 128)).train()
    target = {"boxes": torch.tensor([[40.0, 40.0, 88.0, 88.0]]), "labels": torch.tensor([0])}
    _, seen = Watch(student).forward([torch.rand(3, 128, 128)] * 2, [target] * 2)
    lesson = Lesson(seen, Teachers(), student)
    levels = [f.shape[-2] * f.shape[-1] for f in seen.features.values()]
    positives = [int(part.sum()) for part in (lesson.matches[0] >= 0).split(levels)]
    region = [int(part.sum()) for part in lesson.side_region[0].split(levels)]
    assert positives[0] == sum(positives) > 0
    assert region[0] > sum(region[1:])


@pytest.mark.parametrize("name", [*ONE_STAGE, "faster_rcnn"])
def test_without_terms_it_is_the_detector_alone(name, detectors, batch):
    task = DetectTask(detectors(name), ())
    task.root.train()
    torch.manual_seed(1)
    output = task.step(batch)
    alone = detectors(name).train()
    torch.manual_seed(1)
    inside = [{"boxes": t["boxes"], "labels": t["labels"] + 1} for t in batch["targets"]]
    wanted = alone(batch["images"], inside)
    assert set(output.terms) == set(wanted)
    for key, value in wanted.items():
        assert torch.equal(output.terms[key], value.detach())


def test_the_detectors_own_losses_are_the_same_with_a_teacher(detectors, watched, classifier_teacher, batch):
    taught = task_of("small_ssd", "dicod+pkd", detectors, watched, classifier_teacher, batch["images"][:2])
    alone = DetectTask(detectors("small_ssd"), ())
    taught.root.train(), alone.root.train()
    found, wanted = taught.step(batch).terms, alone.step(batch).terms
    for key, value in wanted.items():
        assert torch.equal(found[key], value)


@pytest.mark.parametrize("method", ["dicod", "fgfi", "defeat", "fkd", "fgd", "mgd", "pkd", "cwd"])
def test_a_batch_without_objects_is_learnt_from(method, detectors, watched, classifier_teacher, batch):
    task = task_of("small_ssd", method, detectors, watched, classifier_teacher, batch["images"][:2])
    task.root.train()
    empty = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0, dtype=torch.int64),
        "objects": torch.zeros(0, dtype=torch.int64),
    }
    output = task.step({**batch, "targets": [empty] * len(batch["images"])})
    assert torch.isfinite(output.loss)
    output.loss.backward()


def test_terms_wait_until_their_start(detectors, watched, classifier_teacher, batch):
    student = detectors("small_ssd")
    teachers = Teachers(None, watched("small_ssd"))
    terms = [Term.model_validate({"loss": "pkd", "start": 3})]
    task = DetectTask(student, bind(terms, student, teachers, examples=batch["images"][:1]), teachers)
    task.root.train()
    assert "pkd" not in task.step({**batch, "number": 2}).terms
    assert float(task.step({**batch, "number": 3}).terms["pkd"]) > 0


@pytest.mark.parametrize(("number", "speaks"), [(2, False), (3, True), (5, True)])
def test_an_epoch_ends_its_step_early(number, speaks, detectors, watched, batch):
    # Three batches an epoch, two a step: the second epoch begins with step 2.
    student = detectors("small_ssd")
    teachers = Teachers(None, watched("small_ssd"))
    terms = [Term.model_validate({"loss": "pkd", "start": 2})]
    bound = bind(terms, student, teachers, examples=batch["images"][:1])
    task = DetectTask(student, bound, teachers, accumulation=2, epoch_batches=3)
    task.root.train()
    assert ("pkd" in task.step({**batch, "number": number}).terms) == speaks


def test_a_term_does_not_take_the_place_of_a_loss(detectors, classifier_teacher, batch):
    student, teachers = detectors("small_ssd"), Teachers(classifier_teacher)
    terms = [Term.model_validate({"loss": "kd_cls", "name": "classification"})]
    task = DetectTask(student, bind(terms, student, teachers, examples=batch["images"][:1]), teachers)
    task.root.train()
    with pytest.raises(ConfigError, match=r"a term is named 'classification', as one of the detector's own"):
        task.step(batch)


def test_weights_scale_terms(detectors, classifier_teacher, batch):
    found = []
    for weight in (0.4, 0.8):
        student = detectors("small_ssd")
        teachers = Teachers(classifier_teacher)
        terms = [Term.model_validate({"loss": "kd_cls", "weight": weight})]
        task = DetectTask(student, bind(terms, student, teachers, examples=batch["images"][:1]), teachers)
        task.root.train()
        found.append(task.step(batch).terms["kd_cls"])
    torch.testing.assert_close(found[1], 2 * found[0])


def test_who_is_asked_has_to_be_there(detectors, classifier_teacher, watched, batch):
    student = detectors("small_ssd")
    with pytest.raises(ConfigError, match=r"'kd_cls' asks a classifier: classifier: <stage"):
        bind(terms_of("kd_cls"), student, Teachers(None, watched("small_ssd")), examples=batch["images"][:1])
    with pytest.raises(ConfigError, match=r"'pkd' asks a larger detector: detector: <stage"):
        bind(terms_of("pkd"), student, Teachers(classifier_teacher), examples=batch["images"][:1])


def test_a_head_that_a_method_needs_is_asked_for(detectors, watched, classifier_teacher, batch):
    for name, method, words in (
        ("small_ssd", "crosskd", "towers of convolutions"),
        ("small_ssd", "ld", "fcos, bins"),
        ("retinanet", "wkd_l", "R-CNN"),
    ):
        with pytest.raises(ModelError, match=words):  # noqa: PT012
            task = task_of(name, method, detectors, watched, classifier_teacher, batch["images"][:2])
            task.root.train()
            task.step(batch)


def test_levels_that_one_detector_lacks_are_named(detectors, watched, batch):
    student = detectors("small_ssd")
    term = Term.model_validate({"loss": "pkd", "levels": ["p9"]})
    with pytest.raises(ModelError, match=r"levels: 'p9' is not in both detectors; the student has 0, 1"):
        bind([term], student, Teachers(None, watched("small_ssd")), examples=batch["images"][:1])
