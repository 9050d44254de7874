import json
import pickle

import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import limbeck
from limbeck.errors import CheckpointError, ModelError, StorageError
from limbeck.models import DataConfig, build, load, read_card, save
from limbeck.registry import imports_allowed

DATA = DataConfig(input_shape=(1, 8, 8), mean=(0.25,), std=(0.5,), class_names=("ä", "b", "c"))


class OwnNet(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.fc = nn.Linear(64, width)
        self.tied = self.fc
        self.register_buffer("scale", torch.tensor([1.0, 3.0])[::1])

    def forward(self, images):
        return self.fc(images.flatten(1))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return build("resnet8", num_classes=3, in_channels=1).eval()


@pytest.fixture
def file(net, tmp_path):
    path = tmp_path / "model.safetensors"
    save(net, path, spec=net.limbeck_spec, data=DATA, notes={"seed": 3})
    return path


def rewritten(file, change):
    """The same file with another card."""
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    card = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["limbeck"])
    change(card)
    tensors = safetensors.torch.load(content)
    file.write_bytes(safetensors.torch.save(tensors, {"limbeck": json.dumps(card)}))


def test_a_model_comes_back_whole(net, file):
    images = torch.rand(2, 1, 8, 8)
    again = limbeck.load(file)
    assert torch.equal(net(images), again(images))
    assert not again.training
    assert again.limbeck_spec == {"name": "resnet8", "num_classes": 3, "in_channels": 1}
    assert again.limbeck_data == DATA


def test_any_safetensors_reader_reads_the_weights(net, file):
    assert set(safetensors.torch.load_file(file)) == set(net.state_dict())


def test_the_card_is_read_without_the_weights(file):
    card = read_card(file)
    assert (card["format"], card["notes"], card["spec"]["name"]) == (1, {"seed": 3}, "resnet8")


def test_folders_of_stages_and_runs(file, tmp_path):
    assert load(tmp_path).limbeck_data == DATA
    run = tmp_path / "run"
    (run / "student").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"holds no model.safetensors"):
        load(run)
    (run / "student/model.safetensors").write_bytes(file.read_bytes())
    assert load(run).limbeck_data == DATA
    (run / "teacher").mkdir()
    (run / "teacher/model.safetensors").write_bytes(file.read_bytes())
    with pytest.raises(CheckpointError, match=r"holds 2 models \(student, teacher\); give the folder of one"):
        load(run)


def test_nothing_there(tmp_path):
    with pytest.raises(CheckpointError, match=r"no such file or folder"):
        load(tmp_path / "absent.safetensors")


def test_a_pickle_is_refused_unopened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was opened",))

    zipped, bare = tmp_path / "a.pt", tmp_path / "b.pkl"
    torch.save({"weight": torch.zeros(2)}, zipped)
    bare.write_bytes(pickle.dumps(Bomb()))
    for path in (zipped, bare):
        with pytest.raises(CheckpointError, match=r"is a pickle .* can run any code"):
            load(path)
        with pytest.raises(CheckpointError, match=r"is a pickle"):
            read_card(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x00" * 64])
def test_no_safetensors_at_all(tmp_path, content):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"not a safetensors file"):
        load(path)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.5, 0.999])
