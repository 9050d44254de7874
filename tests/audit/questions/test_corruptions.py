import pytest

from limbeck.audit.questions.corruptions import corruptions
from limbeck.errors import ConfigError, UnknownNameError

FEW = ("gaussian_noise", "fog", "pixelate")


def test_agreement_and_accuracy(room):
    answer = corruptions(room.sitting(), names=FEW, severities=(1, 5), images=100)
    room.checked(answer)
    agreement, accuracy, *others = answer.evidence
    assert (agreement.measure, agreement.kind, agreement.primary) == ("agreement", "likeness", True)
    assert agreement.tallies["same-s0"].value == 1.0
    assert agreement.tallies["other-s0"].value < 0.5
    assert (accuracy.measure, accuracy.kind, accuracy.primary) == ("accuracy", "trait", True)
    assert [one.measure for one in others] == [f"accuracy_{name}" for name in FEW]
    means = [one.tallies["teacher"].value for one in others]
    assert accuracy.tallies["teacher"].value == pytest.approx(sum(means) / 3)
    assert answer.numbers["mce"]["control"] == pytest.approx(1.0)
    assert set(answer.figures) == {"accuracy_by_severity", "agreement_by_severity"}
    assert [row["network"] for row in answer.tables["corruptions"]["rows"]] == [
        "teacher",
        "same",
        "other",
        "control",
    ]


def test_all_fifteen_on_small_grey_images_without_controls(room):
    answer = corruptions(room.sitting(shape=(1, 8, 8), count=20, controls=False), severities=(3,))
    assert len(answer.evidence) == 17
    assert answer.numbers["mce"] == {}
    assert not answer.figures


def test_refuses_unknown_names_and_severities(room):
    exam = room.sitting(count=10)
    with pytest.raises(UnknownNameError, match="unknown corruption 'fogg'"):
        corruptions(exam, names=("fogg",))
    with pytest.raises(ConfigError, match="severities are of 1 to 5"):
        corruptions(exam, severities=(0,))
