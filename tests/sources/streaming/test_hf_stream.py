import importlib
import json

import numpy as np
import pytest
import torch

from limbeck.errors import DataError
from limbeck.sources import build
from limbeck.sources.streaming import from_iterable

datasets = pytest.importorskip("datasets")
module = importlib.import_module("limbeck.sources.streaming.hf_stream")

SETTINGS = {"channels": 1, "buffer": 15, "retries": 1, "retry_wait": 0.0}
SIZES = (17, 12, 20, 8)


@pytest.fixture(autouse=True)
def _short_stretches(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "STRETCH", 4)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def shards(tools, tmp_path):
    tools.train_shards(tmp_path / "set", SIZES)
    tools.write(tmp_path / "set" / "test-00000.parquet", range(100, 112))
    return tmp_path / "set"


def stream(root, **settings):
    return build("hf_stream", path="parquet", data_dir=str(root), **{**SETTINGS, **settings})


def rows_of(numbers, tools):
    return {"image": [tools.picture(n) for n in numbers], "label": [n % 3 for n in numbers]}


def test_it_is_the_set_that_parquet_holds(tools, shards):
    source, twin = stream(shards), build("parquet_stream", root=str(shards), **SETTINGS)
    assert (len(source), source.class_names, source.image_shape) == (57, twin.class_names, twin.image_shape)
    assert source.shards.rows == list(SIZES)
    tools.same(tools.batches(source, shuffle=False), tools.batches(twin, shuffle=False))
    assert torch.equal(source.labels, twin.labels)
    assert source.mean == pytest.approx(twin.mean)
    found = tools.batches(source)
    assert sorted(tools.joined(found).tolist()) == list(range(57))
    assert torch.equal((tools.joined(found, "images")[:, 0, 0, 0] * 255).round().long(), tools.joined(found))
    assert len(stream(shards, split="test")) == 12
    assert [int(source[i][0][0, 0, 0]) for i in (0, 56, 30)] == [0, 56, 30]


@pytest.mark.parametrize("shards_at_once", [1, 3])
def test_any_start_any_workers_any_number_of_processes(tools, shards, shards_at_once):
    source = stream(shards, shards_at_once=shards_at_once)
    whole = tools.batches(source)
    for start in range(len(whole) + 1):
        tools.same(tools.batches(source, start=start, workers=start % 2), whole[start:])
    parts = [tools.batches(source, rank=rank, world=2) for rank in range(2)]
    tools.same(
        [{key: torch.cat([b[key] for b in group]) for key in group[0]} for group in zip(*parts, strict=True)],
        whole,
    )
    assert not torch.equal(tools.joined(tools.batches(source, number=3)), tools.joined(whole))


def test_shards_are_read_from_beginning_to_end(tools, shards, monkeypatch):
    source = stream(shards, shards_at_once=2)
    assert source.image_shape == (1, 8, 8)
    opened = []
    iterate = source.shards.iterate
    monkeypatch.setattr(source.shards, "iterate", lambda *at: opened.append(at) or iterate(*at))
    tools.batches(source)
    assert sorted(opened) == [(0, 0), (1, 0), (2, 0), (3, 0)]
    opened.clear()
    tools.batches(source, start=6)
    assert len({shard for shard, _ in opened}) == len(opened)
    chunks = source.shards.visits(4, 2).tolist()
    assert sorted(chunks) == list(range(len(source.shards.sizes)))
    by_shard = {s: [c for c in chunks if source.shards.stretch(c)[0] == s] for s in range(4)}
    assert all(found == sorted(found) for found in by_shard.values())
    assert len({source.shards.stretch(c)[0] for c in chunks[:4]}) == 2


def test_counts_are_kept(tools, shards, tmp_path, monkeypatch):
    counts = tmp_path / "counts" / "{split}.json"
    first = stream(shards, counts=str(counts))
    path = tmp_path / "counts" / "train.json"
    assert json.loads(path.read_text()) == {"rows": list(SIZES)}
    monkeypatch.setattr(module.HubShards, "_label_pass", lambda self: pytest.fail("counted again"))
    assert stream(shards, counts=str(counts)).fingerprint == first.fingerprint
    path.write_text('{"rows": [3]}')
    with pytest.raises(DataError, match=r"has the rows of 1 shards, and .* has 4: the set has changed"):
        stream(shards, counts=str(counts))
    path.write_text("nonsense")
    with pytest.raises(DataError, match=r"train.json holds no row counts"):
        stream(shards, counts=str(counts))


