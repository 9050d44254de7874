"""Questions about detectors: what is the same, what is chance, what is neither."""

from __future__ import annotations

import math

import pytest
import torch

from limbeck.audit.detectors import ask_detectors, boxes, errors, false_alarms, found_alike, localisation
from limbeck.audit.detectors._registry import FILES
from limbeck.audit.detectors.boxes import offsets_of
from limbeck.errors import UnknownNameError

TOLD = ("found_alike", "errors", "boxes", "false_alarms")


def numbers(answer, name):
    """Measure -> value of one network, of the likenesses."""
    return {e.measure: e.tallies[name].value for e in answer.evidence if e.kind == "likeness"}


class TestTheSameDetector:
    def test_all_it_says_is_alike(self, scenes, finding, sitting):
        source = scenes(count=20)
        same = finding(source, 0)
        exam = sitting(source, same, [same], [finding(source, 1)], score=0.5)
        for answer in ask_detectors(exam, {name: {} for name in TOLD}).values():
            for measure, value in numbers(answer, "kd-s0").items():
                wanted = pytest.approx(1.0, abs=1e-6)
                assert value == wanted, measure
            assert all(value < 1 for value in numbers(answer, "control-s0").values())

    def test_it_looks_at_the_same_places(self, scenes, detectors, sitting):
        nets = [detectors("small_ssd") for _ in range(2)]
        exam = sitting(scenes(count=8), nets[0], nets[1:], [detectors("small_ssd", seed=5)], foreground_iou=0.2)
        answer = localisation(exam, images=8, objects=4)
        assert numbers(answer, "kd-s0") == pytest.approx({"near_alike": 1.0, "whole_alike": 1.0, "direction": 1.0})
        assert answer.numbers["objects_with_map"]["teacher"] > 0
        for value in numbers(answer, "control-s0").values():
            assert math.isnan(value) or value < 0.999
        near = answer.evidence[0]
        assert near.specificity is not None
        assert near.specificity["kd-s0"].value < 1


class TestChance:
    def test_detectors_that_know_nothing_of_each_other(self, scenes, finding, sitting):
        source = scenes(count=200)
        exam = sitting(source, finding(source, 0), [finding(source, 1)], score=0.5)
        kinds = {**numbers(found_alike(exam), "kd-s0"), **numbers(errors(exam), "kd-s0")}
        assert kinds["kappa"] == pytest.approx(0, abs=0.12)
        assert kinds["kinds_alike"] == pytest.approx(0, abs=0.12)
        alike = numbers(boxes(exam), "kd-s0")
        assert alike["offsets"] == pytest.approx(0, abs=0.15)
        assert alike["scores"] == pytest.approx(0, abs=0.12)

    def test_an_untrained_detector_is_not_like_one_that_finds(self, scenes, finding, detectors, sitting):
        source = scenes(count=6)
        exam = sitting(source, finding(source, 0, chance=0.9), [detectors("small_ssd")])
        assert numbers(found_alike(exam), "kd-s0")["kappa"] < 0.3
        assert numbers(boxes(exam), "kd-s0")["overlap"] < 0.3
        assert numbers(false_alarms(exam), "kd-s0")["shared"] < 0.3

    def test_a_detector_that_finds_nothing(self, scenes, finding, sitting):
        source = scenes(count=6)
        nothing = [
            {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0)}
        ] * 6
        exam = sitting(source, finding(source, 0), [nothing])
        answers = ask_detectors(exam, {name: {} for name in TOLD})
        recall = next(e for e in answers["found_alike"].evidence if e.measure == "recall")
        assert recall.tallies["kd-s0"].value == 0
        assert numbers(answers["found_alike"], "kd-s0")["kappa"] == 0
        assert numbers(answers["boxes"], "kd-s0")["overlap"] == 0
        assert math.isnan(numbers(answers["boxes"], "kd-s0")["overlap_back"])


class TestFoundAlike:
    def test_mistakes_of_class_are_counted_among_those_of_the_teacher(self, scenes, finding, sitting):
        source = scenes(count=10)
        teacher = finding(source, 0, chance=1.0, confuses=0.5, shift=0.0)
        right = finding(source, 1, chance=1.0, confuses=0.0, shift=0.0)
        answer = found_alike(sitting(source, teacher, [teacher, right], score=0.5))
        mistake = next(e for e in answer.evidence if e.measure == "same_mistake")
        assert mistake.tallies["kd-s0"].value == 1
        assert mistake.tallies["kd-s1"].value == 0
        wrong = sum(int((t["labels"] != s.labels).sum()) for t, s in zip(teacher, source.samples, strict=True))
        assert mistake.constants["teacher_mistakes"] == wrong

    def test_traits_are_recalls(self, scenes, finding, sitting):
        source = scenes(count=10)
        found = [{k: v[one["labels"] != 2] for k, v in one.items()} for one in finding(source, 0, 1.0, 0.0, 0.0)]
        answer = found_alike(sitting(source, found, [found], score=0.5))
        values = {e.measure: e.tallies["teacher"].value for e in answer.evidence if e.kind == "trait"}
        twos = sum(int((s.labels == 2).sum()) for s in source.samples)
        assert values["recall"] == pytest.approx(1 - twos / sum(source.box_counts))
        assert values["worst_class"] == 0

    def test_picture_and_table(self, scenes, finding, sitting):
        source = scenes(count=10)
        teacher = finding(source, 0)
        answer = found_alike(sitting(source, teacher, [teacher], [finding(source, 1)], score=0.5))
        png, _, caption = answer.pictures["found_alike-boxes"]
        assert png.startswith(b"\x89PNG")
        assert "control-s0 does not" in caption
        row = answer.tables["found_alike-crosstab"]["rows"][0]
        assert row["teacher"] == row["mine"] == 0
        assert row["both"] + row["neither"] == sum(source.box_counts)


