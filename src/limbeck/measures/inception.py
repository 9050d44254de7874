"""FID and Inception score: distances on the one Inception network that the literature's numbers come from."""

from __future__ import annotations

import importlib
import io
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.bounds import PositiveInt
from limbeck.errors import CheckpointError, ConfigError, DataError, MissingExtraError, ShapeError
from limbeck.measures.frechet import Moments, frechet_from_moments
from limbeck.measures.reference_statistics import read_statistics
from limbeck.numerics.checks import require_above, require_same
from limbeck.numerics.point_sets import in_double

WEIGHTS_FILE = "pt_inception-2015-12-05-6726825d.pth"
"""The network's weights in PyTorch's form; its SHA-256 begins with 6726825d."""


class InceptionFeatures(NamedTuple):
    """What the network says about images, on the CPU."""

    pool3: Tensor
    """Shape (n, 2048), float32: what the FID and precision and recall are computed on."""
    logits: Tensor
    """Shape (n, 1008), float32, without the last layer's bias: what the Inception score is computed on."""


class InceptionScore(NamedTuple):
    """Over the splits."""

    mean: float
    deviation: float
    """Standard deviation, divided by the number of splits."""


@torch.no_grad()
def inception_features(
    images: Tensor, *, weights: Path, batch_size: PositiveInt = 64, device: str | torch.device = "cpu"
) -> InceptionFeatures:
    """Features of the Inception-v3 network "inception-2015-12-05", through torch-fidelity.

    Images are resized to 299 x 299 inside the network as TensorFlow 1 did it. torchvision's Inception, or a
    smoother resizing, gives numbers that cannot be compared.

    Args:
        images: shape (n, 3, h, w), uint8.
        weights: file with the network's weights, `pt_inception-2015-12-05-6726825d.pth`, or the same tensors as
            `.safetensors`. It is never fetched, and never unpickled beyond tensors.
        batch_size: images at once.
        device: where the network runs.

    Raises:
        ConfigError: no file of weights.
        CheckpointError: a file that does not hold them.
        ShapeError: images that are not (n, 3, h, w).
        DataError: images that are not uint8, or none.
        MissingExtraError: torch-fidelity is not installed.

    References:
        Heusel et al., GANs Trained by a Two Time-Scale Update Rule, NeurIPS 2017, section 4 [heusel2017gans].
    """
    batches = list(_batches("inception_features", images, weights, batch_size, device))
    return InceptionFeatures(*(torch.cat([part.cpu() for part in parts]) for parts in zip(*batches, strict=True)))


@torch.no_grad()
def fid(
    images: Tensor,
    reference: Tensor | Path,
    *,
    weights: Path,
    batch_size: PositiveInt = 64,
    device: str | torch.device = "cpu",
) -> float:
    """Fréchet Inception distance.

    The literature takes 50,000 images against the statistics of the whole training set. The value falls with the
    number of images: give it, the reference set and the weights beside every FID. Features are not kept.

    Args:
        images: shape (n, 3, h, w), uint8.
        reference: images as well, or a file with their statistics (see `limbeck.measures.read_statistics`).
        weights: see `limbeck.measures.inception_features`.
        batch_size: images at once.
        device: where the network runs.

    Raises:
        ConfigError: no file of weights or of statistics.
        CheckpointError: a file that does not hold the weights.
        ShapeError: images that are not (n, 3, h, w), or statistics of other features.
        DataError: images that are not uint8, fewer than two, or statistics that cannot be used.
        MissingExtraError: torch-fidelity is not installed.

    References:
        Heusel et al., GANs Trained by a Two Time-Scale Update Rule, NeurIPS 2017, equation 6 [heusel2017gans].
    """
    known = None if isinstance(reference, Tensor) else read_statistics(reference)
    if known is not None and len(known[0]) != 2048:
        raise ShapeError(f"fid: {reference} holds statistics of {len(known[0])} features; the network has 2048.")
    for name, given in {"images": images, "reference": reference}.items():
        if isinstance(given, Tensor) and len(given) < 2:
            raise DataError(f"fid: {name} needs at least 2 images, got {len(given)}.")
    theirs = known or _moments(reference, weights, batch_size, device)
    return frechet_from_moments(*_moments(images, weights, batch_size, device), *theirs)


