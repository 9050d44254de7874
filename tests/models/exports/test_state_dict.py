import pytest
import safetensors.torch
import torch

from limbeck.errors import CheckpointError, InputError, ModelError, RunFolderError, ShapeError
from limbeck.models import build, export_state_dict


def test_a_file_alone(tmp_path, saved):
    net, path, _ = saved("resnet8", tmp_path)
    written = export_state_dict(path, tmp_path / "sub/weights.safetensors")
    assert written.files == ("weights.safetensors",)
    assert [p.name for p in (tmp_path / "sub").iterdir()] == ["weights.safetensors"]
    again = build("resnet8", num_classes=3, in_channels=1).eval()
    again.load_state_dict(safetensors.torch.load_file(written.path))
    images = torch.rand(2, 1, 32, 32)
    assert torch.equal(net(images), again(images))
    assert b"limbeck" not in written.path.read_bytes()[:4000]


def test_the_lines_that_load_it_do(tmp_path, saved, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, channels in (("resnet8", 1), ("timm/test_resnet", 1), ("torchvision/squeezenet1_1", 3)):
        net, path, _ = saved(name, tmp_path, channels=channels)
        written = export_state_dict(path, "out.safetensors", force=True)
        namespace = {}
        exec(written.usage, namespace)
        images = torch.rand(2, channels, 32, 32)
        assert torch.equal(net(images), namespace["model"].eval()(images))
        assert ("limbeck" in written.usage) == (name == "resnet8")


def test_a_folder_has_a_card(tmp_path, saved):
    _, path, _ = saved("resnet8", tmp_path)
    written = export_state_dict(path, tmp_path / "student", licence="Apache-2.0")
    assert set(written.sizes) == {"README.md", "model.safetensors"} == {p.name for p in written.path.iterdir()}
    card = (written.path / "README.md").read_text()
    assert 'license: "apache-2.0"' in card
    assert "load_file('student/model.safetensors')" in card
    assert str(tmp_path) not in card


def test_another_suffix_is_refused(tmp_path, saved):
    _, path, _ = saved("resnet8", tmp_path)
    with pytest.raises(InputError, match=r"not a pickle: name the file weights.safetensors, not weights.pt"):
        export_state_dict(path, tmp_path / "weights.pt")
    with pytest.raises(InputError, match=r"name the file weights.safetensors, not weights.onnx"):
        export_state_dict(path, tmp_path / "weights.onnx")


def test_what_is_there_stays_unless_forced(tmp_path, saved):
    _, path, _ = saved("resnet8", tmp_path)
    file = tmp_path / "a.safetensors"
    file.write_text("mine")
    with pytest.raises(RunFolderError, match=r"a.safetensors is there already.*--force"):
        export_state_dict(path, file)
    assert file.read_text() == "mine"
    export_state_dict(path, file, force=True)
    assert safetensors.torch.load_file(file)


def test_a_damaged_model_leaves_nothing_behind(tmp_path, saved):
    _, path, _ = saved("resnet8", tmp_path / "in")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"is damaged: its checksum"):
        export_state_dict(path, tmp_path / "a/b/c")
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_other_weights_are_refused(tmp_path, saved, monkeypatch):
    _, path, _ = saved("resnet8", tmp_path / "in")
    monkeypatch.setattr(
        "limbeck.models.exports.state_dict.plain_tensors",
        lambda model: {k: torch.zeros_like(v) for k, v in model.state_dict().items()},
    )
    with pytest.raises(ModelError, match=r"checked and refused: .* differ by up to [\d.]+; 1e-05 is allowed"):
        export_state_dict(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_examples_of_ones_own(tmp_path, saved, digits):
    _, path, _ = saved("resnet8", tmp_path)
    assert export_state_dict(path, tmp_path / "out", images=digits).compared[0].images == 10
    with pytest.raises(ShapeError, match=r"shape \(n, 1, 32, 32\).*got \(10, 1, 32, 31\)"):
        export_state_dict(path, tmp_path / "out2", images=digits[..., 1:])
    with pytest.raises(ShapeError, match=r"in \[0, 1\]"):
        export_state_dict(path, tmp_path / "out2", images=digits * 255)


def test_a_network_that_gives_no_numbers(tmp_path, saved):
    from limbeck.models import save

    net, path, data = saved("resnet8", tmp_path)
    torch.nn.init.constant_(net.fc.bias, float("nan"))
    save(net, path, spec=net.limbeck_spec, data=data)
    with pytest.raises(ModelError, match=r"no finite numbers"):
        export_state_dict(path, tmp_path / "out")
