from __future__ import annotations

import importlib
import logging

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import ConfigError, DataError, MissingExtraError
from limbeck.measures import coco_scores, errors_by_iou, tide_errors

pytest.importorskip("faster_coco_eval")
NOTHING = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64), "scores": torch.zeros(0)}
SQUARE = [[0.0, 0.0, 10.0, 10.0]]


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), classes=st.integers(1, 5), crowds=st.booleans())
def test_our_average_precision_is_coco_s(draw_scenes, seed, classes, crowds) -> None:
    predictions, truth = draw_scenes(seed, classes=classes, crowds=crowds)
    scores = coco_scores(predictions, truth, classes=classes)
    for iou, errors in errors_by_iou(predictions, truth, classes=classes).items():
        assert pytest.approx(scores.by_iou[iou], abs=1e-12, nan_ok=True) == errors.AP
    assert pytest.approx((scores.by_iou[0.5], scores.by_iou[0.75]), nan_ok=True) == (scores.AP50, scores.AP75)
    assert pytest.approx(np.mean(list(scores.by_iou.values())), nan_ok=True) == scores.AP


def test_equal_scores_and_equal_boxes_are_decided_as_coco_does(draw_scenes) -> None:
    for seed in range(10):
        predictions, truth = draw_scenes(seed, classes=2)
        predictions = [{**one, "scores": np.round(one["scores"] * 4) / 4} for one in predictions]
        truth = [{key: np.concatenate([value, value]) for key, value in one.items()} for one in truth]
        ours, theirs = tide_errors(predictions, truth, classes=2), coco_scores(predictions, truth, classes=2)
        assert pytest.approx(theirs.AP50, abs=1e-12) == ours.AP


def test_the_twelve_numbers_are_those_of_the_library(draw_scenes) -> None:
    library = importlib.import_module("faster_coco_eval")
    predictions, truth = draw_scenes(5, images=20, crowds=True)
    # Every size: the areas are given, and not those of the boxes.
    truth = [{**one, "areas": 400.0 * (1 + np.arange(len(one["labels"]))) ** 2} for one in truth]
    boxed = [{**one, "boxes": np.asarray(one["boxes"], dtype=float)} for one in truth]
    annotations = [
        {
            "image_id": place,
            "category_id": int(label) + 1,
            "bbox": [x, y, right - x, low - y],
            "area": float(area),
            "iscrowd": int(crowd),
        }
        for place, one in enumerate(boxed)
        for (x, y, right, low), label, area, crowd in zip(
            one["boxes"], one["labels"], one["areas"], one["crowd"], strict=True
        )
    ]
    for number, one in enumerate(annotations, start=1):
        one["id"] = number
    data = {
        "images": [{"id": place} for place in range(len(truth))],
        "annotations": annotations,
        "categories": [{"id": label + 1, "name": str(label)} for label in range(3)],
    }
    results = [
        {
            "image_id": place,
            "category_id": int(label) + 1,
            "bbox": [x, y, right - x, low - y],
            "score": float(score),
        }
        for place, one in enumerate(predictions)
        for (x, y, right, low), label, score in zip(
            one["boxes"].astype(float), one["labels"], one["scores"], strict=True
        )
    ]
    api = library.COCO(data)
    judge = library.COCOeval_faster(api, api.loadRes(results), "bbox")
    judge.run()
    scores = coco_scores(predictions, truth, classes=3)
    assert list(scores.numbers().values()) == pytest.approx(list(judge.all_stats[:12]), abs=1e-12)
    assert list(scores.numbers()) == [
        "AP",
        "AP50",
        "AP75",
        "APs",
        "APm",
        "APl",
        "AR1",
        "AR10",
        "AR100",
        "ARs",
        "ARm",
        "ARl",
    ]
    assert -1 not in judge.all_stats


