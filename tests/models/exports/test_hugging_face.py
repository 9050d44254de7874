import json
import sys

import pytest
import torch

from limbeck.errors import MissingExtraError, ModelError
from limbeck.models import export_hf

transformers = pytest.importorskip("transformers")
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 1], "embedding_size": 8, "layer_type": "basic"}


def test_transformers_loads_a_folder_with_names_and_a_processor(tmp_path, saved):
    net, path, data = saved("hf/resnet", tmp_path, channels=3, **STAGES)
    written = export_hf(path, tmp_path / "out", repository="me/net", licence="mit")
    namespace = {}
    exec(written.usage, namespace)
    images = torch.rand(2, 3, 32, 32)
    assert torch.allclose(net(images).logits, namespace["model"].eval()(images).logits, atol=1e-6)
    assert namespace["model"].config.id2label == dict(enumerate(data.class_names))
    assert namespace["processor"].size == {"height": 32, "width": 32}
    card = (written.path / "README.md").read_text()
    assert "from_pretrained('me/net')" in card
    assert 'library_name: "transformers"' in card


def test_a_network_that_transformers_cannot_rebuild(tmp_path, saved, monkeypatch):
    _, path, _ = saved("hf/resnet", tmp_path, **STAGES)

    def fail(*arguments, **settings):
        raise RuntimeError("size mismatch for stem")

    monkeypatch.setattr(transformers.AutoModelForImageClassification, "from_pretrained", fail)
    with pytest.raises(
        ModelError, match=r"cannot rebuild hf/resnet from its config \(RuntimeError: size mismatch"
    ):
        export_hf(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_processor_that_does_otherwise_is_refused(tmp_path, saved, monkeypatch):
    from limbeck.models.exports import hugging_face

    _, path, _ = saved("hf/resnet", tmp_path, **STAGES)
    told = hugging_face._processor
    monkeypatch.setattr(hugging_face, "_processor", lambda source: {**told(source), "image_mean": [0.0]})
    with pytest.raises(ModelError, match=r"image processor does not normalise as the model was trained"):
        export_hf(path, tmp_path / "out")


def test_progress_bars_are_as_they_were(tmp_path, saved, capfd):
    logging = transformers.utils.logging
    before = logging.is_progress_bar_enabled(), logging.get_verbosity()
    _, path, _ = saved("hf/resnet", tmp_path, **STAGES)
    capfd.readouterr()
    export_hf(path, tmp_path / "out")
    assert capfd.readouterr() == ("", "")
    assert (logging.is_progress_bar_enabled(), logging.get_verbosity()) == before


def test_any_other_network_is_a_program_with_facts(tmp_path, saved):
    one = saved("resnet8", tmp_path)
    written = export_hf(one.path, tmp_path / "out")
    config = json.loads((written.path / "config.json").read_text())
    assert config["id2label"] == {"0": "cat", "1": "dog", "2": "owl"}
    assert config["input_shape"] == [1, 32, 32]
    images = torch.rand(5, 1, 32, 32)
    program = torch.export.load(written.path / "model.pt2").module()
    assert torch.allclose(program(images), one.logits(images), atol=1e-5)
    assert "torch.export.load('out/model.pt2')" in (written.path / "README.md").read_text()


def test_transformers_is_named_where_it_is_missing(tmp_path, saved, monkeypatch):
    _, path, _ = saved("timm/test_resnet", tmp_path)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"transformers.*pip install 'limbeck\[hf\]'"):
        export_hf(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
