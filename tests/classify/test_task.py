"""The task: terms sum to the loss, gradients reach what they should and nothing else."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter

from limbeck.classify.config import Terms
from limbeck.classify.methods import METHODS
from limbeck.classify.task import BoundTerm, ClassifyTask
from limbeck.classify.terms import bind
from limbeck.errors import TaskError
from limbeck.losses import cross_entropy, kd


def task_of(method, pair, digits):
    terms = bind(TypeAdapter(Terms).validate_python(method), pair)
    return ClassifyTask(pair.student, terms, mean=digits.train.mean, std=digits.train.std, teachers=pair.teachers)


def batch_of(digits):
    images = torch.stack([digits.train[i][0] for i in range(8)]).float() / 255
    labels = torch.tensor([digits.train[i][1] for i in range(8)])
    return {"images": images, "labels": labels, "index": torch.arange(8)}


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if "head" not in method])
def test_terms_sum_to_the_loss_and_every_trainable_part_gets_a_gradient(pair, digits, method):
    task = task_of(method, pair, digits)
    task.start_epoch(1, 10)
    output = task.step(batch_of(digits) | {"strong": batch_of(digits)["images"].flip(3)})
    assert float(output.loss.detach()) == pytest.approx(sum(float(v) for v in output.terms.values()), rel=1e-5)
    output.loss.backward()
    for name, parameter in task.trainable.named_parameters():
        assert parameter.grad is not None, name
    assert all(p.grad is None for p in pair.teachers["teacher"].model.parameters())


def test_kd_is_what_one_would_write_by_hand(pair, digits):
    task, batch = task_of("kd", pair, digits), batch_of(digits)
    task.start_epoch(1, 1)
    mean, std = digits.train.mean[0], digits.train.std[0]
    images = (batch["images"] - mean) / std
    student, teacher = pair.student(images), pair.teachers["teacher"].model(images)
    soft = F.kl_div((student / 4).log_softmax(1), (teacher / 4).softmax(1), reduction="batchmean") * 16
    by_hand = 0.1 * F.cross_entropy(student, batch["labels"]) + 0.9 * soft
    assert float(task.step(batch).loss.detach()) == pytest.approx(float(by_hand.detach()), rel=1e-5)


def test_weights_decay_to_zero_and_the_target_term_does_not(pair, digits):
    task = task_of("wkd_l", pair, digits)
    sizes = []
    for epoch in (1, 6, 7, 8, 10):
        task.start_epoch(epoch, 10)
        terms = task.step(batch_of(digits)).terms
        sizes.append((float(terms["wkd_target"]), float(terms["wkd_transport"])))
    targets, transports = zip(*sizes, strict=True)
    assert targets == pytest.approx([targets[0]] * 5, rel=1e-4)
    assert transports[0] == pytest.approx(transports[1], rel=1e-4)
    assert transports[1] > transports[2] > transports[3] > transports[4] == 0


def test_predictions_do_not_need_the_projectors(pair, digits):
    task, batch = task_of("pefd", pair, digits), batch_of(digits)
    pair.student.eval()
    before = task.root.predict(batch["images"])
    task.close()
    images = (batch["images"] - digits.train.mean[0]) / digits.train.std[0]
    assert torch.allclose(pair.student(images), before, atol=1e-6)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in pair.student.modules())


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([], "at least one term"),
        ([BoundTerm("a", cross_entropy, ("student", "labels"))] * 2, "two terms are named 'a'"),
        ([BoundTerm("a", kd, ("student", "teacher"))], "there is none"),
        ([BoundTerm("a", kd, ("student", "boxes"))], "cannot supply"),
    ],
)
def test_tasks_that_cannot_work_are_refused(tiny, terms, message):
    with pytest.raises(TaskError, match=message):
        ClassifyTask(tiny(), terms, mean=(0.5,), std=(0.5,))


def test_a_loss_with_weights_learns_under_the_root(pair, digits, monkeypatch):
    from torch import nn

    from limbeck.losses import LOSSES

    class scaled(nn.Module):
        """A distance with a learned scale."""

        def __init__(self, *, start: float = 1.0) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(start))

        def forward(self, student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
            return (self.scale * student - teacher).square().mean(1)

    monkeypatch.setitem(LOSSES._registered, "scaled", scaled)
    task = task_of([{"loss": {"name": "scaled", "start": 2.0}, "name": "mine"}], pair, digits)
    task.start_epoch(1, 1)
    task.step(batch_of(digits)).loss.backward()
    grads = {name: p.grad for name, p in task.trainable.named_parameters() if not name.startswith("student")}
    assert list(grads) == ["losses.mine.scale"]
    assert grads["losses.mine.scale"] is not None
