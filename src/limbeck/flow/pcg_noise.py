"""Noise as the 32-byte records of the released code: the state of NumPy's PCG64 before the draw.

Pairs made elsewhere can be read with it. Limbeck's own pairs keep an index instead (`limbeck.seeding.normals`),
because NumPy does not promise that its normal numbers stay the same between releases.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import DataError

RECORD = 32
"""Bytes: state, then increment, 16 each, the most significant first."""


def noise_of_state(record: bytes, shape: tuple[int, ...]) -> Tensor:
    """The noise that a record stands for.

    Args:
        record: 32 bytes.
        shape: channels, height, width.

    Returns:
        float32, of that shape.

    Raises:
        DataError: a record of another length.
    """
    if len(record) != RECORD:
        raise DataError(f"a record of noise has {RECORD} bytes (state and increment of PCG64); got {len(record)}.")
    bits = np.random.PCG64()
    bits.state = {
        "bit_generator": "PCG64",
        "state": {"state": int.from_bytes(record[:16], "big"), "inc": int.from_bytes(record[16:], "big")},
        "has_uint32": 0,
        "uinteger": 0,
    }
    return torch.from_numpy(np.random.Generator(bits).standard_normal(shape).astype(np.float32))


def state_of(bits: np.random.PCG64) -> bytes:
    """A generator's state as a record, to be taken before the noise is drawn."""
    inner = bits.state["state"]
    return int(inner["state"]).to_bytes(16, "big") + int(inner["inc"]).to_bytes(16, "big")
