"""The loop: exact resume, honest records, and refusal of what teaches nothing."""

from __future__ import annotations

import math
import os
import signal
from functools import partial

import pytest
import torch
from torch import nn

from limbeck.engine import Checkpoints, fit
from limbeck.engine.optimizers import adamw, sgd
from limbeck.engine.schedules import cosine, multi_step, one_cycle
from limbeck.errors import CheckpointError, Interrupted, NonFiniteError, TaskError

SETTINGS = {
    "optimizer": partial(sgd, lr=0.05),
    "schedule": cosine,
    "epochs": 4,
    "log_every": 1,
    "checkpoint_seconds": 0.0,
    "clip_norm": 1.0,
    "ema_decay": 0.9,
    "accumulation": 2,
}


class Stop(Exception):
    """Stands for a machine that goes away."""


def run(toy, machine, path, *, die_at=None, **settings):
    task = toy.ToyTask()
    if die_at is not None:
        step = task.step

        def dying(batch):
            if task.calls == die_at:
                raise Stop
            return step(batch)

        task.step = dying
    result = fit(task, toy.ToyStream(), machine=machine, records=toy.ToyRecords(path), **{**SETTINGS, **settings})
    return task.trainable.state_dict(), result


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("build", [partial(sgd, lr=0.05), partial(adamw, lr=0.01)])
@pytest.mark.parametrize("die_at", [1, 6, 11, 19])
def test_a_run_that_died_anywhere_ends_with_the_same_bits(toy, machine, tmp_path, die_at, build):
    settings = {"optimizer": build, "checkpoint_every": 1}
    whole, _ = run(toy, machine, tmp_path / "whole", **settings)
    with pytest.raises(Stop):
        run(toy, machine, tmp_path / "cut", die_at=die_at, **settings)
    resumed, result = run(toy, machine, tmp_path / "cut", **settings)
    assert same(whole, resumed)
    assert result.steps == 12
    lines = [toy.ToyRecords(tmp_path / name).lines for name in ("whole", "cut")]
    assert lines[0] == lines[1]


def test_a_finished_run_is_not_trained_again(toy, machine, tmp_path):
    first, _ = run(toy, machine, tmp_path)
    again, result = run(toy, machine, tmp_path)
    assert same(first, again)
    assert result.resumed_from == 12


def test_a_damaged_checkpoint_costs_steps_and_not_the_run(toy, machine, tmp_path):
    whole, _ = run(toy, machine, tmp_path / "whole")
    with pytest.raises(Stop):
        run(toy, machine, tmp_path / "cut", die_at=15, checkpoint_every=1)
    last = Checkpoints(tmp_path / "cut" / "checkpoints").last
    last.write_bytes(last.read_bytes()[: last.stat().st_size // 2])
    resumed, _ = run(toy, machine, tmp_path / "cut")
    assert same(whole, resumed)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_save_and_leave_with_a_code_for_a_retry(toy, machine, tmp_path, number):
    whole, _ = run(toy, machine, tmp_path / "whole")
    task = toy.ToyTask()
    step = task.step

    def signalling(batch):
        if task.calls == 7:
            os.kill(os.getpid(), number)
        return step(batch)

    task.step = signalling
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted, match="the state is saved") as caught:
        fit(task, toy.ToyStream(), machine=machine, records=toy.ToyRecords(tmp_path / "cut"), **SETTINGS)
    assert caught.value.exit_code == 75
    assert handlers == [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    resumed, result = run(toy, machine, tmp_path / "cut")
    assert same(whole, resumed)
    assert result.resumed_from == 5


def test_a_checkpoint_of_another_network_is_refused(toy, machine, tmp_path):
    run(toy, machine, tmp_path)
    task = toy.ToyTask()
    task.trainable = nn.Sequential(nn.Linear(3, 1))
    with pytest.raises(CheckpointError, match="another network or optimizer"):
        fit(task, toy.ToyStream(), machine=machine, records=toy.ToyRecords(tmp_path), **SETTINGS)


def test_a_loss_that_is_not_a_number_names_step_term_and_checkpoint(toy, machine, tmp_path):
    task = toy.ToyTask(poison=9)
    with pytest.raises(NonFiniteError) as caught:
        fit(
            task,
            toy.ToyStream(),
            machine=machine,
            records=toy.ToyRecords(tmp_path),
            **{**SETTINGS, "checkpoint_every": 1},
        )
    message = str(caught.value)
    assert "'fit'" in message
    assert "'size'" not in message
    assert "step 5" in message
    assert "last good checkpoint is that of step 4" in message


def test_a_term_that_is_always_zero_is_an_error(toy, machine, tmp_path):
    task = toy.ToyTask()
    step = task.step

    def with_nothing(batch):
        output = step(batch)
        return type(output)(output.loss, {**output.terms, "nothing": torch.zeros(())})

    task.step = with_nothing
    with pytest.raises(TaskError, match="'nothing' was exactly zero"):
        fit(task, toy.ToyStream(), machine=machine, records=toy.ToyRecords(tmp_path), **SETTINGS)


def test_a_teacher_is_frozen_or_refused(toy, machine, tmp_path):
    task = toy.ToyTask()
    teacher = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5)).train()
    task.frozen = {"teacher": teacher}
    fit(task, toy.ToyStream(), machine=machine, records=toy.ToyRecords(tmp_path / "a"), **SETTINGS)
    assert not teacher.training
    assert not any(p.requires_grad for p in teacher.parameters())
    task = toy.ToyTask()
    task.frozen = {"teacher": nn.Sequential(task.trainable)}
    with pytest.raises(TaskError, match="shares parameters"):
        fit(task, toy.ToyStream(), machine=machine, records=toy.ToyRecords(tmp_path / "b"), **SETTINGS)


