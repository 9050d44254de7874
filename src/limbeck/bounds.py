"""Annotations for settings with bounds: the allowed range said once, for checking and for documentation."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge, Gt, Le

Positive = Annotated[float, Gt(0)]
"""A number above zero."""
NonNegative = Annotated[float, Ge(0)]
"""A number of at least zero."""
Fraction = Annotated[float, Ge(0), Le(1)]
"""A number between zero and one, both included."""
PositiveInt = Annotated[int, Ge(1)]
"""A whole number of at least one."""
NonNegativeInt = Annotated[int, Ge(0)]
"""A whole number of at least zero."""
