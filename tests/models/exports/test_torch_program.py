import json

import pytest
import torch

from limbeck.errors import ModelError
from limbeck.models import export_torch
from limbeck.models.exports.torch_program import FACTS


@pytest.fixture(scope="module")
def one(tmp_path_factory, saved):
    return saved("resnet8", tmp_path_factory.mktemp("net"))


def test_any_number_of_real_images(tmp_path, one, digits):
    written = export_torch(one.path, tmp_path / "net.pt2")
    facts = {FACTS: ""}
    program = torch.export.load(written.path, extra_files=facts).module()
    for count in (1, 2, 10):
        assert torch.allclose(program(digits[:count]), one.logits(digits[:count]), atol=1e-4)
    assert json.loads(facts[FACTS])["class_names"] == ["cat", "dog", "owl"]
    namespace = {"images": digits}
    exec(written.usage, namespace)
    assert torch.allclose(namespace["logits"], one.logits(digits), atol=1e-4)


@pytest.mark.parametrize(("precision", "tolerance"), [("float16", 0.03), ("bfloat16", 0.1)])
def test_half_precision_takes_and_gives_float32(tmp_path, one, digits, precision, tolerance):
    written = export_torch(one.path, tmp_path / "out", normalise="outside", precision=precision)
    program = torch.export.load(written.path / "model.pt2").module()
    expected = one.logits(digits)
    found = program((digits - 0.25) / 0.5)
    assert found.dtype == torch.float32
    assert torch.allclose(found, expected, atol=tolerance * max(1.0, float(expected.abs().max())))
    assert 0 < written.compared[0].difference < written.compared[0].allowed
    card = (written.path / "README.md").read_text()
    assert f"It computes in {precision}." in card
    assert "normalised outside" in card


def test_an_operation_that_onnx_lacks_is_fine(tmp_path, odd, digits):
    one = odd("bessel", tmp_path)
    written = export_torch(one.path, tmp_path / "net.pt2")
    program = torch.export.load(written.path).module()
    assert torch.allclose(program(digits), one.logits(digits), atol=1e-5)


def test_a_network_that_reads_values_is_named_with_its_module(tmp_path, odd):
    path = odd("values", tmp_path / "in").path
    with pytest.raises(ModelError, match=r"in module 'stem.1' \(ReadsValues\).*--format state-dict"):
        export_torch(path, tmp_path / "out/net.pt2")
    assert [p.name for p in tmp_path.iterdir()] == ["in"]
