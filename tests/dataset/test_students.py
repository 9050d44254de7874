"""Students of small sets: recorded schedules and whole training runs."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.dataset.flat import Flat
from limbeck.dataset.real import Split
from limbeck.dataset.students import PROTOCOLS, SCHEDULES, Recipe, accuracy, protocol, train_student
from limbeck.errors import ConfigError, NonFiniteError


@pytest.mark.parametrize("epochs", [10, 1000])
@pytest.mark.parametrize(
    ("recorded", "schedule", "base"),
    [
        ("mtt", "halfway", 0.01),
        ("soft_sgd", "quarters", 0.01),
        ("soft_adamw", "cosine", 0.001),
        ("idc", "sixths", 0.01),
    ],
)
def test_schedules_agree_with_the_recorded_programs(golden, close, recorded, schedule, base, epochs):
    _, a = golden("schedules")
    rates = torch.tensor([base * rate.factor for rate in SCHEDULES[schedule](epochs)], dtype=torch.float64)
    wanted = a[f"{recorded}_E{epochs}"]
    assert len(rates) == len(wanted)
    torch.testing.assert_close(rates, wanted, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("train_hard_mtt", PROTOCOLS["mtt"]),
        ("train_soft_sgd", PROTOCOLS["soft"]),
        ("train_soft_adamw", PROTOCOLS["soft_adamw"]),
    ],
)
def test_whole_runs_agree_with_the_recorded_programs(golden, close, convnet, name, recipe):
    params, a = golden(name)
    net = Flat(convnet(params))
    model = net.write(a["start"])
    changed = Recipe(**{**vars(recipe), "epochs": params["epochs"], "lr": params["lr"], "augment": ""})
    losses = train_student(model, a["images"], a["labels"], changed, seed=0)
    assert len(losses) == params["epochs_run"]
    close(torch.tensor(losses, dtype=torch.float64), a["train_losses"], params)
    close(net.start(), a["final"], params)
    found = accuracy(model, Split(a["test_images"], a["test_labels"]))
    assert found == pytest.approx(float(a["test_accuracy"]))


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 3))


def test_the_same_seed_gives_the_same_student_and_another_one_another():
    images, labels = torch.randn(9, 3, 4, 4), torch.arange(9) % 3
    recipe = protocol("idc", epochs=6, batch_size=4)
    found = []
    for seed in (1, 1, 2):
        model = small()
        train_student(model, images, labels, recipe, seed=seed)
        found.append(model[1].weight.detach().clone())
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_truncated_labels_pull_less():
    images, labels = torch.randn(6, 3, 4, 4), torch.arange(6) % 3
    whole = nn.functional.one_hot(labels, 3).float()
    start = small()[1].weight.detach()
    moved = []
    for targets in (whole, whole / 2):
        model = small()
        train_student(model, images, targets, Recipe(epochs=1, augment="", schedule="constant"), seed=0)
        moved.append(float((model[1].weight.detach() - start).norm()))
    assert moved[1] < moved[0]


def test_a_rate_that_is_too_high_is_said_so():
    images, labels = torch.randn(6, 3, 4, 4) * 1e20, torch.arange(6) % 3
    with pytest.raises(NonFiniteError, match="a rate of 1e\\+20 is too high"):
        train_student(small(), images, labels, Recipe(epochs=60, augment="", schedule="constant"), seed=0, lr=1e20)


def test_an_unknown_protocol_is_named():
    with pytest.raises(ConfigError, match="'mttt' is not one of"):
        protocol("mttt")
