"""The velocity of a flow, as a program of torch.export in the file beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass


class VelocityProgram(nn.Module):
    """Called (x, t, labels, interval): x (n, c, h, w) float32; t (n,) from 0, data, to 1, noise.

    Args:
        program: its inputs are x and t, then labels and interval by name where the flow has them.
    """

    dtype = torch.float32

    def __init__(self, program: torch.export.ExportedProgram) -> None:
        super().__init__()
        self.device = torch.device("cpu")
        # Not as a submodule: a program has no train() and eval(), and moves by rewriting its graph.
        self._kept = (program, program.module())

    @classmethod
    def from_pretrained(cls, folder: str, torch_dtype: torch.dtype | None = None, **_: Any) -> VelocityProgram:
        """Read `velocity.pt2` in a folder."""
        if torch_dtype not in (None, torch.float32):
            raise ValueError(f"this program computes in float32, not in {torch_dtype}.")
        return cls(torch.export.load(Path(folder) / "velocity.pt2"))

    def forward(
        self, x: Tensor, t: Tensor, labels: Tensor | None = None, interval: Tensor | None = None
    ) -> Tensor:
        """Velocities at x, of its shape."""
        more = {"labels": labels, "interval": interval}
        found: Tensor = self._kept[1](x, t, **{name: value for name, value in more.items() if value is not None})
        return found

    def to(self, *where: Any, **named: Any) -> VelocityProgram:
        """Move to another device; the type stays float32."""
        device, dtype, *_ = torch._C._nn._parse_to(*where, **named)
        if dtype not in (None, torch.float32):
            raise ValueError(f"this program computes in float32, not in {dtype}.")
        if device is not None and torch.device(device) != self.device:
            self.device = torch.device(device)
            program = move_to_device_pass(self._kept[0], str(self.device))
            self._kept = (program, program.module())
        return self
