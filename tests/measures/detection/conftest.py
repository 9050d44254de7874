"""Random images with all kinds of errors in them."""

from __future__ import annotations

import numpy as np
import pytest


def _draw_scenes(seed, *, images=12, classes=3, crowds=False):
    """Predictions and ground truth; NumPy's streams are the same everywhere, and stored numbers rest on these."""
    g = np.random.default_rng(seed)
    predictions, truth = [], []
    for _ in range(images):
        k = int(g.integers(0, 7))
        corner, size = g.uniform(0, 60, (k, 2)), g.uniform(6, 40, (k, 2))
        boxes, labels = np.concatenate([corner, corner + size], 1).astype("float32"), g.integers(0, classes, k)
        truth.append({"boxes": boxes, "labels": labels, "crowd": g.random(k) < (0.2 if crowds else 0)})
        d = int(g.integers(0, 12)) if g.random() > 0.1 else 0
        if k and d:
            of, spread = g.integers(0, k, d), g.choice([0.5, 3, 8, 20], d)[:, None]
            found = boxes[of] + g.normal(size=(d, 4)) * spread
            said = np.where(g.random(d) < 0.7, labels[of], g.integers(0, classes, d))
        else:
            corner = g.uniform(0, 60, (d, 2))
            found = np.concatenate([corner, corner + g.uniform(6, 40, (d, 2))], 1)
            said = g.integers(0, classes, d)
        low, high = np.minimum(found[:, :2], found[:, 2:]), np.maximum(found[:, :2], found[:, 2:])
        found = np.concatenate([low, high], 1).astype("float32")
        predictions.append({"boxes": found, "labels": said, "scores": g.random(d).astype("float32")})
    return predictions, truth


@pytest.fixture(scope="session")
def draw_scenes():
    return _draw_scenes
