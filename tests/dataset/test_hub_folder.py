"""Sets for others: loaded by `datasets` and by plain PyTorch, with a card that says what they are."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from limbeck.dataset.hub_folder import export_set, is_set
from limbeck.dataset.image_set import ImageSet, Subset, save
from limbeck.dataset.preprocess import Normalisation
from limbeck.errors import CheckpointError, InputError, RunFolderError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("datasets") is None, reason="the extra `hf` is not installed"
)


@pytest.fixture
def made(tmp_path) -> tuple[Path, ImageSet]:
    draws = torch.Generator().manual_seed(0)
    parts = tuple(
        Subset(
            torch.randn(4, 3, 4, 4, generator=draws),
            torch.tensor([0, 0, 1, 1]),
            torch.randn(4, 2, generator=draws).softmax(1),
            0.01,
        )
        for _ in range(2)
    )
    found = ImageSet(parts, ("cat", "dog"), Normalisation((0.5,) * 3, (0.2,) * 3), provenance={"seed": 1})
    (tmp_path / "stage").mkdir()
    save(found, tmp_path / "stage/set.safetensors")
    return tmp_path / "stage", found


def test_datasets_load_the_folder(made, tmp_path, monkeypatch):
    datasets = importlib.import_module("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    stage, given = made
    export_set(stage, tmp_path / "out", licence="CC-BY-4.0")
    table = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "out/train.parquet"), cache_dir=str(tmp_path / "cache")
    )["train"]
    assert len(table) == 8
    assert table.features["label"].names == ["cat", "dog"]
    assert table[0]["image"].size == (4, 4)
    rows = table.with_format("torch")
    torch.testing.assert_close(rows["input"][:], given.images)
    torch.testing.assert_close(rows["soft_label"][:], given.soft)
    assert rows["subset"][:].tolist() == [0] * 4 + [1] * 4
    assert rows["learning_rate"][:].tolist() == pytest.approx([0.01] * 8)


def test_the_card_s_lines_run_without_limbeck(made, tmp_path):
    stage, given = made
    written = export_set(stage, tmp_path / "out", licence="mit")
    text = (tmp_path / "out/README.md").read_text()
    assert text.startswith('---\nlicense: "mit"\n')
    assert written.usage in text
    code = (
        f"{written.usage}\nimport sys\nassert 'limbeck' not in sys.modules\n"
        "print(tuple(images.shape), round(float(targets.sum()), 4))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path / "out",
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "(4, 3, 4, 4) 4.0"
    assert given.classes == 2


def test_a_folder_with_something_in_it_is_left_alone(made, tmp_path):
    stage, _ = made
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="not empty"):
        export_set(stage, tmp_path / "out")
    export_set(stage, tmp_path / "out", force=True)
    assert (tmp_path / "out/mine.txt").read_text() == "mine"


def test_what_is_no_set_is_refused(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    assert not is_set(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError):
        export_set(tmp_path / "x.safetensors", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_licence_is_an_identifier(made, tmp_path):
    with pytest.raises(InputError, match="an identifier is wanted"):
        export_set(made[0], tmp_path / "out", licence="all rights reserved!")
