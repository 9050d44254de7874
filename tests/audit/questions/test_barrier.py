from dataclasses import replace

import pytest
from torch import nn

from limbeck.audit.questions.barrier import barrier
from limbeck.audit.subjects import Network, Panel
from limbeck.errors import ConfigError, ModelError


def test_no_barrier_between_a_network_and_itself(examined, room):
    exam = examined(count=120)
    before = {one.name: one.network.model.fc.weight.clone() for one in exam.panel}
    answer = barrier(exam, points=5)
    room.checked(answer)
    one = answer.evidence[0]
    assert one.tallies["same-s0"].value == pytest.approx(0.0, abs=1e-6)
    assert one.tallies["control-s0"].value > 0.05
    assert all(one.network.model.fc.weight.equal(before[one.name]) for one in exam.panel)


def test_another_architecture_and_too_few_points(examined):
    exam = examined(count=20)
    with pytest.raises(ConfigError, match="2 ends"):
        barrier(exam, points=1)
    teacher = exam.panel.teacher
    other = Network(nn.Sequential(nn.Flatten(), nn.Linear(144, 4)), teacher.network.data)
    panel = Panel(teacher, (replace(exam.panel.students[0], network=other),))
    with pytest.raises(ModelError, match="architecture"):
        barrier(replace(exam, panel=panel))
