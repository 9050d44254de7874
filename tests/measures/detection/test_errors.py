from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import ConfigError, DataError
from limbeck.measures import compare_errors, errors_by_iou, tide_errors

KINDS = ["Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"]
FULL = (0.0, 0.0, 10.0, 10.0)
AWAY = (40.0, 40.0, 50.0, 50.0)


def seen(*found):
    """Predictions of one image: (box, label, score) each."""
    boxes, labels, scores = zip(*found, strict=True) if found else ((), (), ())
    return {"boxes": list(boxes), "labels": list(labels), "scores": list(scores)}


def there(*objects, crowd=None):
    boxes, labels = zip(*objects, strict=True) if objects else ((), ())
    return {"boxes": list(boxes), "labels": list(labels)} | ({"crowd": crowd} if crowd else {})


# What the released program of TIDE, version 1.0.1, finds for these scenes, over 100 (it prints points). Scenes in
# which no recall falls on its grid of recalls, which is off by rounding.
PUBLISHED = {
    7: {
        "AP": 0.30014429044714425,
        "Cls": 0.020302169025462467,
        "Loc": 0.17538554194786005,
        "Both": 0.021902888244120042,
        "Dupe": 0.012524444913786823,
        "Bkg": 0.06943766774867516,
        "Miss": 0.05924438597705905,
        "FalsePos": 0.30051577555945647,
        "FalseNeg": 0.14081081185041572,
    },
    37: {
        "AP": 0.12682696841112678,
        "Cls": 0.05354876146955357,
        "Loc": 0.12508069488267506,
        "Both": 0.0005440104450005379,
        "Dupe": 0.016437358021516565,
        "Bkg": 0.05005071935765022,
        "Miss": 0.10513908533710525,
        "FalsePos": 0.2560113154172561,
        "FalseNeg": 0.2225365393682226,
    },
}


@pytest.mark.parametrize("seed", PUBLISHED)
def test_as_the_published_program(seed, draw_scenes) -> None:
    errors = tide_errors(*draw_scenes(seed, crowds=True), classes=3)
    assert {"AP": errors.AP, **errors.dAP} == pytest.approx(PUBLISHED[seed], abs=1e-12)


ONE_ERROR = {
    # An object of class 0, a detection that calls it 1; class 1 has an object too, found, so that it counts.
    "Cls": (seen((FULL, 1, 0.6), (AWAY, 1, 0.9)), there((FULL, 0), (AWAY, 1)), 0.5),
    "Loc": (seen(((0, 0, 10, 4), 0, 0.6), (AWAY, 1, 0.9)), there((FULL, 0), (AWAY, 1)), 0.5),
    # Not repaired into a hit: the gain is only that the alarm, better scored than the hit, is gone.
    "Both": (seen(((0, 0, 10, 4), 1, 0.9), (FULL, 0, 0.8), (AWAY, 1, 0.6)), there((FULL, 0), (AWAY, 1)), 0.25),
    "Dupe": (
        seen((FULL, 0, 0.9), ((0, 0, 10, 9), 0, 0.8), (AWAY, 0, 0.7)),
        there((FULL, 0), (AWAY, 0)),
        50 / 101 / 3,
    ),
    "Bkg": (seen((AWAY, 0, 0.9), (FULL, 0, 0.8)), there((FULL, 0)), 0.5),
    "Miss": (seen((FULL, 0, 0.9)), there((FULL, 0), (AWAY, 1)), 0.5),
}


@pytest.mark.parametrize("kind", ONE_ERROR)
def test_a_scene_with_one_error(kind) -> None:
    found, true, gain = ONE_ERROR[kind]
    errors = tide_errors([found], [true], classes=2)
    assert errors.dAP[kind] == pytest.approx(gain)
    assert pytest.approx(1 - gain) == errors.AP
    assert {name: errors.counts[name] for name in KINDS} == {name: int(name == kind) for name in KINDS}
    assert all(errors.dAP[name] == 0 for name in KINDS if name != kind)
    assert errors.counts["FalsePos"] == int(kind != "Miss")
    assert errors.counts["FalseNeg"] == int(kind in ("Cls", "Loc", "Miss"))
    if kind in ("Miss", "Cls"):
        assert errors.dAP["FalseNeg"] == pytest.approx(0.5)
    elif kind != "Loc":
        # A false positive where nothing is left to find, as after the Loc, is worth 0.
        assert errors.dAP["FalsePos"] == pytest.approx(gain)


def test_order_of_the_kinds() -> None:
    # The second detection is a duplicate of its own object and lies on one of another class: Cls comes first.
    true = there((FULL, 0), ((0, 0, 10, 11), 1))
    errors = tide_errors([seen((FULL, 0, 0.9), (FULL, 0, 0.8), ((0, 0, 10, 11), 1, 0.9))], [true], classes=2)
    assert (errors.counts["Cls"], errors.counts["Dupe"]) == (1, 0)
    # The other object is taken, so repairing takes the detection away; nothing is missed.
    assert errors.dAP["Cls"] == errors.dAP["FalsePos"]
    assert errors.counts["Miss"] == errors.counts["FalseNeg"] == 0
    # Overlap with its own class from background to foreground is Loc, even on an object of another class.
    true = there(((0, 0, 10, 30), 0), (FULL, 1))
    errors = tide_errors([seen((FULL, 0, 0.9))], [true], classes=2)
    assert (errors.counts["Loc"], errors.counts["Cls"]) == (1, 0)


