"""What is done with labels: experts' probabilities, and what is taken away from them to see what matters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from limbeck.errors import ConfigError, ShapeError


def expert_labels(logits: Tensor, *, beta: float = 1.0) -> Tensor:
    """Probabilities of one expert, or of several: the mean of their logits, then one softmax.

    Args:
        logits: (n, classes), or (experts, n, classes).
        beta: multiplies the logits; an inverse temperature.

    Returns:
        (n, classes).
    """
    if logits.ndim not in (2, 3):
        raise ShapeError(f"logits are (n, classes) or (experts, n, classes); got {tuple(logits.shape)}.")
    mean = logits.mean(0) if logits.ndim == 3 else logits
    return (beta * mean).softmax(1)


def top_k(probabilities: Tensor, k: int, *, renormalise: bool = False) -> Tensor:
    """The k largest probabilities of each image, the rest zero.

    Args:
        probabilities: (n, classes).
        k: at least 1; more than there are classes changes nothing.
        renormalise: let what is left sum to one; the paper does not.
    """
    if k < 1:
        raise ConfigError(f"top_k: {k} leaves nothing of a label; it is at least 1.")
    kept, places = probabilities.topk(min(k, probabilities.shape[1]), dim=1)
    if renormalise:
        kept = kept / kept.sum(1, keepdim=True)
    return torch.zeros_like(probabilities).scatter(1, places, kept)


def swap(probabilities: Tensor, k: int) -> Tensor:
    """Each label with its k-th largest and its smallest entry exchanged.

    Args:
        probabilities: (n, classes).
        k: from 1, which destroys the first guess, to classes - 1.
    """
    classes = probabilities.shape[1]
    if not 1 <= k < classes:
        raise ConfigError(f"swap: rank {k} is not between 1 and {classes - 1}.")
    order = probabilities.sort(dim=1, descending=True, stable=True).indices
    rank, last = order[:, k - 1 : k], order[:, -1:]
    found = probabilities.scatter(1, rank, probabilities.gather(1, last))
    return found.scatter(1, last, probabilities.gather(1, rank))


def erase_class(probabilities: Tensor, labels: Tensor, label: int) -> Tensor:
    """One class's probability set to zero in the labels of all other classes' images; not renormalised.

    Args:
        probabilities: (n, classes).
        labels: (n,).
        label: the class.
    """
    found = probabilities.clone()
    found[labels != label, label] = 0
    return found


def entropy(probabilities: Tensor) -> Tensor:
    """Nats of each label, (n,)."""
    terms: Tensor = torch.special.xlogy(probabilities, probabilities)
    return -terms.sum(1)


def second_guess(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Mean probability that labels of a class (rows) give to every class (columns), with a diagonal of zero.

    Args:
        probabilities: (n, classes).
        labels: (n,).

    Returns:
        (classes, classes).
    """
    classes = probabilities.shape[1]
    found = torch.zeros(classes, classes, dtype=probabilities.dtype, device=probabilities.device)
    found.index_add_(0, labels, probabilities)
    counts = torch.bincount(labels, minlength=classes).clamp(min=1)
    return (found / counts[:, None]).fill_diagonal_(0)


def smoothed_like(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Label smoothing of the same entropy, image by image: certain of the true class, the rest spread evenly.

    Args:
        probabilities: whose entropies are matched, (n, classes).
        labels: (n,).
    """
    classes = probabilities.shape[1]
    wanted = entropy(probabilities.double())
    one_hot = torch.nn.functional.one_hot(labels, classes).double()
    uniform = torch.full_like(one_hot, 1 / classes)

    def mixed(share: Tensor) -> Tensor:
        return one_hot + share[:, None] * (uniform - one_hot)

    share = _bisect(lambda s: entropy(mixed(s)), wanted, torch.zeros_like(wanted), torch.ones_like(wanted))
    return mixed(share).to(probabilities.dtype)


def tempered_like(logits: Tensor, nats: Tensor) -> Tensor:
    """Softmax of logits at the temperature that gives each image this entropy.

    Args:
        logits: (n, classes).
        nats: (n,), at most the log of the number of classes.
    """
    wide = logits.double()

    def at(log_temperature: Tensor) -> Tensor:
        return (wide / log_temperature.exp()[:, None]).softmax(1)

    ends = torch.full_like(wide[:, 0], 12.0)
    found = _bisect(lambda t: entropy(at(t)), nats.double(), -ends, ends)
    return at(found).to(logits.dtype)


def _bisect(rising: Callable[[Tensor], Tensor], wanted: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Where a rising function of each entry takes the wanted value."""
    for _ in range(60):
        middle = (low + high) / 2
        below = rising(middle) < wanted
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2
