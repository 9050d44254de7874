from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.errors import ConfigError
from limbeck.flow._registry import METHODS, PARAMETERISATIONS
from limbeck.flow.methods._base import Ground, WithTarget
from limbeck.flow.objectives import huber, l2
from limbeck.flow.task import FlowTask
from limbeck.flow.times import u_shaped
from limbeck.flow.velocity import Flow
from limbeck.models.velocity import build_velocity_network
from limbeck.specs import Spec

STD, MEAN = 0.3, 0.4
ENDS = (1e-5, 1 - 1e-5)


class Straight(nn.Module):
    """The velocity of x = m + s z, exactly; and its average over any interval, which is the same on a path."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, x, t, labels=None, *interval):
        t = t.view(-1, 1, 1, 1)
        return self.scale * (-MEAN + (1 - STD) * (x - (1 - t) * MEAN) / ((1 - t) * STD + t))


def flow(network=None, **facts):
    built = network or build_velocity_network("mlp", image_shape=(2, 1, 1), classes=2, width=8, depth=1)
    return Flow(built, image_shape=(2, 1, 1), classes=0 if network else 2, **facts)


def ground(student, teacher=None, objective=l2, steps=40, **changes):
    return Ground(student, teacher, u_shaped, objective, None, steps, **changes)


def pairs(n=64, number=3):
    z = torch.randn(n, 2, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return {"x": MEAN + STD * z, "z": z, "labels": None, "number": number}


@pytest.mark.parametrize("name", list(METHODS))
def test_a_straight_teacher_has_nothing_to_learn(name):
    student, teacher = flow(Straight()), flow(Straight())
    method = METHODS[name](ground(student, teacher))
    losses = method.losses(method.root, pairs())
    assert losses.shape == (64,)
    # Consistency training takes its neighbour on the chord, which is the path here.
    assert float(losses.detach().abs().max()) < 1e-8


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("objective", [l2, huber])
def test_every_method_learns(name, objective):
    torch.manual_seed(0)
    spec = {"image_shape": (2, 1, 1), "classes": 2, "width": 16, "depth": 1}
    student = Flow(
        build_velocity_network("mlp", interval=name == "mean_flow", **spec), image_shape=(2, 1, 1), classes=2
    )
    teacher = Flow(build_velocity_network("mlp", **spec), image_shape=(2, 1, 1), classes=2)
    method = METHODS[name](ground(student, teacher, objective, steps=60))
    optimizer = torch.optim.Adam([p for p in method.root.parameters() if p.requires_grad], lr=3e-3)
    first = last = 0.0
    for number in range(60):
        z = torch.randn(64, 2, 1, 1)
        batch = {"x": 0.5 * z + 1, "z": z, "labels": torch.randint(2, (64,)), "number": number}
        loss = method.losses(method.root, batch).mean()
        loss.backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in method.root.parameters())
        optimizer.step()
        optimizer.zero_grad()
        first, last = (float(loss.detach()) if number < 5 else first), float(loss.detach())
    if name in ("reflow", "direct"):  # the other targets move
        assert last < first


def test_forward_passes_are_counted_as_the_paper_counts():
    made = {name: METHODS[name](ground(flow(Straight()), flow(Straight()))).passes for name in METHODS}
    assert made == {
        "reflow": 1,
        "direct": 1,
        "progressive": 3,
        "consistency_distillation": 4,
        "consistency_training": 2,
        "mean_flow": 2,
    }


def test_passes_are_those_of_the_network():
    calls = []

    class Counting(Straight):
        def forward(self, x, t, labels=None, *interval):
            calls.append(len(x))
            return super().forward(x, t, labels, *interval)

    for name in ("reflow", "direct", "progressive", "consistency_distillation", "consistency_training"):
        method = METHODS[name](ground(flow(Counting()), flow(Counting())))
        calls.clear()
        method.losses(method.root, pairs())
        assert len(calls) == method.passes, name


def test_direct_is_reflow_at_the_noise():
    seen = []

    class Listening(Straight):
        def forward(self, x, t, labels=None, *interval):
            seen.append(t)
            return super().forward(x, t, labels)

    for k, wanted in ((1, {1.0}), (2, {0.5, 1.0})):
        seen.clear()
        method = METHODS["direct"](ground(flow(Listening())), k=k)
        method.losses(method.root, pairs())
        assert {round(float(t), 4) for t in seen[0]} == wanted


def test_progressive_hands_over():
    student, teacher = flow(Straight()), flow(Straight())
    method = METHODS["progressive"](ground(student, teacher, steps=70), start=8)
    assert [grid for _, grid in method.stages] == [8, 4, 2, 1]
    assert [first for first, _ in method.stages] == [0, 12, 23, 47]
    with torch.no_grad():
        student.network.scale.fill_(2.0)
    method.losses(method.root, pairs(number=11))
    assert float(method.root.target.network.scale) == 1.0
    method.losses(method.root, pairs(number=12))
    assert float(method.root.target.network.scale) == 2.0
    with pytest.raises(ConfigError, match="power of two"):
        METHODS["progressive"](ground(student, teacher), start=6)
    with pytest.raises(ConfigError, match="smaller start"):
        METHODS["progressive"](ground(student, teacher, steps=4), start=8)


def test_mean_flow_of_a_curved_field_is_its_integral():
    """u of the identity, checked on v(x, t) = 2 t, whose mean over [r, t] is t + r."""

    class Mean(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, x, t, labels, interval):
            return self.scale * (2 * t - interval).view(-1, 1, 1, 1).expand_as(x)

    method = METHODS["mean_flow"](ground(Flow(Mean(), image_shape=(2, 1, 1))), share_equal=0.0)
    torch.manual_seed(0)
    batch = pairs()
    # The marginal velocity at (x_t, t) is 2 t only where z - x is; a chord of that slope at its own time is given.
    state = torch.get_rng_state()
    t = u_shaped(torch.rand(64)).double().view(-1, 1, 1, 1)
    torch.set_rng_state(state)
    batch["z"] = batch["x"] + 2 * t
    assert float(method.losses(method.root, batch).detach().abs().max()) < 1e-8


def test_consistency_targets_follow_the_student():
    student = flow(Straight())
    method = METHODS["consistency_distillation"](ground(student, flow(Straight())), target_ema=0.75)
    assert isinstance(method.root, WithTarget)
    with torch.no_grad():
        student.network.scale.fill_(2.0)
    method.losses(method.root, pairs(number=5))
    assert float(method.root.target.network.scale) == pytest.approx(1.25)
    assert not any(p.requires_grad for p in method.root.target.parameters())


def test_levels_of_consistency_training_grow():
    method = METHODS["consistency_training"](ground(flow(Straight()), steps=100), first_levels=2, last_levels=20)
    sizes = [len(method._grid(number, torch.zeros(1))) for number in (0, 10, 50, 100)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 2
    assert sizes[-1] == 21


def test_dropout_is_the_same_in_both_networks():
    torch.manual_seed(0)
    net = build_velocity_network("mlp", image_shape=(2, 1, 1), width=32, depth=2, dropout=0.5)
    student = Flow(net, image_shape=(2, 1, 1)).train()
    method = METHODS["consistency_training"](ground(student, steps=100), loss="l2", last_levels=2)
    z = torch.randn(16, 2, 1, 1)
    # With one pair of levels, the lower one is the data's, where the map is nearly the identity: what is left is
    # the network's own difference between two times, not that of two masks.
    first = method.losses(method.root, {"x": z, "z": z, "labels": None, "number": 0})
    assert first.isfinite().all()


def test_what_a_method_lacks_is_said():
    with pytest.raises(ConfigError, match="teacher:"):
        METHODS["progressive"](ground(flow(Straight())))
    with pytest.raises(ConfigError, match="one process"):
        METHODS["mean_flow"](ground(flow(Straight()), world=2))
    with pytest.raises(ConfigError, match="teacher of velocities"):
        METHODS["consistency_distillation"](ground(flow(Straight()), flow(Straight(), predicts="consistency")))


class Listening(nn.Module):
    """A network that keeps the times it is told."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.told = []

    def forward(self, x, time, labels=None, *interval):
        self.told.append(time.detach())
        return self.scale * x


