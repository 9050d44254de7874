"""What every network for small images owes: counts, shapes, taps, gradients, files."""

import re

import pytest
import torch

import limbeck
from limbeck.errors import ModelError
from limbeck.models import DataConfig, build, save, stage_taps, stages_of
from limbeck.models._registry import CIFAR
from limbeck.taps import Taps, probe

# Parameters for 100 classes, from the layers of the programs of contrastive distillation and its successors;
# papers print them rounded (0.70 million for WRN-16-2, 0.86 for ResNet-56).
COUNTS = {
    "vgg8": 3_965_028,
    "vgg11": 9_277_284,
    "vgg13": 9_462_180,
    "vgg16": 14_774_436,
    "vgg19": 20_086_692,
    "mobilenet_v2": 2_353_060,
    "mobilenet_v2_half": 812_836,
    "shufflenet_v1": 949_258,
    "shufflenet_v2": 1_355_528,
    "resnet50_cifar": 23_705_252,
    "wrn_16_1": 180_916,
    "wrn_16_2": 703_284,
    "wrn_40_1": 569_780,
    "wrn_40_2": 2_255_156,
}
# Channels and sides of f1, f2, ... for 32 pixels.
STAGES = {
    "resnet8": [(16, 32), (32, 16), (64, 8)],
    "resnet32x4": [(64, 32), (128, 16), (256, 8)],
    "resnet50_cifar": [(256, 32), (512, 16), (1024, 8), (2048, 4)],
    "wrn_16_1": [(16, 32), (32, 16), (64, 8)],
    "wrn_40_2": [(32, 32), (64, 16), (128, 8)],
    "vgg8": [(128, 16), (256, 8), (512, 4), (512, 4)],
    "vgg13": [(128, 16), (256, 8), (512, 4), (512, 4)],
    "mobilenet_v2_half": [(12, 16), (16, 8), (48, 4), (160, 2)],
    "shufflenet_v1": [(240, 16), (480, 8), (960, 4)],
    "shufflenet_v2": [(116, 16), (232, 8), (464, 4)],
    "convnet3": [(128, 32), (128, 16), (128, 8)],
}
# One of every kind, small enough to be run often.
KINDS = ["resnet8", "wrn_16_1", "vgg8", "mobilenet_v2_half", "shufflenet_v1", "shufflenet_v2", "convnet3"]
DATA = DataConfig(input_shape=(3, 32, 32), mean=(0.5,) * 3, std=(0.25,) * 3)


def net_of(name, **settings):
    torch.manual_seed(0)
    return build(name, **{"num_classes": 5, **settings})


def test_every_network_of_the_zoo_has_a_count():
    known = {name for name, file in CIFAR.items() if file not in ("resnet", "convnet")}
    assert set(COUNTS) == known


@pytest.mark.parametrize(("name", "count"), COUNTS.items())
def test_parameter_counts(name, count):
    with torch.device("meta"):
        assert sum(p.numel() for p in build(name, num_classes=100).parameters()) == count


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("size", "channels"), [(16, 3), (32, 1), (64, 3)])
def test_shapes(name, size, channels):
    settings = {"image_size": size} if name == "convnet3" else {}
    net = net_of(name, in_channels=channels, **settings).eval()
    images = torch.rand(2, channels, size, size)
    features = net.forward_features(images)
    assert net(images).shape == (2, 5)
    assert features.ndim == 4
    pooled = features.flatten(1) if name == "convnet3" else features.mean((2, 3))
    assert torch.allclose(net.fc(pooled), net(images), atol=1e-5)


@pytest.mark.parametrize(("name", "shapes"), STAGES.items())
def test_stages_have_the_shapes_of_the_literature(name, shapes):
    net = net_of(name).eval()
    stages = stages_of(net)
    assert stages == stage_taps(name)
    read = probe(net, torch.rand(1, 3, 32, 32), [p for s in stages for p in (s.output, s.preactivation)])
    for stage, (channels, side) in zip(stages, shapes, strict=True):
        assert read[stage.output].shape == read[stage.preactivation].shape == (1, channels, side, side)
        if stage.norm is not None:
            assert net.get_submodule(stage.norm).num_features == channels


