import json

import pytest
import torch

from limbeck.errors import ModelError
from limbeck.models import build, export_timm

timm = pytest.importorskip("timm")


@pytest.mark.parametrize(
    ("name", "settings"),
    [("timm/test_resnet", {}), ("timm/test_vit", {"img_size": 32, "drop_path_rate": 0.1})],
)
def test_timm_loads_the_folder(tmp_path, saved, name, settings):
    net, path, _ = saved(name, tmp_path / "in", **settings)
    written = export_timm(path, tmp_path / "for timm")
    again = timm.create_model(f"local-dir:{written.path}", pretrained=True).eval()
    images = torch.rand(2, 1, 32, 32)
    assert torch.equal(net(images), again(images))
    facts = timm.data.resolve_model_data_config(again)
    assert facts["input_size"] == (1, 32, 32)
    assert tuple(facts["mean"]) == (0.25,)
    assert json.loads((written.path / "config.json").read_text())["label_names"] == ["cat", "dog", "owl"]
    export_timm(path, written.path, force=True)
    assert sorted(p.name for p in written.path.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["for timm", "in"]
    namespace = {}
    exec(written.usage, namespace)
    assert torch.equal(net(images), namespace["model"](images))
    assert namespace["config"]["input_size"] == (1, 32, 32)


def test_timm_cannot_build_the_zoo(tmp_path, saved):
    _, path, _ = saved("resnet8", tmp_path)
    with pytest.raises(ModelError, match=r"'resnet8' is not an architecture of timm's.*hf, onnx or torch"):
        export_timm(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_that_differs_is_refused(tmp_path, saved, monkeypatch):
    _, path, _ = saved("timm/test_resnet", tmp_path)
    monkeypatch.setattr(
        "limbeck.models.exports.timm_folder._timm_reads",
        lambda _: build("timm/test_resnet", num_classes=3, in_channels=1).eval(),
    )
    with pytest.raises(ModelError, match=r"checked and refused: read by timm .* differ by up to"):
        export_timm(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
