"""Softened distributions and the divergences between them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from limbeck.numerics.precision import promoted


def softened_kl(student: Tensor, teacher: Tensor, *, temperature: float = 1.0) -> Tensor:
    r"""Kullback-Leibler divergence from the softened teacher to the softened student.

    .. math:: \ell_i = \sum_k p_{ik} (\log p_{ik} - \log q_{ik}), \quad
        p = \mathrm{softmax}(t / \tau), \; q = \mathrm{softmax}(s / \tau)

    Args:
        student: logits, last dimension classes.
        teacher: logits of the same shape; no gradient flows into them.
        temperature: divides both logits, > 0.

    Returns:
        Nats, one value for each distribution: the shape without its last dimension.

    Example:
        >>> import torch
        >>> softened_kl(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]])).round(decimals=4)
        tensor([0.1109])
    """
    student, teacher = promoted(student, teacher.detach())
    log_q = F.log_softmax(student / temperature, dim=-1)
    log_p = F.log_softmax(teacher / temperature, dim=-1)
    return F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(dim=-1)


def softmax_without(logits: Tensor, index: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Softmax over all classes but one, whose probability is an exact zero.

    Args:
        logits: shape (n, classes), at least two classes.
        index: the class left out of each row, shape (n,).
        temperature: divides the logits, > 0.

    Returns:
        Probabilities, shape (n, classes); rows sum to one, the gradient at the class left out is zero.

    Example:
        >>> import torch
        >>> softmax_without(torch.zeros(1, 3), torch.tensor([0]))
        tensor([[0.0000, 0.5000, 0.5000]])
    """
    kept = (logits / temperature).scatter(1, index[:, None], float("-inf"))
    return F.softmax(kept, dim=1)
