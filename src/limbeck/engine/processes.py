"""Which of several processes this is, for what only one of them may do. A single process pays nothing.

Launchers (torchrun, `accelerate launch`) say it in the environment, so it is known before torch is imported.
"""

from __future__ import annotations

import os


def is_main() -> bool:
    """Whether this process writes the run folder."""
    return int(os.environ.get("RANK", "0")) == 0


def wait_for_all(device: str | None = None) -> None:
    """Let every process of the launch reach this point.

    Args:
        device: as for `Machine`; "cpu" keeps the processes off the GPUs.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from accelerate import PartialState

        PartialState(cpu=device == "cpu").wait_for_everyone()
