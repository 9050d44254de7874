"""Fine-tuning: trained weights to begin with, weights that stay, weights that move at another rate."""

from __future__ import annotations

import pytest
import torch

from limbeck.classify.adapting import start_from
from limbeck.classify.config import TrainStage
from limbeck.classify.stages import run_train
from limbeck.errors import ConfigError, ModelError
from limbeck.models import DataConfig, build, load, save
from limbeck.models.partial_training import freeze, rate_factors
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder

FACTS = DataConfig(input_shape=(1, 8, 8), mean=(0.25,), std=(0.5,), class_names=tuple("abcde"))


@pytest.fixture
def trained(tmp_path):
    torch.manual_seed(5)
    model = build("resnet8", num_classes=5, in_channels=1)
    path = tmp_path / "model.safetensors"
    save(model, path, spec=model.limbeck_spec, data=FACTS)
    return path


def test_everything_but_a_classifier_of_another_size_is_taken_over(trained):
    torch.manual_seed(6)
    student = build("resnet8", num_classes=10, in_channels=1)
    head = student.fc.weight.clone()
    start_from(student, trained, classes=10)
    known = load(trained).state_dict()
    own = student.state_dict()
    assert torch.equal(own["fc.weight"], head)
    assert all(torch.equal(own[name], value) for name, value in known.items() if not name.startswith("fc."))
    assert student.limbeck_data.mean == (0.25,)


def test_a_classifier_of_equal_size_is_taken_over_too(trained):
    student = start_from(build("resnet8", num_classes=5, in_channels=1), trained, classes=5)
    assert torch.equal(student.fc.weight, load(trained).fc.weight)


def test_weights_of_another_network_are_refused(trained):
    with pytest.raises(ModelError, match="does not fit the student"):
        start_from(build("resnet14", num_classes=5, in_channels=1), trained, classes=5)


def test_frozen_modules_and_rates_are_found_by_path_or_pattern():
    net = build("resnet8", num_classes=5, in_channels=1)
    frozen = freeze(net, ["layer1", "*.bn2"])
    assert net.layer1 in frozen
    assert not any(p.requires_grad for p in net.layer1.parameters())
    assert all(p.requires_grad for p in net.fc.parameters())
    factors = rate_factors(net, {"fc": 10.0, "layer?": 0.5}, prefix="student.")
    assert factors["student.fc.weight"] == 10.0
    assert {factors[n] for n in factors if "layer" in n} == {0.5}
    with pytest.raises(ConfigError, match="Did you mean 'layer1'"):
        freeze(net, ["layer11"])
    with pytest.raises(ConfigError, match="matches no parameter"):
        rate_factors(net, {"head": 2.0}, prefix="")


def test_fine_tuning_keeps_what_is_frozen_and_moves_the_rest(trained, tmp_path):
    config = TrainStage.model_validate(
        {
            "source": {"name": "digits", "per_class": 3},
            "model": "resnet8",
            "start_from": str(trained),
            "train": {
                "epochs": 2,
                "batch_size": 15,
                "freeze": ["conv1", "bn1", "layer1"],
                "lr_factors": {"layer2": 0, "fc": 10},
                "optimizer": {"name": "sgd", "lr": 0.1, "weight_decay": 0},
            },
        }
    )
    folder = StageFolder(tmp_path / "tuned", "tuned")
    folder.begin(config.model_dump(mode="json"))
    run_train(config, folder, StageContext(seed=0, inputs={str(trained): trained}, device="cpu"))
    before, after = load(trained).state_dict(), load(folder.path).state_dict()
    for name, value in before.items():
        if name.startswith(("conv1", "bn1", "layer1")):
            assert torch.equal(value, after[name]), name  # running statistics included
    assert torch.equal(before["layer2.0.conv1.weight"], after["layer2.0.conv1.weight"])
    assert not torch.equal(before["layer3.0.conv1.weight"], after["layer3.0.conv1.weight"])
    assert load(folder.path).limbeck_data.mean == (0.25,)
