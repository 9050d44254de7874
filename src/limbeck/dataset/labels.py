"""What is done with labels: experts' probabilities, and what is taken away from them to see what matters.

The transformations are the probes of [qin2024label]; they change labels alone, never the images.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from limbeck.errors import ConfigError, ShapeError

LabelDtype = Literal["float16", "bfloat16", "float32"]
_BYTES: dict[str, int] = {"float16": 2, "bfloat16": 2, "float32": 4}


class Sparse(NamedTuple):
    """The largest probabilities of each label and their classes.

    Attributes:
        values: (n, k), falling within a row.
        places: (n, k), in the narrowest of uint8, int16 and int32 that holds every class.
    """

    values: Tensor
    places: Tensor


def expert_labels(logits: Tensor, *, beta: float = 1.0) -> Tensor:
    """Probabilities of one expert, or of several: the mean of their logits, then one softmax.

    Args:
        logits: (n, classes), or (experts, n, classes).
        beta: multiplies the logits; an inverse temperature, 1 in [qin2024label].

    Returns:
        (n, classes).

    Raises:
        ShapeError: logits of another shape.
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
        renormalise: let what is left sum to one. Not done in [qin2024label], so that images whose labels are
            spread out also weigh less.

    Raises:
        ConfigError: nothing would be kept.
    """
    kept, places = sparse(probabilities, k)
    if renormalise:
        kept = kept / kept.sum(1, keepdim=True)
    return dense(kept, places, probabilities.shape[1])


def sparse(probabilities: Tensor, k: int) -> Sparse:
    """The k largest probabilities of each image and where they are.

    Args:
        probabilities: (n, classes).
        k: at least 1; more than there are classes keeps all.

    Raises:
        ConfigError: nothing would be kept.
    """
    if k < 1:
        raise ConfigError(f"top_k: {k} leaves nothing of a label; it is at least 1.")
    classes = probabilities.shape[1]
    values, places = probabilities.topk(min(k, classes), dim=1)
    narrow = torch.uint8 if classes <= 2**8 else torch.int16 if classes <= 2**15 else torch.int32
    return Sparse(values, places.to(narrow))


def dense(values: Tensor, places: Tensor, classes: int) -> Tensor:
    """Labels of all classes, zero where nothing was kept: what `sparse` took apart.

    Args:
        values: (n, k).
        places: (n, k), classes of the values, of any integer type.
        classes: how many there are.

    Returns:
        (n, classes), of the values' type.

    Raises:
        ShapeError: values and places do not belong together, or a place is no class.
    """
    if values.ndim != 2 or values.shape != places.shape:
        raise ShapeError(
            f"values and places of sparse labels are both (n, k); got {tuple(values.shape)} and "
            f"{tuple(places.shape)}."
        )
    at = places.long()
    if at.numel() and not 0 <= int(at.min()) <= int(at.max()) < classes:
        raise ShapeError(
            f"places of sparse labels are classes 0 to {classes - 1}; got {int(at.min())} to {int(at.max())}."
        )
    return values.new_zeros(len(values), classes).scatter(1, at, values)


def label_bytes(
    n: int, classes: int, *, k: int | None = None, dtype: LabelDtype = "float16", views: int = 1
) -> int:
    """What it takes to store labels, in bytes.

    Args:
        n: images.
        classes: how many there are.
        k: probabilities kept of each label, with as many whole bytes beside each as a class number needs, or all
            of them where that takes less; None for all, 0 for hard labels (class numbers alone).
        dtype: of a probability.
        views: labels an image has, one for each stored augmentation; hard labels have one.

    Raises:
        ConfigError: a number below what makes sense, or an unknown type.

    Example:
        >>> label_bytes(10_000, 1000)
        20000000
        >>> label_bytes(10_000, 1000, k=10)
        400000
    """
    if n < 0 or classes < 1 or views < 1 or (k is not None and k < 0):
        raise ConfigError(
            "label_bytes: images and kept probabilities are at least 0, classes and views at least 1; got "
            f"n={n}, classes={classes}, k={k}, views={views}."
        )
    if dtype not in _BYTES:
        raise ConfigError(f"label_bytes: '{dtype}' is not one of {', '.join(_BYTES)}.")
    place = max(1, ((classes - 1).bit_length() + 7) // 8)
    if k == 0:
        return n * place
    whole = classes * _BYTES[dtype]
    one = whole if k is None else min(whole, k * (_BYTES[dtype] + place))
    return n * views * one


def swap(probabilities: Tensor, k: int) -> Tensor:
    """Each label with its k-th largest and its smallest entry exchanged.

    Args:
        probabilities: (n, classes).
        k: from 1, which destroys the first guess, to classes - 1.

    Raises:
        ConfigError: a rank that there is not, or the smallest itself.
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
