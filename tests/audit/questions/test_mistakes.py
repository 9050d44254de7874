import math

import pytest
import torch

from limbeck.audit.questions.mistakes import consistency_tally, mistakes


def test_who_errs_where_the_teacher_errs(examined, room):
    answer = mistakes(examined())
    room.checked(answer)
    consistency, repeated = answer.evidence
    assert consistency.tallies["same-s0"].value == pytest.approx(1.0)
    assert repeated.tallies["same-s0"].value == 1.0
    assert abs(consistency.tallies["other-s0"].value) < 0.15
    assert repeated.tallies["other-s0"].value < 0.5
    # Repeated mistakes are counted over the teacher's mistakes alone: one in five.
    assert repeated.tallies["same-s0"].count == 48 == repeated.constants["teacher_mistakes"]


def test_kappa_of_right_and_wrong():
    labels = torch.zeros(8, dtype=torch.int64)
    student, teacher = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]), torch.tensor([0, 0, 1, 1, 0, 0, 2, 2])
    assert consistency_tally(student, teacher, labels).value == 0.0  # independent
    assert consistency_tally(student, student, labels).value == 1.0
    assert consistency_tally(student, 1 - student, labels).value == -1.0
    # Two networks that are always right have nothing to be consistent about.
    assert math.isnan(consistency_tally(labels, labels, labels).value)


def test_a_perfect_teacher_makes_no_mistakes(examined):
    exam = examined(count=40)
    exam.material.labels.copy_(exam.predictions(exam.panel.teacher, exam.material))
    answer = mistakes(exam)
    assert answer.evidence[1].constants == {"teacher_mistakes": 0}
    assert all(math.isnan(tally.value) for tally in answer.evidence[1].tallies.values())
