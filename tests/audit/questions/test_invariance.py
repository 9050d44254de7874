import pytest
import torch

from limbeck.audit.questions import invariance
from limbeck.errors import ConfigError

ASKED = {
    "colour": {"strengths": (0.0, 0.4), "at": 0.4},
    "crops": {"areas": (0.4, 1.0), "at": 0.4},
    "shifts": {"shares": (0.0, 0.2), "at": 0.2},
    "rotation": {"degrees": (0, 20), "at": 20},
    "scale": {"factors": (1.0, 0.6), "at": 0.6},
}
NOTHING = {"colour": "0", "crops": "1", "shifts": "0", "rotation": "0", "scale": "1"}


@pytest.mark.parametrize("name", ASKED)
def test_agreement_with_oneself_and_with_the_teacher(room, name):
    answer = getattr(invariance, name)(room.sitting(), **ASKED[name], images=150)
    room.checked(answer)
    found = {evidence.measure: evidence for evidence in answer.evidence}
    assert set(found) == {"agreement", f"agreement_{NOTHING[name]}", "consensus"}
    assert [evidence.measure for evidence in answer.evidence if evidence.primary] == ["agreement"]
    for tally in found[f"agreement_{NOTHING[name]}"].tallies.values():
        assert tally.value == 1.0
        assert tally.count == 150
    assert found["agreement"].tallies["teacher"].value < 1
    assert found["consensus"].tallies["same-s0"].value == 1.0
    assert found["consensus"].tallies["other-s0"].value < 0.5
    figure = answer.figures[name]
    assert [line["label"] for line in figure["series"]] == ["teacher", "same", "other", "control"]
    assert found["agreement"].constants["images"] == 150


def test_the_same_for_any_batch_size(room):
    exam = room.sitting()
    object.__setattr__(exam, "batch_size", 17)
    first, second = (invariance.colour(one, strengths=(0.4,), images=100) for one in (exam, room.sitting()))
    for name, tally in first.evidence[0].tallies.items():
        assert torch.equal(tally.columns, second.evidence[0].tallies[name].columns)
    assert not first.figures


def test_grey_images_without_controls(room):
    exam = room.sitting(shape=(1, 8, 8), controls=False)
    for name in ASKED:
        answer = getattr(invariance, name)(exam, images=50)
        assert "control-s0" not in answer.evidence[0].tallies


def test_needs_a_strength(room):
    with pytest.raises(ConfigError, match="at least one strength"):
        invariance.rotation(room.sitting(), degrees=())