def test_truncated(file, share):
    content = file.read_bytes()
    file.write_bytes(content[: max(int(len(content) * share), 9)])
    with pytest.raises(CheckpointError, match=r"cut short"):
        load(file)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_flipped_bit_is_found_or_harmless(data, tmp_path_factory):
    torch.manual_seed(0)
    net = build("resnet8", num_classes=3, in_channels=1).eval()
    path = tmp_path_factory.mktemp("flip") / "m.safetensors"
    save(net, path, spec=net.limbeck_spec, data=DATA)
    content = bytearray(path.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    # Half of the flips into the header, which is small.
    at = data.draw(st.integers(0, header - 1) | st.integers(header, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        again = load(path)
    except CheckpointError:
        return
    # Only white space of the header can change without harm.
    assert all(
        torch.equal(a, b) for a, b in zip(net.state_dict().values(), again.state_dict().values(), strict=True)
    )
    assert again.limbeck_data == DATA


def test_bit_flip_in_the_weights(file):
    content = bytearray(file.read_bytes())
    content[-100] ^= 4
    file.write_bytes(content)
    with pytest.raises(
        CheckpointError, match=r"is damaged: its checksum is .* written was .* cut short or changed"
    ):
        load(file)


def test_changed_card(file):
    rewritten(file, lambda card: card["data"].update(mean=[0.9]))
    with pytest.raises(CheckpointError, match=r"its checksum is"):
        load(file)


def test_newer_format(file):
    rewritten(file, lambda card: card.update(format=2))
    with pytest.raises(CheckpointError, match=r"has model format 2; this Limbeck reads up to 1. Install a newer"):
        load(file)


def test_foreign_safetensors(tmp_path):
    path = tmp_path / "foreign.safetensors"
    safetensors.torch.save_file({"w": torch.zeros(2)}, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"but not a model of Limbeck's: nothing in it says how to rebuild"):
        load(path)


def test_own_class_needs_permission_or_an_instance(tmp_path):
    net = OwnNet()
    path = tmp_path / "own.safetensors"
    save(net, path, spec={"name": f"{__name__}:OwnNet"}, data=DATA)
    with pytest.raises(CheckpointError, match=r"names code outside Limbeck.*imports_allowed.*into=network"):
        load(path)
    assert torch.equal(load(path, into=OwnNet()).fc.weight, net.fc.weight)
    with pytest.raises(CheckpointError, match=r"does not fit OwnNet: size mismatch for fc.weight"):
        load(path, into=OwnNet(width=5))


def test_own_class_by_name(tmp_path, monkeypatch):
    (tmp_path / "own_nets.py").write_text("from torch import nn\nclass Tiny(nn.Linear):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    with imports_allowed():
        net = build("own_nets:Tiny", in_features=2, out_features=3)
        save(net, tmp_path / "m.safetensors", spec=net.limbeck_spec, data=DATA)
        assert torch.equal(load(tmp_path / "m.safetensors").weight, net.weight)


def test_a_pretrained_model_is_rebuilt_without_fetching(tmp_path, monkeypatch):
    timm = pytest.importorskip("timm")
    net = build("timm/resnet10t", num_classes=3)
    create = timm.create_model

    def offline(*arguments, pretrained, **settings):
        assert not pretrained
        return create(*arguments, pretrained=False, **settings)

    monkeypatch.setattr("timm.create_model", offline)
    save(net, tmp_path / "m.safetensors", spec={**net.limbeck_spec, "pretrained": True}, data=DATA)
    assert torch.equal(load(tmp_path / "m.safetensors").fc.weight, net.fc.weight)


def test_state_that_is_no_tensor(tmp_path):
    class Odd(nn.Linear):
        def get_extra_state(self):
            return {"count": 3}

    with pytest.raises(ModelError, match=r"Odd keeps a state that is no tensor \('_extra_state', a dict\)"):
        save(Odd(2, 2), tmp_path / "m.safetensors", spec={"name": "x"}, data=DATA)


def test_notes_that_are_no_json(net, tmp_path):
    with pytest.raises(ModelError, match=r"spec and notes have to be plain JSON"):
        save(net, tmp_path / "m.safetensors", spec=net.limbeck_spec, data=DATA, notes={"x": object()})


def test_a_full_disk_leaves_the_old_file(net, file, monkeypatch):
    before = file.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(
        StorageError, match=r"writing .*model.safetensors .* failed: No space left on device.* intact"
    ):
        save(net, file, spec=net.limbeck_spec, data=DATA)
    assert file.read_bytes() == before
    assert [p.name for p in file.parent.iterdir()] == [file.name]


def test_data_config_checks_itself():
    with pytest.raises(ModelError, match=r"3 channels need as many means and deviations; got 1 and 3"):
        DataConfig(input_shape=(3, 8, 8), mean=(0.5,), std=(1.0, 1.0, 1.0))
    with pytest.raises(ModelError, match=r"deviations are above zero"):
        DataConfig(input_shape=(1, 8, 8), mean=(0.5,), std=(0.0,))
    with pytest.raises(CheckpointError, match=r"damaged"):
        DataConfig.from_dict({"mean": [1]})
    assert DataConfig.from_dict(DATA.to_dict()) == DATA
