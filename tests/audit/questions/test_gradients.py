import pytest

from limbeck.audit.questions.gradients import gradients


def test_who_reacts_to_the_same_pixels(examined, room):
    answer = gradients(examined(count=120))
    room.checked(answer)
    one = answer.evidence[0]
    assert one.tallies["same-s0"].value == pytest.approx(1.0)
    assert abs(one.tallies["other-s0"].value) < 0.1
    assert abs(one.specificity["same-s0"].value) < 0.1


def test_a_network_without_a_gradient_counts_for_none(examined):
    exam = examined(count=20)
    exam.panel.students[1].network.model.fc.weight.zero_()
    one = gradients(exam).evidence[0]
    assert one.tallies["other-s0"].count == 0
    assert one.tallies["same-s0"].count == 20
