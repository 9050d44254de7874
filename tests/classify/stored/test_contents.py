"""Bytes, passes and shards are known before anything runs."""

from __future__ import annotations

import pytest
import torch

from limbeck.classify.stored import Views, contents_of, plan
from limbeck.classify.stored import contents as module
from limbeck.classify.stored.contents import Contents, Grid, ShardKey, grid_of
from limbeck.errors import CheckpointError, ConfigError, TapError
from limbeck.specs import Spec

FLIP = (Spec(name="flip"),)


def test_a_view_costs_what_its_tensors_take():
    full = Contents(classes=100, top=None, taps={"conv": (8, 4, 4)}, dtype="float32")
    assert full.row_bytes == 4 + 400 + 512
    top = Contents(classes=100, top=20, taps={}, dtype="bfloat16")
    assert top.row_bytes == 4 + 20 * 2 + 20 * 2 + 4
    assert Contents.from_dict(full.to_dict()) == full


def test_many_classes_need_wider_numbers():
    assert Contents(classes=40_000, top=5, taps={}, dtype="float16").tensors()["top_classes"][0] == "int32"


@pytest.mark.parametrize("top", [10, 11])
def test_as_many_logits_as_classes_are_refused(top):
    with pytest.raises(ConfigError, match="use at most 9, or full"):
        Contents(classes=10, top=top, taps={}, dtype="float32")


def test_damaged_contents_are_an_error():
    with pytest.raises(CheckpointError, match="damaged"):
        Contents.from_dict({"classes": 10, "top": None, "taps": {}, "dtype": "float8"})


def test_without_augmentation_one_pass_serves_all():
    contents = Contents(classes=10, top=None, taps={}, dtype="float16")
    one = plan(contents, Views(seeds=(0, 1), epochs=200), samples=1000, batch_size=64)
    many = plan(contents, Views(seeds=(0, 1), epochs=200, augment=FLIP), samples=1000, batch_size=64)
    assert (one.passes, one.images, one.shards) == (1, 1000, 1)
    assert (many.passes, many.images, many.shards) == (400, 400_000, 400)
    assert many.bytes == 400 * one.bytes
    assert "400 passes of the teacher over 1,000 images" in str(many)


def test_shards_are_whole_batches_and_cover_every_image_once(monkeypatch):
    monkeypatch.setattr(module, "SHARD_BYTES", 44 * 7)
    contents = Contents(classes=10, top=None, taps={}, dtype="float32")
    grid = grid_of(contents, samples=20, batch_size=3)
    assert grid == Grid(20, 6)
    assert [i for part in range(grid.parts) for i in grid.span(part)] == list(range(20))
    keys = list(grid.keys(Views(seeds=(3,), epochs=2, augment=FLIP)))
    assert len({key.file_name for key in keys}) == len(keys) == 8
    assert ShardKey(None, None, 2).file_name == "all-part0002.safetensors"


def test_shapes_are_read_off_the_teacher(teacher):
    contents = contents_of(teacher, top=4, taps=["conv", "fc:input"], dtype="float16")
    assert contents.classes == 10
    assert contents.taps == {"conv": (6, 8, 8), "fc:input": (6,)}
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in teacher.model.modules())
    with pytest.raises(TapError, match="no module 'cnv'"):
        contents_of(teacher, taps=["cnv"])


def test_a_probe_is_two_images(teacher):
    contents_of(teacher)
    assert teacher.model.seen == 2
    assert not torch.is_grad_enabled() or not any(p.requires_grad for p in teacher.model.parameters())
