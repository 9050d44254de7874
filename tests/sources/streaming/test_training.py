"""A stage that learns from a stream: broken off, resumed, and the same to the bit."""

import shutil

import numpy as np
import pytest
import torch

from limbeck.classify.config import TrainStage
from limbeck.classify.data import load_data, training_stream
from limbeck.classify.stages import run_train
from limbeck.engine import Machine
from limbeck.errors import DataError
from limbeck.models import load
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder
from limbeck.sources.streaming import StreamLoader, StreamSource, check_unchanged, parquet_stream

BUDGET = {
    "epochs": 3,
    "batch_size": 8,
    "log_every": 1,
    "checkpoint_every": 1,
    "augment": ["flip", {"name": "crop", "padding": 1}],
    "ema": 0.9,
}


@pytest.fixture(scope="module")
def images():
    """Two kinds of stripes in noise."""
    draw = np.random.default_rng(0)
    found = draw.integers(0, 120, (48, 8, 8)).astype(np.uint8)
    for number in range(48):
        if number % 2:
            found[number, ::2] += 120
        else:
            found[number, :, ::2] += 120
    return found


@pytest.fixture
def root(tools, images, tmp_path):
    for shard in range(4):
        rows = range(shard * 10, shard * 10 + 10)
        blobs = [tools.encoded(images[n]) for n in rows]
        path = tmp_path / "set" / f"train-{shard}.parquet"
        tools.write(path, rows, images=blobs, labels=[n % 2 for n in rows], names=("down", "across"), group=4)
    blobs = [tools.encoded(images[n]) for n in range(40, 48)]
    path = tmp_path / "set" / "test.parquet"
    return tools.write(
        path, range(8), images=blobs, labels=[n % 2 for n in range(8)], names=("down", "across")
    ).parent


def config(root, *, source=None, **train):
    settings = {"buffer": 12, "channels": 1, "retries": 0, **(source or {})}
    return TrainStage.model_validate(
        {
            "source": {"name": "parquet_stream", "root": str(root), **settings},
            "model": "resnet8",
            "train": {**BUDGET, **train},
        }
    )


def run(stage, path):
    folder = StageFolder(path, "student")
    if not (path / "scalars.jsonl").exists():
        folder.begin(stage.model_dump(mode="json"))
    run_train(stage, folder, StageContext(seed=0, inputs={}, device="cpu"))
    return folder


def same(one, other):
    left, right = (load(folder.path).state_dict() for folder in (one, other))
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_streams_of_a_stage(root):
    stage = config(root, validation=0.25)
    data = load_data(stage, seed=0)
    assert isinstance(data.train, StreamSource)
    assert isinstance(data.validation, StreamSource)
    assert (len(data.train), len(data.validation), len(data.test)) == (30, 10, 8)
    assert data.config.class_names == ("down", "across")
    stream = training_stream(data.train, stage.train, machine=Machine(device="cpu"), seed=0)
    assert isinstance(stream, StreamLoader)
    assert len(list(stream.epoch(1))) == len(stream) == 4


@pytest.mark.parametrize("at", [7, 12])
def test_a_run_whose_stream_breaks_off_ends_with_the_same_weights(root, tmp_path, monkeypatch, at):
    stage = config(root, workers=1 if at == 12 else 0)
    whole = run(stage, tmp_path / "whole")
    assert whole.result()["numbers"]["accuracy"]["value"] >= 0.5
    lost, decoded, batches = tmp_path / "lost", StreamLoader._stacked, []

    def breaking(self, *arguments):
        if self.shuffle:
            batches.append(1)
        if len(batches) == at and not lost.exists():
            (root / "train-1.parquet").rename(lost)
            raise DataError("train-1.parquet is gone.")
        return decoded(self, *arguments)

    monkeypatch.setattr(StreamLoader, "_stacked", breaking)
    with pytest.raises(DataError, match=r"train-1.parquet is gone. This was batch \d of 5 in epoch [23]; "):
        run(stage, tmp_path / "cut")
    assert list((tmp_path / "cut" / "checkpoints").iterdir())
    lost.rename(root / "train-1.parquet")
    assert same(run(stage, tmp_path / "cut"), whole)


def test_evaluation_of_a_damaged_test_split(tools, root, images, tmp_path):
    blobs = [tools.encoded(images[n]) for n in range(40, 48)]
    blobs[0] = blobs[5] = b"garbage"
    tools.write(
        root / "test.parquet", range(8), images=blobs, labels=[n % 2 for n in range(8)], names=("down", "across")
    )
    stage = config(root, source={"skip_broken": True}, epochs=1)
    folder = run(stage, tmp_path / "run")
    assert "of 6 test images" in str(folder.result())


def test_a_set_that_changed_is_refused(tools, root, tmp_path):
    def note():
        check_unchanged(parquet_stream(root=str(root), channels=1), tmp_path)

    note()
    note()
    (root / "train-3.parquet").rename(tmp_path / "away.parquet")
    with pytest.raises(DataError, match=r"\(40 images then, 30 now\): set/train-3.parquet is gone. Bring the old"):
        note()
    shutil.copy(root / "train-0.parquet", root / "train-3.parquet")
    tools.write(root / "train-4.parquet", range(4), names=("down", "across"), labels=[0, 1, 0, 1])
    with pytest.raises(DataError, match=r"train-4.parquet is new, set/train-3.parquet is another file"):
        note()
    (root / "train-4.parquet").unlink()
    (tmp_path / "away.parquet").replace(root / "train-3.parquet")
    note()
    with pytest.raises(DataError, match=r"its settings or classes"):
        check_unchanged(parquet_stream(root=str(root), channels=1, size=4), tmp_path)
    (tmp_path / "data.json").write_text("{}")
    with pytest.raises(DataError, match=r"data.json is damaged .*--fresh"):
        note()
