"""Students against controls."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from limbeck.audit.statistics.differences import compare
from limbeck.audit.statistics.estimates import Part, estimate
from limbeck.audit.subjects import Panel
from limbeck.audit.tally import Tally, share


def normal(seed, images=200, mean=0.5):
    return mean + torch.randn(images, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) / 10


@pytest.mark.parametrize(
    ("students", "controls", "spreads"),
    [
        (3, 3, {}),
        (3, 2, {}),
        (1, 1, {"seed_sd": 0.0}),
    ],
)
def test_intervals_hold_the_truth_about_as_often_as_they_say(
    panel_of, simulated, likeness, students, controls, spreads
):
    panel, generator, held = panel_of(students, controls), torch.Generator().manual_seed(0), 0
    for audit in range(300):
        tallies = simulated(panel, generator, effect=0.1, images=120, **spreads)
        found = compare(likeness(tallies), panel, draws=120, seed=audit)["kd"].difference
        held += found.low <= 0.1 <= found.high
    assert 0.9 <= held / 300 <= 0.99


def test_one_seed_is_compared_image_by_image(panel_of, likeness):
    student, control = normal(0), normal(1)
    tallies = {"kd-s0": share(student), "control-s0": share(control)}
    found = compare(likeness(tallies), panel_of(1, 1), draws=4000)["kd"]
    exact = stats.ttest_rel(student.numpy(), control.numpy())
    low, high = exact.confidence_interval()
    assert found.difference.value == pytest.approx((student - control).mean().item())
    assert (found.difference.low, found.difference.high) == pytest.approx((low, high), abs=0.0015)
    assert found.scope == "these networks"
    assert found.matched
    assert found.images == 200


def constants(**groups):
    """Networks without any spread over images: name of a group -> value for each seed."""
    return {
        f"{group}-s{seed}": share(torch.full((50,), value, dtype=torch.float64))
        for group, values in groups.items()
        for seed, value in enumerate(values)
    }


def test_without_spread_over_images_it_is_the_t_test_over_seeds(panel_of, likeness):
    students, controls = [0.61, 0.66, 0.63], [0.55, 0.50, 0.54]
    found = compare(likeness(constants(kd=students, control=controls)), panel_of(), draws=50)["kd"]
    expected = stats.ttest_rel(students, controls)
    interval = expected.confidence_interval()
    assert found.matched
    assert found.scope == "the method"
    assert found.difference.p == pytest.approx(expected.pvalue)
    assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high))


def test_couples_that_are_alike_by_accident_do_not_make_it_certain(panel_of, likeness):
    students, controls = [0.61, 0.66, 0.63], [0.51, 0.561, 0.53]
    found = compare(likeness(constants(kd=students, control=controls)), panel_of(), draws=50)["kd"].difference
    assert stats.ttest_rel(students, controls).pvalue < 1e-4
    assert found.p == pytest.approx(stats.ttest_ind(students, controls, equal_var=True).pvalue)


def test_other_seeds_are_compared_with_the_mean_of_all_controls(panel_of, likeness):
    students, controls = [0.61, 0.66, 0.63], [0.55, 0.50, 0.54, 0.47]
    tallies = constants(kd=students, control=controls)
    tallies = {name.replace("control-s", "control-s7"): tally for name, tally in tallies.items()}
    found = compare(likeness(tallies), panel_of(control_seeds=(70, 71, 72, 73)), draws=50)["kd"]
    assert not found.matched
    assert found.per_seed["kd-s0"] == pytest.approx(0.61 - 0.515)
    assert found.difference.p == pytest.approx(stats.ttest_ind(students, controls, equal_var=True).pvalue)


def test_a_single_control_is_taken_to_vary_as_the_students_do(panel_of, likeness):
    students = [0.61, 0.66, 0.63]
    tallies = constants(kd=students, control=[0.5])
    found = compare(likeness(tallies), panel_of(3, 1), draws=50)["kd"].difference
    error = torch.tensor(students).std().item() * math.sqrt(1 / 3 + 1)
    assert found.half_width == pytest.approx(error * stats.t.ppf(0.975, 2), rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["higher", "lower"]))
def test_swapping_students_and_controls_turns_the_sign(panel_of, simulated, likeness, seed, alike):
    panel = panel_of()
    evidence = likeness(simulated(panel, torch.Generator().manual_seed(seed), effect=0.05), alike=alike)
    there = compare(evidence, panel, draws=60)["kd"].difference
    swapped = Panel(panel.teacher, panel.controls, panel.students)
    back = compare(evidence, swapped, draws=60)["control"].difference
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))
    assert back.p == pytest.approx(there.p)


def test_less_of_a_distance_is_more_alike(panel_of, simulated, likeness):
    tallies = simulated(panel_of(), torch.Generator().manual_seed(0), effect=-0.2)
    assert compare(likeness(tallies, alike="lower"), panel_of(), draws=50)["kd"].difference.value > 0.1


@pytest.mark.parametrize("teacher", [0.9, 0.1])
def test_a_trait_moves_towards_the_teacher_from_either_side(panel_of, simulated, likeness, teacher):
    effect = 0.25 * (1 if teacher > 0.5 else -1)
    tallies = simulated(
        panel_of(), torch.Generator().manual_seed(1), effect=effect, teacher=teacher, images=2000, seed_sd=0.001
    )
    found = compare(likeness(tallies, kind="trait"), panel_of(), draws=100)["kd"]
    assert found.difference.value == pytest.approx(0.25, abs=0.03)
    assert found.gap.value == pytest.approx(teacher - 0.5, abs=0.03)
    assert found.gap_closed == pytest.approx(0.25 / 0.4, abs=0.08)
    assert all(value > 0 for value in found.per_seed.values())


def test_identical_networks_differ_by_nothing_with_certainty(panel_of, likeness):
    tallies = {subject.name: share(normal(0)) for subject in panel_of().learners}
    found = compare(likeness(tallies), panel_of(), draws=50)["kd"].difference
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_a_constant_difference_is_certain(panel_of, likeness):
    tallies = {name: share(torch.ones(30)) for name in ("kd-s0", "kd-s1", "kd-s2")}
    tallies |= {f"control-s{seed}": share(torch.zeros(30)) for seed in range(3)}
    found = compare(likeness(tallies), panel_of(), draws=50)["kd"].difference
    assert (found.value, found.low, found.high, found.p) == (1, 1, 1, 0)


def test_what_is_undefined_or_missing_is_named(panel_of, simulated, likeness):
    tallies = simulated(panel_of(), torch.Generator().manual_seed(0))
    tallies["kd-s1"] = share(torch.full((200,), math.nan))
    found = compare(likeness(tallies), panel_of(), draws=20)["kd"].difference
    assert math.isnan(found.value)
    assert not found.defined
    assert found.reason == "undefined for kd-s1"
    del tallies["kd-s1"]
    assert compare(likeness(tallies), panel_of(), draws=20)["kd"].difference.reason == "not measured for kd-s1"
    assert compare(likeness(tallies), panel_of(3, 0), draws=20)["kd"].difference.reason == "no control was given"


def test_a_number_that_hangs_on_one_image_has_no_interval(panel_of, likeness):
    once = torch.zeros(20, dtype=torch.bool)
    once[:6] = True
    rare = torch.stack([normal(0, 20), once.double() * torch.tensor([1.0, *[0.0] * 19])], dim=1)
    tallies = {name: Tally(rare) for name in ("kd-s0", "control-s0")}
    found = compare(likeness(tallies), panel_of(1, 1), draws=200)["kd"].difference
    assert not found.defined
    assert "% of the resampled sets" in found.reason
    few = {name: share(normal(0, 20), torch.arange(20) < 3) for name in ("kd-s0", "control-s0")}
    assert "3 images count" in compare(likeness(few), panel_of(1, 1), draws=20)["kd"].difference.reason


def test_the_specific_difference_is_taken_off_image_by_image(panel_of, likeness):
    common = {seed: normal(seed) for seed in range(3)}
    tallies, taken_out = {}, {}
    for seed, values in common.items():
        tallies[f"kd-s{seed}"], taken_out[f"kd-s{seed}"] = share(values + 0.2), share(values + 0.15)
        tallies[f"control-s{seed}"] = taken_out[f"control-s{seed}"] = share(normal(seed + 10))
    found = compare(likeness(tallies, specificity=taken_out), panel_of(), draws=100)["kd"]
    assert found.difference.value - found.specific.value == pytest.approx(found.beyond.value)
    # Either difference is uncertain; what the one has beyond the other is the same everywhere.
    assert found.specific.half_width > 0.01
    assert (found.beyond.low, found.beyond.high) == pytest.approx((0.05, 0.05))


def test_the_specific_numbers_may_come_from_other_images(panel_of, simulated, likeness):
    generator = torch.Generator().manual_seed(0)
    tallies = simulated(panel_of(), generator, effect=0.3)
    other = simulated(panel_of(), generator, images=90)
    found = compare(likeness(tallies, specificity=other), panel_of(), draws=100)["kd"]
    assert found.beyond.half_width > found.difference.half_width
    assert found.beyond.images.freedom == 89


@given(st.floats(0.1, 10), st.floats(0.1, 10), st.integers(1, 9))
def test_two_sources_count_as_welch_and_satterthwaite_say(images, seeds, freedom):
    draws = torch.tensor([-1.0, 1.0], dtype=torch.float64) * math.sqrt(images / 2 * 99 / 100)
    found = estimate(3.0, draws, 100, [Part(seeds, freedom)])
    expected = (images + seeds) ** 2 / (images**2 / 99 + seeds**2 / freedom)
    assert found.half_width == pytest.approx(math.sqrt(images + seeds) * stats.t.ppf(0.975, expected), rel=1e-6)
    assert found.half_width_with() == pytest.approx(found.half_width)
    assert found.half_width_with(images=2) < found.half_width * 1.5
    assert found.half_width_with(seeds=4) < found.half_width
