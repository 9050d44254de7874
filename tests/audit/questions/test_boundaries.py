import pytest

from limbeck.audit.questions.boundaries import boundaries
from limbeck.errors import DataError

SMALL = {"triplets": 6, "resolution": 9, "margin_images": 20}


def test_the_same_network_cuts_the_same_regions(examined, room):
    exam = examined()
    answer = boundaries(exam, **SMALL)
    room.checked(answer)
    one = answer.evidence[0]
    assert one.tallies["same-s0"].value == 1.0
    assert one.tallies["same-s0"].count == 6
    assert one.tallies["other-s0"].value < 0.75
    assert answer.numbers["margin_correlation"]["same"] == pytest.approx(1.0)
    again = boundaries(exam, **SMALL).evidence[0]
    assert again.tallies["other-s0"].columns.equal(one.tallies["other-s0"].columns)


def test_two_classes_span_no_plane(examined):
    exam = examined(count=40)
    exam.material.labels.clamp_(max=1)
    with pytest.raises(DataError, match="three classes, and images has 2"):
        boundaries(exam, **SMALL)
