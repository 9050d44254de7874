"""Knowledge review: hierarchical context with loops, fusion block by block, sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import ConfigError, ShapeError
from limbeck.losses import ReviewKD, reviewkd_hcl


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("size", [(8, 8), (4, 4), (7, 7), (3, 3), (2, 2), (1, 1), (6, 9), (12, 4)])
def test_pooling_both_maps_apart_agrees(size: tuple[int, int]) -> None:
    student, teacher = draw(2, 3, *size, seed=0), draw(2, 3, *size, seed=1)
    wanted, total, weight = (student - teacher).square().mean(dim=(1, 2, 3)), 1.0, 1.0
    for side in (4, 2, 1):
        if side < min(size):
            weight /= 2
            pooled = [F.adaptive_avg_pool2d(x, (side, side)) for x in (student, teacher)]
            wanted = wanted + weight * (pooled[0] - pooled[1]).square().mean(dim=(1, 2, 3))
            total += weight
    torch.testing.assert_close(reviewkd_hcl([student], [teacher]), wanted / total)


def test_zero_at_equality_and_sum_over_maps() -> None:
    maps = [draw(2, 3, 8, 8, seed=0), draw(2, 5, seed=1)]
    others = [draw(2, 3, 8, 8, seed=2), draw(2, 5, seed=3)]
    assert reviewkd_hcl(maps, maps).abs().max() == 0
    apart = reviewkd_hcl(maps[:1], others[:1]) + reviewkd_hcl(maps[1:], others[1:])
    torch.testing.assert_close(reviewkd_hcl(maps, others), apart)


def build(mid_channels: int = 512) -> ReviewKD:
    torch.manual_seed(0)
    return ReviewKD(
        student_shapes=[(3, 8, 8), (4, 4, 4), (6,)],
        teacher_shapes=[(2, 4, 4), (5, 8, 8), (7, 1, 1)],
        mid_channels=mid_channels,
    ).double()


def test_fusion_as_in_the_paper() -> None:
    """With the maps side by side, enlarged before the attention; the sizes of the teacher on the way out."""
    loss = build().eval()
    student = [draw(2, 3, 8, 8, seed=0), draw(2, 4, 4, 4, seed=1), draw(2, 6, seed=2)]
    fused: list[Tensor] = []
    passed: Tensor | None = None
    for block, own, size in zip(
        loss.fusions, (student[2][:, :, None, None], student[1], student[0]), (1, 8, 4), strict=True
    ):
        x = block.reduce(own)
        if passed is not None:
            deeper = F.interpolate(passed, x.shape[2:], mode="nearest")
            shares = torch.sigmoid(block.attention(torch.cat((x, deeper), dim=1)))
            x = x * shares[:, :1] + deeper * shares[:, 1:]
        passed = F.interpolate(x, (size, size), mode="nearest")
        fused.insert(0, block.project(passed))
    teacher = [draw(2, 2, 4, 4, seed=3), draw(2, 5, 8, 8, seed=4), draw(2, 7, 1, 1, seed=5)]
    torch.testing.assert_close(loss(student, teacher), reviewkd_hcl(fused, teacher))
    torch.testing.assert_close(loss(student, [*teacher[:2], teacher[2].flatten(1)]), reviewkd_hcl(fused, teacher))


def test_channels_in_the_middle() -> None:
    assert build().fusions[0].reduce[0].out_channels == 6  # the deepest feature's, below 512
    assert build(mid_channels=3).fusions[2].reduce[0].out_channels == 3
    assert build().fusions[0].attention is None


def test_training_fits_a_fixed_teacher() -> None:
    loss = build()
    student = [draw(8, 3, 8, 8, seed=0), draw(8, 4, 4, 4, seed=1), draw(8, 6, seed=2)]
    teacher = [draw(8, 2, 4, 4, seed=3), draw(8, 5, 8, 8, seed=4), draw(8, 7, seed=5)]
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.01)
    values = []
    for _ in range(15):
        optimizer.zero_grad()
        value = loss(student, teacher).mean()
        value.backward()
        optimizer.step()
        values.append(float(value.detach()))
    assert values[-1] < 0.8 * values[0]


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(ShapeError, match="2 features of the student and 1 of the teacher"):
        reviewkd_hcl([draw(2, 3, seed=0)] * 2, [draw(2, 3, seed=0)])
    with pytest.raises(ShapeError, match="0 features"):
        reviewkd_hcl([], [])
    with pytest.raises(ShapeError, match=r"teacher feature has shape \(3, 4\)"):
        ReviewKD(student_shapes=[(3, 4, 4)], teacher_shapes=[(3, 4)])
    with pytest.raises(ShapeError, match=r"\(2, 3, 8, 8\).*\(2, 3, 4, 4\)"):
        reviewkd_hcl([draw(2, 3, 8, 8, seed=0)], [draw(2, 3, 4, 4, seed=0)])
    with pytest.raises(ConfigError, match="mid_channels must be above 0"):
        build(mid_channels=0)
