import pytest
import torch

from limbeck.errors import ShapeError
from limbeck.numerics.tokens import channels_first, tokens_to_map, tokens_to_vector


def test_patches_stand_where_they_were_cut():
    images = torch.arange(2 * 3 * 4 * 6.0).reshape(2, 3, 4, 6)
    patches = images.flatten(2).transpose(1, 2)
    tokens = torch.cat([torch.full((2, 2, 3), -1.0), patches], 1)
    assert torch.equal(tokens_to_map(tokens, prefix=2, grid=(4, 6)), images)


@pytest.mark.parametrize(("count", "prefix", "side"), [(197, 1, 14), (198, 2, 14), (16, 0, 4), (261, 5, 16)])
def test_the_grid_is_square_unless_given(count, prefix, side):
    assert tokens_to_map(torch.zeros(2, count, 8), prefix=prefix).shape == (2, 8, side, side)


def test_gradients_reach_the_patches_alone():
    tokens = torch.rand(2, 5, 3, requires_grad=True)
    tokens_to_map(tokens, prefix=1).sum().backward()
    assert tokens.grad[:, 0].abs().sum() == 0
    assert (tokens.grad[:, 1:] == 1).all()


def test_a_vector_is_the_class_token_or_the_mean_of_the_patches():
    tokens = torch.rand(2, 5, 3)
    assert torch.equal(tokens_to_vector(tokens, prefix=1), tokens[:, 0])
    assert torch.allclose(tokens_to_vector(tokens, prefix=1, pool="mean"), tokens[:, 1:].mean(1))
    map_ = tokens_to_map(tokens, prefix=1)
    assert torch.allclose(tokens_to_vector(tokens, prefix=1, pool="mean"), map_.mean((2, 3)))


def test_channels_behind():
    assert torch.equal(
        channels_first(torch.arange(12.0).reshape(1, 2, 2, 3))[0, 1], torch.tensor([[1, 4], [7, 10.0]])
    )
    with pytest.raises(ShapeError, match=r"\(n, h, w, d\), not \(2, 3\)"):
        channels_first(torch.zeros(2, 3))


@pytest.mark.parametrize(
    ("shape", "settings", "message"),
    [
        ((2, 196, 8), {"prefix": 1}, r"195 patch tokens \(behind 1 others\) make no square; the nearest has 169"),
        (
            (2, 197, 8),
            {"prefix": 1, "grid": (10, 20)},
            r"10 x 20 has 200 patches, but 197 tokens with 1 .* have 196",
        ),
        ((2, 197), {"prefix": 1}, r"tokens have shape \(n, tokens, d\), not \(2, 197\)"),
        ((2, 1, 8), {"prefix": 1}, r"1 tokens cannot have 1 in front"),
        ((2, 4, 8), {"prefix": 0, "grid": (-2, -2)}, r"a grid of -2 x -2"),
    ],
)
def test_what_is_no_grid_is_refused(shape, settings, message):
    with pytest.raises(ShapeError, match=message):
        tokens_to_map(torch.zeros(shape), **settings)


def test_no_class_token():
    with pytest.raises(ShapeError, match=r"have no class token in front; take their mean"):
        tokens_to_vector(torch.zeros(2, 4, 3), prefix=0)
