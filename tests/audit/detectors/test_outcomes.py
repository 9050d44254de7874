"""What becomes of objects."""

from __future__ import annotations

import torch

from limbeck.audit.detectors.outcomes import OUTCOMES, best, outcomes_of, threshold_for

BOX = [10.0, 10.0, 20.0, 20.0]


def truth(boxes=(BOX,), labels=(1,), crowd=None):
    one = {"boxes": torch.tensor(boxes), "labels": torch.tensor(labels)}
    return [{**one, "crowd": torch.tensor(crowd or [False] * len(boxes))}]


def found(boxes, labels, scores):
    return [
        {
            "boxes": torch.tensor(boxes).reshape(-1, 4),
            "labels": torch.tensor(labels, dtype=torch.int64),
            "scores": torch.tensor(scores),
        }
    ]


def judged(predictions, objects, threshold=0.5):
    return outcomes_of(predictions, objects, classes=3, threshold=threshold)


def words(outcome):
    return [OUTCOMES[kind] for kind in outcome.outcomes.tolist()]


class TestOutcomes:
    def test_every_kind(self):
        shifted = [17.0, 10.0, 27.0, 20.0]
        cases = {
            "found": ([BOX], [1]),
            "class": ([BOX], [2]),
            "place": ([shifted], [1]),
            "both": ([shifted], [0]),
            "missed": ([[40.0, 40.0, 50.0, 50.0]], [1]),
        }
        for word, (boxes, labels) in cases.items():
            assert words(judged(found(boxes, labels, [0.9]), truth())) == [word]

    def test_a_seen_class_goes_before_a_bad_place(self):
        two = found([BOX, [17.0, 10.0, 27.0, 20.0]], [2, 1], [0.9, 0.8])
        assert words(judged(two, truth())) == ["class"]

    def test_the_right_detection_of_a_neighbour_is_no_attempt(self):
        neighbour = [14.0, 10.0, 24.0, 20.0]
        outcome = judged(found([neighbour], [1], [0.9]), truth([BOX, neighbour], [1, 1]))
        assert words(outcome) == ["missed", "found"]

    def test_low_scores_count_for_nothing_but_the_score(self):
        outcome = judged(found([BOX], [1], [0.3]), truth())
        assert words(outcome) == ["missed"]
        assert outcome.said.tolist() == [3]
        torch.testing.assert_close(outcome.scores, torch.tensor([0.3], dtype=torch.float64), atol=1e-6, rtol=0)
        assert outcome.boxes[0].tolist() == BOX
        assert len(outcome.kept[0]["scores"]) == 0

    def test_the_most_certain_wrong_class_is_what_it_says(self):
        outcome = judged(found([BOX, BOX], [0, 2], [0.9, 0.8]), truth())
        assert outcome.said.tolist() == [0]

    def test_without_detections_and_without_objects(self):
        nothing = found(torch.zeros(0, 4).tolist(), [], [])
        outcome = judged(nothing, truth())
        assert words(outcome) == ["missed"]
        assert outcome.scores.tolist() == [0]
        assert bool(outcome.boxes.isnan().all())
        empty = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}]
        assert judged(found([BOX], [1], [0.9]), empty).false[0].tolist() == [True]

    def test_false_alarms_are_wrong_boxes_and_duplicates_outside_crowds(self):
        objects = truth([BOX, [40.0, 40.0, 60.0, 60.0]], [1, 2], [False, True])
        boxes = [BOX, BOX, [45.0, 45.0, 50.0, 50.0], [45.0, 45.0, 50.0, 50.0]]
        outcome = judged(found(boxes, [1, 1, 2, 1], [0.9, 0.8, 0.7, 0.6]), objects)
        assert outcome.false[0].tolist() == [False, True, False, True]
        assert words(outcome) == ["found"]  # a crowd is no object

    def test_images_of_any_number_of_objects_keep_their_order(self):
        many = truth() * 70 + truth([BOX, [40.0, 40.0, 50.0, 50.0]], [1, 2])
        outcome = judged(found([BOX], [1], [0.9]) * 71, many)
        assert words(outcome) == ["found"] * 71 + ["missed"]
        assert len(outcome.false) == 71


def test_best_are_in_order():
    (one,) = best(found([BOX] * 3, [0, 1, 2], [0.2, 0.9, 0.5]), 2)
    assert one["labels"].tolist() == [1, 2]


def test_threshold_leaves_as_many_as_objects():
    predictions = found([BOX] * 3, [0, 1, 2], [0.25, 0.75, 0.5])
    assert threshold_for(predictions, 2) == 0.5
    assert threshold_for(predictions, 9) == 0.25
    assert threshold_for(found([], [], []), 3) == 1.0
