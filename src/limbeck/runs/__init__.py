"""Run folders: what a run writes, and how it is read back. No torch."""

from __future__ import annotations

from limbeck.runs.folder import RunFolder
from limbeck.runs.stage import StageFolder

__all__ = ["RunFolder", "StageFolder"]
