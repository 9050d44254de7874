"""A student cannot tell a stored teacher from one that runs, and the one that is stored does not run."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from limbeck.classify.data import training_stream
from limbeck.classify.signals import LiveTeacher
from limbeck.classify.stored import open_store
from limbeck.engine import fit
from limbeck.engine.optimizers import sgd
from limbeck.losses import cross_entropy, kd
from limbeck.protocols import StepOutput
from limbeck.runs.folder import StageFolder

TAPS = ("fc:input",)


class Learning:
    """Labels, the teacher's logits and one of its features, from whatever gives them."""

    def __init__(self, student: nn.Module, signals) -> None:
        self.trainable, self._signals = student, signals
        self.frozen = signals.frozen
        self._epoch = 0

    def start_epoch(self, epoch: int, epochs: float) -> None:
        self._epoch = epoch
        self._signals.start_epoch(epoch)

    def step(self, batch) -> StepOutput:
        said = self._signals.signals(batch["images"], batch["index"], self._epoch)
        logits = self.trainable(batch["images"])
        terms = {
            "cross_entropy": cross_entropy(logits, batch["labels"]).mean(),
            "kd": kd(logits, said["teacher"]).mean(),
            "feature": (said["tap:fc:input"].mean(1) - logits.mean(1)).square().mean(),
        }
        return StepOutput(sum(terms.values()), {name: value.detach() for name, value in terms.items()})


@pytest.fixture
def curve(example, data, machine, tmp_path):
    def run(signals, how) -> tuple[list[float], dict[str, torch.Tensor]]:
        torch.manual_seed(5)
        student, folder = example.Counting(width=3), StageFolder(tmp_path / how, how)
        folder.begin({})
        fit(
            Learning(student, signals),
            training_stream(data.train, example.training(epochs=4), machine=machine, seed=3),
            machine=machine,
            records=folder,
            optimizer=partial(sgd, lr=0.1),
            epochs=4,
            log_every=1,
        )
        signals.close()
        return [line["loss"] for line in folder.read_scalars()], student.state_dict()

    return run


@pytest.mark.parametrize(("dtype", "difference"), [("float32", 0.0), ("float16", 1e-3), ("bfloat16", 2e-2)])
def test_the_loss_curve_is_that_of_a_teacher_that_runs(
    example, teacher, data, machine, tmp_path, curve, dtype, difference
):
    truth, weights = curve(LiveTeacher(teacher, TAPS), "live")
    example.store(tmp_path / "s", teacher, data, machine, seeds=(3,), epochs=4, taps=TAPS, dtype=dtype)
    stored = open_store(
        tmp_path / "s", teacher=teacher, data=data, training=example.training(epochs=4), seed=3, taps=TAPS
    )
    with example.never_running(teacher):
        found, learnt = curve(stored, "stored")
    assert len(found) == len(truth) == 16
    if difference == 0:
        assert found == truth
        assert all(torch.equal(learnt[name], value) for name, value in weights.items())
    assert found == pytest.approx(truth, rel=difference)


def test_students_with_other_batches_learn_from_the_same_store(example, teacher, data, machine, tmp_path):
    example.store(tmp_path / "s", teacher, data, machine, taps=TAPS)
    training = example.training(batch_size=5)
    stored = open_store(tmp_path / "s", teacher=teacher, data=data, training=training, seed=0, taps=TAPS)
    for batch in training_stream(data.train, training, machine=machine, seed=0).epoch(2):
        truth = example.live(teacher, batch, TAPS)
        with example.never_running(teacher):
            found = stored.signals(batch["images"], batch["index"], 2)
        assert all(torch.allclose(found[name], truth[name], rtol=1e-5, atol=1e-6) for name in truth)


def test_the_two_kinds_of_teachers_are_one_protocol(example, teacher, data, machine, tmp_path):
    example.store(tmp_path / "s", teacher, data, machine)
    stored = open_store(tmp_path / "s", teacher=teacher, data=data, training=example.training(), seed=0)
    live = LiveTeacher(teacher)
    assert dict(live.frozen) == {"teacher": teacher.model}
    assert dict(stored.frozen) == {}
    for signals in (live, stored):
        signals.start_epoch(1)
        found = signals.signals(torch.zeros(2, 1, 8, 8), torch.tensor([0, 3]), 1)["teacher"]
        assert found.shape == (2, 10)
        assert not found.requires_grad
        signals.close()
