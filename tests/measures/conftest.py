"""POT, the independent judge of transport, has docstrings that Python warns of when it first compiles them."""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ot  # noqa: F401
