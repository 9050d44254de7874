from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from limbeck.errors import CheckpointError, DataError
from limbeck.flow.pairs import MANIFEST, Manifest, Pairs, PairStream, begin, shard_file, write_shard
from limbeck.flow.pcg_noise import noise_of_state, state_of

SHAPE = (1, 4, 4)


def manifest(**changes):
    facts = {
        "direction": "generated",
        "count": 25,
        "shard_size": 10,
        "image_shape": SHAPE,
        "kept": "uint8",
        "classes": 3,
        "class_names": ("a", "b", "c"),
        "seed": 5,
        "teacher": "t" * 64,
        "solver": {"name": "heun"},
        "evaluations": 35,
    }
    return Manifest(**{**facts, **changes})


def image_of(index):
    """What stands for an image in these tests: its index, in levels of grey."""
    return (index.view(-1, 1, 1, 1).float() / 127.5 - 1).expand(-1, *SHAPE).contiguous()


def store(folder, **changes):
    about = manifest(**changes)
    begin(folder, about)
    for shard in range(about.shards):
        index = torch.tensor(about.span(shard))
        noise = torch.randn(len(index), *SHAPE) if about.stores_noise else None
        write_shard(folder, about, shard, images=image_of(index), labels=about.labels(index), noise=noise)
    return about


def test_pairs_come_back(tmp_path):
    about = store(tmp_path)
    pairs = Pairs(tmp_path)
    index = torch.tensor([24, 0, 13, 9, 10])
    assert torch.equal(pairs.images(index), image_of(index))
    assert torch.equal(pairs.labels(index), about.labels(index))
    assert torch.equal(pairs.noise(index), about.noise(index))
    assert torch.equal(pairs.noise(index[1:2]), about.noise(torch.tensor([0])))
    assert about.bytes == 25 * (16 + 8)
    assert set(about.labels(torch.arange(300)).tolist()) == {0, 1, 2}
    with pytest.raises(DataError, match="0 to 24"):
        pairs.images(torch.tensor([25]))


@pytest.mark.parametrize("kept", ["uint8", "float16", "float32"])
def test_what_is_kept(tmp_path, kept):
    store(tmp_path, kept=kept)
    found = Pairs(tmp_path).images(torch.arange(25))
    torch.testing.assert_close(found, image_of(torch.arange(25)), rtol=0, atol=0 if kept != "float16" else 1e-3)


def test_inverted_pairs_keep_their_noise(tmp_path):
    store(tmp_path, direction="inverted", classes=0)
    pairs = Pairs(tmp_path)
    assert pairs.labels(torch.arange(3)) is None
    assert pairs.noise(torch.arange(25)).shape == (25, *SHAPE)
    assert pairs.norm_ratio() == pytest.approx(1, abs=0.2)


def test_damage_is_found(tmp_path):
    store(tmp_path)
    file = shard_file(tmp_path, 1)
    whole = file.read_bytes()
    file.write_bytes(whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:])
    with pytest.raises(CheckpointError, match="checksum"):
        Pairs(tmp_path)
    file.write_bytes(whole[:-40])
    with pytest.raises(CheckpointError, match="cut short"):
        Pairs(tmp_path)
    file.write_bytes(whole[:50])
    with pytest.raises(CheckpointError, match="header"):
        Pairs(tmp_path)
    file.unlink()
    with pytest.raises(CheckpointError, match="missing"):
        Pairs(tmp_path)


def test_foreign_shards_are_refused(tmp_path):
    store(tmp_path / "a")
    store(tmp_path / "b", teacher="u" * 64)
    shard_file(tmp_path / "a", 1).write_bytes(shard_file(tmp_path / "b", 1).read_bytes())
    with pytest.raises(CheckpointError, match="another teacher"):
        Pairs(tmp_path / "a")
    with pytest.raises(CheckpointError, match="another teacher"):
        Pairs(tmp_path / "b").require_teacher("t" * 64, name="flow")


