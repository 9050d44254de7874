import io

import torch
from PIL import Image

from limbeck.audit.picture import CELL, GAP, grid, heat


def opened(png):
    return Image.open(io.BytesIO(png))


def test_images_in_rows_with_words():
    rows = [[torch.zeros(1, 8, 8), torch.ones(1, 8, 8)], [torch.rand(3, 200, 100)]]
    plain = opened(grid(rows, row_names=["image", "a name that is far too long for its margin"]))
    named = opened(grid(rows, row_names=["a", "b"], column_names=["first", "second"]))
    assert plain.mode == "RGB"
    assert plain.height == 2 * (CELL + GAP)
    assert named.width == plain.width
    assert named.height > plain.height
    assert plain.getpixel((plain.width - CELL // 2, CELL // 2)) == (255, 255, 255)
    assert plain.getpixel((plain.width - CELL - CELL // 2, CELL // 2)) == (0, 0, 0)


def test_small_images_are_not_smoothed():
    board = (torch.arange(64).view(8, 8) + torch.arange(8)[:, None]) % 2
    picture = opened(grid([[board[None].float()]], row_names=["x"]))
    assert set(picture.crop((picture.width - CELL - GAP, 0, picture.width - GAP, CELL)).tobytes()) <= {0, 255}


def test_a_map_over_its_image():
    image = torch.full((1, 8, 8), 0.5)
    cold, hot = heat(image, torch.zeros(2, 2)), heat(image, torch.ones(2, 2))
    assert cold.shape == hot.shape == (3, 48, 48)
    assert torch.allclose(cold[0], cold[2])
    assert (hot[0] > cold[0]).all()
    assert hot.min() >= 0
    assert hot.max() <= 1
