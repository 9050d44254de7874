"""Whatever holds a trained classifier, read without running code from it."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch

from limbeck.audit import audit
from limbeck.errors import CheckpointError, ConfigError, MissingExtraError, ModelError
from limbeck.models import DataConfig, build, data_config, save
from limbeck.models.outputs import logits_of
from limbeck.models.reading import read_classifier

NAMES = ("cat", "dog", "owl")


# --- folders of other libraries


def test_our_own_file_and_folder_and_stage(tmp_path):
    net = build("resnet8", num_classes=3, in_channels=1).eval()
    facts = DataConfig((1, 8, 8), (0.3,), (0.4,), NAMES)
    stage = tmp_path / "run/teacher"
    stage.mkdir(parents=True)
    save(net, stage / "model.safetensors", spec=net.limbeck_spec, data=facts)
    (stage / "config.json").write_text(json.dumps({"kind": "classify.train", "model_type": "no"}))
    images = torch.rand(2, 1, 8, 8)
    for path in (stage / "model.safetensors", stage, tmp_path / "run", str(stage)):
        found = read_classifier(path)
        assert torch.equal(found(images), net(images))
        assert data_config(found) == facts
        assert not found.training


def test_a_folder_of_timm(tmp_path):
    timm = pytest.importorskip("timm")
    net = timm.create_model("test_vit", num_classes=3, img_size=32).eval()
    net.pretrained_cfg = {**net.pretrained_cfg, "mean": (0.1, 0.2, 0.3), "input_size": (3, 32, 32)}
    folder = tmp_path / "net"
    # The size of the images is an argument of the network, not a fact about its weights.
    timm.models.save_for_hf(
        net,
        str(folder),
        model_config={"num_classes": 3, "label_names": NAMES},
        model_args={"img_size": 32},
        safe_serialization=True,
    )
    found = read_classifier(folder)
    facts = data_config(found)
    assert facts.mean == pytest.approx((0.1, 0.2, 0.3))
    assert facts.input_shape == (3, 32, 32)
    assert facts.class_names == NAMES
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(found(images), net(images), atol=1e-6)


def test_a_folder_of_timm_with_a_pickle_alone_is_not_opened(tmp_path):
    timm = pytest.importorskip("timm")
    net = timm.create_model("test_vit", num_classes=3)
    timm.models.save_for_hf(net, str(tmp_path / "net"), safe_serialization=False)
    with pytest.raises(
        CheckpointError, match=r"timm folder without model.safetensors \(weights: pytorch_model.bin\)"
    ):
        read_classifier(tmp_path / "net")
    (tmp_path / "net/model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(CheckpointError, match="cannot be read by timm"):
        read_classifier(tmp_path / "net")


def test_a_folder_of_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        id2label=dict(enumerate(NAMES)),
        label2id={name: place for place, name in enumerate(NAMES)},
    )
    net = transformers.ViTForImageClassification(config).eval()
    net.save_pretrained(tmp_path / "net")
    facts = {
        "image_processor_type": "ViTImageProcessor",
        "image_mean": [0.4, 0.5, 0.6],
        "image_std": [0.2, 0.2, 0.2],
        "size": {"height": 32, "width": 32},
    }
    (tmp_path / "net/preprocessor_config.json").write_text(json.dumps(facts))
    found = read_classifier(tmp_path / "net")
    assert data_config(found).class_names == NAMES
    assert data_config(found).mean == pytest.approx((0.4, 0.5, 0.6))
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.allclose(logits_of(found(images)), net(images).logits, atol=1e-6)


# --- what is refused


def test_programs_of_torch_are_not_opened(tmp_path):
    (tmp_path / "net.pt2").write_bytes(b"PK\x03\x04")
    with pytest.raises(CheckpointError, match=r"cannot be opened without unpickling it.*ONNX file"):
        read_classifier(tmp_path / "net.pt2")
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "net.pt")
    with pytest.raises(CheckpointError, match=r"is a pickle \(torch.save\)"):
        read_classifier(tmp_path / "net.pt")


def test_nothing_there(tmp_path):
    with pytest.raises(CheckpointError, match="there is no model at"):
        read_classifier(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"holds no model.safetensors"):
        read_classifier(tmp_path)
    (tmp_path / "config.json").write_text("{not JSON")
    with pytest.raises(CheckpointError, match=r"holds no model.safetensors"):
        read_classifier(tmp_path)


# --- ONNX


@pytest.fixture
def onnx_file(tmp_path):
    """Writes a linear classifier of 1 x 4 x 4 images; three classes unless told."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    def write(name="net.onnx", *, batch="batch", side=4, said=None, weights=None):
        weights = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32) if weights is None else weights
        graph = helper.make_graph(
            [
                helper.make_node("Flatten", ["images"], ["flat"]),
                helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
            ],
            "net",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 1, side, side])],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 3])],
            [numpy_helper.from_array(weights, "weights")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        if said:
            helper.set_model_props(model, {key: json.dumps(value) for key, value in said.items()})
            for entry in model.metadata_props:
                if entry.key == "normalise":
                    entry.value = said["normalise"]
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        onnx.save(model, path)
        return path, torch.from_numpy(weights)

    return write


SAID = {"normalise": "outside", "input_shape": [1, 4, 4], "mean": [0.25], "std": [0.5], "class_names": list(NAMES)}


def test_an_onnx_file_predicts_and_says_what_it_wants(onnx_file, tmp_path):
    path, weights = onnx_file("net/model.onnx", said=SAID)
    for place in (path, path.parent):
        found = read_classifier(place)
        images = torch.rand(5, 1, 4, 4)
        assert torch.allclose(found(images), images.flatten(1) @ weights, atol=1e-5)
        assert data_config(found) == DataConfig((1, 4, 4), (0.25,), (0.5,), NAMES)
    path, _ = onnx_file(said={**SAID, "normalise": "inside"})
    facts = data_config(read_classifier(path))
    assert (facts.mean, facts.std) == ((0.0,), (1.0,))


def test_an_onnx_file_that_does_not_say_what_it_wants_is_refused(onnx_file):
    with pytest.raises(ModelError, match="does not say how its images are normalised"):
        read_classifier(onnx_file()[0])


def test_images_that_an_onnx_file_does_not_take(onnx_file):
    one_at_a_time = read_classifier(onnx_file(batch=1, said=SAID)[0])
    assert one_at_a_time(torch.rand(1, 1, 4, 4)).shape == (1, 3)
    with pytest.raises(ModelError, match=r"net.onnx cannot be run on images of shape \(2, 1, 4, 4\)"):
        one_at_a_time(torch.rand(2, 1, 4, 4))


def test_damaged_and_missing(onnx_file, tmp_path, monkeypatch):
    path, _ = onnx_file(said=SAID)
    (tmp_path / "bad.onnx").write_bytes(path.read_bytes()[:60])
    with pytest.raises(CheckpointError, match=r"bad.onnx cannot be read by onnxruntime"):
        read_classifier(tmp_path / "bad.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="onnxruntime"):
        read_classifier(path)


def test_an_onnx_student_in_an_audit(onnx_file):
    """Predictions are audited; questions that need gradients are left out of the standard set, with the reason."""
    draws = np.random.default_rng(1)
    source = (draws.integers(0, 256, (120, 4, 4), dtype=np.uint8), draws.integers(0, 3, 120))
    path, weights = onnx_file(said={**SAID, "normalise": "inside", "class_names": []})
    teacher = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3, bias=False))
    teacher[1].weight.data = weights.T.clone()
    teacher.limbeck_data = DataConfig((1, 4, 4), (0.0,), (1.0,))
    found = audit(teacher, {"onnx": path}, source=source, statistics={"draws": 20})
    assert found.finding("fidelity.agreement").student.mean == 1.0
    assert {"localisation", "adversarial", "representations"} <= set(found.skipped)
    assert found.skipped["localisation"].startswith("onnx can be asked for predictions alone (an ONNX file)")
    with pytest.raises(ConfigError, match="'adversarial' cannot be asked: onnx"):
        audit(teacher, {"onnx": path}, source=source, questions=["adversarial"])
