"""Experts and their trajectories: resumed to the same bits, read in parts, refused when damaged or foreign."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from limbeck.dataset import experts
from limbeck.dataset.experts import ExpertRecipe, train_expert
from limbeck.dataset.flat import Flat
from limbeck.dataset.preprocess import Normalisation
from limbeck.dataset.real import Split
from limbeck.dataset.trajectories import MANIFEST, PREPROCESS, Card, Trajectories, begin, expert_file
from limbeck.errors import CheckpointError, ConfigError, Interrupted

NAMES, SHAPE = ("a", "b"), (1, 4, 4)
PREPARE = Normalisation((0.5,), (0.5,))


class Stop:
    """Asks for a stop after some questions."""

    name = "SIGTERM"

    def __init__(self, after: int) -> None:
        self.left = after

    def __bool__(self) -> bool:
        self.left -= 1
        return self.left < 0


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 2))


def card_of(net: Flat) -> Card:
    return Card({"name": "linear"}, net.size, (0.0, 0.5, 1.0, 3.0), NAMES, SHAPE, "print", PREPARE.name, {})


def train(folder, *, number=0, stop=None, momentum=0.9, dtype=torch.float32) -> None:
    net = Flat(network())
    card = card_of(net)
    begin(folder, card, PREPARE)
    images = torch.randn(20, *SHAPE, generator=torch.Generator().manual_seed(1))
    train_expert(
        net,
        Split(images, torch.arange(20) % 2),
        ExpertRecipe(batch_size=5, lr=0.1, momentum=momentum, weight_decay=1e-3, augment="crop_flip"),
        number=number,
        seed=3,
        folder=folder,
        card=card,
        start=net.start,
        dtype=dtype,
        stop=stop,
    )


@pytest.mark.parametrize("after", [0, 2, 5, 7])
def test_a_stopped_expert_goes_on_to_the_same_bits(tmp_path, after):
    train(tmp_path / "whole")
    with pytest.raises(Interrupted, match="expert 0: stopped by SIGTERM"):
        train(tmp_path / "parts", stop=Stop(after))
    assert not expert_file(tmp_path / "parts", 0).exists()
    train(tmp_path / "parts")
    whole, parts = Trajectories(tmp_path / "whole"), Trajectories(tmp_path / "parts")
    for snapshot in range(4):
        assert torch.equal(whole.weights(0, snapshot), parts.weights(0, snapshot))
    assert list((tmp_path / "parts").glob("*.partial")) == []


def test_experts_train_as_torch_does(tmp_path):
    net = Flat(network())
    images, labels = torch.randn(6, *SHAPE), torch.tensor([0, 1, 0, 1, 1, 0])
    card = replace(card_of(net), epochs=(0.0, 4.0))
    begin(tmp_path, card, PREPARE)
    recipe = ExpertRecipe(batch_size=6, lr=0.1, momentum=0.9, weight_decay=0.01, augment="")
    train_expert(net, Split(images, labels), recipe, number=0, seed=0, folder=tmp_path, card=card, start=net.start)
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    for _ in range(4):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    torch.testing.assert_close(Trajectories(tmp_path).weights(0, 1), Flat(model).start())


def test_finished_experts_are_left_alone(tmp_path):
    train(tmp_path)
    before = expert_file(tmp_path, 0).stat().st_mtime_ns
    train(tmp_path)
    assert expert_file(tmp_path, 0).stat().st_mtime_ns == before


def test_half_precision_takes_half_the_bytes(tmp_path):
    train(tmp_path / "full")
    train(tmp_path / "half", dtype=torch.float16)
    full, half = (Trajectories(tmp_path / n) for n in ("full", "half"))
    torch.testing.assert_close(full.weights(0, 3), half.weights(0, 3), atol=1e-3, rtol=1e-3)
    assert half.weights(0, 3).dtype == torch.float32


def test_snapshots_are_found_by_epoch_and_come_with_their_preprocessing(tmp_path):
    train(tmp_path)
    found = Trajectories(tmp_path)
    assert found.at(0.5) == 1
    assert found.preprocess() == PREPARE
    with pytest.raises(ConfigError, match=r"no snapshot after 2 epochs; only 0, 0.5, 1, 3"):
        found.at(2)


def test_a_folder_of_something_else_is_not_continued(tmp_path):
    train(tmp_path)
    with pytest.raises(CheckpointError, match="another data"):
        begin(tmp_path, replace(card_of(Flat(network())), data="other"), PREPARE)


def test_no_folder_and_no_expert_are_said_so(tmp_path):
    with pytest.raises(CheckpointError, match=r"no readable trajectories.json"):
        Trajectories(tmp_path)
    begin(tmp_path, card_of(Flat(network())), PREPARE)
    with pytest.raises(CheckpointError, match="no expert yet"):
        Trajectories(tmp_path)


def test_a_newer_version_is_refused(tmp_path):
    train(tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps({**manifest, "version": 99}))
    with pytest.raises(CheckpointError, match="version 99; this release reads up to 1"):
        Trajectories(tmp_path)


def test_missing_experts_are_named(tmp_path):
    for number in range(3):
        train(tmp_path, number=number)
    expert_file(tmp_path, 1).unlink()
    with pytest.raises(CheckpointError, match=r"expert-0001.safetensors is missing"):
        Trajectories(tmp_path)


def test_truncated_and_changed_shards_are_refused(tmp_path):
    train(tmp_path)
    file = expert_file(tmp_path, 0)
    data = file.read_bytes()
    file.write_bytes(data[:-20])
    with pytest.raises(CheckpointError, match="truncated"):
        Trajectories(tmp_path).weights(0, 0)
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(CheckpointError, match="damaged"):
        Trajectories(tmp_path).weights(0, 0)


def test_shards_of_another_folder_are_refused(tmp_path):
    train(tmp_path / "one")
    net = Flat(network())
    begin(tmp_path / "two", replace(card_of(net), data="other"), PREPARE)
    (expert_file(tmp_path / "two", 0)).write_bytes(expert_file(tmp_path / "one", 0).read_bytes())
    with pytest.raises(CheckpointError, match="belongs to other trajectories"):
        Trajectories(tmp_path / "two").weights(0, 0)


def test_lost_preprocessing_is_said_so(tmp_path):
    train(tmp_path)
    (tmp_path / PREPROCESS).unlink()
    with pytest.raises(CheckpointError, match=r"preprocess.safetensors cannot be read"):
        Trajectories(tmp_path).preprocess()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"names": ("b", "a")}, "the same classes in another order"),
        ({"names": ("a", "c")}, "other classes"),
        ({"shape": (1, 8, 8)}, r"images of \(1, 4, 4\), the data has \(1, 8, 8\)"),
        ({"data": "new"}, "trained on other images"),
    ],
)
def test_experts_of_other_data_are_refused(tmp_path, change, said):
    train(tmp_path)
    asked = {"names": NAMES, "shape": SHAPE, "data": "print", **change}
    with pytest.raises(CheckpointError, match=said):
        Trajectories(tmp_path).require(Flat(network()), asked["names"], asked["shape"], asked["data"])


def test_half_a_checkpoint_begins_anew(tmp_path, caplog):
    with pytest.raises(Interrupted):
        train(tmp_path, stop=Stop(3))
    (partial,) = tmp_path.glob("*.partial")
    partial.write_bytes(partial.read_bytes()[:-5])
    train(tmp_path)
    assert "begins anew" in caplog.text
    assert experts.digest_of(torch.zeros(2)) != experts.digest_of(torch.ones(2))