def test_renamed_shards_are_refused(tmp_path):
    store(tmp_path)
    one, two = (shard_file(tmp_path, n).read_bytes() for n in (0, 1))
    shard_file(tmp_path, 0).write_bytes(two)
    shard_file(tmp_path, 1).write_bytes(one)
    with pytest.raises(CheckpointError, match="belong there"):
        Pairs(tmp_path)


def test_a_folder_of_other_pairs_is_not_begun_again(tmp_path):
    begin(tmp_path, manifest())
    begin(tmp_path, manifest(count=40))  # more of the same
    with pytest.raises(CheckpointError, match="evaluations: 35 -> 79"):
        begin(tmp_path, manifest(evaluations=79))


@pytest.mark.parametrize("text", ["", "{", "[]", json.dumps({"format": 1}), json.dumps({"format": 9})])
def test_a_damaged_manifest(tmp_path, text):
    store(tmp_path)
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match=r"damaged|format"):
        Pairs(tmp_path)


@pytest.mark.parametrize("resident", [True, False])
def test_batches_are_pure_functions_of_their_number(tmp_path, resident):
    store(tmp_path)
    stream = PairStream(Pairs(tmp_path), batch_size=8, seed=1, device=torch.device("cpu"), resident=resident)
    assert len(stream) == 3
    whole = list(stream.epoch(2))
    assert [batch["number"] for batch in whole] == [3, 4, 5]
    late = next(stream.epoch(2, start=2))
    assert all(torch.equal(late[key], whole[2][key]) for key in ("x", "z", "labels"))
    other = PairStream(Pairs(tmp_path), batch_size=8, seed=1, device=torch.device("cpu"), resident=not resident)
    assert torch.equal(next(other.epoch(2))["z"], whole[0]["z"])


def test_processes_share_a_batch(tmp_path):
    store(tmp_path)
    given = {"batch_size": 8, "seed": 1, "device": torch.device("cpu")}
    whole = next(PairStream(Pairs(tmp_path), **given).epoch(1))
    parts = [next(PairStream(Pairs(tmp_path), rank=rank, world=2, **given).epoch(1)) for rank in (0, 1)]
    assert torch.equal(torch.stack([p["x"] for p in parts], 1).flatten(0, 1), whole["x"])


def test_real_pairs_are_mixed_in(tmp_path):
    store(tmp_path / "made")
    store(tmp_path / "real", direction="inverted")
    made, real = Pairs(tmp_path / "made"), Pairs(tmp_path / "real")
    stream = PairStream(made, real=real, real_share=1.0, batch_size=20, seed=0, device=torch.device("cpu"))
    batch = next(stream.epoch(1))
    known = real.noise(torch.arange(25)).flatten(1)
    assert all(bool((known == z).all(1).any()) for z in batch["z"].flatten(1))


def test_numpy_records_go_both_ways():
    bits = np.random.PCG64(3)
    record = state_of(bits)
    wanted = np.random.Generator(bits).standard_normal(SHAPE).astype(np.float32)
    assert np.array_equal(noise_of_state(record, SHAPE).numpy(), wanted)
    with pytest.raises(DataError, match="32 bytes"):
        noise_of_state(record[:-1], SHAPE)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_a_store_of_many_files_keeps_none_open(tmp_path):
    store(tmp_path, shard_size=1)
    before = len(list(Path("/proc/self/fd").iterdir()))
    pairs = Pairs(tmp_path)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 1
    assert torch.equal(pairs.images(torch.arange(25)), image_of(torch.arange(25)))


def test_processes_need_equal_shares_of_a_small_store(tmp_path):
    store(tmp_path)
    with pytest.raises(DataError, match="25 cannot be shared by 2"):
        PairStream(Pairs(tmp_path), batch_size=50, seed=1, device=torch.device("cpu"), world=2)