def test_validation_restores_the_mode_and_best_is_what_is_kept(toy, machine, tmp_path):
    task = toy.ToyTask()
    values = iter([0.1, 0.9, 0.3, 0.2])
    seen = []

    def evaluate():
        seen.append({k: v.clone() for k, v in task_module.state_dict().items()})
        task_module.eval()
        return {"validation/accuracy": next(values)}

    task_module = task.trainable
    result = fit(
        task,
        toy.ToyStream(),
        machine=machine,
        records=toy.ToyRecords(tmp_path),
        evaluate=evaluate,
        keep="best",
        **{**SETTINGS, "ema_decay": None},
    )
    assert result.best_epoch == 2
    assert same(task_module.state_dict(), seen[1])


def test_steps_cut_an_epoch_short_and_stretch_the_schedule(toy, machine, tmp_path):
    _, result = run(toy, machine, tmp_path, steps=5, accumulation=1, ema_decay=None)
    assert result.steps == 5
    rates = [line["lr"] for line in toy.ToyRecords(tmp_path).lines if "lr" in line]
    expected = [0.05 * 0.5 * (1 + math.cos(math.pi * s / 5)) for s in range(5)]
    assert rates == pytest.approx(expected)


def test_records_hold_every_term_and_their_sum(toy, machine, tmp_path):
    run(toy, machine, tmp_path)
    lines = [line for line in toy.ToyRecords(tmp_path).lines if "loss" in line]
    assert len(lines) == 12
    for line in lines:
        assert line["loss"] == pytest.approx(line["loss/fit"] + line["loss/size"], rel=1e-5)


def test_accumulated_batches_make_the_gradient_of_one(toy, machine, tmp_path):
    def train(batch_size, accumulation):
        torch.manual_seed(0)
        task = toy.ToyTask()
        task.trainable = nn.Linear(3, 1)
        task.trainable.load_state_dict({"weight": torch.ones(1, 3), "bias": torch.zeros(1)})
        fit(
            task,
            toy.ToyStream(batch_size=batch_size),
            machine=machine,
            records=toy.ToyRecords(tmp_path / f"{batch_size}"),
            optimizer=partial(sgd, lr=0.05),
            epochs=2,
            accumulation=accumulation,
        )
        return task.trainable.weight

    assert torch.allclose(train(10, 1), train(5, 2), atol=1e-6)


