from dataclasses import replace

import pytest
import torch

from limbeck.audit.questions.localisation import localisation, win_tally
from limbeck.audit.subjects import Panel
from limbeck.errors import DataError, TapError


def test_the_same_network_looks_at_the_same_places(examined, room):
    answer = localisation(examined(count=120), pictures=3)
    room.checked(answer)
    first = answer.evidence[0]
    # Where the map is not zero everywhere, the cosine with itself is 1 for each image.
    sums = first.tallies["same-s0"].columns
    assert sums[sums[:, 1] > 0][:, 0].min() == pytest.approx(1.0)
    assert first.tallies["other-s0"].value < 0.7
    assert first.constants["counted"] + first.constants["left_out"] == 120
    assert first.specificity["same-s0"].value < 0.7
    assert answer.numbers["win_rate"]["same"] == 1.0


@pytest.mark.parametrize("attribution", ["hires_cam", "input_gradient", "gradient_times_input"])
def test_other_attributions_and_the_own_prediction(examined, attribution):
    answer = localisation(examined(count=20), attribution=attribution, of="prediction", pictures=0)
    assert answer.evidence[0].tallies["same-s0"].value == pytest.approx(1.0)
    assert answer.pictures == {}
    assert answer.evidence[0].constants["attribution"] == attribution


def test_without_controls_there_is_nothing_to_win_against(examined):
    answer = localisation(examined(count=30, controls=False), pictures=0)
    assert answer.tables == {}
    assert answer.numbers == {}
    assert set(answer.evidence[0].tallies) == {"same-s0", "other-s0"}


def test_a_layer_that_does_not_exist(examined):
    exam = examined(count=20)
    lost = replace(exam.panel.students[0], layer="secnd")
    panel = Panel(exam.panel.teacher, (lost,), exam.panel.controls)
    with pytest.raises(TapError, match="second"):
        localisation(replace(exam, panel=panel))


def test_maps_that_are_zero_everywhere(examined):
    exam = examined(count=20)
    exam.panel.teacher.network.model.fc.weight.zero_()
    with pytest.raises(DataError, match=r"no image of images has a map that is not zero everywhere"):
        localisation(exam)


def test_two_students_swapped():
    draws = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 50, generator=draws)
    assert win_tally(a, b).value + win_tally(b, a).value == pytest.approx(1.0)
    assert win_tally(a, a).value == 0.5
