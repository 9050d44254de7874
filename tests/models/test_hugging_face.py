import json
import logging
import sys

import pytest
import torch

import limbeck
from limbeck.errors import MissingExtraError, ModelError
from limbeck.measures import flops
from limbeck.models import DataConfig, build, classifier_of, data_config, export_state_dict, last_feature, save
from limbeck.models.outputs import logits_of

pytest.importorskip("transformers")

VIT = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}
STAGES = {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}
# Type, settings, classifier, layout of the last features, tokens in front of them.
NETS = [
    ("vit", VIT, "classifier", "tokens", 1),
    ("deit", VIT, "classifier", "tokens", 2),
    ("resnet", {**STAGES, "embedding_size": 8, "layer_type": "basic"}, "classifier.1", "map", 0),
    ("convnext", STAGES, "classifier", "map", 0),
    (
        "swin",
        {
            "image_size": 64,
            "patch_size": 4,
            "embed_dim": 8,
            "depths": [1, 1],
            "num_heads": [2, 2],
            "window_size": 4,
        },
        "classifier",
        "tokens",
        0,
    ),
]
NAMES = {0: "cat", 1: "dog", 2: "owl"}


@pytest.fixture
def folder(tmp_path):
    """What `save_pretrained` leaves of a trained network."""
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    config = ViTConfig(**VIT, id2label=NAMES, label2id={v: k for k, v in NAMES.items()})
    ViTForImageClassification(config).save_pretrained(tmp_path / "net")
    facts = {
        "image_processor_type": "ViTImageProcessor",
        "do_normalize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "image_mean": [0.4, 0.5, 0.6],
        "image_std": [0.2, 0.2, 0.2],
        "size": {"height": 32, "width": 32},
    }
    (tmp_path / "net/preprocessor_config.json").write_text(json.dumps(facts))
    return tmp_path / "net"


def logits(net, images):
    with torch.no_grad():
        return logits_of(net.eval()(images))


@pytest.mark.parametrize(("kind", "settings", "head", "layout", "prefix"), NETS)
def test_types_without_weights(kind, settings, head, layout, prefix, tmp_path):
    torch.manual_seed(0)
    net = build(f"hf/{kind}", num_classes=5, in_channels=1, **settings)
    size = settings.get("image_size", 64)
    images = torch.rand(2, 1, size, size)
    assert net.training
    before = logits(net, images)
    assert before.shape == (2, 5)
    assert classifier_of(net, 5)[0] == head
    found = last_feature(net, images)
    assert (found.layout, found.prefix) == (layout, prefix)
    assert flops(net, images[:1]) > 0
    data = DataConfig(input_shape=(1, size, size), mean=(0.5,), std=(0.5,))
    save(net, tmp_path / "m.safetensors", spec=net.limbeck_spec, data=data)
    assert torch.equal(logits(limbeck.load(tmp_path / "m.safetensors"), images), before)
    export_state_dict(tmp_path / "m.safetensors", tmp_path / "weights.safetensors")


def test_the_same_seed_makes_the_same_network():
    nets = []
    for _ in range(2):
        torch.manual_seed(1)
        nets.append(build("hf/vit", num_classes=5, **VIT).state_dict())
    assert all(torch.equal(nets[0][key], nets[1][key]) for key in nets[0])


def test_there_are_no_facts_without_weights():
    assert data_config(build("hf/vit", num_classes=5, **VIT)) is None


def test_a_folder_with_weights_and_its_facts(folder, tmp_path):
    from transformers import ViTForImageClassification

    images = torch.rand(2, 3, 32, 32)
    net = build(f"hf/{folder}", pretrained=True)
    assert torch.equal(logits(net, images), logits(ViTForImageClassification.from_pretrained(folder), images))
    facts = data_config(net)
    assert facts.input_shape == (3, 32, 32)
    assert facts.mean == pytest.approx((0.4, 0.5, 0.6))
    assert facts.std == pytest.approx((0.2, 0.2, 0.2))
    assert facts.class_names == ("cat", "dog", "owl")
    save(net, tmp_path / "m.safetensors", spec=net.limbeck_spec, data=facts)
    again = limbeck.load(tmp_path / "m.safetensors")
    assert net.limbeck_spec["name"] == "hf/vit"
    assert torch.equal(logits(again, images), logits(net, images))
    assert again.limbeck_data == facts


