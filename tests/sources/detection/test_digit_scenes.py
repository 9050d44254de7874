import pytest
import torch

from limbeck.errors import ConfigError
from limbeck.protocols import DetectionSource
from limbeck.sources.detection import digit_scenes
from limbeck.sources.detection.digit_scenes import _scans


def test_scenes(sample_facts):
    source = digit_scenes(count=20)
    assert isinstance(source, DetectionSource)
    assert source.class_names == tuple("0123456789")
    assert source.box_counts == tuple(len(source[i].boxes) for i in range(20))
    for i in range(20):
        facts = sample_facts(source[i])
        assert (facts["id"], facts["shape"]) == (i, (96, 96))
        assert 1 <= len(facts["boxes"]) <= 6
        assert all(0 <= x1 < x2 <= 96 and 0 <= y1 < y2 <= 96 for x1, y1, x2, y2 in facts["boxes"])
        assert facts["areas"] == [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in facts["boxes"]]


def test_a_scene_is_a_function_of_split_and_number():
    first, more = digit_scenes(count=3), digit_scenes(count=9)
    assert torch.equal(first[2].image, more[2].image)
    assert torch.equal(first[2].boxes, more[2].boxes)
    for other in (digit_scenes(count=3, split="test"), digit_scenes(count=3, seed=1)):
        assert not torch.equal(first[2].image, other[2].image)
    assert first.fingerprint == digit_scenes(count=3).fingerprint != more.fingerprint
    state = torch.get_rng_state()
    digit_scenes(count=1, seed=5)[0]
    assert torch.equal(torch.get_rng_state(), state)


def test_no_scan_is_in_two_splits():
    from limbeck.sources import digits

    parts = {split: _scans(split)[0] for split in ("train", "validation", "test")}
    assert {split: len(scans) for split, scans in parts.items()} == {"train": 1297, "validation": 249, "test": 251}
    whole = (digits(split="train").images[:, 0].float() / 255 * 16).round() / 16
    assert torch.equal(parts["train"], whole)
    held = (digits(split="test").images[:, 0].float() / 255 * 16).round() / 16
    both = torch.cat((parts["validation"], parts["test"]))
    assert sorted(both.flatten(1).tolist()) == sorted(held.flatten(1).tolist())


def test_boxes_bound_the_ink():
    # Without fragments and noise, on even ground, whatever differs from it is a digit.
    source = digit_scenes(count=6, objects=(1, 1), clutter=0, noise=0)
    for i in range(6):
        image, (box,) = source[i].image.float(), source[i].boxes.int().tolist()
        x1, y1, x2, y2 = box
        inside = torch.zeros(96, 96, dtype=torch.bool)
        inside[y1:y2, x1 : x2 + 1] = True  # the step at the end is seen one pixel later
        steps = (image[:, :, 1:] - image[:, :, :-1]).abs().sum(0)
        sharp = steps > 60  # the ground is smooth
        assert sharp.any()
        assert bool(inside[:, 1:][sharp].all())


@pytest.mark.parametrize("overlap", [0.0, 0.3])
def test_overlap_is_limited(overlap):
    source = digit_scenes(count=30, objects=(6, 9), overlap=overlap)
    most = 0.0
    for i in range(30):
        boxes = source[i].boxes
        corner, end = (
            torch.maximum(boxes[:, None, :2], boxes[:, :2]),
            torch.minimum(boxes[:, None, 2:], boxes[:, 2:]),
        )
        shared = (end - corner).clamp(min=0).prod(2).fill_diagonal_(0)
        areas = source[i].areas
        most = max(most, float((shared / torch.minimum(areas[:, None], areas)).max()))
    assert most <= overlap + 1e-6
    assert (most > 0) == (overlap > 0)


def test_sizes_follow_the_scale():
    source = digit_scenes(count=60, scale=(1.0, 4.0), objects=(2, 4))
    heights = torch.cat([source[i].boxes[:, 3] - source[i].boxes[:, 1] for i in range(60)])
    assert heights.min() <= 9
    assert 27 <= heights.max() <= 32
    labels = torch.cat([source[i].labels for i in range(60)])
    assert len(labels.unique()) == 10


def test_empty_scenes_are_allowed():
    source = digit_scenes(count=12, objects=(0, 1))
    assert 0 in source.box_counts
    assert all(source[i].boxes.shape[1] == 4 for i in range(12))


def test_settings_are_checked():
    with pytest.raises(ConfigError, match=r"do not fit into 20 pixels; scale ends at 2.5 at most"):
        digit_scenes(size=20)
    with pytest.raises(ConfigError, match=r"objects has the smaller number first; got 3 and 2"):
        digit_scenes(objects=(3, 2))
    with pytest.raises(ConfigError, match="split is 'train', 'validation' or 'test', not 'val'"):
        digit_scenes(split="val")
    with pytest.raises(IndexError):
        digit_scenes(count=2)[2]
