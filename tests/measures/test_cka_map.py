from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.errors import ConfigError, DataError, ShapeError, TapError
from limbeck.measures import CkaMap, cka_map, linear_cka, linear_cka_unbiased, rbf_cka, rbf_cka_unbiased
from limbeck.measures.cka_map import positions_averaged

SINGLE = {
    ("linear", "unbiased"): linear_cka_unbiased,
    ("linear", "biased"): linear_cka,
    ("rbf", "unbiased"): rbf_cka_unbiased,
    ("rbf", "biased"): rbf_cka,
}


def features(n, seed):
    draw = torch.Generator().manual_seed(seed)
    wide = torch.randn(n, 3, 4, 4, generator=draw)
    return {
        "map": wide,
        "tokens": wide.flatten(2).mT,
        "vector": wide.mean(dim=(2, 3)) + torch.randn(n, 3, generator=draw),
    }


@pytest.mark.parametrize(("kernel", "estimator"), SINGLE)
@pytest.mark.parametrize("positions", ["mean", "flatten"])
def test_one_batch_is_the_plain_measure(kernel, estimator, positions) -> None:
    gathered = CkaMap(kernel=kernel, estimator=estimator, positions=positions)
    left, right = features(12, 0), features(12, 1)
    gathered.update(left, right)
    found = gathered.result()
    assert gathered.layers_a == gathered.layers_b == ("map", "tokens", "vector")
    measure = SINGLE[kernel, estimator]
    if positions == "mean":
        left, right = ({name: positions_averaged(x) for name, x in side.items()} for side in (left, right))
    for i, x in enumerate(left.values()):
        for j, y in enumerate(right.values()):
            assert found[i, j].item() == pytest.approx(measure(x, y), rel=1e-6, abs=1e-9, nan_ok=True)
    own = CkaMap(kernel=kernel, estimator=estimator, positions=positions)
    own.update(left, left)
    torch.testing.assert_close(own.result().diagonal(), torch.ones(3, dtype=torch.float64))


def test_sums_are_divided_at_the_end() -> None:
    gathered = CkaMap()
    for seed in range(3):
        gathered.update(features(8, seed), features(8, seed + 10))
    assert gathered.cross.shape == (3, 3, 3)
    assert gathered.self_a.shape == gathered.self_b.shape == (3, 3)
    cross, own, other = (x.sum(dim=0) for x in (gathered.cross, gathered.self_a, gathered.self_b))
    wanted = cross / (own[:, None] * other).sqrt()
    torch.testing.assert_close(gathered.result(), wanted, equal_nan=True)
    weights = torch.tensor([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0], [0.0, 3.0, 0.0]])
    drawn = gathered.result(weights)
    torch.testing.assert_close(drawn[0], wanted, equal_nan=True)
    alone = CkaMap()
    alone.update(features(8, 1), features(8, 11))
    torch.testing.assert_close(drawn[2], alone.result(), equal_nan=True)
    torch.testing.assert_close(gathered.result(weights[1]), drawn[1], equal_nan=True)


def test_positions_matter_where_they_are_kept() -> None:
    maps = torch.randn(10, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    shuffled = torch.stack([x.roll(i, dims=2) for i, x in enumerate(maps)])
    for positions, same in (("mean", True), ("flatten", False)):
        gathered = CkaMap(positions=positions)
        gathered.update({"map": maps}, {"map": shuffled})
        assert (gathered.result().item() == pytest.approx(1)) is same
    bf16 = positions_averaged(maps.bfloat16())
    assert bf16.dtype == torch.float32
    volume = positions_averaged(torch.ones(2, 3, 4, 4, 4))
    assert volume.shape == (2, 3)


def test_two_networks() -> None:
    torch.manual_seed(0)
    left = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))
    right = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    images = torch.randn(27, 1, 6, 6)
    found = cka_map(left, right, images.split(8), layers_a=["0", "2", "4"], layers_b=["1"])
    assert left.training
    assert (found.layers_a, found.layers_b) == (("0", "2", "4"), ("1",))
    assert len(found.cross) == 3  # the last three images are too few
    gathered = CkaMap()
    with torch.no_grad():
        left.eval()
        for batch in images[:24].split(8):
            gathered.update({"2": left[:3](batch)}, {"1": right(batch)})
    torch.testing.assert_close(found.result()[1], gathered.result()[0])
    both = cka_map(left, left, images.split(8), layers_a=["2", "4"], layers_b=["2", "4"])
    torch.testing.assert_close(both.result(), both.result().T)
    torch.testing.assert_close(both.result().diagonal(), torch.ones(2, dtype=torch.float64))
    with pytest.raises(DataError, match="no batch of at least 4 images"):
        cka_map(left, right, images.split(3), layers_a=["0"], layers_b=["0"])
    with pytest.raises(TapError, match="no module 'stem'"):
        cka_map(left, right, images.split(8), layers_a=["stem"], layers_b=["0"])


def test_errors_leave_nothing_behind() -> None:
    gathered = CkaMap()
    with pytest.raises(DataError, match="no batch was taken in"):
        gathered.result()
    good = features(8, 0)
    for broken in (torch.nan, torch.inf):
        bad = {**good, "tokens": torch.full((8, 2), broken)}
        with pytest.raises(DataError, match="layer 'tokens' of network b: 2 of the 2"):
            gathered.update(good, bad)
        with pytest.raises(DataError, match="layer 'tokens' of network a"):
            gathered.update(bad, good)
    with pytest.raises(DataError, match="layer 'map' of network a: needs at least 4"):
        gathered.update(features(3, 0), features(3, 0))
    with pytest.raises(ShapeError, match=r"\[7, 8\]"):
        gathered.update(good, features(7, 0))
    with pytest.raises(DataError, match="at least one layer"):
        gathered.update(good, {})
    assert gathered.layers_a == ()
    gathered.update(good, good)
    with pytest.raises(DataError, match="but were map, tokens, vector and map, tokens, vector before"):
        gathered.update({"map": good["map"]}, good)
    with pytest.raises(ShapeError, match="1 batches"):
        gathered.result(torch.ones(2))
    with pytest.raises(ConfigError, match="width"):
        CkaMap(width=0.0)
