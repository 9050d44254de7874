"""`limbeck export --format dataset`: image sets go one way, models the other."""

import importlib.util
import json
from pathlib import Path

import pytest
import torch

from limbeck.dataset.image_set import ImageSet, Subset, save
from limbeck.dataset.preprocess import Normalisation

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("datasets") is None, reason="the extra `hf` is not installed"
)


@pytest.fixture
def stage(tmp_path) -> Path:
    """A finished stage that made a set."""
    folder = tmp_path / "run/distil"
    folder.mkdir(parents=True)
    part = Subset(torch.zeros(2, 1, 4, 4), torch.tensor([0, 1]))
    save(ImageSet((part,), ("cat", "dog"), Normalisation((0.5,), (0.2,))), folder / "set.safetensors")
    (folder / "result.json").write_text(json.dumps({"kind": "image set", "set": "set.safetensors"}))
    return folder


@pytest.mark.parametrize("given", ["run", "run/distil", "run/distil/set.safetensors"])
def test_a_set_is_exported_and_the_printed_lines_load_it(cli, stage, given):
    done = cli("export", given, "--format", "dataset", "--out", "out", "--licence", "mit")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "out"
    for name in ("set.safetensors", "data/train-00000-of-00001.parquet", "grid.png", "README.md"):
        assert f"{(Path('out') / name).stat().st_size:,} bytes" in done.out
    names = {}
    exec("\n".join(line[9:] for line in done.out[done.out.index("load     ") :].splitlines()), names)
    assert names["images"].shape == (2, 1, 4, 4)
    assert names["targets"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--format", "onnx"), "is an image set, not a model: --format dataset, not onnx"),
        (("--format", "datset"), "Did you mean 'dataset'?"),
        (("--format", "dataset", "--opset", "18"), "the format dataset has no such setting"),
        (("--format", "dataset", "--push", "me/small"), "hf upload me/small out --repo-type dataset"),
        (("--format", "dataset", "--licence", "all rights!"), "an identifier is wanted"),
    ],
)
def test_what_is_refused_leaves_nothing(cli, stage, arguments, expected):
    done = cli("export", stage, *arguments, "--out", "out")
    assert done.code == 2
    assert expected in " ".join(done.err.split())
    assert not Path("out").exists()


def test_a_model_is_no_set(cli, tmp_path):
    from limbeck.models import DataConfig, build
    from limbeck.models import save as save_model

    net = build("resnet8", num_classes=2, in_channels=1)
    data = DataConfig(input_shape=(1, 8, 8), mean=(0.5,), std=(0.5,), class_names=("cat", "dog"))
    save_model(net, tmp_path / "model.safetensors", spec=net.limbeck_spec, data=data)
    done = cli("export", "model.safetensors", "--format", "dataset", "--out", "out")
    assert done.code == 2
    assert "no image set of Limbeck" in " ".join(done.err.split())
    assert not Path("out").exists()
