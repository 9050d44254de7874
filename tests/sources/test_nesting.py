import numpy as np
import pytest
import torch

from limbeck.errors import ConfigError, DataError
from limbeck.sources import Subset, build, digits, nesting
from limbeck.sources.nesting import in_memory, nested, without_limits


def test_sources_on_disk_are_read_into_memory(make_folder):
    files = {
        f"{split}/{c}/{i}.png": np.full((4, 4, 3), 9 * i)
        for split in ("train", "test")
        for c in "xy"
        for i in (1, 2)
    }
    root = str(make_folder(files))
    lazy = build("folder", root=root, in_memory=False)
    found = in_memory(lazy)
    assert found.images[:, 0, 0, 0].tolist() == [9, 18, 9, 18]
    assert found.fingerprint == in_memory(build("folder", root=root)).fingerprint
    with pytest.raises(ConfigError, match="source 'folder' in it: random_crop reads each image anew"):
        nested({"name": "folder", "root": root, "size": 4, "random_crop": 0.5}, split="train", what="'a'")


def test_parts_of_sources_keep_their_groups():
    part = Subset(build("joined", of=["digits", "digits"]), [0, 1297, 5])
    assert (part.groups.tolist(), part.group_names) == ([0, 1, 0], ("digits-1", "digits-2"))
    found = in_memory(part)
    assert (found.groups.tolist(), found.group_names) == ([0, 1, 0], ("digits-1", "digits-2"))
    assert Subset(digits(), [1]).groups is None
    assert in_memory(Subset(digits(), [1, 2])).groups is None


def test_what_cannot_be_held(monkeypatch, make_parquet):
    path = make_parquet([np.zeros((4, 4, 3))] * 4, [0, 1, 0, 1])
    with pytest.raises(DataError, match="read from front to back"):
        nested({"name": "parquet_stream", "root": str(path.parent)}, split="train", what="'a'")
    monkeypatch.setattr(nesting, "HELD_BYTES", 100)
    with pytest.raises(DataError, match=r"3 images of \(1, 8, 8\) do not fit.*a smaller size, or a limit"):
        in_memory(Subset(digits(), [1, 2, 3]))


def test_limits_go_at_every_depth():
    inner = {"name": "tinted", "of": {"name": "digits", "limit": 3}, "per_class": 2}
    settings = {"of": (inner, "digits"), "limit": 9, "names": ["limit", "of"]}
    assert without_limits(settings) == {
        "of": [{"name": "tinted", "of": {"name": "digits"}}, "digits"],
        "names": ["limit", "of"],
    }


def test_groups_are_checked():
    images = torch.zeros(2, 1, 2, 2, dtype=torch.uint8)
    for groups, names, message in (
        (torch.tensor([0]), ["a"], r"2 images need 2 groups, int64; got \(1,\)"),
        (torch.tensor([0, 2]), ["a", "b"], "2 groups have numbers 0 to 1; these reach from 0 to 2"),
        (torch.tensor([0, 1]), ["a", "a"], "two groups are named 'a'"),
    ):
        with pytest.raises(DataError, match=message):
            nesting.ArraySource(images, torch.tensor([0, 1]), ["x", "y"], groups=groups, group_names=names)
