"""Images with the shape of one class and the texture of another, made from the audit's own images."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from limbeck.audit.transforms.checks import need_images
from limbeck.audit.transforms.steerable import DIRECTIONS, bands_of, planes_of
from limbeck.bounds import Fraction, PositiveInt
from limbeck.errors import DataError, ShapeError
from limbeck.seeding import derive, normals, uniforms

_PART = 1 << 18
_TRIES = 64


@dataclass(frozen=True, eq=False)
class CueConflict:
    """Images in which two classes compete.

    Attributes:
        images: shape (n, c, h, w), floats in [0, 1].
        shape_labels: class of the contours, shape (n,), int64.
        texture_labels: class of the texture, shape (n,), int64.
        shape_rows: which of the given images lent the contours, shape (n,), int64; -1 where they come from files.
        texture_rows: which lent the texture, likewise.
    """

    images: Tensor
    shape_labels: Tensor
    texture_labels: Tensor
    shape_rows: Tensor
    texture_rows: Tensor


def cue_conflict(
    images: Tensor, labels: Tensor, *, seed: int, shape_weight: Fraction = 0.85, rounds: PositiveInt = 2
) -> CueConflict:
    """Each image with the texture of another one of another class, drawn at random.

    Args:
        images: shape (n, c, h, w), floats in [0, 1]; the partner is one of them.
        labels: shape (n,), int64, of at least two classes.
        seed: of partners and textures.
        shape_weight: see `blend_cues`.
        rounds: see `blend_cues`.

    Raises:
        DataError: images of one class only, or of whole numbers.
        ShapeError: images or labels of another shape.
    """
    need_images("cue_conflict", images, labels)
    labels = labels.cpu()
    if len(labels.unique()) < 2:
        raise DataError("cue_conflict: the images are all of one class; conflicting cues need two.")
    rows = torch.arange(len(labels))
    partners = _partners(labels, derive(seed, "cue_partners"))
    made = [
        blend_cues(images[a], images[b], a, seed=seed, shape_weight=shape_weight, rounds=rounds)
        for a, b in zip(*(r.split(max(1, _PART // images[0].numel())) for r in (rows, partners)), strict=True)
    ]
    return CueConflict(torch.cat(made), labels, labels[partners], rows, partners)


def blend_cues(
    shape: Tensor,
    texture: Tensor,
    index: Tensor,
    *,
    seed: int,
    shape_weight: Fraction = 0.85,
    rounds: PositiveInt = 2,
) -> Tensor:
    """The contours of one image, drawn in the colours and the texture of another.

    From noise, an image with the texture's statistics but none of its layout is made: the energy of every band of
    a steerable pyramid, and the histogram of every colour, are matched to the texture's, a few times over (after
    Heeger and Bergen). The first image, in the same colours, then takes its place: in the coarse layout, and at
    each scale where it has strong contours. At last the colours are matched again.

    Args:
        shape: shape (n, c, h, w), floats in [0, 1].
        texture: of the same shape.
        index: number of each pair, from which its noise comes, shape (n,), int64.
        seed: of the noise.
        shape_weight: of the contours, from none to contours alone. At 0.85, tried on photographs of 32 x 32
            pixels, contours and colours of both are plain to see.
        rounds: of matching.

    Returns:
        Shape and kind of `shape`.

    Raises:
        ShapeError: other shapes.
        DataError: images of whole numbers.

    References:
        Heeger and Bergen, Pyramid-based texture analysis/synthesis, SIGGRAPH 1995 [heeger1995pyramid]; conflicting
        cues: Geirhos et al., ICLR 2019 [geirhos2019imagenet], who make theirs with a network instead.
    """
    need_images("blend_cues", shape, index)
    need_images("blend_cues", texture)
    if shape.shape != texture.shape:
        raise ShapeError(
            f"blend_cues takes two sets of one shape; got {tuple(shape.shape)} and {tuple(texture.shape)}."
        )
    given = texture.to(torch.float64)
    axes, middle = _colour_axes(given)
    wanted = _turned(given - middle, axes)
    values = wanted.flatten(2).sort(dim=-1).values
    deviations = bands_of(wanted).std(dim=(-2, -1), correction=0, keepdim=True)
    noise = normals(index.to(shape.device), seed=derive(seed, "cue_noise"), shape=tuple(shape.shape[1:]))
    made = _with_values(noise.to(torch.float64), values)
    for _ in range(rounds):
        made = _with_values(planes_of(_with_deviations(bands_of(made), deviations)), values)
    contours = shape.to(torch.float64)
    own_axes, own_middle = _colour_axes(contours)
    own = bands_of(_with_values(_turned(contours - own_middle, own_axes), values))
    share = _share(own, shape_weight)
    mixed = share * own + (1 - share**2).clamp_min(0).sqrt() * bands_of(made)
    result = _with_values(planes_of(mixed), values)
    return (_turned(result, axes.transpose(1, 2)) + middle).clamp(0, 1).to(shape.dtype)


def _share(bands: Tensor, weight: float) -> Tensor:
    """How much of each band is taken from the contours, at each place: shape (bands, n, 1, h, w), in [0, 1].

    All directions and colours of a scale go together, or a contour would lose those that are weak in it.
    """
    energy = (bands**2).sum(dim=2)
    scales = [energy[:1], *energy[1:-1].split(DIRECTIONS)]
    found = []
    for scale in scales:
        total = scale.sum(dim=0)
        around = F.avg_pool2d(total[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]
        relative = around / total.mean(dim=(-2, -1), keepdim=True).clamp_min(1e-12)
        part = 1 - torch.exp(-relative * weight / max(1e-6, 1 - weight))
        found += [part] * len(scale)
    found.append(torch.full_like(found[0], 1 - (1 - weight) ** 2))
    return torch.stack(found)[:, :, None]


def _with_values(planes: Tensor, values: Tensor) -> Tensor:
    """Planes (n, c, h, w) with the order of their own pixels and the given sorted values (n, c, h * w)."""
    flat = planes.flatten(2)
    return torch.empty_like(flat).scatter_(-1, flat.argsort(dim=-1, stable=True), values).view(planes.shape)


def _with_deviations(bands: Tensor, deviations: Tensor) -> Tensor:
    return bands * (deviations / bands.std(dim=(-2, -1), correction=0, keepdim=True).clamp_min(1e-12))


def _colour_axes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Directions in which an image's colours do not vary together, the strongest first, and their middle.

    Returns:
        Shape (n, c, c), a direction a column, each pointing towards bright; and (n, c, 1, 1).
    """
    middle = images.mean(dim=(2, 3), keepdim=True)
    flat = (images - middle).flatten(2)
    axes = torch.linalg.eigh(flat @ flat.transpose(1, 2)).eigenvectors.flip(-1)
    bright = axes.sum(dim=1, keepdim=True)
    return axes * torch.where(bright < 0, -1.0, 1.0), middle


def _turned(planes: Tensor, axes: Tensor) -> Tensor:
    return (axes.transpose(1, 2) @ planes.flatten(2)).view(planes.shape)


def _partners(labels: Tensor, seed: int) -> Tensor:
    """For each image a random one of another class, shape (n,)."""
    n = len(labels)
    draws = (uniforms(torch.arange(n), seed=seed, epoch=1, draws=_TRIES) * n).long().clamp(max=n - 1)
    fits = labels[draws] != labels[:, None]
    found = draws.gather(1, fits.int().argmax(dim=1, keepdim=True))[:, 0]
    for row in (~fits.any(dim=1)).nonzero()[:, 0].tolist():  # of a class that nearly all images have
        others = (labels != labels[row]).nonzero()[:, 0]
        found[row] = others[int(draws[row, 0]) % len(others)]
    return found