def test_the_best_detection_claims_the_object_by_either_error() -> None:
    scene = seen((FULL, 1, 0.9), ((0, 0, 10, 4), 0, 0.8), (AWAY, 1, 0.95))
    errors = tide_errors([scene], [there((FULL, 0), (AWAY, 1))], classes=2)
    # The Cls is better scored and so the one that can become right; repairing the Loc only takes it away.
    assert errors.dAP["Cls"] == pytest.approx(0.5)
    assert errors.dAP["Loc"] == 0
    assert errors.counts["Miss"] == 0
    assert errors.counts["FalseNeg"] == 1


def test_crowds_are_neither_right_nor_wrong() -> None:
    true = there((FULL, 0), ((30, 30, 60, 60), 0), crowd=[False, True])
    inside = seen((FULL, 0, 0.5), (AWAY, 0, 0.9), (AWAY, 0, 0.8))
    errors = tide_errors([inside], [true], classes=2)
    assert errors.AP == 1
    assert set(errors.dAP.values()) == {0.0}
    assert set(errors.counts.values()) == {0}
    other_class = tide_errors([seen((FULL, 0, 0.5), (AWAY, 1, 0.9))], [true], classes=2)
    assert other_class.counts["Bkg"] == 1


def test_perfect_predictions(draw_scenes) -> None:
    _, truth = draw_scenes(3, images=100, classes=4)
    perfect = [
        {"boxes": torch.as_tensor(one["boxes"]), "labels": one["labels"], "scores": np.ones(len(one["labels"]))}
        for one in truth
    ]
    for errors in errors_by_iou(perfect, truth, classes=5).values():
        assert errors.AP == 1
        assert set(errors.dAP.values()) == {0.0}
        assert set(errors.counts.values()) == {0}


@given(seed=st.integers(0, 10_000), foreground=st.sampled_from([0.5, 0.75]), crowds=st.booleans())
def test_properties(draw_scenes, seed, foreground, crowds) -> None:
    predictions, truth = draw_scenes(seed, images=6, crowds=crowds)
    errors = tide_errors(predictions, truth, classes=3, foreground_iou=foreground)
    if not sum((~one["crowd"]).sum() for one in truth):
        assert np.isnan(errors.AP)
        return
    assert 0 <= errors.AP <= 1
    assert all(0 <= gain <= 1 - errors.AP + 1e-12 for gain in errors.dAP.values())
    assert sum(errors.counts[name] for name in KINDS[:-1]) == errors.counts["FalsePos"]
    assert errors.counts["Miss"] <= errors.counts["FalseNeg"]

    g = np.random.default_rng(seed)
    order = g.permutation(len(truth))
    shuffled = []
    for place in order:
        turn = g.permutation(len(predictions[place]["scores"]))
        shuffled.append({key: value[turn] for key, value in predictions[place].items()})
    again = tide_errors(shuffled, [truth[place] for place in order], classes=3, foreground_iou=foreground)
    assert again == errors


def spread_out(images=40, classes=3):
    """Perfect predictions of objects that do not touch."""
    g = np.random.default_rng(0)
    truth, predictions = [], []
    for _ in range(images):
        corner = 50.0 * np.array([[i, j] for i in range(3) for j in range(2)])
        labels = g.integers(0, classes, 6)
        truth.append({"boxes": np.concatenate([corner, corner + 20], 1), "labels": labels})
        predictions.append({**truth[-1], "scores": g.random(6)})
    return predictions, truth


def test_moved_boxes_are_errors_of_place_and_swapped_labels_of_class() -> None:
    predictions, truth = spread_out()
    last_loc, last_cls = 0.0, 0.0
    for part in (0.25, 0.5, 0.75):
        g = np.random.default_rng(1)
        chosen = [g.random(6) < part for _ in predictions]
        moved = [
            {**one, "boxes": one["boxes"] + 8 * which[:, None]}
            for one, which in zip(predictions, chosen, strict=True)
        ]
        swapped = [
            {**one, "labels": (one["labels"] + which) % 3} for one, which in zip(predictions, chosen, strict=True)
        ]
        by_place, by_class = (tide_errors(bad, truth, classes=3) for bad in (moved, swapped))
        assert by_place.dAP["Loc"] > last_loc
        assert by_class.dAP["Cls"] > last_cls
        assert by_place.dAP["Loc"] == pytest.approx(1 - by_place.AP)
        assert by_class.dAP["Cls"] == pytest.approx(1 - by_class.AP)
        assert by_place.counts["Loc"] == by_class.counts["Cls"] == sum(which.sum() for which in chosen)
        last_loc, last_cls = by_place.dAP["Loc"], by_class.dAP["Cls"]


