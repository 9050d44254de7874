"""Cross entropy with soft labels that no teacher made: a control for what a teacher knows."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from limbeck.bounds import NonNegative, NonNegativeInt, Positive
from limbeck.errors import ConfigError, DataError, ShapeError
from limbeck.numerics.checks import class_indices, require_above, require_same
from limbeck.numerics.precision import promoted
from limbeck.seeding import derive, normals


def noisy_labels(
    student: Tensor,
    labels: Tensor,
    index: Tensor,
    *,
    variance: NonNegative = 0.2,
    temperature: Positive = 0.15,
    seed: NonNegativeInt = 0,
) -> Tensor:
    r"""Cross entropy with labels softened by noise; a student that gains from it gains without any teacher.

    .. math:: \ell_i = -\sum_k p_{ik} \log \mathrm{softmax}(s_i)_k, \quad
        p_i = \mathrm{softmax}\big((y_i + \sqrt{v}\, \epsilon_i) / \tau\big)

    with y the one-hot label and the noise standard normal. The noise of a sample depends on `seed` and its place
    in the training set alone: every sample has one soft label, which stays as it is through all epochs.

    Args:
        student: logits, shape (n, classes).
        labels: class indices, shape (n,), or target distributions, shape (n, classes).
        index: position of each sample in the training set, shape (n,), int64.
        variance: of the noise on each class (v); 0.2 in the paper.
        temperature: divides label and noise, > 0 (tau); 0.15 in the paper.
        seed: another seed makes other noise.

    Returns:
        One value per sample, in nats, shape (n,).

    Raises:
        ShapeError: logits, labels or index of the wrong shape.
        DataError: a label that is no class, an index that is no whole number.

    Example:
        >>> import torch
        >>> noisy_labels(torch.zeros(2, 4), torch.tensor([0, 3]), torch.tensor([7, 8])).round(decimals=4)
        tensor([1.3863, 1.3863])

    References:
        The control with soft labels of Ojha et al., Section 11.2 [ojha2023knowledge]. Whether the paper draws the
        noise once or anew in every epoch is not stated; once makes the labels as constant as a teacher's are.
    """
    require_same("noisy_labels", "n c", student=student)
    require_above("noisy_labels", 0, temperature=temperature)
    if variance < 0:
        raise ConfigError(f"noisy_labels: a variance is at least 0, got {variance!r}.")
    if tuple(index.shape) != (len(student),):
        raise ShapeError(
            f"noisy_labels: index has one place for each of the {len(student)} samples, shape ({len(student)},); "
            f"got {tuple(index.shape)}."
        )
    if index.is_floating_point() or index.is_complex():
        raise DataError(f"noisy_labels: index holds whole numbers (int64); got {index.dtype}.")
    (logits,) = promoted(student)
    if labels.dim() == 2 and labels.shape == student.shape:
        clean = labels.detach().to(logits.dtype)
    else:
        clean = F.one_hot(class_indices("noisy_labels", labels, student), student.shape[1]).to(logits.dtype)
    noise = normals(index, seed=derive(seed, "noisy labels"), shape=(student.shape[1],)).to(logits)
    target = F.softmax((clean + variance**0.5 * noise) / temperature, dim=1)
    return F.cross_entropy(logits, target, reduction="none")