@pytest.mark.parametrize("name", ["progressive", "consistency_distillation"])
def test_a_diffusion_teacher_is_not_asked_beyond_its_levels(name):
    torch.manual_seed(0)
    edm = Spec(name="edm", sigma_max=10.0)
    teacher, student = (Flow(Listening(), edm, image_shape=(2, 1, 1), trained=trained) for trained in (None, ENDS))
    method = METHODS[name](ground(student, teacher, steps=40))
    for number in range(3):
        method.losses(method.root, {**pairs(200, number), "x": torch.randn(200, 2, 1, 1), "z": None})
    asked = teacher if name != "progressive" else method.root.target
    levels = (4 * torch.cat(asked.network.told)).exp()
    assert float(levels.max()) <= 10.0 * (1 + 1e-5)
    # What the student has not been trained for is not asked of it in sampling.
    assert student.begin == pytest.approx(10 / 11)


def test_mean_flow_stays_where_a_diffusion_teacher_was_trained():
    torch.manual_seed(0)
    spec = {"image_shape": (2, 1, 1), "width": 8, "depth": 1}
    student = Flow(
        build_velocity_network("mlp", interval=True, **spec), "edm", image_shape=(2, 1, 1), trained=ENDS
    )
    teacher = Flow(build_velocity_network("mlp", **spec), "edm", image_shape=(2, 1, 1))
    method = METHODS["mean_flow"](ground(student, teacher))
    assert float(method._times(torch.linspace(0, 1, 100)).max()) == pytest.approx(80 / 81)
    assert student.begin == pytest.approx(80 / 81)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