def test_errors_are_laid_out_by_method(scenes, finding, sitting):
    source = scenes(count=6)
    exam = sitting(source, finding(source, 0), [finding(source, n) for n in (1, 2)], [finding(source, 3)])
    answer = errors(exam)
    assert [figure["x_label"] for figure in answer.figures.values()] == ["kd", "control"]
    total = sum(map(sum, answer.figures["errors-0"]["values"]))
    assert total == 2 * sum(source.box_counts)
    shares = {e.measure: e.tallies["teacher"].value for e in answer.evidence if e.kind == "trait"}
    assert list(shares) == ["class", "place", "both", "missed"]
    kinds = answer.figures["errors-0"]["values"]
    assert shares["missed"] == pytest.approx(sum(kinds[4]) / total)


def test_a_shared_false_alarm(scenes, sitting):
    source = scenes(count=4)
    alarm = {
        "boxes": torch.tensor([[24.0, 24.0, 34.0, 34.0], [50.0, 20.0, 60.0, 30.0]]),
        "labels": torch.tensor([0, 1]),
        "scores": torch.tensor([0.9, 0.8]),
    }
    first = {key: value[:1] for key, value in alarm.items()}
    other = {**first, "labels": torch.tensor([2])}
    exam = sitting(source, [alarm] * 4, [[first] * 4, [other] * 4], score=0.5)
    answer = false_alarms(exam)
    values = {(e.measure, n): t.value for e in answer.evidence for n, t in e.tallies.items()}
    assert values["repeated", "kd-s0"] == 0.5
    assert values["shared", "kd-s0"] == pytest.approx(2 / 3)
    assert values["repeated", "kd-s1"] == values["shared", "kd-s1"] == 0
    assert values["each_image", "teacher"] == 2


class TestBoxes:
    def test_departures_are_followed_whatever_the_truth(self, scenes, finding, sitting):
        source = scenes(count=30)
        off = finding(source, 0, chance=1.0, confuses=0.0, shift=2.0)
        exact = finding(source, 1, chance=1.0, confuses=0.0, shift=2.0)
        answer = boxes(sitting(source, off, [off, exact], score=0.5))
        offsets = next(e for e in answer.evidence if e.measure == "offsets")
        assert offsets.tallies["kd-s0"].value == pytest.approx(1)
        assert abs(offsets.tallies["kd-s1"].value) < 0.3
        assert offsets.specificity is not None
        assert abs(offsets.specificity["kd-s0"].value) < 0.3

    def test_the_teacher_as_truth(self, scenes, finding, sitting):
        source = scenes(count=8)
        teacher = finding(source, 0)
        answer = boxes(sitting(source, teacher, [teacher], [finding(source, 1)], score=0.5))
        found = answer.numbers["ap50_on_teacher"]
        assert found["kd-s0"] == pytest.approx(1)
        assert found["control-s0"] < 1

    def test_boxes_without_area_are_unknown(self):
        off = offsets_of(torch.tensor([[0.0, 0.0, 0.0, 2.0]]), torch.tensor([[0.0, 0.0, 2.0, 2.0]]))
        assert off.isnan().tolist() == [[False, False, True, False]]


class TestAveragePrecision:
    def test_the_class_that_is_lost_most(self, scenes, finding, sitting):
        pytest.importorskip("faster_coco_eval")
        source = scenes(count=10)
        full = finding(source, 0, 1.0, 0.0, 0.0)
        loses = [{k: v[one["labels"] != 1] for k, v in one.items()} for one in full]
        exam = sitting(source, full, [loses, full], [full])
        answer = ask_detectors(exam, {"average_precision": {}})["average_precision"]
        assert answer.numbers["worst_class"] == {"kd-s0": "square", "kd-s1": None}
        assert answer.numbers["worst_class_ap_drop"] == pytest.approx({"kd-s0": 1.0, "kd-s1": 0.0})
        assert answer.numbers["AP"]["teacher"] == pytest.approx(1)
        rows = answer.tables["average_precision-classes"]["rows"]
        assert [row["class"] for row in rows] == ["all", "circle", "square", "cross"]

    def test_without_the_library(self, scenes, finding, sitting, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "faster_coco_eval", None)
        source = scenes(count=5)
        exam = sitting(source, finding(source, 0, 1.0, 0.0, 0.0), [finding(source, 1)])
        answer = ask_detectors(exam, {"average_precision": {}})["average_precision"]
        assert list(answer.numbers) == ["AP50"]
        assert answer.numbers["AP50"]["teacher"] == pytest.approx(1)


def test_everything_is_asked_of_real_detectors(scenes, detectors, sitting):
    source = scenes(count=4, crowd=True)
    exam = sitting(source, detectors("small_ssd"), [detectors("small_ssd", seed=1)])
    said = []
    object.__setattr__(exam, "note", said.append)
    answers = ask_detectors(exam)
    assert list(answers) == list(FILES)
    rows = {t.columns.shape[0] for a in answers.values() for e in a.evidence for t in e.tallies.values()}
    assert rows == {len(source)}
    assert said[0] == "found_alike"
    names = [e.name for a in answers.values() for e in a.evidence]
    assert len(names) == len(set(names))


def test_no_such_question(scenes, finding, sitting):
    source = scenes(count=3)
    exam = sitting(source, finding(source, 0), [finding(source, 1)])
    with pytest.raises(UnknownNameError):
        ask_detectors(exam, {"found": {}})
