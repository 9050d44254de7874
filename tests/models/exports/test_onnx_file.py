import json
import sys

import numpy as np
import pytest
import torch

from limbeck.errors import InputError, MissingExtraError, ModelError
from limbeck.models import export_onnx

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def logits(path, images):
    session = onnxruntime.InferenceSession(path)
    return torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])


def said(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


@pytest.fixture(scope="module")
def one(tmp_path_factory, saved):
    return saved("resnet8", tmp_path_factory.mktemp("net"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory, one):
    return export_onnx(one.path, tmp_path_factory.mktemp("out") / "net.onnx")


def test_real_images_of_any_number_give_the_same_logits(plain, one, digits):
    for count in (1, 3, 10):
        found = logits(plain.path, digits[:count])
        assert torch.allclose(found, one.logits(digits[:count]), atol=1e-4)
        assert torch.equal(found.argmax(1), one.logits(digits[:count]).argmax(1))


def test_the_file_says_what_it_is(plain):
    found = said(plain.path)
    assert json.loads(found["class_names"]) == ["cat", "dog", "owl"]
    assert json.loads(found["input_shape"]) == [1, 32, 32]
    assert found["normalise"] == "inside"
    assert "values in [0, 1], not normalised" in found["input"]
    model = onnx.load(plain.path)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 18
    (images,) = model.graph.input
    assert images.name == "images"
    dims = images.type.tensor_type.shape.dim
    assert (dims[0].dim_param, [d.dim_value for d in dims[1:]]) == ("batch", [1, 32, 32])


def test_the_lines_that_load_it_do(plain, one, digits):
    namespace = {"images": digits.numpy()}
    exec(plain.usage, namespace)
    assert np.allclose(namespace["logits"], one.logits(digits), atol=1e-4)


def test_normalised_outside_in_half_precision_with_newer_operators(tmp_path, one, digits):
    written = export_onnx(one.path, tmp_path / "out", normalise="outside", precision="float16", opset=20)
    prepared = (digits - 0.25) / 0.5
    expected = one.logits(digits)
    found = logits(written.path / "model.onnx", prepared)
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=0.03 * max(1.0, float(expected.abs().max())))
    assert (written.path / "model.onnx").stat().st_size < 0.65 * 4 * sum(p.numel() for p in one.net.parameters())
    facts = said(written.path / "model.onnx")
    assert "normalised outside: values in [0, 1] minus [0.25], divided by [0.5]" in facts["input"]
    assert onnx.load(written.path / "model.onnx").opset_import[0].version == 20
    card = (written.path / "README.md").read_text()
    assert facts["input"] in card
    assert 'library_name: "onnx"' in card


def test_an_operation_without_a_form_in_onnx_is_named_with_its_module(tmp_path, odd):
    path = odd("bessel", tmp_path / "in").path
    with pytest.raises(
        ModelError, match=r"no ONNX operator for aten.special_bessel_j0.default in module 'stem.1'.*--format torch"
    ):
        export_onnx(path, tmp_path / "a/b.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_a_network_that_reads_values_is_named_with_its_module(tmp_path, odd):
    path = odd("values", tmp_path / "in").path
    with pytest.raises(ModelError, match=r"odd_net cannot be captured .* in module 'stem.1' \(ReadsValues\)"):
        export_onnx(path, tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_other_logits_are_refused(tmp_path, one, monkeypatch):
    from limbeck.models.exports import onnx_file

    convert = onnx_file._converted

    def broken(*arguments):
        proto = convert(*arguments)
        bias = next(t for t in proto.graph.initializer if t.name.endswith("fc.bias"))
        bias.raw_data = np.full(3, 5.0, np.float32).tobytes()
        return proto

    monkeypatch.setattr(onnx_file, "_converted", broken)
    with pytest.raises(ModelError, match=r"checked and refused: read by onnxruntime .* differ by up to"):
        export_onnx(one.path, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"opset": 9}, r"opset 9: this onnx .* writes 18 to"),
        ({"opset": 999}, r"opset 999"),
        ({"precision": "bfloat16"}, r"precision bfloat16: .* float32 or float16"),
    ],
)
def test_settings_that_cannot_be(tmp_path, one, settings, match):
    with pytest.raises(InputError, match=match):
        export_onnx(one.path, tmp_path / "out", **settings)


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named(tmp_path, one, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"'{package}'.*pip install 'limbeck\[export\]'"):
        export_onnx(one.path, tmp_path / "out")
