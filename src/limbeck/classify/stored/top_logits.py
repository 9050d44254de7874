r"""The largest logits of each view, and one value for all the others.

Kept are the :math:`k` largest logits :math:`z_i`, their classes, and

.. math:: r = \log \sum_{j \notin top} e^{z_j} - \log (C - k),

the logit that gives each of the :math:`C - k` absent classes an equal share of the probability that the largest
ones leave over. The softmax of what comes back is a distribution, and exact for the classes that were kept.

At a temperature :math:`\tau > 1` a loss sees absent classes with somewhat more probability than the teacher gave
them: evenly spread, the same mass has the largest possible sum of :math:`e^{z_j / \tau}`. The more classes are
kept, the smaller the difference; with all of them it is none.
"""

from __future__ import annotations

import math

from torch import Tensor


def compressed(logits: Tensor, top: int) -> tuple[Tensor, Tensor, Tensor]:
    """The largest logits, their classes and the logit that stands for every other class.

    Args:
        logits: shape (n, C).
        top: k, below C.

    Returns:
        Logits (n, k) in falling order, of the kind of `logits`; classes (n, k), int64; and (n,), float32.

    Example:
        >>> import torch
        >>> _, classes, rest = compressed(torch.tensor([[0.0, 3.0, 0.0, 1.0]]), 2)
        >>> classes.tolist(), rest.tolist()
        ([[1, 3]], [0.0])
    """
    values, classes = logits.topk(top, dim=1)
    # In double precision and without the ones that are kept: 1 minus their sum would leave nothing but rounding.
    others = logits.double().scatter(1, classes, -math.inf)
    rest = others.logsumexp(1) - math.log(logits.shape[1] - top)
    return values, classes, rest.float()


def expanded(values: Tensor, classes: Tensor, rest: Tensor, count: int) -> Tensor:
    """Logits of all classes.

    Args:
        values: the largest logits, shape (n, k).
        classes: theirs, shape (n, k), int64.
        rest: logit of every absent class, shape (n,).
        count: C.

    Returns:
        Shape (n, C), kind of `values`.
    """
    whole = rest.to(values.dtype)[:, None].repeat(1, count)
    return whole.scatter_(1, classes, values)
