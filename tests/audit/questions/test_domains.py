from dataclasses import replace

import pytest

from limbeck.audit.questions.domains import domains
from limbeck.errors import ConfigError


def test_consensus_and_accuracy_elsewhere(examined, room):
    exam = examined()
    away = replace(exam.material, images=255 - exam.material.images, name="negative")
    answer = domains(replace(exam, domains={"negative": away}), images=100)
    by_name = {one.measure: one for one in answer.evidence}
    assert by_name["consensus_negative"].primary
    assert not by_name["consensus_seen"].primary
    for key in ("seen", "negative"):
        assert by_name[f"consensus_{key}"].tallies["same-s0"].value == 1.0
        assert by_name[f"kappa_{key}"].tallies["same-s0"].value == pytest.approx(1.0)
        assert by_name[f"consensus_{key}"].tallies["other-s0"].value < 0.6
    accuracy = by_name["accuracy_negative"].tallies
    assert accuracy["teacher"].value == accuracy["same-s0"].value
    rows = answer.tables["domains"]["rows"]
    assert {row["domain"] for row in rows} == {"images", "negative"}
    assert next(row for row in rows if row["method"] == "teacher")["consensus"] is None


def test_classes_that_a_domain_lacks_are_told(examined):
    exam = examined(count=60)
    away = replace(exam.material, labels=exam.material.labels.clamp(max=2), name="three")
    answer = domains(replace(exam, domains={"three": away}))
    note = next(one.note for one in answer.evidence if one.measure == "accuracy_three")
    assert note == "Images of 3 of the 4 classes."


def test_no_domain(examined):
    with pytest.raises(ConfigError, match=r"needs images of another distribution.*--domain sketch=PATH"):
        domains(examined(count=40))
