"""Checkpoints survive truncation, flipped bits and being replaced by something else."""

from __future__ import annotations

import logging
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.engine.checkpoint import MAGIC, Checkpoints, read_checkpoint, write_checkpoint
from limbeck.errors import CheckpointError

STATE = {"position": {"step": 3, "best": -float("inf")}, "module": {"w": torch.arange(6.0)}, "ema": None}


def test_what_is_written_is_read(tmp_path):
    write_checkpoint(tmp_path / "a.ckpt", STATE)
    found = read_checkpoint(tmp_path / "a.ckpt")
    assert found["position"] == STATE["position"]
    assert torch.equal(found["module"]["w"], STATE["module"]["w"])
    assert [p.name for p in tmp_path.iterdir()] == ["a.ckpt"]


@given(at=st.floats(0, 0.999), bit=st.integers(0, 7))
@settings(max_examples=40, deadline=None)
def test_any_flipped_bit_is_noticed(tmp_path_factory, at, bit):
    path = tmp_path_factory.mktemp("flip") / "a.ckpt"
    write_checkpoint(path, STATE)
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 1 << bit
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError):
        read_checkpoint(path)


@pytest.mark.parametrize("keep", [0, 5, len(MAGIC), len(MAGIC) + 30, 300])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = tmp_path / "a.ckpt"
    write_checkpoint(path, STATE)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"a\.ckpt"):
        read_checkpoint(path)


def test_a_pickle_is_never_executed(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was executed",))

    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(CheckpointError, match="not a Limbeck checkpoint"):
        read_checkpoint(tmp_path / "plain.ckpt")

    import hashlib
    import io

    buffer = io.BytesIO()
    torch.save({"module": Trap()}, buffer)
    digest = hashlib.sha256(buffer.getvalue()).hexdigest().encode()
    (tmp_path / "dressed.ckpt").write_bytes(MAGIC + digest + b"\n" + buffer.getvalue())
    with pytest.raises(CheckpointError, match="holds more than tensors"):
        read_checkpoint(tmp_path / "dressed.ckpt")


def test_a_damaged_last_falls_back_to_the_one_before(tmp_path, caplog):
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.save({"n": 1})
    checkpoints.save({"n": 2})
    checkpoints.last.write_bytes(checkpoints.last.read_bytes()[:-3])
    with caplog.at_level(logging.WARNING):
        assert checkpoints.latest() == (checkpoints.previous, {"n": 1})
    assert "is damaged" in caplog.text
    checkpoints.save({"n": 3})  # the damaged file must not push out the good one
    assert checkpoints.latest() == (checkpoints.last, {"n": 3})
    checkpoints.last.unlink()
    assert checkpoints.latest() == (checkpoints.previous, {"n": 1})


def test_nothing_intact_is_an_error_and_nothing_at_all_is_none(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    assert checkpoints.latest() is None
    checkpoints.save({"n": 1})
    checkpoints.last.write_bytes(b"rubbish")
    for _ in range(2):  # said as often as it is asked, never a silent start from nothing
        with pytest.raises(CheckpointError, match="No intact checkpoint is left"):
            checkpoints.latest()


def test_best_weights_go_only_when_a_checkpoint_names_better_ones(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save_best(1, {"w": 1})
    checkpoints.save_best(3, {"w": 3})
    assert checkpoints.read_best(1) == {"w": 1}
    checkpoints.forget_best(but=3)
    assert checkpoints.read_best(3) == {"w": 3}
    with pytest.raises(CheckpointError, match=r"best epoch \(1\).*--fresh"):
        checkpoints.read_best(1)


def test_what_a_killed_writer_left_is_swept(tmp_path):
    (tmp_path / ".last.ckpt.abc.tmp").write_bytes(b"half")
    Checkpoints(tmp_path)
    assert not list(tmp_path.iterdir())
