"""Which real images stand for a class [qin2024label]."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.seeding import generator

DECILES = 10
_BINS = tuple(str(decile) for decile in range(DECILES))


def difficulty(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Minus the log probability of the true class, (n,).

    Args:
        probabilities: of an expert, (n, classes).
        labels: (n,).
    """
    return -probabilities.double().gather(1, labels[:, None])[:, 0].clamp(min=1e-30).log()


def released_difficulty(probabilities: Tensor, labels: Tensor) -> Tensor:
    """The score of the released program of [qin2024label], for comparison, (n,).

    It passes probabilities to a loss that takes logits: a second softmax, after which images of a class are only
    nearly in the order of the probability of the true class.

    Args:
        probabilities: of an expert, (n, classes).
        labels: (n,).
    """
    return F.cross_entropy(probabilities.double(), labels, reduction="none")


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
        strategy: "random"; a decile of difficulty, "0" (easiest) to "9", its first images, then those of harder
            deciles, then random ones of the class; "stratified", one of each of `ipc` equally large groups from
            easy to hard; "herding" or "kmeans" on features.
        seed: of what is random.
        scores: difficulty of each image, (n,); for deciles and stratified.
        features: (n, d); for herding and kmeans.
        class_names: of all classes; without them the classes are those up to the largest label.

    Returns:
        (classes * ipc,) int64, distinct.

    Raises:
        DataError: a class with fewer images, labels without a class, or scores or features that are no numbers.
        ShapeError: scores or features of another number of images.
        ConfigError: an unknown strategy, or one without what it looks at.
    """
    if strategy not in STRATEGIES:
        raise ConfigError(
            f"selection '{strategy}' is not one of random, stratified, herding, kmeans, or a decile 0 to "
            f"{DECILES - 1}."
        )
    if ipc < 1:
        raise ConfigError(f"ipc: {ipc} images per class; it is at least 1.")
    if len(labels) == 0:
        raise DataError("there are no images to pick from.")
    classes = len(class_names) if class_names is not None else int(labels.max()) + 1
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise DataError(f"labels are classes 0 to {classes - 1}; got {int(labels.min())} to {int(labels.max())}.")
    _belongs("scores", scores, len(labels), 1)
    _belongs("features", features, len(labels), 2)
    found = []
    for label in range(classes):
        rows = (labels == label).nonzero()[:, 0]
        if len(rows) < ipc:
            name = class_names[label] if class_names is not None else str(label)
            raise DataError(f"ipc: {ipc} images per class are asked for, class '{name}' has {len(rows)}.")
        draws = generator(seed, "selection", label)
        found.append(rows[_within(strategy, ipc, draws, _of(scores, rows), _of(features, rows), len(rows))])
    return torch.cat(found)


def _belongs(what: str, values: Tensor | None, images: int, dimensions: int) -> None:
    if values is None:
        return
    if values.ndim != dimensions or len(values) != images:
        shape = "(n,)" if dimensions == 1 else "(n, d)"
        raise ShapeError(f"{what} of {images} images are {shape} with n = {images}; got {tuple(values.shape)}.")
    if not bool(values.isfinite().all()):
        raise DataError(f"{what}: some are not finite; the expert may have diverged.")


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
    if strategy == "stratified":
        return _stratified(scores, ipc, draws)
    return _from_bin(deciles(scores), int(strategy), ipc, draws)


def deciles(scores: Tensor) -> Tensor:
    """The decile of each score, (n,), 0 to 9; the largest is in the last, which is closed.

    The released program of [qin2024label] leaves the last open, so that the hardest image is in none.

    Args:
        scores: of one class, (n,).
    """
    edges = torch.quantile(scores.double(), torch.linspace(0, 1, DECILES + 1, dtype=torch.float64))
    return torch.bucketize(scores.double(), edges[1:-1], right=True)


def _stratified(scores: Tensor, ipc: int, draws: torch.Generator) -> Tensor:
    """One image of each of `ipc` groups from easy to hard; with ten, one of each decile."""
    groups = scores.argsort(stable=True).tensor_split(ipc)
    return torch.stack([group[torch.randint(len(group), (), generator=draws)] for group in groups])


def _from_bin(bins: Tensor, first: int, ipc: int, draws: torch.Generator) -> Tensor:
    """The first images of a bin, then of the harder ones, then any of the class."""
    easier = (bins < first).nonzero()[:, 0]
    easier = easier[torch.randperm(len(easier), generator=draws)]
    return torch.cat([*((bins == b).nonzero()[:, 0] for b in range(first, DECILES)), easier])[:ipc]


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
    from sklearn.exceptions import ConvergenceWarning

    state = int(torch.randint(2**31 - 1, (1,), generator=draws))
    with warnings.catch_warnings():
        # Equal images make fewer clusters than asked for; each centre takes an image of its own all the same.
        warnings.simplefilter("ignore", ConvergenceWarning)
        centres = KMeans(ipc, n_init=4, random_state=state).fit(features.numpy()).cluster_centers_
    distance = torch.cdist(torch.from_numpy(centres), features)
    chosen: list[int] = []
    for row in distance:
        row[chosen] = torch.inf
        chosen.append(int(row.argmin()))
    return torch.tensor(chosen)


FEATURES: dict[str, Callable[[Tensor, int, torch.Generator], Tensor]] = {"herding": _herding, "kmeans": _kmeans}
"""Strategies that look at features of one class: (features, how many, draws) -> rows."""

STRATEGIES = ("random", "stratified", *FEATURES, *_BINS)
"""Every name that `pick` knows."""
