"""Judged audits: what conditions can ask for, sentences, tables, and the file."""

from __future__ import annotations

import json
import math

import jsonschema
import pytest
import torch

from limbeck.audit.evidence import Answer, Evidence
from limbeck.audit.outcome import judged
from limbeck.audit.products import difference_in_words, number_in_words, record_of, verdict_table, write_audit
from limbeck.audit.record import AuditRecord
from limbeck.audit.tally import share
from limbeck.errors import ConfigError, UnknownNameError
from limbeck.report.tables import table_of
from limbeck.runs.folder import StageFolder

STATISTICS = {"alpha": 0.05, "correction": "holm", "draws": 200}


@pytest.fixture
def made(examined):
    """An audit of `same` (90 % alike) and `other` (50 %) against a control of 50 %."""

    def build(controls=True, numbers=None, skipped=None, questions=("fidelity", "classes")):
        panel = examined(count=20, controls=controls).panel
        draws = torch.rand(300, generator=torch.Generator().manual_seed(0))
        rates = {"same-s0": 0.9, "other-s0": 0.5, "control-s0": 0.5, "teacher": 0.95}

        def tallies(names):
            return {name: share((draws < rates[name]).double()) for name in names}

        learners = [one.name for one in panel.learners]
        alike = Evidence("fidelity", "agreement", "Same prediction", "likeness", tallies(learners), note="A note.")
        right = Evidence(
            "fidelity", "accuracy", "Accuracy", "trait", tallies(["teacher", *learners]), primary=False
        )
        profile = Evidence("classes", "profile", "Strong and weak", "likeness", tallies(learners), unit="")
        answers = {"fidelity": Answer((alike, right)), "classes": Answer((profile,), numbers=numbers or {})}
        return judged(
            panel,
            {name: answers[name] for name in questions},
            data={"name": "images", "images": 300, "classes": ["a", "b"]},
            questions=[{"name": name} for name in questions],
            statistics=STATISTICS,
            seed=3,
            skipped=skipped,
        )

    return build


def test_what_conditions_can_ask_for(made):
    audit = made(numbers={"worst_class_drop": {"same": 0.02, "other": 0.4, "control": 0.9}})
    known = audit.quantities
    assert known["accuracy"]["same"] == pytest.approx(0.9, abs=0.03)
    assert known["accuracy_drop"]["same"] == pytest.approx(0.05, abs=0.03)
    assert known["agreement"]["other"] == pytest.approx(0.5, abs=0.06)
    # Without groups the classes are the groups; the control is nobody's method.
    assert known["worst_group_drop"] == known["worst_class_drop"] == {"same": 0.02, "other": 0.4}
    assert audit.broken("worst_group_drop > 5%") == [
        "worst_group_drop>0.05 holds for other: worst_group_drop is 0.4"
    ]
    assert audit.broken("same.worst_group_drop > 5%") == []
    assert audit.broken("classes == transferred") == [
        "classes=='transferred' holds for same: classes is transferred"
    ]
    with pytest.raises(ConfigError, match="Did you mean 'worst_group_drop'"):
        audit.broken("worst_grup_drop > 5%")


def test_findings_by_name(made):
    audit = made()
    assert audit.finding("fidelity.agreement").method == "same"
    assert audit.finding("fidelity.agreement", "other").student.mean == pytest.approx(0.5, abs=0.06)
    with pytest.raises(
        UnknownNameError, match=r"no finding 'fidelity.agrement'.*Did you mean 'fidelity.agreement'"
    ):
        audit.finding("fidelity.agrement")
    with pytest.raises(UnknownNameError, match=r"of method 'kd'.*methods: same, other"):
        audit.finding("fidelity.agreement", "kd")


def test_the_outcome_in_a_sentence(made):
    assert made().summary == "Transferred, of 2 properties: same 2, other none."
    assert made(controls=False).summary.startswith("4 numbers measured; without a control")
    nobody = made(questions=())
    assert nobody.summary == "Of 0 properties none was shown to have transferred."


def test_the_table_of_verdicts(made):
    table = verdict_table(made(skipped={"barrier": "another architecture"}))
    assert table["lead"]
    assert [column["label"] for column in table["columns"]] == ["Property", "same", "other", "teacher", "control"]
    first = table["rows"][0]
    assert first["verdict_same"].startswith("✓ transferred +")
    assert "Left out: barrier (another architecture)." in table["note"]
    assert "One seed" in table["note"]
    assert table_of(table).rows
    assert verdict_table(made(controls=False))["note"].startswith("No control was given")


def test_numbers_in_words(made):
    assert number_in_words(-0.5, "") == "−0.500"
    assert number_in_words(math.inf, "nats") == "–"
    words = difference_in_words(made().finding("fidelity.agreement"))
    assert words.startswith("+")
    assert "[" in words
    assert difference_in_words(made(controls=False).finding("fidelity.agreement")) == ""


def test_everything_that_is_written(made, tmp_path, root):
    audit = made(numbers={"worst_class_drop": {"same": 0.02, "other": math.nan}})
    folder = StageFolder(tmp_path / "audit", "audit")
    write_audit(folder, audit, fail_on=["accuracy < 0.6"])
    record = json.loads((folder.path / "audit.json").read_text())
    schema = json.loads((root / "schemas" / "audit.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(record)
    (broken,) = AuditRecord.model_validate(record).broken
    assert broken.startswith("accuracy<0.6 holds for other: accuracy is 0.5")
    assert record["quantities"]["worst_class_drop"] == {"same": 0.02, "other": None}
    assert record["statistics"]["seed"] == 3
    result = folder.result()
    assert result["numbers"]["transferred"]["value"] == 2
    assert result["numbers"]["images"]["value"] == 300
    assert result["numbers"]["worst_class_drop"]["value"] == 0.02
    assert result["summary"].startswith("Not passed: accuracy<0.6")
    assert list(folder.chapters()) == ["00-fidelity", "01-classes"]
    chapter = folder.chapters()["00-fidelity"]
    assert chapter["tables"] == ["fidelity-numbers"]
    assert chapter["notes"] == ["A note."]
    assert len(chapter["lines"]) == 2
    for table in folder.tables().values():
        assert table_of(table).rows


def test_a_condition_that_cannot_be_checked_does_not_pass(made, tmp_path):
    folder = StageFolder(tmp_path / "audit", "audit")
    write_audit(folder, made(), fail_on=["nonsense > 1"])
    assert folder.finished
    assert "nonsense" in folder.result()["broken"][0]


def test_records_without_controls_are_valid_too(made, root):
    from limbeck.runs.records import finite

    record = json.loads(json.dumps(finite(record_of(made(controls=False)))))
    schema = json.loads((root / "schemas" / "audit.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(record)
    assert {one["verdict"] for one in record["findings"]} == {"cannot tell", None}
    wrong = {**record, "format": 2}
    assert not jsonschema.Draft202012Validator(schema).is_valid(wrong)
