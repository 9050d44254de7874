"""Attention-guided and non-local distillation, term by term, and the non-local block with all pairs."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import ConfigError
from limbeck.losses.detection import NonLocalBlock, fkd


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SHAPES = {"student_shapes": [(4, 4, 5), (3, 2, 2)], "teacher_shapes": [(6, 4, 5), (3, 2, 2)]}
STUDENT = [draw(2, 4, 4, 5, seed=0), draw(2, 3, 2, 2, seed=1)]
TEACHER = [draw(2, 6, 4, 5, seed=2), draw(2, 3, 2, 2, seed=3)]
PARTS = ("map_weight", "channel_weight", "spatial_weight", "relation_weight")


def build(**settings: object) -> fkd:
    torch.manual_seed(0)
    loss = fkd(**SHAPES, strides=(2,), reductions=(2,), **settings).double()
    for relation in (*loss.student_relations, *loss.teacher_relations):
        torch.nn.init.normal_(relation.norm.weight)  # as after some training
    return loss.eval()


def only(part: str, **settings: object) -> fkd:
    return build(**{other: float(other == part) for other in PARTS}, **settings)


def norm(values: Tensor) -> float:
    return math.sqrt(sum(float(v) ** 2 for v in values.flatten()))


def attention(means: Tensor) -> Tensor:
    return (means / 0.5).exp() / (means / 0.5).exp().sum() * means.numel()


@pytest.mark.parametrize("source", ["code", "paper"])
@torch.no_grad()
def test_maps_under_attention(source: str) -> None:
    loss, wanted = only("map_weight", source=source), 0.0
    for level, (own, taught) in enumerate(zip(STUDENT, TEACHER, strict=True)):
        adapted, total = loss.adapters.layers[level](own), 0.0
        for n in range(2):
            mask = (attention(own[n].abs().mean(dim=0)) + attention(taught[n].abs().mean(dim=0))) / 2
            channel = torch.ones(taught.shape[1])
            if source == "paper":
                means = [x[n].abs().mean(dim=(1, 2)) for x in (adapted, taught)]
                channel = (attention(means[0]) + attention(means[1])) / 2
            for c in range(taught.shape[1]):
                total += float((channel[c] * mask * (adapted[n, c] - taught[n, c]).square()).sum())
        wanted += math.sqrt(total)
    assert float(loss(STUDENT, TEACHER)) == pytest.approx(wanted)


@torch.no_grad()
def test_means_over_positions_and_over_channels() -> None:
    loss, wanted = only("channel_weight"), 0.0
    for layer, own, taught in zip(loss.channel_means, STUDENT, TEACHER, strict=True):
        wanted += norm(taught.mean(dim=(2, 3)) - own.mean(dim=(2, 3)) @ layer.weight.T - layer.bias)
    assert float(loss(STUDENT, TEACHER)) == pytest.approx(wanted)
    loss, wanted = only("spatial_weight"), 0.0
    for layer, own, taught in zip(loss.spatial_means, STUDENT, TEACHER, strict=True):
        moved = F.conv2d(own.mean(dim=1, keepdim=True), layer.weight, layer.bias, padding=1)
        wanted += norm(taught.mean(dim=1, keepdim=True) - moved)
    assert float(loss(STUDENT, TEACHER)) == pytest.approx(wanted)


def all_pairs(block: NonLocalBlock, maps: Tensor) -> Tensor:
    """The block with the matrix of all pairs of positions."""
    window = [min(block.stride, side) for side in maps.shape[2:]]
    theta = block.theta(maps).flatten(2)
    phi = F.max_pool2d(block.phi(maps), window).flatten(2)
    gathered = F.max_pool2d(block.gathered(maps), window).flatten(2)
    pairs = theta.transpose(1, 2) @ phi / phi.shape[2]
    mixed = (pairs @ gathered.transpose(1, 2)).transpose(1, 2).reshape(len(maps), -1, *maps.shape[2:])
    return maps + block.norm(block.out(mixed))


@torch.no_grad()
def test_relations() -> None:
    loss, wanted = only("relation_weight"), 0.0
    for level, (own, taught) in enumerate(zip(STUDENT, TEACHER, strict=True)):
        student = loss.relation_adapters[level](all_pairs(loss.student_relations[level], own))
        wanted += norm(student - all_pairs(loss.teacher_relations[level], taught))
    assert float(loss(STUDENT, TEACHER)) == pytest.approx(wanted)


def test_parts_add_up_with_the_published_weights() -> None:
    whole = build()(STUDENT, TEACHER)
    weights = (7e-5, 4e-3, 4e-3, 7e-5)
    parts = [weight * only(part)(STUDENT, TEACHER) for part, weight in zip(PARTS, weights, strict=True)]
    torch.testing.assert_close(whole, torch.stack(parts).sum())


def test_blocks_level_by_level_and_settings_that_cannot_be() -> None:
    maps = [(256, 8, 8)] * 4
    loss = fkd(student_shapes=maps, teacher_shapes=maps)
    assert [block.stride for block in loss.student_relations] == [8, 4, 2, 2]
    assert [block.theta.out_channels for block in loss.teacher_relations] == [64, 64, 128, 128]
    with pytest.raises(ConfigError, match="unknown source 'book'"):
        fkd(**SHAPES, source="book")
    with pytest.raises(ConfigError, match="strides"):
        fkd(**SHAPES, strides=())
    with pytest.raises(ConfigError, match="strides must be above 0"):
        fkd(**SHAPES, strides=(0,))


def test_block_in_training_mode_follows_its_batch() -> None:
    block = NonLocalBlock(4, stride=2, reduction=2).double().train()
    torch.nn.init.normal_(block.norm.weight)
    maps = draw(3, 4, 4, 4, seed=5)
    torch.testing.assert_close(block(maps), all_pairs(block, maps))
