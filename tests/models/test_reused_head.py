"""A student that ends in its teacher's classifier: what is copied, frozen, saved, and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from limbeck.errors import ModelError
from limbeck.losses import simkd
from limbeck.models import CIFAR, DataConfig, build, export_state_dict, load, save
from limbeck.models.reused_head import ReusedHead, pooled_map, reuse_head
from limbeck.taps import probe

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def pair(student: str = "resnet8", teacher: str = "resnet14", **settings: Any) -> tuple[ReusedHead, nn.Module]:
    torch.manual_seed(0)
    taught, own = build(teacher, num_classes=5), build(student, num_classes=5)
    return reuse_head(own, taught, IMAGES, num_classes=5, **settings), taught


def test_logits_are_those_of_the_teachers_classifier() -> None:
    net, teacher = pair()
    net.eval()
    mapped = probe(net, IMAGES, ["transfer"])["transfer"]
    torch.testing.assert_close(net(IMAGES), teacher.fc(mapped.mean(dim=(2, 3))))
    net.transfer = nn.Identity()  # a perfect block on a perfect backbone: the teacher itself
    net.backbone = teacher.eval()
    torch.testing.assert_close(net(IMAGES), teacher(IMAGES))


def test_classifier_is_frozen_and_everything_else_learns() -> None:
    net, teacher = pair()
    taught = probe(teacher, IMAGES, ["layer3"])["layer3"]
    kept: list[Tensor] = []
    handle = net.transfer.register_forward_hook(lambda _, __, output: kept.append(output))
    net.train()(IMAGES)
    handle.remove()
    simkd(kept[0], taught).mean().backward()
    without = sorted(name for name, p in net.named_parameters() if p.grad is None)
    assert without == ["classifier.bias", "classifier.weight"]
    assert not net.classifier.weight.requires_grad
    assert net.classifier.weight is not teacher.fc.weight


def test_students_weights_are_kept() -> None:
    torch.manual_seed(0)
    student = build("resnet8", num_classes=5)
    wanted = student.layer2[0].conv1.weight.detach().clone()
    net = reuse_head(student, build("vgg13", num_classes=5), IMAGES, num_classes=5)
    assert torch.equal(net.backbone.layer2[0].conv1.weight, wanted)


def test_saved_file_rebuilds_itself(tmp_path: Path) -> None:
    net, _ = pair(factor=4)
    net.eval()
    data = DataConfig(input_shape=(3, 16, 16), mean=(0.5,) * 3, std=(0.25,) * 3, class_names=tuple("abcde"))
    save(net, tmp_path / "model.safetensors", spec=net.limbeck_spec, data=data)
    again = load(tmp_path / "model.safetensors")
    assert isinstance(again, ReusedHead)
    assert torch.equal(again(IMAGES), net(IMAGES))
    assert not again.classifier.weight.requires_grad
    assert again.limbeck_spec["backbone"]["name"] == "resnet8"
    export_state_dict(tmp_path / "model.safetensors", tmp_path / "plain.safetensors")


@pytest.mark.parametrize(
    "name", sorted(set(CIFAR) - {"resnet110", "resnet56", "resnet44", "wrn_40_1", "wrn_40_2"})
)
def test_every_network_of_the_zoo_can_be_student_and_teacher(name: str) -> None:
    settings = {"image_size": 32} if "convnet" in name else {}
    images = IMAGES if "image_size" not in settings else torch.rand(2, 3, 32, 32)
    try:
        network = build(name, num_classes=5, **settings)
    except ModelError:
        network, images = build(name, num_classes=5), torch.rand(2, 3, 32, 32)
    teacher = build("resnet8", num_classes=5)
    if "convnet" in name:  # its classifier reads a flattened map
        with pytest.raises(ModelError, match="does not read the average of a feature map"):
            pooled_map(network.eval(), images, num_classes=5)
    else:
        path = pooled_map(network.eval(), images, num_classes=5)
        torch.testing.assert_close(probe(network, images, [path])[path], network.forward_features(images))
    net = reuse_head(network, teacher, images, num_classes=5)
    assert net(images).shape == (2, 5)


def test_grey_images_and_timm() -> None:
    pytest.importorskip("timm")
    images = torch.rand(2, 1, 32, 32)
    teacher = build("timm/resnet18", num_classes=5, in_channels=1)
    assert pooled_map(teacher.eval(), images, num_classes=5)
    net = reuse_head(
        build("timm/mobilenetv3_small_050", num_classes=5, in_channels=1), teacher, images, num_classes=5
    )
    assert net.limbeck_spec["in_channels"] == 1
    assert net.limbeck_spec["dropped"] == ["conv_head", "classifier"]  # the features end before both
    net(images).sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in net.parameters())
    settings = dict(net.limbeck_spec)
    again = build(settings.pop("name"), **settings)
    again.load_state_dict(net.state_dict())
    assert torch.equal(again.eval()(images), net.eval()(images))


def test_teacher_with_a_convolution_as_classifier() -> None:
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 6, 3)
            self.head = nn.Conv2d(6, 5, 1, bias=False)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.body(images).mean(dim=(2, 3), keepdim=True)).flatten(1)

    teacher = Last()
    net = reuse_head(build("resnet8", num_classes=5), teacher, IMAGES, num_classes=5)
    vectors = torch.rand(2, 6)
    torch.testing.assert_close(net.classifier(vectors), teacher.head(vectors[:, :, None, None]).flatten(1))


def test_networks_without_maps_are_refused() -> None:
    teacher = build("resnet8", num_classes=5)
    plain = nn.Sequential(nn.Flatten(), nn.Linear(768, 5))
    with pytest.raises(ModelError, match=r"Sequential has no method forward_features"):
        reuse_head(plain, teacher, IMAGES, num_classes=5)
    with pytest.raises(ModelError, match="does not read the average of a feature map"):
        reuse_head(build("resnet8", num_classes=5), plain, IMAGES, num_classes=5)
    with pytest.raises(ModelError, match="backbone needs a name"):
        build("reused_head", backbone={}, student_channels=8, teacher_channels=8, map_size=(4, 4), num_classes=5)


def test_a_transformer_is_refused() -> None:
    pytest.importorskip("timm")
    vit = build("timm/vit_tiny_patch16_224", num_classes=5, img_size=16, depth=1)
    with pytest.raises(ModelError, match=r"forward_features gives \(2, 2, 192\), not a map"):
        reuse_head(vit, build("resnet8", num_classes=5), IMAGES, num_classes=5)
