"""The device, the processes and the arithmetic that a stage runs on; the only file that touches Accelerate."""

from __future__ import annotations

import atexit
import gc
import resource
import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from torch import Tensor, distributed

from limbeck.errors import ConfigError

_MIXED = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


class Machine:
    """Where a stage runs.

    Args:
        device: a torch device string such as "cpu" or "cuda"; None takes what Accelerate finds.
        precision: "float32", "bfloat16" or "float16", the arithmetic of the networks.

    Raises:
        ConfigError: the device does not exist here, or cannot do the precision.
    """

    def __init__(self, *, device: str | None = None, precision: str = "float32") -> None:
        wanted = _checked(device) if device is not None else None
        # Accelerate keeps one process-wide state; two stages of a recipe may differ in precision.
        AcceleratorState._reset_state()
        try:
            self.accelerator = Accelerator(
                mixed_precision=_MIXED[precision],
                cpu=device == "cpu",
                # Statistics are agreed on when weights are judged; memories are the same everywhere, and large.
                kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
            )
        except ValueError as error:
            raise ConfigError(f"precision '{precision}' is not possible on this device: {error}") from error
        if precision == "float16" and self.accelerator.device.type == "cpu":
            raise ConfigError("precision 'float16' is not possible on a CPU. Use float32, or bfloat16.")
        if wanted is not None and wanted.type != self.accelerator.device.type:
            raise ConfigError(
                f"device '{device}' was asked for, but this process trains on {self.accelerator.device} already. "
                "Use one device in a process."
            )
        self.precision = precision
        self.device: torch.device = self.accelerator.device
        self.rank: int = self.accelerator.process_index
        self.world: int = self.accelerator.num_processes
        if self.world > 1:
            atexit.unregister(_leave)
            atexit.register(_leave)

    @property
    def main(self) -> bool:
        """Whether this process writes files and shows progress."""
        return self.rank == 0

    def autocast(self) -> AbstractContextManager[Any]:
        """The arithmetic of the networks, as a context."""
        return self.accelerator.autocast()  # type: ignore[no-any-return]

    def sum(self, value: Tensor) -> Tensor:
        """A tensor summed over all processes."""
        return self.accelerator.reduce(value, reduction="sum") if self.world > 1 else value

    def mean(self, value: Tensor) -> Tensor:
        """A tensor averaged over all processes."""
        return self.accelerator.reduce(value, reduction="mean") if self.world > 1 else value

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        if self.world == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self.device)) > 0)

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the main one's values, in place."""
        if self.world > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, src=0)

    def wait(self) -> None:
        """Let every process reach this point."""
        self.accelerator.wait_for_everyone()

    def release(self) -> None:
        """Let go of what was wrapped for training; Accelerate keeps all it ever saw."""
        if self.world > 1:
            self.accelerator.free_memory()

    def synchronize(self) -> None:
        """Wait for the device's queue, so that a clock read afterwards is true."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def peak_memory_bytes(self) -> int:
        """Most memory held at once: on the GPU where there is one, else resident memory of the process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024

    def forget_peak(self) -> None:
        """Begin a new measurement of memory, where the device can; a CPU process only ever knows its highest."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)


def _checked(device: str) -> torch.device:
    """A device that exists here; a numbered GPU becomes the current one, which is what Accelerate takes.

    Raises:
        ConfigError: torch does not know it, or does not see it.
    """
    there = ["cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))]
    there += ["mps"] if torch.backends.mps.is_available() else []
    if device not in {*there, *(name.partition(":")[0] for name in there)}:
        raise ConfigError(f"device '{device}' is not here. There are: {', '.join(there)}.")
    wanted = torch.device(device)
    if wanted.type == "cuda" and wanted.index is not None:
        torch.cuda.set_device(wanted)
    return wanted


def _leave() -> None:
    """Give the process group back before the interpreter ends: threads that outlive it abort the process.

    Wrapped modules hold the group, and its threads, for as long as they exist; those that only stand in cycles of
    references have to go first.
    """
    if distributed.is_available() and distributed.is_initialized():
        gc.collect()
        distributed.destroy_process_group()
        gc.collect()
