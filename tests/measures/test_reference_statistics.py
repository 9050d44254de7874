from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from limbeck.errors import ConfigError, DataError
from limbeck.measures import Moments, read_statistics, write_statistics

FEATURES = torch.randn(20, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_an_archive_as_edm_publishes_it(tmp_path) -> None:
    mu, sigma = FEATURES.numpy().mean(0), np.cov(FEATURES.numpy(), rowvar=False)
    np.savez(tmp_path / "ref.npz", mu=mu, sigma=sigma)
    mean, covariance = read_statistics(tmp_path / "ref.npz")
    assert np.array_equal(mean, mu)
    assert np.array_equal(covariance, sigma)


def test_our_own_file(tmp_path) -> None:
    gathered = Moments()
    gathered.update(FEATURES)
    write_statistics(tmp_path / "ref.safetensors", gathered, note="twenty draws")
    mean, covariance = read_statistics(tmp_path / "ref.safetensors")
    assert torch.equal(mean, gathered.mean)
    assert torch.equal(covariance, gathered.covariance)
    with safe_open(tmp_path / "ref.safetensors", "pt") as file:
        assert json.loads(file.metadata()["limbeck"]) == {"count": 20, "note": "twenty draws"}
    with pytest.raises(ConfigError, match=r"written as \.safetensors"):
        write_statistics(tmp_path / "ref.npz", gathered)
    with pytest.raises(DataError, match="at least 1 samples"):
        write_statistics(tmp_path / "none.safetensors", Moments())


def test_files_that_cannot_be_used(tmp_path) -> None:
    file = tmp_path / "ref.npz"
    with pytest.raises(ConfigError, match="no reference statistics at"):
        read_statistics(file)
    (tmp_path / "ref.pkl").write_bytes(b"")
    with pytest.raises(ConfigError, match="Pickles are not opened"):
        read_statistics(tmp_path / "ref.pkl")
    for content in (b"", b"nothing of the kind", b"PK\x03\x04 cut off"):
        file.write_bytes(content)
        with pytest.raises(DataError, match="cannot read"):
            read_statistics(file)
    with file.open("wb") as target:
        np.save(target, np.zeros(3))
    with pytest.raises(DataError, match="no mu and no sigma; it holds one array without a name"):
        read_statistics(file)
    np.savez(file, mu=np.zeros(3), cov=np.eye(3))
    with pytest.raises(DataError, match="has no sigma; it holds mu, cov"):
        read_statistics(file)
    np.savez(file, mu=np.zeros(3), sigma=np.eye(4))
    with pytest.raises(DataError, match=r"got \(3,\) and \(4, 4\)"):
        read_statistics(file)
    np.savez(file, mu=np.full(3, np.nan), sigma=np.eye(3))
    with pytest.raises(DataError, match="infinite or undefined"):
        read_statistics(file)
    np.savez(file, mu=np.array([{}], dtype=object), sigma=np.eye(3))
    with pytest.raises(DataError, match="cannot read"):
        read_statistics(file)
    save_file({"mean": torch.zeros(3)}, tmp_path / "ref.safetensors")
    with pytest.raises(DataError, match="no mu and no sigma; it holds mean"):
        read_statistics(tmp_path / "ref.safetensors")
    (tmp_path / "ref.safetensors").write_bytes(b"no header")
    with pytest.raises(DataError, match="cannot read"):
        read_statistics(tmp_path / "ref.safetensors")
