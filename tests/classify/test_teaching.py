"""Several teachers, teachers of another size, teachers that know nothing."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from limbeck.classify.config import DistillStage, Objective
from limbeck.classify.stages import as_teacher, run_distill
from limbeck.classify.task import ClassifyTask
from limbeck.classify.teaching import Teaching, reference_of, refuse_guessing
from limbeck.classify.terms import Pair, bind
from limbeck.engine.evaluate import Guesses
from limbeck.errors import ConfigError, ModelError
from limbeck.models import DataConfig, build, save
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder
from limbeck.sources.loader import normalise


@pytest.fixture
def two(tiny, digits, machine):
    found = {}
    for seed, name in enumerate(("wide", "narrow")):
        torch.manual_seed(seed)
        found[name] = as_teacher(tiny(width=6 - seed), digits, machine)
    return found


@pytest.fixture
def pair_of_two(tiny, two, digits):
    torch.manual_seed(2)
    images = digits.example(torch.device("cpu"), images=8)
    return Pair(
        tiny(),
        two,
        student_images=images,
        teacher_images=dict.fromkeys(two, images),
        classes=10,
        class_of=lambda: digits.train.labels,
    )


def task_of(terms, pair, digits):
    bound = bind(Objective.model_validate(terms).terms, pair)
    return ClassifyTask(pair.student, bound, mean=digits.train.mean, std=digits.train.std, teachers=pair.teachers)


def batch_of(digits):
    images = torch.stack([digits.train[i][0] for i in range(8)]).float() / 255
    labels = torch.tensor([digits.train[i][1] for i in range(8)])
    return {"images": images, "labels": labels, "index": torch.arange(8)}


def test_logits_of_several_teachers_are_averaged(pair_of_two, two, digits):
    from limbeck.losses import kd

    task, batch = task_of([{"loss": {"name": "kd", "temperature": 2}}], pair_of_two, digits), batch_of(digits)
    said = torch.stack([teacher(batch["images"]) for teacher in two.values()]).mean(0)
    own = pair_of_two.student(normalise(batch["images"], digits.train.mean, digits.train.std))
    assert float(task.step(batch).loss.detach()) == pytest.approx(
        float(kd(own, said, temperature=2.0).mean().detach()), rel=1e-5
    )
    assert set(task.frozen) == set(two)


def test_a_term_may_listen_to_one_of_them(pair_of_two, two, digits):
    terms = [
        {"loss": "kd", "teacher": "narrow"},
        {"loss": "hint", "teacher": "wide", "weight": 2.0},
        {"loss": "direction_alignment", "teacher": "narrow"},
    ]
    task = task_of(terms, pair_of_two, digits)
    output = task.step(batch_of(digits))
    output.loss.backward()
    assert set(output.terms) == {"kd", "hint", "direction_alignment"}
    assert task.root.projectors["hint"].conv.weight.shape[0] == 6
    task.close()
    assert not any(m._forward_hooks for teacher in two.values() for m in teacher.model.modules())


def test_features_of_several_teachers_need_a_name(pair_of_two, digits):
    with pytest.raises(ConfigError, match="say which: teacher: wide"):
        task_of("hint", pair_of_two, digits)
    with pytest.raises(ConfigError, match=r"no teacher 'wid'\. Did you mean 'wide'"):
        task_of([{"loss": "kd", "teacher": "wid"}], pair_of_two, digits)


def test_a_teacher_that_nobody_listens_to_does_not_run(pair_of_two, two, digits):
    calls = []
    two["wide"].model.register_forward_hook(lambda *_: calls.append(0))
    task = task_of([{"loss": "kd", "teacher": "narrow"}], pair_of_two, digits)
    task.step(batch_of(digits))
    assert not calls
    assert set(task.frozen) == {"narrow"}


def test_a_teacher_of_another_size_sees_images_of_its_size(tiny, digits, machine):
    sizes = []
    model = tiny()
    model.conv.register_forward_pre_hook(lambda _, images: sizes.append(tuple(images[0].shape)))
    model.limbeck_data = DataConfig(input_shape=(1, 16, 16), mean=(0.5,), std=(0.25,), class_names=())
    teacher = as_teacher(model, digits, machine)
    teacher(torch.rand(3, 1, 8, 8))
    assert sizes == [(3, 1, 16, 16)]


def test_a_teacher_that_guesses_is_refused_unless_told(tiny, digits, machine):
    labels = torch.arange(1000) % 10
    known = Guesses(labels, labels)
    guessed = Guesses(torch.zeros(1000, dtype=torch.int64), labels)
    teaching = Teaching({"teacher": as_teacher(tiny(), digits, machine)})
    refuse_guessing(teaching, known)
    refuse_guessing(teaching, None)
    with pytest.raises(ModelError, match=r"10.00% of 1000 test images are right.*weak_teacher: true"):
        refuse_guessing(teaching, guessed)
    assert reference_of(Teaching(average=0.9), digits, machine) is None


def test_the_stage_refuses_it_too_and_smoke_runs_do_not(tmp_path, digits):
    torch.manual_seed(0)
    model = build("resnet8", num_classes=10, in_channels=1)
    save(model, tmp_path / "model.safetensors", spec=model.limbeck_spec, data=digits.config)
    stage = {
        "source": {"name": "digits", "per_class": 2},
        "model": "resnet8",
        "teacher": {"one": "one", "other": "one"},
        "terms": "kd",
        "train": {"steps": 1, "batch_size": 10},
    }
    config = DistillStage.model_validate(stage)
    inputs = {"one": tmp_path / "model.safetensors"}
    with pytest.raises(ModelError, match=r"teachers one, other: .* which is what guessing gives"):
        run_distill(config, StageFolder(tmp_path / "a", "a"), StageContext(seed=0, inputs=inputs, device="cpu"))
    folder = StageFolder(tmp_path / "b", "b")
    folder.begin({})
    run_distill(config, folder, StageContext(seed=0, inputs=inputs, device="cpu", smoke=True))
    assert folder.finished


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"ema": 1.5}, "less than 1"),
        ({"ema": 0.9, "x": "y", "name": 3}, "string"),
        ({"a": {"name": "resnet9"}}, "resnet"),
        (3, "valid"),
    ],
)
def test_wrong_teachers_are_explained(teacher, message):
    with pytest.raises(ValidationError, match=message):
        DistillStage.model_validate({"source": "digits", "model": "resnet8", "teacher": teacher, "terms": "kd"})