@pytest.mark.parametrize("name", [name for name in STAGES if not name.startswith(("wrn", "mobilenet"))])
def test_an_output_is_its_preactivation_activated(name):
    net = net_of(name)
    for stage in stage_taps(name):
        with Taps(net, [stage.output, stage.preactivation]) as taps:
            net(torch.rand(2, 3, 32, 32))
            read = taps.take()
        assert read[stage.preactivation].min() < 0
        assert torch.equal(read[stage.output], read[stage.preactivation].relu())


def test_a_wide_resnet_normalises_its_stages_afterwards():
    net = net_of("wrn_16_1").eval()
    for stage in stage_taps("wrn_16_1"):
        read = probe(net, torch.rand(2, 3, 16, 16), [stage.output, stage.preactivation])
        assert torch.equal(net.get_submodule(stage.norm)(read[stage.output]), read[stage.preactivation])


@pytest.mark.parametrize("name", sorted(CIFAR))
def test_the_whole_zoo_knows_its_stages(name):
    with torch.device("meta"):
        net = build(name, num_classes=2)
    paths = dict(net.named_modules())
    for stage in stages_of(net):
        assert stage.output in paths
        assert stage.preactivation.removesuffix(":input") in paths
        assert stage.norm is None or isinstance(paths[stage.norm], torch.nn.BatchNorm2d)


def test_stages_of_other_networks():
    with pytest.raises(ModelError, match=r"stages of 'resnet57' are not known. Did you mean 'resnet56'\?"):
        stage_taps("resnet57")
    assert stages_of(torch.nn.Linear(1, 1)) is None
    assert [s.output for s in stages_of(net_of("convnet", depth=2))] == ["layer1.activation", "layer2.activation"]


@pytest.mark.parametrize("name", KINDS)
def test_every_parameter_gets_a_gradient(name):
    net = net_of(name)
    torch.manual_seed(1)
    net(torch.randn(4, 3, 32, 32)).logsumexp(1).sum().backward()
    for path, parameter in net.named_parameters():
        # A bias in front of a batch or instance norm is subtracted again: its gradient is rounding.
        assert parameter.grad is not None, path
        assert parameter.grad.abs().sum() > 0, path


@pytest.mark.parametrize("name", KINDS)
def test_a_seed_makes_the_same_network(name):
    first, second = net_of(name).state_dict(), net_of(name).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", KINDS)
def test_it_is_kept_in_a_file(name, tmp_path):
    net = net_of(name).eval()
    save(net, tmp_path / "m.safetensors", spec=net.limbeck_spec, data=DATA)
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(limbeck.load(tmp_path / "m.safetensors")(images), net(images))


@pytest.mark.parametrize("name", KINDS)
def test_it_is_exported(name):
    net = net_of(name).eval()
    images = torch.rand(2, 3, 32, 32)
    exported = torch.export.export(net, (images,)).module()
    assert torch.allclose(exported(images), net(images), atol=1e-6)


@pytest.mark.parametrize("name", KINDS)
def test_channels_last_changes_nothing(name):
    net = net_of(name).eval()
    images = torch.rand(2, 3, 32, 32)
    before = net(images)
    after = net.to(memory_format=torch.channels_last)(images.to(memory_format=torch.channels_last))
    assert torch.allclose(before, after, atol=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_nothing_is_activated_in_place(name):
    assert not [m for m in net_of(name).modules() if getattr(m, "inplace", False)]


def test_settings_that_make_no_network():
    with pytest.raises(ModelError, match=r"num_classes and in_channels of at least 1, not 0 and 3"):
        build("vgg8", num_classes=0)
    with pytest.raises(ModelError, match=r"widths 0.5, 1, 1.5 and 2, not 0.7"):
        build("shufflenet_v2", num_classes=2, width=0.7)


def test_the_guide_tells_the_truth(root):
    table = (root / "docs/guides/models.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d,]+) \| [\d,]+ \| [\d.]* ?\|$", table, flags=re.MULTILINE))
    assert set(rows) == set(CIFAR) - {"convnet"}
    for name, said in rows.items():
        with torch.device("meta"):
            assert f"{sum(p.numel() for p in build(name, num_classes=100).parameters()):,}" == said, name