@torch.no_grad()
def inception_score(logits: Tensor, *, splits: PositiveInt = 10) -> InceptionScore:
    """Inception score: exp of the mean divergence of each image's class probabilities from the average ones.

    Args:
        logits: shape (n, classes), of `inception_features`; on another classifier, say which.
        splits: consecutive parts that are scored alone; shuffle the images first if they are sorted.

    Returns:
        Mean and standard deviation over the splits; a score is between 1 and the number of classes.

    Raises:
        ShapeError: logits that are not (n, classes).
        DataError: fewer samples than splits or than two, or numbers that are not finite.
        ConfigError: no splits.

    Example:
        >>> inception_score(100 * torch.eye(4), splits=2)
        InceptionScore(mean=2.0, deviation=0.0)

    References:
        Salimans et al., Improved Techniques for Training GANs, NeurIPS 2016, section 4 [salimans2016improved].
    """
    require_same("inception_score", "n c", logits=logits)
    require_above("inception_score", 0, splits=splits)
    samples = len(logits)
    if samples < max(2, splits):
        raise DataError(f"inception_score: {samples} samples are too few for {splits} splits.")
    if not torch.isfinite(logits).all():
        raise DataError("inception_score: logits hold infinite or undefined numbers.")
    scores = []
    for part in range(splits):
        log_p = F.log_softmax(in_double(logits[part * samples // splits : (part + 1) * samples // splits]), dim=1)
        # A class of no probability gives 0 * (-inf - -inf) without the floor.
        log_average = log_p.exp().mean(dim=0).clamp_min(torch.finfo(torch.float64).tiny).log()
        scores.append((log_p.exp() * (log_p - log_average)).sum(dim=1).mean().exp())
    found = torch.stack(scores)
    return InceptionScore(float(found.mean()), float(found.std(correction=0)))


def _moments(images: Any, weights: Path, batch_size: int, device: str | torch.device) -> tuple[Tensor, Tensor]:
    gathered = Moments()
    for pool3, _ in _batches("fid", images, weights, batch_size, device):
        gathered.update(pool3)
    return gathered.mean, gathered.covariance


def _batches(
    where: str, images: Tensor, weights: Path, batch_size: int, device: str | torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    require_above(where, 0, batch_size=batch_size)
    if images.dim() != 4 or images.shape[1] != 3:
        raise ShapeError(
            f"{where}: images must have shape (n, 3, h, w), got {tuple(images.shape)}; grey ones can be expanded "
            "to three equal channels, which has to be said beside the number."
        )
    if images.dtype != torch.uint8 or not images.numel():
        raise DataError(
            f"{where}: images must be uint8, 0 to 255, at least one; got {images.dtype} of shape "
            f"{tuple(images.shape)}."
        )
    network = _network(where, Path(weights)).to(device)
    for start in range(0, len(images), batch_size):
        # TensorFloat-32, PyTorch's default for convolutions on a GPU, keeps three digits.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            pool3, logits = network(images[start : start + batch_size].to(device))
        yield pool3, logits


def _network(where: str, weights: Path) -> torch.nn.Module:
    state = _state(where, weights)
    try:
        library = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
    except ImportError as error:
        raise MissingExtraError.of("torch-fidelity", "flow", where) from error
    # torch-fidelity unpickles the file that it is given without restriction, so it is given bytes made here, of
    # tensors read with restriction.
    safe = io.BytesIO()
    torch.save(state, safe)
    safe.seek(0)
    try:
        network: torch.nn.Module = library.FeatureExtractorInceptionV3(
            "inception-v3-compat", ["2048", "logits_unbiased"], feature_extractor_weights_path=safe
        )
    except (RuntimeError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{where}: {weights} does not hold the weights of the FID's Inception network ({WEIGHTS_FILE}; "
            f"torchvision's Inception is another network): {str(error)[:200]}"
        ) from error
    return network


def _state(where: str, weights: Path) -> Any:
    if not weights.is_file():
        raise ConfigError(
            f"{where}: needs the Inception network's weights, the file {WEIGHTS_FILE}, and there is none at "
            f"{weights}. Nothing is fetched automatically: get it once from a release of pytorch-fid or "
            "torch-fidelity (there named weights-inception-2015-12-05-6726825d.pth), put it there or anywhere "
            "else, and give its path as `weights`. Without it, limbeck.measures.frechet_distance on a network's "
            "features is a substitute, to be reported under that network's name; it is not the FID."
        )
    if weights.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(weights)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"{where}: cannot read {weights}: {error}") from error
    try:
        return torch.load(weights, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{where}: {weights} is not a file of tensors alone, as {WEIGHTS_FILE} is: {str(error)[:200]}"
        ) from error
