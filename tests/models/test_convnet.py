import json

import numpy as np
import pytest
import torch

from limbeck.errors import ModelError
from limbeck.models import build


def cases(shared):
    folder = shared / "golden/dataset"
    for case in json.loads((folder / "cases.json").read_text())["cases"]:
        if case["kind"] == "convnet":
            yield case, {k: torch.from_numpy(v) for k, v in np.load(folder / case["file"]).items()}


def test_values_of_the_programs_of_dataset_distillation(shared):
    seen = 0
    for case, x in cases(shared):
        facts = case["params"]
        net = build(
            "convnet",
            num_classes=facts["classes"],
            in_channels=facts["channels"],
            depth=facts["depth"],
            width=facts["width"],
            image_size=facts["im_size"],
        ).double()
        assert sum(p.numel() for p in net.parameters()) == facts["num_params"]
        torch.nn.utils.vector_to_parameters(x["flat_param"], net.parameters())
        logits = net(x["x"])
        settings = {"rtol": case["rtol"], "atol": case["atol"]}
        assert torch.allclose(logits, x["logits"], **settings)
        assert torch.allclose(net.forward_features(x["x"]).flatten(1), x["embedding"], **settings)
        gradient = torch.autograd.grad((logits * x["v"]).sum(), net.parameters())
        assert torch.allclose(torch.cat([g.flatten() for g in gradient]), x["grad_flat_param"], **settings)
        seen += 1
    assert seen == 4


def test_published_parameter_counts():
    assert sum(p.numel() for p in build("convnet3", num_classes=10).parameters()) == 320_010
    assert sum(p.numel() for p in build("convnet4", num_classes=200).parameters()) == 857_160


@pytest.mark.parametrize("norm", ["instance", "batch", "layer", "group", "none"])
@pytest.mark.parametrize("pooling", ["avg", "max", "none"])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "sigmoid", "silu"])
def test_settings(norm, pooling, activation):
    net = build(
        "convnet",
        num_classes=3,
        width=8,
        depth=2,
        image_size=16,
        norm=norm,
        pooling=pooling,
        activation=activation,
    )
    assert net(torch.rand(2, 3, 16, 16)).shape == (2, 3)
    assert net.forward_features(torch.rand(2, 3, 16, 16)).shape == (
        2,
        8,
        *((16, 16) if pooling == "none" else (4, 4)),
    )


def test_instance_norm_does_not_know_training_from_evaluation():
    net = build("convnet3", num_classes=3, width=8)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(net.train()(images), net.eval()(images))
    assert not list(net.buffers())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 5, "image_size": 16}, r"5 halvings leave nothing of 16 pixels: at most 4 blocks"),
        ({"width": 6, "norm": "group"}, r"4 groups, which a width of 6 cannot be cut into"),
        ({"depth": 0}, r"at least one block, not 0"),
    ],
)
def test_settings_that_make_no_network(settings, message):
    with pytest.raises(ModelError, match=message):
        build("convnet", num_classes=3, **settings)


def test_images_of_another_size():
    with pytest.raises(ModelError, match=r"built for images of 32 pixels, not \(16, 16\): set image_size: 16"):
        build("convnet3", num_classes=3)(torch.rand(1, 3, 16, 16))
