from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

from limbeck.audit.attribution import ATTRIBUTIONS, attention_rollout, grad_cam, hires_cam, map_cosine, read_map
from limbeck.errors import DataError, ModelError, ShapeError, TapError


def network(channels: int = 1, *, inplace: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=inplace),
        nn.Conv2d(4, 6, 3, 2, 1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=inplace),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


IMAGES = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(1))
TARGETS = torch.tensor([0, 1, 2])


def direct(net: nn.Sequential, cut: int, images: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Map and gradient by running the two halves by hand."""
    maps = net[: cut + 1](images).detach().requires_grad_()
    net[cut + 1 :](maps).gather(1, targets[:, None]).sum().backward()
    assert maps.grad is not None
    return maps.detach(), maps.grad


@pytest.mark.parametrize("layer", [0, 2, 4, 5])
def test_as_by_hand(layer: int) -> None:
    net = network().eval().requires_grad_(False)
    maps, gradients = read_map(net, IMAGES, TARGETS, str(layer))
    wanted = direct(net, layer, IMAGES, TARGETS)
    torch.testing.assert_close(maps, wanted[0])
    torch.testing.assert_close(gradients, wanted[1])


@pytest.mark.parametrize("layer", ["0", "1", "4", "5"])
def test_what_works_in_place_corrupts_nothing(layer: str) -> None:
    a = read_map(network(inplace=True).eval(), IMAGES, TARGETS, layer)
    b = read_map(network().eval(), IMAGES, TARGETS, layer)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_input_side() -> None:
    net = network().eval()
    assert all(
        torch.equal(a, b)
        for a, b in zip(
            read_map(net, IMAGES, TARGETS, "3:input"), read_map(net, IMAGES, TARGETS, "2"), strict=True
        )
    )


@pytest.mark.parametrize("frozen", [False, True])
def test_the_network_is_left_alone(frozen: bool) -> None:
    net = network().requires_grad_(not frozen).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    grad_cam(net, IMAGES, TARGETS)
    assert net.training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad != frozen for p in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert torch.is_grad_enabled()


def test_hooks_go_when_the_network_fails() -> None:
    net = network()
    with pytest.raises(RuntimeError):
        grad_cam(net, torch.rand(1, 2, 8, 8), torch.tensor([0]), layer="5")
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_scale_of_the_logit_and_same_network() -> None:
    net = network()
    maps = grad_cam(net, IMAGES, TARGETS)
    net[-1].weight.data *= 7
    scaled = grad_cam(net, IMAGES, TARGETS)
    cosine = map_cosine(maps, scaled)
    assert torch.allclose(cosine[~cosine.isnan()], torch.ones(()), atol=1e-6)
    torch.testing.assert_close(scaled, 7 * maps)


def test_hires_equals_grad_cam_before_an_average() -> None:
    torch.testing.assert_close(grad_cam(network(), IMAGES, TARGETS), hires_cam(network(), IMAGES, TARGETS))


def test_each_image_on_its_own() -> None:
    for name in ("grad_cam", "grad_cam_pp", "layer_cam"):
        whole = ATTRIBUTIONS[name](network(), IMAGES, TARGETS)
        torch.testing.assert_close(ATTRIBUTIONS[name](network(), IMAGES[1:2], TARGETS[1:2])[0], whole[1])
        assert whole.shape == (3, 4, 4)
        assert whole.dtype == torch.float32
        assert not whole.requires_grad


def test_a_transformer() -> None:
    torch.manual_seed(0)
    net = timm.create_model("test_vit", num_classes=3, img_size=32).eval().requires_grad_(False)
    images = torch.rand(2, 3, 32, 32)
    targets = torch.tensor([0, 2])
    maps, gradients = read_map(net, images, targets)
    assert maps.shape == (2, 64, 2, 2)
    assert bool(gradients.any())
    with torch.no_grad():
        tokens = net.norm(net.blocks[:5](net._pos_embed(net.patch_embed(images))))  # only for the layout
    assert tokens.shape[1] == 5
    assert grad_cam(net, images, targets).shape == (2, 2, 2)
    with pytest.raises(TapError, match=r"no token of 'blocks\.5' but the class token"):
        read_map(net, images, targets, "blocks.5")


def test_rollout_leaves_attention_as_it_was() -> None:
    torch.manual_seed(0)
    net = timm.create_model("test_vit", num_classes=3, img_size=32).eval().requires_grad_(False)
    images, targets = torch.rand(2, 3, 32, 32), torch.tensor([0, 2])
    fused = [block.attn.fused_attn for block in net.blocks]
    found = attention_rollout(net, images, targets)
    assert [block.attn.fused_attn for block in net.blocks] == fused
    assert found.shape == (2, 2, 2)
    assert found.min() >= 0
    assert bool((found.sum(dim=(1, 2)) < 1).all())
    wanted = torch.eye(5).expand(2, 5, 5)
    with torch.no_grad():
        x = net.norm_pre(net._pos_embed(net.patch_embed(images)))
        for block in net.blocks:
            attn = block.attn
            shape = (2, 5, 3, attn.num_heads, attn.head_dim)
            q, k, _ = attn.qkv(block.norm1(x)).reshape(shape).permute(2, 0, 3, 1, 4).unbind(0)
            weights = (attn.q_norm(q) * attn.scale @ attn.k_norm(k).mT).softmax(dim=-1).mean(dim=1)
            wanted = (weights + torch.eye(5)) / 2 @ wanted
            x = block(x)
    torch.testing.assert_close(found.flatten(1), wanted[:, 0, 1:])
    with pytest.raises(ModelError, match="use grad_cam"):
        attention_rollout(network(), IMAGES, TARGETS)
    windows = timm.models.SwinTransformer(
        32, 2, embed_dim=8, depths=(1, 1), num_heads=(1, 1), window_size=8
    ).eval()
    with pytest.raises(ModelError, match="in every block"):
        attention_rollout(windows, images, targets)
    assert grad_cam(windows, images, targets).shape == (2, 8, 8)


def test_rollout_of_torchvision_and_hugging_face() -> None:
    import torchvision
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    images, targets = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    plain = torchvision.models.VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=3).eval()
    config = ViTConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        image_size=32,
        patch_size=8,
    )
    hugging = ViTForImageClassification(config).eval()
    for net in (plain, hugging):
        found = attention_rollout(net, images, targets)
        assert found.shape == (2, 4, 4)
        assert bool(((found.sum(dim=(1, 2)) < 1) & (found.sum(dim=(1, 2)) > 0.2)).all())
        assert grad_cam(net, images, targets).shape == (2, 4, 4)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in plain.modules())


def test_what_is_wrong_is_said() -> None:
    net = network()
    with pytest.raises(TapError, match="no module"):
        grad_cam(net, IMAGES, TARGETS, layer="layer4")
    with pytest.raises(TapError, match="only ':input'"):
        grad_cam(net, IMAGES, TARGETS, layer="5:output")
    with pytest.raises(ShapeError, match="one class"):
        grad_cam(net, IMAGES, TARGETS[:2])
    with pytest.raises(DataError, match="run from 0 to 9"):
        grad_cam(net, IMAGES, torch.tensor([0, 1, 9]))
    broken = IMAGES.clone()
    broken[1, 0, 0, 0] = torch.nan
    with pytest.raises(DataError, match=r"layer '5' puts out values that are not finite, first for image 1"):
        grad_cam(net, broken, TARGETS)

    class Side(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = network()
            self.model.add_module("unused", nn.Linear(1, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.model[:9](x)

    with pytest.raises(TapError, match="did not fire"):
        grad_cam(Side(), IMAGES, TARGETS, layer="unused")

    class Detached(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return self[1](self[0](x).detach().mean(dim=(2, 3)))

    with pytest.raises(TapError, match="do not depend"):
        grad_cam(Detached(nn.Conv2d(1, 2, 3), nn.Linear(2, 3)), IMAGES, TARGETS, layer="0")
