"""CKA of every layer of one network with every layer of another, in one pass over the images.

HSIC is estimated within each batch and its sums over batches are divided at the end, so that memory does not grow
with the number of images. Of each layer one matrix between the images of a batch is made; all pairs of layers are
then one matrix product.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from limbeck.bounds import Positive
from limbeck.errors import DataError, ShapeError
from limbeck.numerics.checks import require_above
from limbeck.numerics.kernels import (
    Median,
    aligned,
    centred_gram,
    feature_gram,
    feature_rows,
    rbf_gram,
    u_centred_gram,
)
from limbeck.numerics.precision import no_autocast
from limbeck.taps import Taps, evaluating

LEAST = 4
"""Images that a batch needs; the unbiased estimate knows no fewer."""


@dataclass
class CkaMap:
    """CKA of all pairs of layers, from batches of features.

    Batches weigh the same whatever their size: give equal ones. What each adds is kept (a number for each pair of
    layers and for each layer), so that intervals can be drawn by weighting the batches anew.

    Attributes:
        positions: what becomes of the positions of a map (n, c, h, w) or of tokens (n, t, d): "mean" over them,
            cheap and the usual choice, or "flatten", which asks for the same in the same place. Never compare
            numbers of the one with numbers of the other.
        kernel: "linear", or "rbf" with the width set by the median distance within each batch.
        estimator: of HSIC; the biased one grows towards 1 with the number of features over that of images in a
            batch.
        width: of the Gaussian kernel, as for `limbeck.measures.rbf_cka`.
        median: as there.
        layers_a: names of one network's layers, in the order of rows; known after the first batch.
        layers_b: the other's, in the order of columns.

    Example:
        >>> gathered = CkaMap()
        >>> for seed in range(3):
        ...     x = torch.randn(8, 5, generator=torch.manual_seed(seed))
        ...     gathered.update({"stem": x, "head": x[:, :2]}, {"stem": 2 * x})
        >>> gathered.result().shape, gathered.result()[0].round(decimals=6)
        (torch.Size([2, 1]), tensor([1.], dtype=torch.float64))

    References:
        Nguyen, Raghu and Kornblith, Do Wide and Deep Networks Learn the Same Things?, ICLR 2021, section 3 and
        appendix A [nguyen2021wide]; Kornblith et al., Similarity of Neural Network Representations Revisited,
        ICML 2019 [kornblith2019similarity].
    """

    positions: Literal["mean", "flatten"] = "mean"
    kernel: Literal["linear", "rbf"] = "linear"
    estimator: Literal["unbiased", "biased"] = "unbiased"
    width: Positive = 0.5
    median: Median = "all"
    layers_a: tuple[str, ...] = field(default=(), init=False)
    layers_b: tuple[str, ...] = field(default=(), init=False)
    _cross: list[Tensor] = field(default_factory=list, init=False, repr=False)
    _self_a: list[Tensor] = field(default_factory=list, init=False, repr=False)
    _self_b: list[Tensor] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        require_above("CkaMap", 0, width=self.width)

    @torch.no_grad()
    def update(self, features_a: Mapping[str, Tensor], features_b: Mapping[str, Tensor]) -> None:
        """Take in a batch.

        Args:
            features_a: layer -> features of one network, shape (n, ...), at least 4 images.
            features_b: layer -> features of the other for the same images.

        Raises:
            DataError: too few images, numbers that are not finite (with the layer), or other layers than before;
                nothing of the batch is taken in.
            ShapeError: unequal numbers of images.
        """
        names = tuple(features_a), tuple(features_b)
        if not all(names):
            raise DataError("CkaMap: needs at least one layer of each network.")
        if self._cross and names != (self.layers_a, self.layers_b):
            raise DataError(
                f"CkaMap: the layers are {', '.join(names[0])} and {', '.join(names[1])}, but were "
                f"{', '.join(self.layers_a)} and {', '.join(self.layers_b)} before."
            )
        counts = {len(x) for features in (features_a, features_b) for x in features.values()}
        if len(counts) > 1:
            raise ShapeError(f"CkaMap: all layers must have the same images, got {sorted(counts)} of them.")
        left = self._matrices("a", features_a)
        right = self._matrices("b", features_b).to(left.device)
        n = counts.pop()
        scale = n * (n - 3) if self.estimator == "unbiased" else (n - 1) ** 2
        self.layers_a, self.layers_b = names
        self._cross.append((left @ right.T / scale).cpu())
        self._self_a.append((left.square().sum(dim=1) / scale).cpu())
        self._self_b.append((right.square().sum(dim=1) / scale).cpu())

    @property
    def cross(self) -> Tensor:
        """HSIC of each pair of layers in each batch, shape (batches, layers of a, layers of b), float64."""
        return self._stacked(self._cross)

    @property
    def self_a(self) -> Tensor:
        """HSIC of each layer of a with itself in each batch, shape (batches, layers of a), float64."""
        return self._stacked(self._self_a)

    @property
    def self_b(self) -> Tensor:
        """HSIC of each layer of b with itself in each batch, shape (batches, layers of b), float64."""
        return self._stacked(self._self_b)

    def result(self, weights: Tensor | None = None) -> Tensor:
        """CKA of every layer of a (rows) with every layer of b (columns).

        Args:
            weights: how often each batch counts, shape (batches,) or (k, batches) for k results at once; once each
                unless given.

        Returns:
            Shape (layers of a, layers of b), or with a k in front; float64. NaN where the sum of a layer with
            itself is not positive.

        Raises:
            DataError: no batch yet.
            ShapeError: weights for another number of batches.
        """
        cross, self_a, self_b = self.cross, self.self_a, self.self_b
        given = torch.ones(len(cross), dtype=torch.float64) if weights is None else weights.double().cpu()
        if given.dim() not in (1, 2) or given.shape[-1] != len(cross):
            raise ShapeError(f"CkaMap: {len(cross)} batches, but weights of shape {tuple(given.shape)}.")
        summed = (given @ cross.flatten(1)).unflatten(-1, cross.shape[1:])
        return aligned(summed, (given @ self_a)[..., :, None], (given @ self_b)[..., None, :])

    def _matrices(self, side: str, features: Mapping[str, Tensor]) -> Tensor:
        """One row for each layer: its centred kernel matrix."""
        rows = []
        for name, values in features.items():
            where = f"CkaMap: layer '{name}' of network {side}"
            kept = positions_averaged(values) if self.positions == "mean" else values
            with no_autocast(kept):
                if self.kernel == "linear":
                    gram = feature_gram(where, kept, least=LEAST)
                else:
                    centred = feature_rows(where, kept, least=LEAST)
                    gram = rbf_gram(centred, width=self.width, median=self.median)
            rows.append((u_centred_gram if self.estimator == "unbiased" else centred_gram)(gram).flatten())
        return torch.stack([row.to(rows[0].device) for row in rows])

    def _stacked(self, batches: list[Tensor]) -> Tensor:
        if not batches:
            raise DataError("CkaMap: no batch was taken in yet.")
        return torch.stack(batches)


def positions_averaged(features: Tensor) -> Tensor:
    """The mean over the positions of maps (n, c, h, w) or (n, c, d, h, w), or of tokens (n, t, d).

    Args:
        features: channels second for maps, last for tokens.

    Returns:
        Shape (n, channels), at least float32; features without positions as they are.

    Example:
        >>> positions_averaged(torch.ones(2, 3, 4, 4)).shape, positions_averaged(torch.ones(2, 16, 3)).shape
        (torch.Size([2, 3]), torch.Size([2, 3]))
    """
    dtype = torch.promote_types(features.dtype, torch.float32)
    if features.dim() == 3:
        return features.mean(dim=1, dtype=dtype)
    return features.flatten(2).mean(dim=2, dtype=dtype) if features.dim() > 3 else features


@torch.no_grad()
def cka_map(
    network_a: nn.Module,
    network_b: nn.Module,
    batches: Iterable[Tensor],
    *,
    layers_a: Sequence[str],
    layers_b: Sequence[str],
    positions: Literal["mean", "flatten"] = "mean",
    kernel: Literal["linear", "rbf"] = "linear",
    estimator: Literal["unbiased", "biased"] = "unbiased",
    width: Positive = 0.5,
    median: Median = "all",
) -> CkaMap:
    """CKA of all pairs of layers of two networks on the same images; one forward pass of each.

    Both run in eval mode, and their modes are restored.

    Args:
        network_a: any module.
        network_b: any module; may be the same.
        batches: inputs of both, of equal size; one with fewer than 4 images is left out.
        layers_a: taps in the first network (`limbeck.taps`), patterns allowed; the rows.
        layers_b: taps in the second; the columns.
        positions: as for `CkaMap`.
        kernel: as for `CkaMap`.
        estimator: as for `CkaMap`.
        width: as for `CkaMap`.
        median: as for `CkaMap`.

    Returns:
        The filled map; `result()` is the matrix.

    Raises:
        TapError: a layer that does not exist or does not run.
        DataError: features that are not finite, with their layer, or no batch of at least 4 images.

    Example:
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        >>> images = torch.randn(64, 3, generator=torch.manual_seed(0))
        >>> found = cka_map(net, net, images.split(16), layers_a=["0", "2"], layers_b=["?"])
        >>> found.layers_b, found.result().shape
        (('0', '1', '2'), torch.Size([2, 3]))
    """
    gathered = CkaMap(positions=positions, kernel=kernel, estimator=estimator, width=width, median=median)
    with (
        Taps(network_a, layers_a) as taps_a,
        Taps(network_b, layers_b) as taps_b,
        evaluating(network_a),
        evaluating(network_b),
    ):
        for batch in batches:
            if len(batch) >= LEAST:
                features = []
                for network, taps in ((network_a, taps_a), (network_b, taps_b)):
                    network(batch)
                    features.append(taps.take())
                gathered.update(*features)
    if not gathered.layers_a:
        raise DataError(f"cka_map: no batch of at least {LEAST} images.")
    return gathered
