from dataclasses import replace

import pytest
import torch

from limbeck.audit.questions.bias import bias
from limbeck.errors import DataError


@pytest.fixture
def grouped(examined):
    """Three groups; the teacher is better in the first."""
    exam = examined()
    right = exam.predictions(exam.panel.teacher, exam.material) == exam.material.labels
    groups = torch.arange(240) % 2
    groups[right & (torch.arange(240) % 4 == 1)] = 0
    groups[:4] = 2
    material = replace(exam.material, groups=groups, group_names=("women", "men", "few"))
    return replace(exam, material=material)


def test_a_bias_that_is_inherited(grouped, room):
    answer = bias(grouped)
    room.checked(answer)
    gap = answer.evidence[0].tallies
    assert gap["same-s0"].value == gap["teacher"].value > 0.1
    table = answer.tables["groups"]["rows"]
    assert [row["group"] for row in table] == ["women", "men"]
    assert max(row["teacher"] for row in table) - min(row["teacher"] for row in table) == pytest.approx(
        gap["teacher"].value
    )
    assert "few" in answer.evidence[0].note
    assert answer.numbers["worst_group_drop"]["same"] == 0.0
    assert answer.numbers["worst_group_drop"]["other"] > 0.2


def test_images_without_groups_and_groups_without_images(grouped, examined):
    with pytest.raises(DataError, match=r"'bias' needs groups, and images has none.*group_column"):
        bias(examined(count=40))
    with pytest.raises(DataError, match=r"groups of at least 500 images, and images has women: \d+, men: "):
        bias(grouped, smallest=500)


def test_the_gain_over_three_groups(grouped):
    assert set(bias(grouped, smallest=1).numbers["gain_correlation"]) == {"same", "other"}
