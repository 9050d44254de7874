"""What `test_writing.py` starts as two processes: the small store, written together."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch


def main(out: Path) -> None:
    from limbeck.engine import Machine

    torch.set_num_threads(1)
    spec = importlib.util.spec_from_file_location("stored_example", Path(__file__).with_name("example.py"))
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    machine, data = Machine(device="cpu"), example.images()
    written = example.store(out, example.new_teacher(data, machine), data, machine)
    assert written.images == 30, written


if __name__ == "__main__":
    main(Path(sys.argv[1]))
