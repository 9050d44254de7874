"""Pictures of images before and after a change."""

from __future__ import annotations

import io
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

_SIDE, _MOST, _GAP = 56, 112, 3


def rows_png(rows: Sequence[Tensor]) -> bytes:
    r"""Images in rows, those of a column belonging together, as a PNG; small ones are enlarged without smoothing.

    Args:
        rows: each (k, c, h, w), floats in [0, 1], c 1 or 3 (of others the mean is shown); all of one size.

    Example:
        >>> rows_png([torch.zeros(2, 1, 8, 8), torch.ones(2, 1, 8, 8)])[:4]
        b'\x89PNG'
    """
    images = torch.stack([row.detach().float().cpu() for row in rows]).clamp(0, 1)
    if images.shape[2] not in (1, 3):
        images = images.mean(dim=2, keepdim=True)
    if images.shape[-1] > _MOST:
        flat = F.interpolate(images.flatten(0, 1), size=(_MOST, _MOST), mode="bilinear", antialias=True)
        images = flat.unflatten(0, images.shape[:2]).clamp(0, 1)
    times = max(1, -(-_SIDE // images.shape[-1]))
    large = images.repeat_interleave(times, 3).repeat_interleave(times, 4)
    framed = F.pad(large, (0, _GAP, 0, _GAP), value=1.0)
    whole = framed.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)[:, :-_GAP, :-_GAP]
    pixels = (whole * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    stored = io.BytesIO()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(stored, "PNG")
    return stored.getvalue()