def test_announced_samples(tools, shards, tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"60 samples were announced, and 4 shards have 57. Is a shard missing"):
        stream(shards, samples=60)
    tools.write(tmp_path / "one" / "train.parquet", range(10))
    with monkeypatch.context() as patch:
        patch.setattr(module.HubShards, "_label_pass", lambda self: pytest.fail("counted"))
        one = stream(tmp_path / "one", samples=10)
        assert len(tools.joined(tools.batches(one))) == 10
        fewer, more = (stream(tmp_path / "one", samples=samples) for samples in (14, 7))
    with pytest.raises(DataError, match=r"shard 0 of 1 \(rows 8 to 11\) was announced with 4 rows and has 2"):
        tools.batches(fewer)
    with pytest.raises(DataError, match=r"shard 0 was announced with 7 rows and has more"):
        tools.batches(more)


def test_an_iterable_dataset_at_hand(tools):
    def generate(shards):
        for first in shards:
            for number in range(first, first + 10):
                yield {"image": tools.picture(number), "label": ("cat", "dog", "eel")[number % 3]}

    made = datasets.IterableDataset.from_generator(generate, gen_kwargs={"shards": [0, 10, 20]})
    source = from_iterable(made, **SETTINGS)
    assert (source.class_names, source.shards.rows) == (("cat", "dog", "eel"), [10, 10, 10])
    found = tools.batches(source)
    assert torch.equal((tools.joined(found, "images")[:, 0, 0, 0] * 255).round().long(), tools.joined(found))
    assert torch.equal(tools.joined(found, "labels"), tools.joined(found) % 3)
    few = from_iterable(made.filter(lambda row: row["label"] != "eel"), **SETTINGS)
    assert (len(few), few.class_names) == (20, ("cat", "dog"))
    tools.same(tools.batches(few, start=2), tools.batches(few)[2:])


def test_images_of_every_kind(tools):
    from PIL import Image

    pixels = np.full((8, 8, 3), 7, dtype=np.uint8)
    kinds = [
        tools.encoded(pixels),
        {"bytes": tools.encoded(pixels), "path": None},
        pixels,
        Image.fromarray(pixels),
        Image.fromarray(pixels).convert("CMYK"),
    ]
    found = [module._encoded(kind) for kind in kinds]
    from limbeck.sources.decoding import Reading, decode

    assert all((decode(blob, Reading(channels=1)) == 7).all() for blob in found)
    assert module._encoded(None) is None


def test_a_folder_of_images(tools, tmp_path):
    for name in ("cat", "dog"):
        for number in range(5):
            path = tmp_path / "set" / "train" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(tools.encoded(tools.picture(number)))
    source = build("hf_stream", path="imagefolder", data_dir=str(tmp_path / "set"), **SETTINGS)
    assert (len(source), source.class_names) == (10, ("cat", "dog"))
    assert len(tools.joined(tools.batches(source))) == 10
    with pytest.raises(DataError, match=r"there is no test split .*The set has: train. Name it with test_"):
        build("hf_stream", path="imagefolder", data_dir=str(tmp_path / "set"), split="test", **SETTINGS)


def test_what_cannot_be_streamed(tools, shards, tmp_path):
    plain = datasets.Dataset.from_dict({"image": [1], "label": [0]})
    with pytest.raises(DataError, match=r"a Dataset is no IterableDataset. Load it with streaming=True"):
        from_iterable(plain)
    shuffled = plain.to_iterable_dataset().shuffle(seed=0, buffer_size=5).map(lambda row: row)
    with pytest.raises(DataError, match=r"it is shuffled, and a shuffle buffer is lost"):
        from_iterable(shuffled)
    with pytest.raises(DataError, match=r"source 'hf_stream' \(parquet\): the set cannot be opened"):
        stream(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"there is no column 'lable'. Did you mean 'label'"):
        stream(shards, label_column="lable")


def test_a_shard_that_breaks_off(tools, shards):
    source = stream(shards)
    whole = tools.batches(source)
    path = shards / "train-00002.parquet"
    content = path.read_bytes()
    path.unlink()
    with pytest.raises(DataError, match=r"shard 2 of 4 \(rows \d+ to \d+\) is gone .* of 10 in epoch 2; what was"):
        tools.batches(source)
    path.write_bytes(content)
    tools.same(tools.batches(source), whole)


def test_connection_errors_are_tried_again(tools, shards, monkeypatch):
    source = stream(shards)
    whole = tools.batches(source)
    iterate, failing = source.shards.iterate, {0: 1, 3: 1}

    def flaky(shard, start):
        for number, row in enumerate(iterate(shard, start), start):
            if number == 5 and failing.get(shard):
                failing[shard] -= 1
                raise ConnectionError("reset")
            yield row

    monkeypatch.setattr(source.shards, "iterate", flaky)
    tools.same(tools.batches(source), whole)
    assert failing == {0: 0, 3: 0}
    failing[2] = 5
    with pytest.raises(DataError, match=r"shard 2 of 4 \(rows 4 to 7\) cannot be read \(ConnectionError: reset\)"):
        tools.batches(source)