def test_perfect_predictions_and_precision_along_recall(draw_scenes) -> None:
    _, truth = draw_scenes(3, images=30)
    perfect = [{**one, "scores": np.ones(len(one["labels"]))} for one in truth]
    scores = coco_scores(perfect, truth, classes=3, class_names=["cat", "dog", "bat"])
    assert scores.AP == scores.AR100 == 1
    assert scores.by_class == {"cat": 1, "dog": 1, "bat": 1}
    assert scores.precision[0.75]["dog"] == (1.0,) * 101

    # Right, wrong, right, and one object not found: precision 1, then 2/3, then 0.
    far = [[x, 90.0, x + 5, 95.0] for x in (10.0, 30.0, 50.0)]
    found = {"boxes": [far[0], SQUARE[0], far[1]], "labels": [0, 0, 0], "scores": [0.9, 0.8, 0.7]}
    scores = coco_scores([found], [{"boxes": far, "labels": [0, 0, 0]}], classes=1)
    assert scores.precision[0.5]["0"] == pytest.approx((1,) * 34 + (2 / 3,) * 33 + (0,) * 34)
    assert pytest.approx(np.mean(scores.precision[0.5]["0"])) == scores.AP50
    assert pytest.approx((1 / 3, 2 / 3)) == (scores.AR1, scores.AR10)


def test_nothing_predicted_nothing_there() -> None:
    truth = [{"boxes": SQUARE, "labels": [1]}, {"boxes": [], "labels": []}]
    blind = coco_scores([NOTHING, NOTHING], truth, classes=3, class_names=["a", "b", "c"])
    assert (blind.AP, blind.AP50, blind.AR100, blind.APs) == (0, 0, 0, 0)
    assert np.isnan([blind.APm, blind.APl, blind.by_class["a"], blind.precision[0.5]["c"][0]]).all()
    assert blind.by_class["b"] == 0
    empty = coco_scores([NOTHING], [{"boxes": [], "labels": []}], classes=1)
    assert np.isnan([*empty.numbers().values(), *empty.by_iou.values()]).all()
    alarm = {"boxes": SQUARE, "labels": [0], "scores": [0.9]}
    found = coco_scores([alarm, alarm], [{"boxes": SQUARE, "labels": [0]}, {"boxes": [], "labels": []}], classes=2)
    assert found.AP == 1
    assert np.isnan(found.by_class["1"])


def test_crowds_and_areas() -> None:
    crowd = {"boxes": [[0, 0, 40, 40], [60, 60, 70, 70]], "labels": [0, 0], "crowd": [True, False]}
    found = {"boxes": [[5, 5, 9, 9], [60, 60, 70, 70]], "labels": [0, 0], "scores": [0.9, 0.5]}
    assert coco_scores([found], [crowd], classes=1).AP == 1
    assert coco_scores([found], [{**crowd, "crowd": [False, False]}], classes=1).AP < 0.6
    only = {"boxes": SQUARE, "labels": [0]}
    exact = {**only, "scores": [0.5]}
    by_box, by_area = (coco_scores([exact], [one], classes=1) for one in (only, {**only, "areas": [5000.0]}))
    assert (by_box.APs, by_area.APm) == (1, 1)
    assert np.isnan([by_box.APm, by_area.APs]).all()


def test_order_does_not_matter(draw_scenes) -> None:
    predictions, truth = draw_scenes(11)
    scores = coco_scores(predictions, truth, classes=3)
    turned = [{key: value[::-1].copy() for key, value in one.items()} for one in predictions[::-1]]
    again = coco_scores(turned, truth[::-1], classes=3)
    assert again.precision == scores.precision
    assert again.by_iou == scores.by_iou
    assert again.numbers() == pytest.approx(scores.numbers(), nan_ok=True)


def test_nothing_is_printed_and_nothing_given_is_changed(capfd, caplog, draw_scenes) -> None:
    predictions, truth = draw_scenes(1)
    before = [one["boxes"].copy() for one in predictions]
    with caplog.at_level(logging.INFO):
        coco_scores(predictions, truth, classes=3)
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert all((one["boxes"] == old).all() for one, old in zip(predictions, before, strict=True))


def test_errors(monkeypatch) -> None:
    truth = [{"boxes": SQUARE, "labels": [0]}]
    with pytest.raises(ConfigError, match="2 classes need as many distinct names, not \\['a', 'a'\\]"):
        coco_scores([NOTHING], truth, classes=2, class_names=["a", "a"])
    with pytest.raises(DataError, match="coco_scores: predictions of 2 images and ground truth of 1"):
        coco_scores([NOTHING, NOTHING], truth, classes=2)
    monkeypatch.setitem(importlib.sys.modules, "faster_coco_eval", None)
    with pytest.raises(MissingExtraError, match=r"coco_scores needs .*pip install 'limbeck\[detect\]'"):
        coco_scores([NOTHING], truth, classes=2)
