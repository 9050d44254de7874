"""Solvers on flows with known answers: Gaussians, and pairs on straight chords."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn

from limbeck.errors import ConfigError, ShapeError
from limbeck.flow.editing import interpolate, invert, slerp, translate
from limbeck.flow.sampling import generation_grid, sample, solver_of
from limbeck.flow.straightness import coupling_error, curvature, straightness
from limbeck.flow.velocity import Flow

MEAN, STD = 0.4, 0.3


class Field(nn.Module):
    """A velocity written down."""

    def __init__(self, field):
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(1))
        self.field = field
        self.calls = 0

    def forward(self, x, t, labels=None, *interval):
        self.calls += 1
        return self.field(x, t.view(-1, 1, 1, 1))


def curved(x, t):
    s = STD**2
    return -MEAN + (t - (1 - t) * s) / ((1 - t) ** 2 * s + t**2) * (x - (1 - t) * MEAN)


def reflowed(x, t):
    return -MEAN + (1 - STD) * (x - (1 - t) * MEAN) / ((1 - t) * STD + t)


def flow_of(field, **facts):
    return Flow(Field(field), image_shape=(1, 1, 1), **facts)


NOISE = torch.randn(40_000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
TABLE = {
    "euler": {1: 0.2992, 2: 0.2169, 4: 0.1224, 8: 0.0651, 16: 0.0341, 32: 0.0175, 64: 0.00888, 128: 0.00447},
    "heun": {1: 0.2992, 2: 0.2101, 4: 0.0879, 8: 0.0229, 16: 0.00543, 32: 0.00130, 64: 0.000315},
    "anchored": {1: 0.2992, 2: 0.2169, 4: 0.1125, 8: 0.0118, 16: 0.0992, 32: 0.2309, 64: 0.3919},
}


@pytest.mark.parametrize(("solver", "steps"), [(s, n) for s, cells in TABLE.items() for n in cells])
def test_order_of_convergence(solver, steps):
    evaluations = 2 * steps - 1 if solver == "heun" else steps
    flow = flow_of(curved, rounds=0)
    made = sample(flow, NOISE, evaluations=evaluations, solver=solver, trust=True, batch_size=40_000)
    error = (made.x - (MEAN + STD * NOISE)).square().mean().sqrt()
    assert float(error) == pytest.approx(TABLE[solver][steps], rel=0.03, abs=3e-6)
    assert flow.network.calls == evaluations == made.evaluations


@pytest.mark.parametrize("solver", ["euler", "heun", "anchored", "anchored_heun"])
@pytest.mark.parametrize("evaluations", [1, 3, 9])
def test_a_straight_flow_is_exact_with_any_rule(solver, evaluations):
    made = sample(flow_of(reflowed, rounds=1), NOISE[:500], evaluations=evaluations, solver=solver, keep=True)
    torch.testing.assert_close(made.x, MEAN + STD * NOISE[:500], rtol=0, atol=2e-5)
    assert float(straightness(made.states).max()) < 1e-8
    assert float(curvature(made.states).max()) < 0.1


def test_one_step_of_a_curved_flow_is_the_mean():
    made = sample(flow_of(curved), NOISE[:500])
    assert float((made.x - MEAN).abs().max()) < 1e-4


@pytest.mark.filterwarnings("ignore")
def test_adaptive_is_right_and_counts():
    flow = flow_of(curved)
    made = sample(flow, NOISE[:200], solver="adaptive")
    torch.testing.assert_close(made.x, MEAN + STD * NOISE[:200], rtol=0, atol=1e-3)
    assert made.evaluations == flow.network.calls > 20
    with pytest.raises(ConfigError, match="chooses its own number"):
        sample(flow, NOISE[:4], solver="adaptive", evaluations=8)


def test_sigma_heun_is_right():
    made = sample(flow_of(curved), NOISE[:500].double(), solver="sigma_heun", evaluations=79)
    assert float((made.x - (MEAN + STD * NOISE[:500])).square().mean().sqrt()) < 6e-3  # 80 is not infinity
    assert made.evaluations == 79


def test_batches_do_not_matter():
    flow = flow_of(curved)
    whole = sample(flow, NOISE[:50], evaluations=4, keep=True)
    parts = sample(flow, NOISE[:50], evaluations=4, keep=True, batch_size=7)
    assert torch.equal(whole.x, parts.x)
    assert all(torch.equal(a, b) for a, b in zip(whole.states, parts.states, strict=True))


def test_consistency_models_take_new_noise():
    flow = flow_of(reflowed, predicts="consistency")
    made = sample(flow, NOISE[:2000], evaluations=2)
    # Data of spread 0.3 and new noise, half and half, are mapped back by 0.3 / 0.65.
    assert float(made.x.std()) == pytest.approx(STD / 0.65 * (0.15**2 + 0.5**2) ** 0.5, rel=0.1)
    assert torch.equal(made.x, sample(flow, NOISE[:2000], evaluations=2, batch_size=300).x)


def test_average_velocities_are_told_their_interval():
    seen = []

    class Average(Field):
        def forward(self, x, t, labels=None, *interval):
            seen.append((float(t[0]), float(interval[0][0])))
            return torch.zeros_like(x)

    flow = Flow(Average(None), image_shape=(1, 1, 1), predicts="average velocity")
    sample(flow, NOISE[:2], evaluations=2)
    assert seen == [pytest.approx((1 - 1e-5, 0.5), abs=2e-5), pytest.approx((0.5, 0.5))]


@pytest.mark.parametrize(
    ("solver", "evaluations"), [("heun", 4), ("anchored_heun", 2), ("euler", 0), ("sigma_heun", 8)]
)
def test_a_budget_that_cannot_be_spent(solver, evaluations):
    with pytest.raises(ConfigError, match=r"odd number|at least 1"):
        sample(flow_of(curved), NOISE[:2], evaluations=evaluations, solver=solver)


def test_the_paper_s_two_steps():
    grid = generation_grid(solver_of("euler"), None, [1, 0.8])
    assert grid == (1 - 1e-5, 0.8, 0.0)
    assert generation_grid(solver_of("euler"), None, [1, 0.8, 0]) == grid
    for wrong in ([0.8, 1], [], [1, 1], [1.2, 0.5], [1, -0.5]):
        with pytest.raises(ConfigError, match="times fall"):
            generation_grid(solver_of("euler"), None, wrong)
    with pytest.raises(ConfigError, match="times have 2 steps"):
        generation_grid(solver_of("euler"), 3, [1, 0.8])


def test_the_new_rule_is_refused_on_curved_flows(caplog):
    with pytest.raises(ConfigError, match="not reflowed"):
        sample(flow_of(curved, rounds=0), NOISE[:5], evaluations=4, solver="anchored")
    sample(flow_of(curved, rounds=0), NOISE[:5], evaluations=2, solver="anchored")
    with caplog.at_level(logging.WARNING, "limbeck"):
        sample(flow_of(curved), NOISE[:5], evaluations=8, solver="anchored", keep=True)
    assert "nobody said" in caplog.text
    assert "curved flow" in caplog.text


def test_inversion_comes_back():
    flow = flow_of(reflowed, rounds=1)
    x = MEAN + STD * NOISE[:300]
    found = invert(flow, x, evaluations=4, blur=0.0)
    torch.testing.assert_close(found.x, NOISE[:300], rtol=0, atol=1e-4)
    torch.testing.assert_close(sample(flow, found.x, evaluations=3).x, x, rtol=0, atol=1e-4)
    blurred = invert(flow, x, evaluations=4)
    assert 0 < float((blurred.x - NOISE[:300]).abs().max()) < 0.05
    assert torch.equal(blurred.x, invert(flow, x, evaluations=4).x)
    with pytest.raises(ConfigError, match="only generates"):
        invert(flow, x, solver="anchored")


def test_interpolation_has_its_ends():
    flow = flow_of(reflowed, rounds=1)
    a, b = MEAN + STD * NOISE[:5], MEAN + STD * NOISE[5:10]
    between = interpolate(flow, a, b, points=5)
    assert between.shape == (5, 5, 1, 1, 1)
    torch.testing.assert_close(between[0], a, rtol=0, atol=2e-3)
    torch.testing.assert_close(between[-1], b, rtol=0, atol=2e-3)


def test_parallel_noises_are_joined_by_a_chord():
    one = torch.randn(2, 3)
    found = slerp(one, one * 2, torch.tensor([0.5]))
    torch.testing.assert_close(found[0], one * 1.5)


def test_translation_counts_both_ways():
    class Shifted(Field):
        def forward(self, x, t, labels=None, *interval):
            return (-labels.float()).view(-1, 1, 1, 1).expand_as(x)

    flow = Flow(Shifted(None), image_shape=(1, 1, 1), classes=3, rounds=1)
    x = torch.zeros(4, 1, 1, 1)
    made = translate(flow, x, torch.full((4,), 0), torch.full((4,), 2))
    assert made.evaluations == 6
    assert float((made.x - 2).abs().max()) < 0.01


def test_noise_of_another_shape_is_refused():
    with pytest.raises(ShapeError, match=r"\(1, 1, 1\)"):
        sample(flow_of(curved), torch.randn(3, 1, 2, 2))


def test_coupling_error_is_a_mean_square():
    assert coupling_error(torch.ones(2, 3), torch.zeros(2, 3)).tolist() == [1.0, 1.0]


def test_fresh_noise_goes_by_the_number_of_the_sample():
    flow = flow_of(reflowed, predicts="consistency")
    noise = torch.randn(8, *flow.image_shape, generator=torch.Generator().manual_seed(0))
    whole = sample(flow, noise, evaluations=2).x
    assert torch.equal(sample(flow, noise[4:], evaluations=2, first=4).x, whole[4:])


@pytest.mark.parametrize("solver", ["heun", "anchored", "sigma_heun"])
def test_average_velocities_are_refused_to_rules_of_others(solver):
    flow = flow_of(reflowed, predicts="average velocity")
    with pytest.raises(ConfigError, match="average over an interval"):
        sample(flow, torch.randn(4, *flow.image_shape), evaluations=3, solver=solver)
