"""Every format, of networks of every kind, in a process in which Limbeck cannot be imported."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from limbeck.models import export_hf, export_onnx, export_state_dict, export_timm, export_torch

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
pytest.importorskip("transformers")
pytestmark = pytest.mark.slow
VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
NETS = {
    "zoo": ("resnet20", 1, {}),
    "timm": ("timm/test_resnet", 1, {}),
    "torchvision": ("torchvision/squeezenet1_1", 3, {}),
    "hf": ("hf/vit", 1, VIT),
}
EXPORTERS = {"onnx": export_onnx, "torch": export_torch, "hf": export_hf, "timm": export_timm}
CASES = [
    *[(net, form) for net in NETS for form in ("onnx", "torch", "hf")],
    ("timm", "timm"),
    ("timm", "timm-hf"),
    ("torchvision", "state-dict"),
]
READER = """
import json, sys
class NoLimbeck:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "limbeck":
            raise ImportError("limbeck is not here")
sys.meta_path.insert(0, NoLimbeck())
sys.path = [p for p in sys.path if not p.endswith("/src")]
import numpy as np
import torch
folder, cases = sys.argv[1], json.loads(sys.argv[2])
for net, form in cases:
    images, prepared = (torch.from_numpy(np.load(f"{folder}/{net}-{kind}.npy")) for kind in ("images", "prepared"))
    at = f"{folder}/{net}-{form}"
    with torch.no_grad():
        if form == "onnx":
            import onnxruntime
            session = onnxruntime.InferenceSession(f"{at}/model.onnx")
            logits = torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
        elif form == "torch" or (form == "hf" and net in ("zoo", "torchvision")):
            logits = torch.export.load(f"{at}/model.pt2").module()(images)
        elif form in ("hf", "timm-hf"):
            from transformers import AutoModelForImageClassification
            at = at.removesuffix("-hf") if form == "timm-hf" else at
            logits = AutoModelForImageClassification.from_pretrained(at).eval()(prepared).logits
        elif form == "timm":
            import timm
            logits = timm.create_model(f"local-dir:{at}", pretrained=True).eval()(prepared)
        elif form == "state-dict":
            import safetensors.torch, torchvision
            model = torchvision.models.get_model("squeezenet1_1", num_classes=3)
            model.load_state_dict(safetensors.torch.load_file(f"{at}/model.safetensors"))
            logits = model.eval()(prepared)
    np.save(f"{folder}/{net}-{form}-logits.npy", logits.numpy())
assert not any(name.split(".")[0] == "limbeck" for name in sys.modules)
"""


@pytest.fixture(scope="module")
def read(tmp_path_factory, saved):
    """Logits by the model and by the reader, of each case."""
    folder = tmp_path_factory.mktemp("exports")
    expected = {}
    for key, (name, channels, settings) in NETS.items():
        one = saved(name, folder / key, channels=channels, **settings)
        images = torch.rand(3, *one.data.input_shape, generator=torch.Generator().manual_seed(1))
        prepared = (images - torch.tensor(one.data.mean).view(-1, 1, 1)) / torch.tensor(one.data.std).view(
            -1, 1, 1
        )
        np.save(folder / f"{key}-images.npy", images.numpy())
        np.save(folder / f"{key}-prepared.npy", prepared.numpy())
        expected[key] = one.logits(images)
        for net, form in CASES:
            if net == key and form != "timm-hf":
                exporter = EXPORTERS.get(form, export_state_dict)
                written = exporter(one.path, folder / f"{key}-{form}")
                assert all(c.difference <= c.allowed for c in written.compared)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", READER, str(folder), json.dumps(CASES)],
        capture_output=True,
        text=True,
        check=False,
        env={**__import__("os").environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    return folder, expected


@pytest.mark.parametrize(("net", "form"), CASES)
def test_the_same_logits_without_limbeck(read, net, form):
    folder, expected = read
    found = torch.from_numpy(np.load(folder / f"{net}-{form}-logits.npy"))
    assert torch.allclose(found, expected[net], atol=1e-5 if form not in ("onnx", "torch") else 1e-4)


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("form", ["onnx", "torch", "hf"])
def test_no_path_of_this_machine_is_in_a_file(read, root, net, form):
    folder, _ = read
    for file in (folder / f"{net}-{form}").iterdir():
        content = file.read_bytes()
        assert str(root).encode() not in content, file
        assert str(folder).encode() not in content, file
        assert sys.prefix.encode() not in content, file


def test_what_a_folder_for_the_hub_holds(read):
    folder, _ = read
    native = {"README.md", "config.json", "model.safetensors", "preprocessor_config.json"}
    assert {p.name for p in (folder / "hf-hf").iterdir()} == native
    assert {p.name for p in (folder / "timm-hf").iterdir()} == native - {"preprocessor_config.json"}
    assert {p.name for p in (folder / "zoo-hf").iterdir()} == {
        "README.md",
        "config.json",
        "model.pt2",
        "model.safetensors",
    }
    config = json.loads((folder / "hf-hf/config.json").read_text())
    assert config["id2label"] == {"0": "cat", "1": "dog", "2": "owl"}


def test_limbeck_loads_its_own_from_a_folder_for_the_hub(read, saved):
    import limbeck

    folder, expected = read
    images = torch.from_numpy(np.load(folder / "zoo-prepared.npy"))
    with torch.no_grad():
        assert torch.allclose(limbeck.load(folder / "zoo-hf")(images), expected["zoo"], atol=1e-5)


def test_transformers_prepares_a_picture_as_the_model_was_trained(read):
    from PIL import Image
    from transformers import AutoImageProcessor

    folder, _ = read
    pixels = np.arange(32 * 32, dtype=np.uint32).reshape(32, 32).astype(np.uint8)
    for net in ("hf", "timm"):
        processor = AutoImageProcessor.from_pretrained(folder / f"{net}-hf")
        found = torch.as_tensor(processor(Image.fromarray(pixels), return_tensors="pt")["pixel_values"])
        wanted = (torch.from_numpy(pixels)[None, None] / 255 - 0.25) / 0.5
        assert torch.allclose(found, wanted, atol=1e-4)
