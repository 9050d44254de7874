import json

import pytest
import safetensors.torch
import torch

from limbeck.errors import InputError, ModelError, RunFolderError
from limbeck.models import DataConfig, build, export_state_dict, export_timm, save

DATA = DataConfig(input_shape=(1, 32, 32), mean=(0.25,), std=(0.5,), class_names=("a", "b", "c"))


def saved(name, folder, **settings):
    torch.manual_seed(0)
    net = build(name, num_classes=3, in_channels=1, **settings).eval()
    for module in net.modules():  # statistics that would show if they were lost
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
    path = folder / "model.safetensors"
    save(net, path, spec=net.limbeck_spec, data=DATA)
    return net, path


def test_plain_state_dict(tmp_path):
    net, path = saved("resnet8", tmp_path)
    out = export_state_dict(path, tmp_path / "sub/weights.safetensors")
    again = build("resnet8", num_classes=3, in_channels=1).eval()
    again.load_state_dict(safetensors.torch.load_file(out))
    images = torch.rand(2, 1, 32, 32)
    assert torch.equal(net(images), again(images))
    assert b"limbeck" not in out.read_bytes()[:4000]


def test_plain_state_dict_is_no_pickle(tmp_path):
    _, path = saved("resnet8", tmp_path)
    with pytest.raises(InputError, match=r"name the file weights.safetensors, not weights.pt"):
        export_state_dict(path, tmp_path / "weights.pt")


@pytest.mark.parametrize(
    ("name", "settings"), [("timm/resnet10t", {}), ("timm/test_vit", {"img_size": 32, "drop_path_rate": 0.1})]
)
def test_timm_loads_the_folder(tmp_path, name, settings):
    timm = pytest.importorskip("timm")
    net, path = saved(name, tmp_path, **settings)
    folder = export_timm(path, tmp_path / "for timm")
    again = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images = torch.rand(2, 1, 32, 32)
    assert torch.equal(net(images), again(images))
    facts = timm.data.resolve_model_data_config(again)
    assert facts["input_size"] == (1, 32, 32)
    assert tuple(facts["mean"]) == (0.25,)
    assert json.loads((folder / "config.json").read_text())["label_names"] == ["a", "b", "c"]
    export_timm(path, folder)  # again, over the old one
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["for timm", "model.safetensors"]


def test_timm_cannot_build_the_zoo(tmp_path):
    _, path = saved("resnet8", tmp_path)
    with pytest.raises(ModelError, match=r"'resnet8' is not an architecture of timm's.* plain state dict instead"):
        export_timm(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_export_that_differs_is_refused(tmp_path, monkeypatch):
    pytest.importorskip("timm")
    _, path = saved("timm/resnet10t", tmp_path)
    monkeypatch.setattr(
        "limbeck.models.export._timm_reads", lambda _: build("timm/resnet10t", num_classes=3, in_channels=1).eval()
    )
    with pytest.raises(
        ModelError, match=r"checked and refused: reloaded, the model gives logits that differ by up to"
    ):
        export_timm(path, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path):
    _, path = saved("resnet8", tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match=r"cannot make the folder .*file"):
        export_state_dict(path, tmp_path / "file/weights.safetensors")
