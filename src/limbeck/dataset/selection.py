"""Which real images stand for a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from limbeck.errors import ConfigError, DataError
from limbeck.seeding import generator

DECILES = 10


def difficulty(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Minus the log probability of the true class, (n,)."""
    return -probabilities.double().gather(1, labels[:, None])[:, 0].clamp(min=1e-30).log()


def pick(
    labels: Tensor,
    ipc: int,
    *,
    strategy: str = "random",
    seed: int = 0,
    scores: Tensor | None = None,
    features: Tensor | None = None,
    class_names: Sequence[str] | None = None,
) -> Tensor:
    """Rows of `ipc` images of every class, class by class.

    Args:
        labels: (n,), on the CPU.
        ipc: images per class.
        strategy: "random"; a decile of difficulty, "0" (easiest) to "9"; "stratified", one decile after another;
            "herding" or "kmeans" on features.
        seed: of what is random.
        scores: difficulty of each image, (n,); for deciles and stratified.
        features: (n, d); for herding and kmeans.
        class_names: for messages.

    Raises:
        DataError: a class with fewer images.
        ConfigError: an unknown strategy, or one without what it looks at.
    """
    classes = len(class_names) if class_names is not None else int(labels.max()) + 1
    found = []
    for label in range(classes):
        rows = (labels == label).nonzero()[:, 0]
        if len(rows) < ipc:
            name = class_names[label] if class_names is not None else str(label)
            raise DataError(f"ipc: {ipc} images per class are asked for, class '{name}' has {len(rows)}.")
        draws = generator(seed, "selection", label)
        found.append(rows[_within(strategy, ipc, draws, _of(scores, rows), _of(features, rows), len(rows))])
    return torch.cat(found)


def _of(values: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if values is None else values[rows]


def _within(
    strategy: str, ipc: int, draws: torch.Generator, scores: Tensor | None, features: Tensor | None, count: int
) -> Tensor:
    if strategy == "random":
        return torch.randperm(count, generator=draws)[:ipc]
    if strategy in FEATURES:
        if features is None:
            raise ConfigError(f"selection '{strategy}' looks at features of an expert: experts: <a stage>.")
        return FEATURES[strategy](features.double(), ipc, draws)
    if scores is None:
        raise ConfigError(
            f"selection '{strategy}' looks at the difficulty that an expert finds: experts: <a stage>."
        )
    bins = deciles(scores)
    if strategy == "stratified":
        order = torch.stack([_place_in_bin(bins), bins.to(torch.float64)], 1)
        return torch.tensor(sorted(range(count), key=lambda i: tuple(order[i].tolist()))[:ipc])
    if strategy.isdigit() and int(strategy) < DECILES:
        return _from_bin(bins, int(strategy), ipc)
    raise ConfigError(
        f"selection '{strategy}' is not one of random, stratified, herding, kmeans, or a decile 0 to "
        f"{DECILES - 1}."
    )


def deciles(scores: Tensor) -> Tensor:
    """The decile of each score, 0 to 9; the largest is in the last, which is closed."""
    edges = torch.quantile(scores.double(), torch.linspace(0, 1, DECILES + 1, dtype=torch.float64))
    return torch.bucketize(scores.double(), edges[1:-1], right=True)


def _place_in_bin(bins: Tensor) -> Tensor:
    """How many earlier images are in the same bin."""
    found = torch.zeros(len(bins), dtype=torch.float64)
    for b in range(DECILES):
        mine = (bins == b).nonzero()[:, 0]
        found[mine] = torch.arange(len(mine), dtype=torch.float64)
    return found


def _from_bin(bins: Tensor, first: int, ipc: int) -> Tensor:
    """The first images of a bin, then of the harder ones, then of the easier ones."""
    order = [*range(first, DECILES), *range(first - 1, -1, -1)]
    return torch.cat([(bins == b).nonzero()[:, 0] for b in order])[:ipc]


def _herding(features: Tensor, ipc: int, draws: torch.Generator) -> Tensor:
    """Greedily the image that keeps the mean of those chosen nearest to the mean of all."""
    mean, total = features.mean(0), torch.zeros_like(features[0])
    free = torch.ones(len(features), dtype=torch.bool)
    chosen = []
    for size in range(1, ipc + 1):
        distance = ((total + features) / size - mean).square().sum(1)
        at = int(torch.where(free, distance, torch.inf).argmin())
        chosen.append(at)
        free[at] = False
        total = total + features[at]
    return torch.tensor(chosen)


def _kmeans(features: Tensor, ipc: int, draws: torch.Generator) -> Tensor:
    """The images nearest to the centres of k-means, each image once."""
    from sklearn.cluster import KMeans

    state = int(torch.randint(2**31 - 1, (1,), generator=draws))
    centres = KMeans(ipc, n_init=4, random_state=state).fit(features.numpy()).cluster_centers_
    distance = torch.cdist(torch.from_numpy(centres), features)
    chosen: list[int] = []
    for row in distance:
        row[chosen] = torch.inf
        chosen.append(int(row.argmin()))
    return torch.tensor(chosen)


FEATURES: dict[str, Callable[[Tensor, int, torch.Generator], Tensor]] = {"herding": _herding, "kmeans": _kmeans}
"""Strategies that look at features of one class: (features, how many, draws) -> rows."""