@pytest.mark.parametrize("name", list(PARAMETERISATIONS))
def test_average_velocities_of_every_parameterisation(name):
    torch.manual_seed(0)
    net = build_velocity_network("mlp", image_shape=(2, 1, 1), width=8, depth=1, interval=True)
    method = METHODS["mean_flow"](ground(Flow(net, name, image_shape=(2, 1, 1))))
    z = torch.randn(16, 2, 1, 1)
    method.losses(method.root, {"x": z / 2, "z": z, "labels": None, "number": 0}).mean().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_steps_are_counted_and_not_batches():
    student, teacher = flow(Straight()), flow(Straight())
    method = METHODS["progressive"](ground(student, teacher, steps=70), start=8)
    task = FlowTask(method, accumulation=2, epoch_batches=5)  # three steps an epoch, the last of one batch
    with torch.no_grad():
        student.network.scale.fill_(2.0)
    first = 5 * (method.stages[1][0] // 3)  # the first batch of the step at which the second stage begins
    assert method.stages[1][0] == 12
    task.step(pairs(number=first - 1))
    assert float(method.root.target.network.scale) == 1.0
    task.step(pairs(number=first))
    assert float(method.root.target.network.scale) == 2.0


def test_targets_follow_once_a_step():
    student = flow(Straight())
    method = METHODS["consistency_distillation"](ground(student, flow(Straight())), target_ema=0.75)
    task = FlowTask(method, accumulation=2, epoch_batches=10)
    with torch.no_grad():
        student.network.scale.fill_(2.0)
    for number in (4, 5):
        task.step(pairs(number=number))
    assert float(method.root.target.network.scale) == pytest.approx(1.25)


def test_a_copy_takes_the_buffers_too():
    spec = {"image_shape": (1, 8, 8), "width": 8, "multiples": (1,), "blocks": 1, "attention": ()}
    first, second = (
        Flow(build_velocity_network("ncsnpp", **spec), image_shape=(1, 8, 8)).requires_grad_(False)
        for _ in range(2)
    )
    both = WithTarget(first, second)
    both.take(1.0)
    theirs = both.target.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in both.student.state_dict().items())
