"""Focal and global distillation, term by term with loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from limbeck.errors import ConfigError, ShapeError
from limbeck.losses.detection import GlobalContext, fgd
from limbeck.numerics.imitation import box_weights


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


SHAPES = {"student_shapes": [(4, 4, 5), (4, 2, 2)], "teacher_shapes": [(6, 4, 5), (4, 2, 2)]}
STUDENT = [draw(2, 4, 4, 5, seed=0), draw(2, 4, 2, 2, seed=1)]
TEACHER = [draw(2, 6, 4, 5, seed=2), draw(2, 4, 2, 2, seed=3)]
BOXES = [torch.tensor([[0.1, 0.1, 0.4, 0.3], [0.2, 0.2, 0.7, 0.4]]), torch.zeros(0, 4)]
PARTS = ("foreground_weight", "background_weight", "attention_weight", "relation_weight")


def build(**settings: float) -> fgd:
    torch.manual_seed(0)
    loss = fgd(**SHAPES, **settings).double()
    for block in (*loss.student_relations, *loss.teacher_relations):
        torch.nn.init.normal_(block.transform[3].weight)  # as after some training
    return loss


def only(part: str, **settings: float) -> fgd:
    return build(**{other: float(other == part) for other in PARTS}, **settings)


def attention(means: Tensor, temperature: float = 0.5) -> Tensor:
    powers = (means / temperature).exp()
    return powers / powers.sum() * means.numel()


@pytest.mark.parametrize("part", [0, 1])
@torch.no_grad()
def test_features_inside_and_outside_of_boxes(part: int) -> None:
    loss, wanted = only(PARTS[part], temperature=0.8), 0.0
    for level, (own, taught) in enumerate(zip(STUDENT, TEACHER, strict=True)):
        adapted = loss.adapters.layers[level](own)
        for n in range(2):
            weights = box_weights(BOXES[n].double(), size=tuple(own.shape[2:]))[part]
            spatial = attention(taught[n].abs().mean(dim=0), 0.8)
            channel = attention(taught[n].abs().mean(dim=(1, 2)), 0.8)
            for c in range(taught.shape[1]):
                gap = (taught[n, c] - adapted[n, c]).square()
                wanted += float((weights * spatial * channel[c] * gap).sum()) / 2
    assert float(loss(STUDENT, TEACHER, BOXES)) == pytest.approx(wanted)


@torch.no_grad()
def test_attentions() -> None:
    loss, wanted = only("attention_weight"), 0.0
    for level, (own, taught) in enumerate(zip(STUDENT, TEACHER, strict=True)):
        adapted = loss.adapters.layers[level](own)
        for n in range(2):
            for dims in (0, (1, 2)):
                gap = attention(taught[n].abs().mean(dim=dims)) - attention(adapted[n].abs().mean(dim=dims))
                wanted += float(gap.abs().sum()) / 2
    assert float(loss(STUDENT, TEACHER, BOXES)) == pytest.approx(wanted)


def context(block: GlobalContext, maps: Tensor) -> Tensor:
    """The block, position by position."""
    out = []
    for each in maps:
        scores = torch.einsum("chw,c->hw", each, block.attention.weight[0, :, 0, 0]) + block.attention.bias
        shares = scores.exp() / scores.exp().sum()
        pooled = torch.stack([(shares * channel).sum() for channel in each])
        hidden = block.transform[0].weight[:, :, 0, 0] @ pooled + block.transform[0].bias
        hidden = (hidden - hidden.mean()) / (hidden.var(correction=0) + 1e-5).sqrt()
        added = block.transform[3].weight[:, :, 0, 0] @ hidden.relu() + block.transform[3].bias
        out.append(each + added[:, None, None])
    return torch.stack(out)


@torch.no_grad()
def test_relations() -> None:
    loss, wanted = only("relation_weight"), 0.0
    for level, (own, taught) in enumerate(zip(STUDENT, TEACHER, strict=True)):
        adapted = loss.adapters.layers[level](own)
        gap = context(loss.student_relations[level], adapted) - context(loss.teacher_relations[level], taught)
        wanted += float(gap.square().sum()) / 2
    assert float(loss(STUDENT, TEACHER, BOXES)) == pytest.approx(wanted)


def test_parts_add_up_with_the_published_weights() -> None:
    whole = build()(STUDENT, TEACHER, BOXES)
    weights = (1e-3, 5e-4, 5e-4, 5e-6)
    parts = [weight * only(part)(STUDENT, TEACHER, BOXES) for part, weight in zip(PARTS, weights, strict=True)]
    torch.testing.assert_close(whole, torch.stack(parts).sum())


def test_gradients_reach_all_parts_of_the_relation_blocks() -> None:
    loss = build()
    loss(STUDENT, TEACHER, BOXES).backward()
    for block in (*loss.student_relations, *loss.teacher_relations):
        assert block.attention.weight.grad.isfinite().all()
        assert block.transform[3].weight.grad.abs().max() > 0


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ShapeError, match="boxes of 1 images, but maps of 2"):
        build()(STUDENT, TEACHER, BOXES[:1])
    with pytest.raises(ConfigError, match="temperature"):
        build(temperature=0.0)
