"""A part of a source, such as a validation share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.protocols import Source


class Subset:
    """Some images of a source, with the source's classes and normalisation.

    Args:
        source: the whole.
        indices: of the images, in the order wanted.

    Raises:
        DataError: no index, or one out of range.

    Example:
        >>> from limbeck.sources import digits
        >>> len(Subset(digits(split="test"), [4, 2]))
        2
    """

    def __init__(self, source: Source, indices: Sequence[int] | Tensor) -> None:
        rows = torch.as_tensor(indices, dtype=torch.int64)
        if rows.ndim != 1 or len(rows) == 0:
            raise DataError(f"a subset has at least one index, in one dimension; got {tuple(rows.shape)}.")
        if int(rows.min()) < 0 or int(rows.max()) >= len(source):
            raise DataError(
                f"subset indices reach from {int(rows.min())} to {int(rows.max())}; "
                f"the source has {len(source)} images."
            )
        if isinstance(source, Subset):
            rows, source = source.indices[rows], source.source
        self.source: Source = source
        self.indices: Tensor = rows

    @property
    def class_names(self) -> Sequence[str]:
        """Those of the source."""
        return self.source.class_names

    @property
    def mean(self) -> Sequence[float]:
        """That of the source."""
        return self.source.mean

    @property
    def std(self) -> Sequence[float]:
        """That of the source."""
        return self.source.std

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """That of the source."""
        return self.source.image_shape

    @property
    def groups(self) -> Tensor | None:
        """The group of each image, shape (n,), int64, where the source has groups."""
        found: Tensor | None = getattr(self.source, "groups", None)
        return None if found is None else found[self.indices]

    @property
    def group_names(self) -> Sequence[str]:
        """Those of the source."""
        found: Sequence[str] = getattr(self.source, "group_names", ())
        return found

    @cached_property
    def fingerprint(self) -> str:
        """Digest of the source's fingerprint and the indices."""
        digest = hashlib.blake2b(self.source.fingerprint.encode(), digest_size=8)
        digest.update(self.indices.contiguous().numpy().data)
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """One image as uint8 (c, h, w) and its label."""
        return self.source[int(self.indices[index])]

    def view(self, index: int, draws: Sequence[float]) -> tuple[Tensor, int]:
        """A random part of one image, if the source has such; see `FolderSource.view`."""
        at = int(self.indices[index])
        found: tuple[Tensor, int] = (
            self.source.view(at, draws) if hasattr(self.source, "view") else self.source[at]
        )
        return found

    def __repr__(self) -> str:
        return f"Subset({len(self)} of {self.source!r})"