def test_a_stricter_overlap_moves_errors_to_place() -> None:
    predictions, truth = spread_out()
    # An IoU of 0.68.
    moved = [{**one, "boxes": one["boxes"] + [2.0, 2.0, 2.0, 2.0]} for one in predictions]
    found = errors_by_iou(moved, truth, classes=3)
    assert list(found) == [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
    for iou, errors in found.items():
        assert errors == tide_errors(moved, truth, classes=3, foreground_iou=iou)
        assert (errors.AP, errors.dAP["Loc"]) == ((1, 0) if iou < 0.68 else (0, 1))


def test_images_without_boxes_and_classes_without_objects() -> None:
    nothing = tide_errors([seen()], [there()], classes=2)
    assert np.isnan([nothing.AP, *nothing.dAP.values()]).all()
    assert set(nothing.counts.values()) == {0}
    blind = tide_errors([seen(), seen()], [there((FULL, 1), (AWAY, 0)), there()], classes=3)
    assert (blind.AP, blind.dAP["Miss"], blind.dAP["FalseNeg"]) == (0, 1, 1)
    assert blind.counts["Miss"] == 2
    alarms = tide_errors([seen((FULL, 0, 0.9)), seen((FULL, 2, 1))], [there((FULL, 0)), there()], classes=3)
    assert alarms.AP == 1
    assert alarms.counts["Bkg"] == 1
    without_area = tide_errors([seen(((5, 5, 5, 5), 0, 0.9))], [there((FULL, 0))], classes=1)
    assert without_area.counts["Bkg"] == 1


def test_many_images_at_once_or_few(monkeypatch, draw_scenes) -> None:
    predictions, truth = draw_scenes(2, images=30, crowds=True)
    errors = tide_errors(predictions, truth, classes=3)
    monkeypatch.setattr("limbeck.measures.detection.matching.IMAGES", 4)
    assert tide_errors(predictions, truth, classes=3) == errors


def test_only_the_best_detections_of_an_image_count() -> None:
    found = seen((AWAY, 0, 0.3), (FULL, 0, 0.9))
    assert tide_errors([found], [there((FULL, 0))], classes=1, max_detections=1).counts["FalsePos"] == 0
    assert tide_errors([found], [there((FULL, 0))], classes=1).counts["FalsePos"] == 1


def test_compare_errors() -> None:
    true = [there((FULL, 0), (AWAY, 1))]
    before = tide_errors([ONE_ERROR["Cls"][0]], true, classes=2)
    after = tide_errors([ONE_ERROR["Loc"][0]], true, classes=2)
    rows = compare_errors(before, after)
    assert [row.category for row in rows] == [*KINDS, "FalsePos", "FalseNeg"]
    assert rows[0] == ("Cls", 0.5, 0.0, -0.5)
    assert rows[1] == ("Loc", 0.0, 0.5, 0.5)
    with pytest.raises(ConfigError, match=r"compare_errors: .*\(0.5, 0.1\) and of \(0.7, 0.1\) do not compare"):
        compare_errors(before, tide_errors([seen()], true, classes=2, foreground_iou=0.7))


BAD = [
    ({"boxes": [FULL], "labels": [0]}, there(), "image 1, predictions: 'scores' is missing; it has boxes, labels"),
    (seen((FULL, 0, float("nan"))), there(), "image 1, predictions: 'scores' has a value that is not finite"),
    (seen((FULL, 2, 0.5)), there(), "predictions: label 2, but the labels of 2 classes are 0 to 1"),
    (seen(), there((FULL, -1)), "ground truth: label -1"),
    (
        seen(),
        there(((30, 30, 9, 9), 0)),
        "ground truth: box 0 is .* ends before it begins; boxes are x1, y1, x2, y2",
    ),
    (seen(), {"boxes": [[0, 0, 1]], "labels": [0]}, r"'boxes' has shape \(1, 3\), not \(any, 4\)"),
    (seen(), {"boxes": [FULL], "labels": [0, 1]}, r"'labels' has shape \(2,\), not \(1,\)"),
    (seen(), {"boxes": [FULL], "labels": [0], "crowd": []}, r"'crowd' has shape \(0,\), not \(1,\)"),
]


@pytest.mark.parametrize(("found", "true", "message"), BAD)
def test_what_cannot_be_used(found, true, message) -> None:
    with pytest.raises(DataError, match=f"tide_errors: .*{message}"):
        tide_errors([seen(), found], [there(), true], classes=2)


def test_errors() -> None:
    with pytest.raises(DataError, match="predictions of 1 images and ground truth of 0"):
        tide_errors([seen()], [], classes=1)
    with pytest.raises(DataError, match="there is no image"):
        tide_errors([], [], classes=1)
    with pytest.raises(ConfigError, match="classes is 0"):
        tide_errors([seen()], [there()], classes=0)
    with pytest.raises(ConfigError, match=r"background_iou is 0.1 and foreground_iou 0.05"):
        tide_errors([seen()], [there()], classes=1, foreground_iou=0.05)
    with pytest.raises(ConfigError, match="max_detections"):
        tide_errors([seen()], [there()], classes=1, max_detections=0)
