"""A stored teacher answers like one that runs; stale, foreign and damaged stores are refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from limbeck.classify.data import Data, training_stream
from limbeck.classify.stored import StoredTeacher, Views, contents, open_store, views
from limbeck.classify.stored.reading import epochs_of
from limbeck.errors import CheckpointError
from limbeck.sources import Subset
from limbeck.specs import Spec

TAPS = ("conv", "fc:input")
EXACT = {"float32": 0.0, "float16": 2**-11, "bfloat16": 2**-8}
"""Largest relative difference that rounding makes."""


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(contents, "SHARD_BYTES", 2 * 8 * 44)


@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize("shards", ["one", "several"])
def test_every_view_of_a_stream_comes_back_as_it_was_said(
    example, teacher, data, machine, tmp_path, request, dtype, shards
):
    if shards == "several":
        request.getfixturevalue("small_shards")
    example.store(tmp_path / "s", teacher, data, machine, dtype=dtype, taps=TAPS, seeds=(4, 7))
    stream = training_stream(data.train, example.training(), machine=machine, seed=7)
    stored = open_store(tmp_path / "s", teacher=teacher, data=data, training=example.training(), seed=7, taps=TAPS)
    seen = 0
    for epoch in (1, 2):
        stored.start_epoch(epoch)
        for batch in stream.epoch(epoch):
            truth = example.live(teacher, batch, TAPS)
            with example.never_running(teacher):
                found = stored.signals(batch["images"], batch["index"], epoch)
            assert found.keys() == truth.keys() == {"teacher", "tap:conv", "tap:fc:input"}
            for name, value in found.items():
                assert value.dtype == torch.float32
                near = 1e-7 if EXACT[dtype] else 0
                assert torch.allclose(value, truth[name], rtol=EXACT[dtype], atol=near), name
            seen += len(batch["index"])
    assert seen == 60
    stored.close()


def test_top_logits_come_back_as_a_whole(example, teacher, data, machine, tmp_path):
    example.store(tmp_path / "s", teacher, data, machine, top=3)
    stream = training_stream(data.train, example.training(), machine=machine, seed=0)
    stored = StoredTeacher(tmp_path / "s", seed=0)
    for batch in stream.epoch(2):
        truth = example.live(teacher, batch)["teacher"]
        found = stored.signals(batch["images"], batch["index"], 2)["teacher"]
        values, classes = truth.topk(3, dim=1)
        assert torch.equal(found.gather(1, classes), values)
        assert torch.allclose(found.softmax(1).sum(1), torch.ones(len(found)))
        assert torch.allclose(found.softmax(1).gather(1, classes), truth.softmax(1).gather(1, classes), rtol=1e-5)


def test_one_pass_serves_every_epoch_and_seed_without_augmentation(example, teacher, data, machine, tmp_path):
    example.store(tmp_path / "s", teacher, data, machine, augment=(), epochs=1)
    plain = example.training(augment=(), epochs=50)
    stored = open_store(tmp_path / "s", teacher=teacher, data=data, training=plain, seed=123)
    batch = next(training_stream(data.train, plain, machine=machine, seed=123).epoch(37))
    stored.start_epoch(37)
    found = stored.signals(batch["images"], batch["index"], 37)["teacher"]
    assert torch.allclose(found, example.live(teacher, batch)["teacher"], rtol=1e-5)  # other images in its batch


def test_an_empty_batch_has_rows_of_the_right_shape(example, teacher, data, machine, tmp_path):
    example.store(tmp_path / "s", teacher, data, machine)
    found = StoredTeacher(tmp_path / "s", seed=0).signals(torch.zeros(0), torch.zeros(0, dtype=torch.int64), 1)
    assert found["teacher"].shape == (0, 10)


def test_a_batch_reads_its_rows_and_not_the_shard(example, teacher, data, machine, tmp_path):
    example.store(tmp_path / "s", teacher, data, machine)
    stored = StoredTeacher(tmp_path / "s", seed=0)
    stored.signals(torch.zeros(1), torch.tensor([2]), 1)
    (shard,) = stored._shards.values()
    assert all(isinstance(mapped, np.memmap) for mapped in shard._maps.values())
    stored.start_epoch(2)
    assert not stored._shards  # the files of an epoch that is over are closed


def test_a_checksum_is_compared_once(example, teacher, data, machine, tmp_path, monkeypatch):
    from limbeck.classify.stored.shard import Shard

    example.store(tmp_path / "s", teacher, data, machine)
    verify, calls = Shard.verify, []
    monkeypatch.setattr(Shard, "verify", lambda self: (calls.append(self.file.name), verify(self))[1])
    stored = StoredTeacher(tmp_path / "s", seed=0)
    for epoch in (1, 2, 1):
        stored.start_epoch(epoch)
        for _ in range(3):
            stored.signals(torch.zeros(1), torch.tensor([2]), epoch)
    assert calls == ["seed0-epoch0001-part0000.safetensors", "seed0-epoch0002-part0000.safetensors"]


def test_the_store_of_a_stage_or_a_run_is_found(example, teacher, data, machine, tmp_path):
    example.store(tmp_path / "run" / "stage" / "outputs", teacher, data, machine)
    for path in (tmp_path / "run", tmp_path / "run" / "stage", tmp_path / "run" / "stage" / "outputs"):
        open_store(path, teacher=teacher, data=data, training=example.training(), seed=0)
    shutil.copytree(tmp_path / "run" / "stage", tmp_path / "run" / "other")
    with pytest.raises(CheckpointError, match=r"2 stores; .*other/outputs, stage/outputs"):
        open_store(tmp_path / "run", teacher=teacher, data=data, training=example.training(), seed=0)
    with pytest.raises(CheckpointError, match="no stored outputs"):
        open_store(tmp_path / "nowhere", teacher=teacher, data=data, training=example.training(), seed=0)


# --- what does not belong together


@pytest.fixture
def refused(example, teacher, data, machine, tmp_path):
    """What is said of a store of two epochs when something about the student differs."""
    example.store(tmp_path / "s", teacher, data, machine, taps=("conv",))

    def attempt(**other):
        asked = {"teacher": teacher, "data": data, "training": example.training(), "seed": 0, "taps": ["conv"]}
        with pytest.raises(CheckpointError) as error:
            open_store(tmp_path / "s", **(asked | other))
        return str(error.value)

    return attempt


def lines(message):
    return [line.strip() for line in message.split("\n")[1:-1]]


def test_another_teacher_is_named(example, data, machine, refused):
    said = lines(refused(teacher=example.new_teacher(data, machine, seed=2)))
    assert len(said) == 1
    assert said[0].startswith("teacher, weights: stored ")


def test_a_teacher_with_other_normalisation_is_named(example, teacher, refused):
    (said,) = lines(refused(teacher=example.changed(teacher, mean=(0.25,))))
    assert said.startswith("teacher, mean: stored [0.3")
    assert said.endswith("here [0.25]")


def test_other_images_are_named(example, data, refused):
    said = lines(refused(data=example.images(per_class=4)))
    assert "data, samples: stored 30, here 40" in said
    assert any(line.startswith("data, fingerprint: stored ") for line in said)
    part = Data(Subset(data.train, range(29, -1, -1)), None, data.test)
    (said,) = lines(refused(data=part))  # the same images in another order
    assert said.startswith("data, fingerprint")


def test_another_augmentation_is_named(example, refused):
    other = (Spec(name="translate", pixels=2), example.SHIFT[1])
    (said,) = lines(refused(training=example.training(augment=other)))
    assert said.startswith("augmentation, augment: stored [")
    assert '"pixels": 1' in said
    assert '"pixels": 2' in said
    assert any("augmentation, augment" in line for line in lines(refused(training=example.training(augment=()))))


def test_views_drawn_in_another_way_are_named(example, refused, monkeypatch):
    draw = views.uniforms
    monkeypatch.setattr(views, "uniforms", lambda *a, **k: 1 - draw(*a, **k))
    (said,) = lines(refused())
    assert said.startswith("augmentation, draws: stored")


def test_a_missing_seed_epoch_and_tap_are_named_together(example, refused):
    said = lines(refused(seed=9, training=example.training(epochs=5), taps=["conv", "cov", "fc:input"]))
    assert said == [
        "seed: stored 0, here 9",
        "epochs: stored 1 to 2, here up to 5",
        "taps: 'cov' was not stored. Did you mean 'conv'? Stored: conv",
        "taps: 'fc:input' was not stored. Stored: conv",
    ]


def test_fewer_epochs_than_stored_are_fine(example, teacher, data, machine, tmp_path):
    example.store(tmp_path / "s", teacher, data, machine, epochs=3)
    open_store(tmp_path / "s", teacher=teacher, data=data, training=example.training(epochs=1), seed=0)


def test_a_store_that_was_not_finished_is_refused(refused, tmp_path):
    (tmp_path / "s" / "seed0-epoch0002-part0000.safetensors").unlink()
    (said,) = lines(refused())
    assert said.startswith("shards: 1 of 2 are missing (seed0-epoch0002-part0000.safetensors first)")


def test_steps_count_as_the_epochs_they_take(example):
    assert epochs_of(example.training(epochs=7), 30) == 7
    assert [epochs_of(example.training(steps=s), 30) for s in (1, 4, 5, 8, 9)] == [1, 1, 2, 2, 3]
    assert epochs_of(example.training(steps=4, accumulation=2), 30) == 2


def test_an_epoch_beyond_the_store_is_an_error_when_it_begins(example, teacher, data, machine, tmp_path):
    example.store(tmp_path / "s", teacher, data, machine)
    with pytest.raises(CheckpointError, match="epochs: stored 1 to 2, here up to 3"):
        StoredTeacher(tmp_path / "s", seed=0).start_epoch(3)


def test_an_image_beyond_the_store_is_an_error(example, teacher, data, machine, tmp_path):
    example.store(tmp_path / "s", teacher, data, machine)
    with pytest.raises(CheckpointError, match=r"images 0 to 29; a batch asks for 4 to 30"):
        StoredTeacher(tmp_path / "s", seed=0).signals(torch.zeros(1), torch.tensor([4, 30]), 1)


# --- damage


@pytest.mark.parametrize("place", [-1, -600, 60, 9, 3])
def test_a_changed_byte_anywhere_is_refused_by_name(example, teacher, data, machine, tmp_path, place):
    example.store(tmp_path / "s", teacher, data, machine)
    file = tmp_path / "s" / "seed0-epoch0001-part0000.safetensors"
    content = bytearray(file.read_bytes())
    content[place] ^= 4
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=file.name):
        StoredTeacher(tmp_path / "s", seed=0).signals(torch.zeros(1), torch.tensor([4]), 1)


@pytest.mark.parametrize("length", [0, 5, 100, 1000])
def test_a_shard_that_was_cut_short_is_refused_by_name(example, teacher, data, machine, tmp_path, length):
    example.store(tmp_path / "s", teacher, data, machine)
    file = tmp_path / "s" / "seed0-epoch0001-part0000.safetensors"
    file.write_bytes(file.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=f"{file.name} is (damaged|no shard)"):
        StoredTeacher(tmp_path / "s", seed=0).signals(torch.zeros(1), torch.tensor([4]), 1)


def test_a_shard_of_another_store_is_refused(example, teacher, data, machine, tmp_path):
    example.store(tmp_path / "s", teacher, data, machine)
    example.store(tmp_path / "other", example.new_teacher(data, machine, seed=2), data, machine)
    name = "seed0-epoch0001-part0000.safetensors"
    shutil.copy(tmp_path / "other" / name, tmp_path / "s" / name)
    with pytest.raises(CheckpointError, match=f"{name} belongs to another store"):
        StoredTeacher(tmp_path / "s", seed=0).signals(torch.zeros(1), torch.tensor([4]), 1)


def test_a_shard_under_another_name_is_refused(example, teacher, data, machine, tmp_path):
    example.store(tmp_path / "s", teacher, data, machine)
    folder = tmp_path / "s"
    shutil.copy(folder / "seed0-epoch0001-part0000.safetensors", folder / "seed0-epoch0002-part0000.safetensors")
    with pytest.raises(CheckpointError, match=r"holds seed 0, epoch 1 .* name says seed 0, epoch 2"):
        StoredTeacher(folder, seed=0).signals(torch.zeros(1), torch.tensor([4]), 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "has format 2; this Limbeck reads up to 1"),
        ({"rows": 0}, "damaged"),
        ({"contents": None}, "damaged"),
        ({"seeds": "x"}, "damaged"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(example, teacher, data, machine, tmp_path, change, said):
    example.store(tmp_path / "s", teacher, data, machine)
    file = tmp_path / "s" / "store.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match=said):
        StoredTeacher(tmp_path / "s", seed=0)
    file.write_text("{")
    with pytest.raises(CheckpointError, match="damaged"):
        StoredTeacher(tmp_path / "s", seed=0)


def test_other_logits_than_the_manifest_says_are_refused(example, teacher, data, machine, tmp_path):
    example.store(tmp_path / "s", teacher, data, machine, top=3)
    file = tmp_path / "s" / "store.json"
    values = json.loads(file.read_text())
    values["contents"]["top"] = 4
    file.write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="another store"):
        StoredTeacher(tmp_path / "s", seed=0).signals(torch.zeros(1), torch.tensor([4]), 1)


# --- views stay what they are


def test_the_views_of_this_version_are_these(example, data, machine):
    """If this fails, stores on disk hold other views than students see: raise `VIEWS_VERSION` with the numbers."""
    chosen = tuple(Spec(name=name) for name in ("crop", "translate", "flip", "rotate", "cutout"))
    sums = []
    for number, spec in enumerate(chosen):
        settings = {"size": 4} if spec.name == "cutout" else {}
        augment = (*chosen[:number], Spec(name=spec.name, **settings))
        loader = Views(seeds=(3,), epochs=2, augment=augment).loader(data.train, 3, batch_size=30, machine=machine)
        batch = next(loader.epoch(2))
        images = batch["images"][batch["index"].argsort()]
        weights = torch.linspace(0, 1, images.numel(), dtype=torch.float64).reshape(images.shape)
        sums.append(float((images.double() * weights).sum()))
    assert views.VIEWS_VERSION == 1
    assert sums == pytest.approx([183.55, 151.86, 151.85, 147.36, 114.64], abs=0.02)