def test_milestones_take_effect_after_their_epoch():
    assert [multi_step(e, 10, milestones=(2, 4), factor=0.1) for e in (0, 1.99, 2, 4)] == pytest.approx(
        [1, 1, 0.1, 0.01]
    )


def test_one_cycle_is_pytorch_s():
    import torch

    steps, optimizer = 50, torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=steps + 1)
    for step in range(steps):
        # Theirs is highest a step before 30 % are done.
        rise = (0.3 * (steps + 1) - 1) / steps
        assert one_cycle(step, steps, rise=rise) == pytest.approx(optimizer.param_groups[0]["lr"], abs=1e-6)
        optimizer.step()
        theirs.step()


def test_a_decayed_term_does_not_stop_a_resume_in_the_last_epoch(toy, machine, tmp_path):
    def fading():
        task = toy.ToyTask()
        step, start = task.step, task.start_epoch
        task.factor = 1.0

        def start_epoch(epoch, epochs):
            start(epoch, epochs)
            task.factor = 0.0 if epoch == 4 else 1.0

        def faded(batch):
            output = step(batch)
            size = task.factor * output.terms["size"]
            return type(output)(output.loss, {"fit": output.terms["fit"], "size": size})

        task.start_epoch, task.step = start_epoch, faded
        return task

    whole, cut = fading(), fading()
    settings = {"machine": machine, **SETTINGS, "checkpoint_every": 1, "log_every": 5}
    fit(whole, toy.ToyStream(), records=toy.ToyRecords(tmp_path / "whole"), **settings)
    inner = cut.step

    def dying(batch):
        if cut.calls == 19:
            raise Stop
        return inner(batch)

    cut.step = dying
    with pytest.raises(Stop):
        fit(cut, toy.ToyStream(), records=toy.ToyRecords(tmp_path / "cut"), **settings)
    again = fading()
    fit(again, toy.ToyStream(), records=toy.ToyRecords(tmp_path / "cut"), **settings)
    assert same(whole.trainable.state_dict(), again.trainable.state_dict())
    assert toy.ToyRecords(tmp_path / "whole").lines == toy.ToyRecords(tmp_path / "cut").lines


def test_a_state_that_is_not_finite_is_never_saved(toy, tmp_path, monkeypatch):
    from limbeck.engine import Machine

    machine = Machine(device="cpu")
    monkeypatch.setattr(
        machine, "world", 2
    )  # as on a GPU or with several processes: nothing is looked at per step
    monkeypatch.setattr(machine, "sum", lambda value: value)
    monkeypatch.setattr(machine, "mean", lambda value: value)
    monkeypatch.setattr(machine, "broadcast", lambda tensors: None)
    monkeypatch.setattr(machine.accelerator, "no_sync", lambda model: __import__("contextlib").nullcontext())
    task = toy.ToyTask(poison=9)
    with pytest.raises(NonFiniteError, match="'fit'"):
        fit(
            task,
            toy.ToyStream(),
            machine=machine,
            records=toy.ToyRecords(tmp_path),
            **{**SETTINGS, "checkpoint_every": 1, "log_every": 50},
        )
    _, state = Checkpoints(tmp_path / "checkpoints").latest()
    assert all(torch.isfinite(value).all() for value in state["module"].values())


def test_trackers_are_started_fed_and_finished(toy, machine, tmp_path):
    pytest.importorskip("tensorboard")
    run(toy, machine, tmp_path, trackers=["tensorboard"])
    assert list(tmp_path.rglob("events.out.tfevents.*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frozen": True}, "nothing in the trainable module requires a gradient"),
        ({"rows": 2}, "stream is empty"),
        ({"keep": "best"}, "none was given"),
    ],
)
def test_fits_that_cannot_learn_are_refused(toy, machine, tmp_path, change, message):
    task, settings = toy.ToyTask(), dict(SETTINGS)
    if change.get("frozen"):
        task.trainable.requires_grad_(False)
    if "keep" in change:
        settings["keep"] = change["keep"]
    stream = toy.ToyStream(rows=change.get("rows", 20))
    with pytest.raises(TaskError, match=message):
        fit(task, stream, machine=machine, records=toy.ToyRecords(tmp_path), **settings)
