"""Annotations for settings with bounds: the allowed range said once, for checking and for documentation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

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
SAME_KIND = "a component of the same registry"
"""Marks a setting that holds another component, such as a source inside a source."""
Nested = Annotated[Mapping[str, Any] | str, SAME_KIND]
"""Another component of the same registry, written as in a recipe: `{name: parquet, root: data}` or `digits`."""
