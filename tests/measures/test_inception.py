from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from limbeck.errors import CheckpointError, ConfigError, DataError, ShapeError
from limbeck.measures import (
    Moments,
    fid,
    inception_features,
    inception_score,
    read_statistics,
    write_statistics,
)

library = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")

DRAW = torch.Generator().manual_seed(0)
IMAGES = torch.randint(256, (5, 3, 8, 8), generator=DRAW, dtype=torch.uint8)


class Planted:
    """Unpickled carelessly, it runs code."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The network with random weights, and a file of them."""
    file = tmp_path_factory.mktemp("inception") / "weights.pth"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        with pytest.MonkeyPatch.context() as patch:
            # Its constructor wants weights; any module's own will do.
            patch.setattr(library, "load_state_dict_from_url", lambda *_, **__: None)
            patch.setattr(library.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
            model = library.FeatureExtractorInceptionV3("x", ["2048", "logits_unbiased"])
    torch.save(model.state_dict(), file)
    return model, file


def test_features_are_those_of_torch_fidelity(network) -> None:
    model, file = network
    found = inception_features(IMAGES, weights=file, batch_size=3)
    assert (found.pool3.shape, found.logits.shape) == ((5, 2048), (5, 1008))
    for ours, theirs in zip(found, model(IMAGES), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_distance_in_batches_and_from_a_file(network, tmp_path) -> None:
    _, file = network
    other = IMAGES[2:].flip(0)
    ours = inception_features(IMAGES[:3], weights=file).pool3
    theirs = inception_features(other, weights=file).pool3
    gathered = Moments()
    gathered.update(theirs)
    write_statistics(tmp_path / "ref.safetensors", gathered)
    assert read_statistics(tmp_path / "ref.safetensors")[0].shape == (2048,)
    # Of few samples the overlap is in the products between them, without a matrix of 2048 by 2048.
    one, two = ((part.double() - part.double().mean(0)) / 2**0.5 for part in (ours, theirs))
    offset = (ours.double().mean(0) - theirs.double().mean(0)).square().sum()
    wanted = offset + one.square().sum() + two.square().sum() - 2 * torch.linalg.svdvals(one @ two.T).sum()
    found = fid(IMAGES[:3], tmp_path / "ref.safetensors", weights=file, batch_size=2)
    assert found == pytest.approx(wanted.item(), rel=1e-3)


def test_weights_as_safetensors(network, tmp_path) -> None:
    model, file = network
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    ours = inception_features(IMAGES[:1], weights=tmp_path / "weights.safetensors")
    assert torch.equal(ours.pool3, inception_features(IMAGES[:1], weights=file).pool3)


def test_without_weights_the_way_is_told(tmp_path) -> None:
    with pytest.raises(ConfigError) as caught:
        fid(IMAGES, IMAGES, weights=tmp_path / "none.pth")
    for said in ("pt_inception-2015-12-05-6726825d.pth", "Nothing is fetched", "frechet_distance", "not the FID"):
        assert said in str(caught.value)


def test_files_that_are_not_the_weights(tmp_path) -> None:
    file = tmp_path / "weights.pth"
    torch.save({"model": Planted()}, file)
    with pytest.raises(CheckpointError, match="not a file of tensors alone"):
        inception_features(IMAGES, weights=file)
    file.write_bytes(b"nothing of the kind")
    with pytest.raises(CheckpointError, match="not a file of tensors alone"):
        inception_features(IMAGES, weights=file)
    for content in ({"fc.weight": torch.zeros(1000, 2048)}, torch.zeros(3), {}):
        torch.save(content, file)
        with pytest.raises(CheckpointError, match="torchvision's Inception is another network"):
            inception_features(IMAGES, weights=file)
    (tmp_path / "weights.safetensors").write_bytes(b"no header")
    with pytest.raises(CheckpointError, match="cannot read"):
        inception_features(IMAGES, weights=tmp_path / "weights.safetensors")


def test_images_and_statistics_that_cannot_be_used(tmp_path) -> None:
    none = tmp_path / "none.pth"
    with pytest.raises(ShapeError, match=r"must have shape \(n, 3, h, w\), got \(5, 1, 8, 8\)"):
        inception_features(IMAGES[:, :1], weights=none)
    with pytest.raises(DataError, match="must be uint8"):
        inception_features(IMAGES.float(), weights=none)
    with pytest.raises(DataError, match="at least one"):
        inception_features(IMAGES[:0], weights=none)
    with pytest.raises(DataError, match="fid: reference needs at least 2 images, got 1"):
        fid(IMAGES, IMAGES[:1], weights=none)
    with pytest.raises(ConfigError, match="batch_size must be above 0"):
        inception_features(IMAGES, weights=none, batch_size=0)
    np.savez(tmp_path / "ref.npz", mu=np.zeros(3), sigma=np.eye(3))
    with pytest.raises(ShapeError, match="statistics of 3 features; the network has 2048"):
        fid(IMAGES, tmp_path / "ref.npz", weights=none)


@pytest.mark.parametrize("splits", [1, 3, 10])
def test_score_as_torch_fidelity_has_it(splits) -> None:
    metric = pytest.importorskip("torch_fidelity.metric_isc")
    logits = 3 * torch.randn(47, 9, generator=DRAW)
    theirs = metric.isc_features_to_metric(logits, splits=splits, shuffle=False)
    ours = inception_score(logits, splits=splits)
    assert ours == pytest.approx((theirs["inception_score_mean"], theirs["inception_score_std"]))


def test_score_of_the_sure_and_of_the_unsure() -> None:
    assert inception_score(torch.zeros(20, 7)) == pytest.approx((1, 0))
    assert inception_score(1e4 * torch.eye(7).repeat(3, 1), splits=3) == pytest.approx((7, 0))


def test_scores_that_cannot_be() -> None:
    with pytest.raises(DataError, match="9 samples are too few for 10 splits"):
        inception_score(torch.zeros(9, 7))
    with pytest.raises(DataError, match="infinite"):
        inception_score(torch.full((10, 7), torch.nan))
    with pytest.raises(ShapeError, match="inception_score"):
        inception_score(torch.zeros(9))
