"""Stores are written whole, continued where they stopped, extended, and refused where they do not fit."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from limbeck.classify.data import Data
from limbeck.classify.stored import StoredTeacher, contents, writing
from limbeck.classify.stored.manifest import Manifest
from limbeck.errors import CheckpointError, Interrupted, NonFiniteError, StorageError
from limbeck.sources import ArraySource

BATCHES = 2
"""A shard of the small stores below: two batches of 8 images of 30."""


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(contents, "SHARD_BYTES", BATCHES * 8 * 44)


def files(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*.safetensors"))}


def test_what_it_costs_is_what_was_planned(example, teacher, data, machine, tmp_path, small_shards):
    written = example.store(tmp_path / "s", teacher, data, machine)
    assert (written.plan.passes, written.shards, written.images) == (2, 4, 60)
    assert teacher.model.seen == 60 + 2  # and the probe
    on_disk = sum(len(content) for content in files(tmp_path / "s").values())
    assert 60 * 44 < written.bytes == on_disk <= written.plan.bytes


def test_the_cost_is_said_before_it_is_spent(example, teacher, data, machine, tmp_path):
    said = []

    class Noting(logging.Handler):
        """What was said, and how many images the teacher had seen by then."""

        def emit(self, record):
            said.append((record.getMessage(), teacher.model.seen))

    logger, handler = logging.getLogger("limbeck"), Noting()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    try:
        example.store(tmp_path / "s", teacher, data, machine)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert said == [("storing: 2 passes of the teacher over 30 images, 6,736 bytes in 2 files", 2)]  # the probe


@pytest.mark.parametrize("stopped_at", [0, 1, 3])
def test_a_store_that_was_killed_goes_on_with_the_shard_it_died_in(
    example, teacher, data, machine, tmp_path, small_shards, monkeypatch, stopped_at
):
    whole = tmp_path / "whole"
    example.store(whole, teacher, data, machine)
    write, calls = writing.write_shard, []

    def dying(folder, key, tensors, **about):
        if len(calls) == stopped_at:
            (folder / f".{key.file_name}.half.tmp").write_bytes(b"half")
            raise KeyboardInterrupt
        calls.append(key)
        write(folder, key, tensors, **about)

    monkeypatch.setattr(writing, "write_shard", dying)
    with pytest.raises(KeyboardInterrupt):
        example.store(tmp_path / "s", teacher, data, machine)
    monkeypatch.setattr(writing, "write_shard", write)
    assert len(files(tmp_path / "s")) == stopped_at
    written = example.store(tmp_path / "s", teacher, data, machine)
    assert written.shards == 4 - stopped_at
    assert files(tmp_path / "s") == files(whole)


def test_a_signal_stops_between_two_shards(example, teacher, data, machine, tmp_path, small_shards, monkeypatch):
    write = writing.write_shard

    def signalled(folder, key, tensors, **about):
        write(folder, key, tensors, **about)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(writing, "write_shard", signalled)
    with pytest.raises(Interrupted, match="after 1 of 4 shards"):
        example.store(tmp_path / "s", teacher, data, machine)
    assert len(files(tmp_path / "s")) == 1


def test_a_finished_store_is_verified_and_nothing_runs(example, teacher, data, machine, tmp_path):
    example.store(tmp_path / "s", teacher, data, machine)
    before = files(tmp_path / "s")
    seen = teacher.model.seen
    assert example.store(tmp_path / "s", teacher, data, machine).shards == 0
    assert teacher.model.seen == seen + 2  # the probe of the shapes alone
    assert files(tmp_path / "s") == before


def test_a_damaged_shard_is_written_anew(example, teacher, data, machine, tmp_path, small_shards, caplog):
    example.store(tmp_path / "s", teacher, data, machine)
    before = files(tmp_path / "s")
    broken = sorted((tmp_path / "s").glob("*.safetensors"))[2]
    content = bytearray(broken.read_bytes())
    content[-5] ^= 1
    broken.write_bytes(content)
    assert example.store(tmp_path / "s", teacher, data, machine).shards == 1
    assert files(tmp_path / "s") == before
    assert broken.name in caplog.text


def test_more_epochs_and_seeds_are_added(example, teacher, data, machine, tmp_path):
    folder = tmp_path / "s"
    example.store(folder, teacher, data, machine, seeds=(0,), epochs=2)
    first = files(folder)
    written = example.store(folder, teacher, data, machine, seeds=(0, 5), epochs=3)
    assert written.shards == 4
    assert first.items() <= files(folder).items()
    example.store(tmp_path / "at_once", teacher, data, machine, seeds=(0, 5), epochs=3)
    assert files(tmp_path / "at_once") == files(folder)
    assert example.store(folder, teacher, data, machine, seeds=(5,), epochs=1).shards == 0  # nothing is forgotten
    assert Manifest.read(folder).seeds == (0, 5)
    assert Manifest.read(folder).epochs == 3


def test_a_store_takes_over_the_shards_of_another(example, teacher, data, machine, tmp_path):
    example.store(tmp_path / "old", teacher, data, machine, epochs=2)
    written = example.store(tmp_path / "new", teacher, data, machine, epochs=3, extends=tmp_path / "old")
    assert written.shards == 1
    assert len(files(tmp_path / "new")) == 3
    assert len(files(tmp_path / "old")) == 2
    shutil.rmtree(tmp_path / "old")
    StoredTeacher(tmp_path / "new", seed=0).signals(torch.zeros(1), torch.tensor([3]), 2)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dtype": "float16"}, "contents, dtype: stored float32, here float16"),
        ({"top": 3}, "contents, top: stored null, here 3"),
        ({"taps": ("conv",)}, "contents, taps"),
        ({"augment": ()}, "views, augment"),
        ({"batch_size": 4}, "store, batch size: stored 8, here 4"),
    ],
)
def test_a_folder_with_another_store_is_left_alone(example, teacher, data, machine, tmp_path, settings, said):
    example.store(tmp_path / "s", teacher, data, machine)
    before = files(tmp_path / "s")
    with pytest.raises(CheckpointError) as error:
        example.store(tmp_path / "s", teacher, data, machine, **settings)
    assert said in str(error.value)
    assert files(tmp_path / "s") == before


def test_what_does_not_fit_on_the_disk_is_not_begun(example, teacher, data, machine, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1, used=0, free=1000))
    with pytest.raises(StorageError, match=r"takes 6,736 bytes, and 1,000 are free .*Nothing was written"):
        example.store(tmp_path / "s", teacher, data, machine)
    assert teacher.model.seen == 2
    assert not list((tmp_path / "s").iterdir())


def test_what_is_stored_already_needs_no_room(example, teacher, data, machine, tmp_path, monkeypatch):
    example.store(tmp_path / "s", teacher, data, machine)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=1, used=0, free=0))
    assert example.store(tmp_path / "s", teacher, data, machine).shards == 0


def test_numbers_beyond_float16_are_refused(example, teacher, data, machine, tmp_path):
    with torch.no_grad():
        teacher.model.fc.bias[0] = 1e5
    with pytest.raises(NonFiniteError, match=r"logits of image \d+ reach .* beyond float16 .*bfloat16"):
        example.store(tmp_path / "s", teacher, data, machine, dtype="float16")
    assert example.store(tmp_path / "b", teacher, data, machine, dtype="bfloat16").shards == 2


def test_a_teacher_without_finite_outputs_is_refused(example, teacher, data, machine, tmp_path):
    with torch.no_grad():
        teacher.model.fc.bias[0] = float("nan")
    with pytest.raises(NonFiniteError, match="not finite"):
        example.store(tmp_path / "s", teacher, data, machine)


@pytest.mark.parametrize("shards", ["one", "several"])
def test_two_processes_write_what_one_writes(
    example, teacher, data, machine, tmp_path, monkeypatch, shards, request
):
    if shards == "several":
        request.getfixturevalue("small_shards")
    example.store(tmp_path / "one", teacher, data, machine)
    monkeypatch.setattr(type(machine), "wait", lambda self: None)
    monkeypatch.setattr(type(machine), "any", lambda self, flag: flag)
    machine.world = 2
    counts = []
    for rank in (1, 0):  # the main one last: the size of the whole is read at the end
        machine.rank = rank
        monkeypatch.setattr(writing, "_size", lambda folder, keys: 0)
        counts.append(example.store(tmp_path / "two", teacher, data, machine).shards)
    assert counts == ([1, 1] if shards == "one" else [2, 2])
    assert files(tmp_path / "two") == files(tmp_path / "one")


def test_sources_on_disk_with_loader_processes_give_the_same(example, teacher, data, machine, tmp_path):
    class OnDisk:
        """The same images, one by one."""

        def __init__(self, source: ArraySource) -> None:
            self.source = source

        def __len__(self):
            return len(self.source)

        def __getitem__(self, index):
            return self.source[index]

        def __getattr__(self, name):
            if name == "source":
                raise AttributeError(name)
            return getattr(self.source, name)

    slow = Data(OnDisk(data.train), None, data.test)
    example.store(tmp_path / "memory", teacher, data, machine)
    example.store(tmp_path / "disk", teacher, slow, machine)
    assert files(tmp_path / "memory") == files(tmp_path / "disk")


def test_no_temporary_file_is_left(example, teacher, data, machine, tmp_path):
    example.store(tmp_path / "s", teacher, data, machine)
    assert sorted(p.name for p in (tmp_path / "s").iterdir()) == [
        "seed0-epoch0001-part0000.safetensors",
        "seed0-epoch0002-part0000.safetensors",
        "store.json",
    ]


@pytest.mark.slow
def test_two_real_processes(example, teacher, data, machine, tmp_path):
    script = Path(__file__).with_name("two_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--rdzv-backend=c10d"]
    done = subprocess.run(
        [*command, "--rdzv-endpoint=localhost:0", str(script), str(tmp_path / "two")],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    example.store(tmp_path / "one", teacher, data, machine)
    assert files(tmp_path / "two") == files(tmp_path / "one")
