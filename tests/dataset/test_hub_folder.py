"""Sets for others: loaded by `datasets` and by plain PyTorch, with a card that says what they are."""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from limbeck.dataset.hub_folder import CARD, PICTURE, SET, TABLE, export_set, find_set, is_set
from limbeck.dataset.image_set import ImageSet, Subset, load, save
from limbeck.dataset.preprocess import Normalisation
from limbeck.errors import CheckpointError, InputError, RunFolderError

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("datasets") is None, reason="the extra `hf` is not installed"
)


def stage(path: Path, found: ImageSet) -> None:
    """A finished stage."""
    path.mkdir(parents=True)
    save(found, path / "set.safetensors")
    (path / "config.json").write_text("{}")
    (path / "result.json").write_text(json.dumps({"kind": "image set", "set": "set.safetensors"}))


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
    stage(tmp_path / "stage", found)
    return tmp_path / "stage", found


@pytest.mark.parametrize("way", ["parquet", "folder"])
def test_datasets_load_the_folder_offline(made, tmp_path, monkeypatch, way):
    datasets = importlib.import_module("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    tried = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: tried.append(address))
    folder, given = made
    export_set(folder, tmp_path / "out", licence="CC-BY-4.0")
    what = {"path": "parquet", "data_files": str(tmp_path / "out" / TABLE)}
    if way == "folder":
        what = {"path": str(tmp_path / "out")}
    loaded = datasets.load_dataset(**what, cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train"]
    assert tried == []
    table = loaded["train"]
    assert len(table) == 8
    assert table.features["label"].names == ["cat", "dog"]
    assert table[0]["image"].size == (4, 4)
    rows = table.with_format("torch")
    torch.testing.assert_close(rows["input"][:], given.images)
    torch.testing.assert_close(rows["soft_label"][:], given.soft)
    assert rows["subset"][:].tolist() == [0] * 4 + [1] * 4
    assert rows["learning_rate"][:].tolist() == pytest.approx([0.01] * 8)


def test_the_card_s_lines_for_datasets_run(made, tmp_path, monkeypatch):
    datasets = importlib.import_module("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    export_set(made[0], tmp_path / "out")
    monkeypatch.chdir(tmp_path / "out")
    names = {}
    exec(Path(CARD).read_text().split("```python\n")[2].partition("\n```")[0], names)
    torch.testing.assert_close(names["rows"]["input"][:], made[1].images)
    assert (tmp_path / "cache").is_dir()


@pytest.mark.parametrize("subsets", [1, 2])
def test_the_card_s_lines_run_without_limbeck(made, tmp_path, subsets):
    folder, given = made
    if subsets == 1:
        given = replace(given, subsets=given.subsets[:1])
        folder = tmp_path / "one"
        stage(folder, given)
    export_set(folder, tmp_path / "out", licence="mit")
    text = (tmp_path / "out/README.md").read_text()
    assert text.startswith('---\nlicense: "mit"\n')
    lines = text.partition("```python\n")[2].partition("\n```")[0]
    assert len(lines.splitlines()) == 3
    parts = "[(images, targets)]" if subsets == 1 else "subsets"
    code = (
        f"{lines}\nimport sys\nassert 'limbeck' not in sys.modules\n"
        f"print([(tuple(x.shape), round(float(y.sum()), 4)) for x, y in {parts}])"
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
    assert done.stdout.strip() == str([((4, 3, 4, 4), 4.0)] * subsets)


def test_the_lines_that_are_printed_name_the_file(made, tmp_path):
    written = export_set(made[0], tmp_path / "out")
    names = {}
    exec(written.usage, names)
    assert [tuple(x.shape) for x, _ in names["subsets"]] == [(4, 3, 4, 4)] * 2
    assert sorted(written.sizes) == sorted((SET, TABLE, CARD, PICTURE))


def test_nothing_tells_where_it_was_made(made, tmp_path):
    where = {"source": {"root": "/home/ada/secret/cifar10", "other": "../up/digits"}, "model": "timm/resnet18"}
    save(replace(made[1], provenance={**where, "truncated": True}), tmp_path / "set.safetensors")
    export_set(tmp_path / "set.safetensors", tmp_path / "out")
    wanted = {"source": {"root": "cifar10", "other": "digits"}, "model": "timm/resnet18", "truncated": True}
    assert load(tmp_path / "out/set.safetensors").provenance == wanted
    card = (tmp_path / "out/README.md").read_text()
    assert "secret" not in card
    assert str(tmp_path) not in card
    assert "sum to less than one on purpose" in card
    assert "Not stated" in card


def test_a_path_stands_for_the_set_of_its_finished_stage(made, tmp_path):
    folder, given = made
    wanted = folder / "set.safetensors"
    assert find_set(wanted) == find_set(folder) == wanted
    run = tmp_path / "run"
    stage(run / "distil", given)
    stage(run / "distil.old-1", given)
    (run / "teacher").mkdir()
    (run / "teacher/result.json").write_text('{"kind": "teacher"}')
    assert find_set(run) == run / "distil/set.safetensors"
    with pytest.raises(CheckpointError, match="made no image set, but: teacher"):
        find_set(run / "teacher")
    stage(run / "label", given)
    with pytest.raises(CheckpointError, match=r"2 image sets \(distil, label\)"):
        find_set(run)
    (run / "label/result.json").unlink()
    with pytest.raises(RunFolderError, match="not finished"):
        export_set(run / "label", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="holds no image set"):
        find_set(tmp_path / "empty")


def test_an_export_can_be_exported_again(made, tmp_path):
    export_set(made[0], tmp_path / "out")
    export_set(tmp_path / "out", tmp_path / "again")
    assert torch.equal(load(tmp_path / "again/set.safetensors").images, made[1].images)


def test_a_folder_with_something_in_it_is_left_alone(made, tmp_path):
    folder, _ = made
    (tmp_path / "out/data").mkdir(parents=True)
    (tmp_path / "out/data/mine.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="not empty"):
        export_set(folder, tmp_path / "out")
    for _ in range(2):
        export_set(folder, tmp_path / "out", force=True)
        assert (tmp_path / "out/data/mine.txt").read_text() == "mine"
        assert (tmp_path / "out" / TABLE).is_file()
        assert (tmp_path / "out" / CARD).is_file()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_what_is_no_set_is_refused(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    assert not is_set(tmp_path / "x.safetensors")
    with pytest.raises(CheckpointError):
        export_set(tmp_path / "x.safetensors", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_licence_is_an_identifier(made, tmp_path):
    with pytest.raises(InputError, match="an identifier is wanted"):
        export_set(made[0], tmp_path / "out", licence="all rights reserved!")