def test_other_classes_and_grey_images(folder, caplog):
    whole = build(f"hf/{folder}", pretrained=True)
    with caplog.at_level(logging.WARNING, "limbeck"):
        net = build(f"hf/{folder}", pretrained=True, num_classes=4, in_channels=1)
    assert "weights are for 3 classes; the classifier for 4 classes is new and untrained" in caplog.text
    assert net.limbeck_data.class_names == ()
    assert net.limbeck_data.mean == pytest.approx((0.5,))
    assert net.config.num_channels == 1
    grey = torch.rand(2, 1, 32, 32)
    assert logits(net, grey).shape == (2, 4)
    # A grey image through the summed first layer is what three equal channels gave.
    bodies = [n.vit(images).last_hidden_state for n, images in ((net, grey), (whole, grey.expand(-1, 3, -1, -1)))]
    assert torch.allclose(*bodies, atol=1e-5)


def test_a_folder_without_its_weights_is_a_plan(folder):
    net = build(f"hf/{folder}", num_classes=4)
    assert net.config.hidden_size == 16
    assert data_config(net) is None


def test_pixels_that_are_scaled_otherwise(folder):
    file = folder / "preprocessor_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "rescale_factor": 1 / 127.5}))
    facts = build(f"hf/{folder}", pretrained=True).limbeck_data
    assert facts.mean == pytest.approx((0.2, 0.25, 0.3))
    assert facts.std == pytest.approx((0.1, 0.1, 0.1))


def test_no_facts_about_images(folder, caplog):
    (folder / "preprocessor_config.json").unlink()
    with caplog.at_level(logging.WARNING, "limbeck"):
        net = build(f"hf/{folder}", pretrained=True)
    assert "says nothing about its normalisation" in caplog.text
    assert data_config(net) is None


def test_pickled_weights_are_not_opened(folder):
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"pretrained weights of 'hf/.*' could not be fetched"):
        build(f"hf/{folder}", pretrained=True)


def test_settings_that_weights_do_not_fit(folder):
    with pytest.raises(ModelError, match=r"do not fit the settings: 'vit.* has another shape"):
        build(f"hf/{folder}", pretrained=True, patch_size=16)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("hf/vitt", {}, r"no image classifier of type 'vitt'. Did you mean 'vit'\?"),
        ("hf/vit", {"hiden_size": 3}, r"'hf/vit' has no setting 'hiden_size'. Did you mean 'hidden_size'\?"),
        ("hf/vit", {"num_labels": 3}, r"say num_classes, not num_labels"),
        ("hf/vit", {"hidden_size": "wide"}, r"'hf/vit' cannot be built with hidden_size='wide'"),
        ("hf/vit", {"pretrained": True}, r"is a type of model and has no weights of its own. Name a repository"),
        ("hf/nobody/nothing", {}, r"nothing is fetched unless you say pretrained: true"),
    ],
)
def test_names_and_settings_that_do_not_exist(name, settings, message):
    with pytest.raises(ModelError, match=message):
        build(name, num_classes=3, **settings)


def test_weights_that_cannot_be_fetched(monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr("transformers.AutoConfig.from_pretrained", offline)
    with pytest.raises(ModelError, match=r"weights of 'hf/someone/vit' could not be fetched \(OSError: no route"):
        build("hf/someone/vit", pretrained=True)


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"'hf/vit' needs the package 'transformers'.*limbeck\[hf\]"):
        build("hf/vit", num_classes=2)
