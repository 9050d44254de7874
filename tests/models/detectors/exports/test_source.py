"""How a copy is compared with the detector."""

from __future__ import annotations

import pytest
import torch

from limbeck.errors import ModelError, ShapeError
from limbeck.models.detectors import predict
from limbeck.models.detectors.exports.candidates import candidates_of, decider
from limbeck.models.detectors.exports.source import compare_boxes, difference_of, open_detector
from limbeck.models.detectors.exports.suppression import Detections


def copy_of(source):
    def call(image, threshold):
        part = decider(source.detector)
        before = part.score_thresh
        part.score_thresh = before if threshold is None else threshold
        try:
            return predict(source.detector, [image])[0]
        finally:
            part.score_thresh = before

    return call


def test_objects_are_paired_whatever_their_order():
    boxes = torch.tensor([[0.0, 0, 10, 10], [5.0, 5, 20, 20]])
    wanted = {"boxes": boxes, "labels": torch.tensor([0, 1]), "scores": torch.tensor([0.5, 0.5])}
    turned = {name: value.flip(0) for name, value in wanted.items()}
    assert difference_of(wanted, turned) == 0
    assert difference_of(wanted, {**turned, "boxes": turned["boxes"] + 2}) == pytest.approx(0.1)
    assert difference_of(wanted, {**turned, "labels": torch.tensor([2, 2])}) == float("inf")
    assert difference_of(wanted, {name: value[:1] for name, value in wanted.items()}) == float("inf")
    assert difference_of(wanted, {**turned, "scores": turned["scores"] * float("nan")}) == float("inf")
    none = {name: value[:0] for name, value in wanted.items()}
    assert difference_of(none, none) == 0


def test_where_nothing_is_found_a_lower_threshold_is_compared_too(certain_file):
    source = open_detector(certain_file)
    source.detector.score_thresh = 0.9999
    compared = compare_boxes(source, copy_of(source), reader="a copy", tolerance=1e-5)
    assert "objects above a score of 0." in str(compared)
    assert source.detector.score_thresh == 0.9999
    assert compared.difference == 0

    def wrong(image, threshold):
        found = copy_of(source)(image, threshold)
        return {**found, "boxes": found["boxes"] * 1.01}

    with pytest.raises(ModelError, match=r"objects that differ by up to 0\.01"):
        compare_boxes(source, wrong, reader="a copy", tolerance=1e-5)


def test_what_rounding_decides_is_left_out(certain_file):
    source = open_detector(certain_file)
    (found,) = predict(source.detector, [source.images[0]])
    source.detector.score_thresh = float(found["scores"][2])  # the third is not above it, by nothing

    def careless(image, threshold):
        return copy_of(source)(image, 0.0)

    def copy(image, threshold):
        if image is source.images[0] and threshold is None:
            return {name: value[:3] for name, value in found.items()}
        return copy_of(source)(image, threshold)

    assert compare_boxes(source, copy, reader="a copy", tolerance=1e-5).images == len(source.images) - 1
    with pytest.raises(ModelError, match=r"finds \d+ objects where the detector finds"):
        compare_boxes(source, careless, reader="a copy", tolerance=1e-5)


def test_a_copy_that_cannot_be_run(certain_file):
    def broken(image, threshold):
        raise ValueError("no such operator\nat line 3")

    with pytest.raises(ModelError, match=r"a copy cannot run it \(ValueError: no such operator\)"):
        compare_boxes(open_detector(certain_file), broken, reader="a copy", tolerance=1e-5)


def test_sizes_and_images_are_checked(certain_file):
    with pytest.raises(ShapeError, match="height and width"):
        open_detector(certain_file, size=(64,))
    with pytest.raises(ShapeError, match=r"in \[0, 1\]"):
        open_detector(certain_file, images=[torch.full((3, 64, 64), 2.0)])
    with pytest.raises(ShapeError, match="at least one image"):
        open_detector(certain_file, images=[])
    assert [tuple(image.shape) for image in open_detector(certain_file, size=(50, 80)).images] == [(3, 50, 80)] * 5


@pytest.mark.parametrize("case", ["small_ssd", "ssd", "retinanet", "fcos", "fcos_bins", "faster_rcnn"])
def test_the_graph_finds_what_the_detector_finds(detector_file, pictures, case):
    source = open_detector(detector_file(case), size=(70, 110))
    graph = Detections(candidates_of(source.detector, source.size))
    for image in pictures(70, 110)[:2]:
        with torch.no_grad():
            found = graph(image[None])
        (wanted,) = predict(source.detector, [image])
        assert len(wanted["scores"])
        assert difference_of(wanted, found) == 0


def test_other_networks_are_no_detectors():
    with pytest.raises(ModelError, match="a Linear cannot be captured"):
        candidates_of(torch.nn.Linear(1, 1), (8, 8))
