from dataclasses import replace

import pytest

from limbeck.audit.questions.adversarial import adversarial
from limbeck.errors import ConfigError, DataError


@pytest.fixture(scope="module")
def answer(examined):
    return adversarial(examined(count=120), iterations=3)


def test_what_fools_the_teacher_fools_itself(answer, room):
    room.checked(answer)
    one = answer.evidence[0]
    assert one.tallies["same-s0"].value == 1.0
    # Every network is asked about the same images: those that fooled the teacher.
    assert {tally.count for tally in one.tallies.values()} == {round(120 * one.constants["teacher_fooled"])}
    # An unrelated network is fooled about as often as by noise of the same size, at most three times as often.
    assert one.tallies["other-s0"].value < 0.6
    assert one.specificity["same-s0"].value < 0.6
    assert one.constants["against"] == "noise of the same size"
    assert one.constants["step"] == one.constants["eps"] / 4


def test_the_matrix_has_everybody_fooled_by_their_own_images(answer):
    matrix = answer.figures["matrix"]
    assert matrix["rows"] == ["teacher", "control", "same", "other"]
    assert [matrix["values"][at][at] for at in range(4)] == [1.0] * 4


def test_a_foreign_network_is_the_control_of_specificity(examined):
    exam = examined(count=60)
    panel = replace(exam.panel, foreign=replace(exam.panel.controls[0], name="foreign", role="foreign"))
    found = adversarial(replace(exam, panel=panel), iterations=2, eps=0.1, step=0.05, attack="pgd")
    one = found.evidence[0]
    assert one.specificity_note == "images made on an unrelated network"
    assert one.specificity["control-s0"].value == 1.0  # it is that network


@pytest.mark.parametrize("eps", [8, 0, -0.1, float("nan")])
def test_budgets_outside_the_pixels(examined, eps):
    with pytest.raises(ConfigError, match=r"eps is .*pixels lie in \[0, 1\]. Eight grey levels are 8/255"):
        adversarial(examined(count=20), eps=eps)


def test_a_teacher_that_is_fooled_too_rarely(examined):
    with pytest.raises(DataError, match=r"only \d of 20 images fool the teacher.*larger eps"):
        adversarial(examined(count=20), eps=1e-5)
