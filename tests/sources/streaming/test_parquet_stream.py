import importlib
import json
import sys
from pathlib import Path

import pytest
import torch

from limbeck.errors import ConfigError, DataError, MissingExtraError
from limbeck.sources import build
from limbeck.sources.streaming import StreamLoader

module = importlib.import_module("limbeck.sources.streaming.parquet_stream")
source_module = importlib.import_module("limbeck.sources.streaming.source")


def stream(root, **settings):
    settings = {"channels": 1, "buffer": 15, "retries": 1, "retry_wait": 0.0, **settings}
    return build("parquet_stream", root=root if isinstance(root, list) else str(root), **settings)


def open_files():
    there = Path("/proc/self/fd")
    return len(list(there.iterdir())) if there.is_dir() else 0


def numbers(found):
    return (torch.cat([batch["images"] for batch in found])[:, 0, 0, 0] * 255).round().long()


@pytest.fixture
def shards(tools, tmp_path):
    tools.train_shards(tmp_path / "set")
    tools.write(tmp_path / "set" / "test-00000.parquet", range(100, 112))
    return tmp_path / "set"


def test_shards_are_one_set(tools, shards):
    source = stream(shards)
    assert (len(source), source.image_shape, source.class_names) == (57, (1, 8, 8), ("a", "b", "c"))
    assert source.shards.sizes == (5, 5, 5, 2, 5, 5, 2, 5, 5, 5, 5, 5, 3)
    found = tools.batches(source)
    assert torch.equal(numbers(found), tools.joined(found))
    assert sorted(tools.joined(found).tolist()) == list(range(57))
    assert torch.equal(tools.joined(found, "labels"), tools.joined(found) % 3)
    assert len(stream(shards, split="test")) == 12
    whole = build("parquet", root=str(shards), channels=1)
    in_order = tools.batches(source, shuffle=False)
    assert torch.equal(tools.joined(in_order, "images"), whole.images.float() / 255)
    assert torch.equal(source.labels, whole.labels)
    assert source.mean == pytest.approx(whole.mean)


def test_any_start_any_workers_any_number_of_processes(tools, shards):
    whole = tools.batches(stream(shards))
    for start in range(len(whole) + 1):
        tools.same(tools.batches(stream(shards), start=start, workers=start % 2), whole[start:])
    parts = [tools.batches(stream(shards), rank=rank, world=2) for rank in range(2)]
    tools.same(
        [{key: torch.cat([b[key] for b in group]) for key in group[0]} for group in zip(*parts, strict=True)],
        whole,
    )


def test_only_few_files_are_open(tools, shards, monkeypatch):
    monkeypatch.setattr(module, "_OPEN_FILES", 2)
    tools.batches(stream(shards))
    before = open_files()
    source = stream(shards)
    epoch = StreamLoader(source, batch_size=6, seed=4).epoch(2)
    for _ in range(9):
        next(epoch)
        assert open_files() <= before + 2
    epoch.close()


def test_where_files_may_be(tools, tmp_path):
    root = tmp_path / "set"
    tools.write(root / "data" / "train-0.parquet", range(9))
    tools.write(root / "validation" / "part-0.parquet", range(20, 24))
    assert len(stream(root)) == 9
    assert len(stream(root, split="test")) == 4
    assert len(stream(root / "data" / "train-*.parquet")) == 9
    more = str(tools.write(tmp_path / "more" / "train.parquet", range(9, 15)))
    assert len(stream([str(root), more])) == 15
    assert [file.name for file in stream([str(root), more]).shards.files] == [
        "data/train-0.parquet",
        "more/train.parquet",
    ]
    with pytest.raises(DataError, match=r"has no test split \(test-.*It holds: more/train.parquet"):
        stream(more, split="test")
    with pytest.raises(DataError, match=r"there is no Parquet file in .*nothing-\*"):
        stream(tmp_path / "nothing-*.parquet")
    with pytest.raises(DataError, match=r"there is no '.*/moar'. Did you mean 'more'"):
        stream(tmp_path / "moar")


def test_behind_a_url(tools, shards):
    import fsspec

    memory = fsspec.filesystem("memory")
    for path in sorted(shards.iterdir()):
        memory.pipe(f"/limbeck/{path.name}", path.read_bytes())
    try:
        tools.same(tools.batches(stream("memory://limbeck")), tools.batches(stream(shards)))
        assert len(stream("memory://limbeck/train-0000[01].parquet")) == 29
        with pytest.raises(DataError, match=r"cannot list nonsense://here \(ValueError: Protocol not known"):
            stream("nonsense://here")
    finally:
        memory.rm("/limbeck", recursive=True)


def test_files_without_splits_are_divided(tools, tmp_path):
    tools.write(tmp_path / "set" / "part-0.parquet", range(30))
    tools.write(tmp_path / "set" / "part-1.parquet", range(30, 60))
    train, test = (stream(tmp_path / "set", split=split) for split in ("train", "test"))
    assert (len(train), len(test)) == (48, 12)
    assert torch.bincount(test.labels).tolist() == [4, 4, 4]
    held = numbers(tools.batches(test)).tolist()
    assert sorted(held + numbers(tools.batches(train)).tolist()) == list(range(60))
    assert len(stream(tmp_path / "set", split="test", test_share=1.0)) == 60


def test_a_limit_takes_whole_row_groups(tools, shards):
    source = stream(shards, limit=12)
    assert len(source) == 12
    assert int((source.bounds[1:] > source.bounds[:-1]).sum()) <= 4
    assert source.labels.tolist() != stream(shards, limit=12, subset_seed=1).labels.tolist()
    assert len(stream(shards, limit=1000)) == 57


def test_class_names(tools, tmp_path):
    def names(name, **settings):
        given = {key: settings.pop(key) for key in ("class_names",) if key in settings}
        path = tools.write(tmp_path / name / "train.parquet", range(9), **settings)
        return stream(path, **given).class_names

    assert names("set") == ("a", "b", "c")
    assert names("plain", names=None) == ("0", "1", "2")
    assert names("given", names=None, class_names=["x", "y", "z", "w"]) == ("x", "y", "z", "w")
    words = names("words", names=None, labels=["dog", "cat", "dog"] * 3)
    assert words == ("cat", "dog")
    found = stream(tmp_path / "words")
    assert found.labels.tolist() == [1, 0, 1] * 3
    assert torch.equal(tools.joined(tools.batches(found, shuffle=False), "labels"), found.labels)


def test_columns(tools, tmp_path):
    path = tools.write(tmp_path / "a" / "train.parquet", range(6), columns=("photo", "kind"), names=None)
    with pytest.raises(DataError, match=r"no image column \(image, .*\). It has: photo, kind. Name it with image"):
        stream(path)
    assert len(stream(path, image_column="photo", label_column="kind")) == 6
    with pytest.raises(DataError, match=r"there is no column 'foto'. Did you mean 'photo'"):
        stream(path, image_column="foto")
    tools.write(tmp_path / "b" / "train-0.parquet", range(6))
    tools.write(tmp_path / "b" / "train-1.parquet", range(6), columns=("image", "kind"))
    with pytest.raises(DataError, match=r"b/train-1.parquet has no column 'label', unlike b/train-0.parquet"):
        stream(tmp_path / "b")


def test_announced_samples(shards):
    assert len(stream(shards, samples=57)) == 57
    with pytest.raises(DataError, match=r"60 samples were announced, and 4 files have 57. Is a shard missing"):
        stream(shards, samples=60)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.97])
def test_a_damaged_file_at_the_start(shards, share):
    path = shards / "train-00002.parquet"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(DataError, match=r"set/train-00002.parquet is no Parquet, or damaged \(Arrow"):
        stream(shards)


def breaking(shards, tools, monkeypatch, harm):
    """An epoch, with something happening to a shard after its third batch."""
    monkeypatch.setattr(module, "_OPEN_FILES", 1)  # an open file outlives its name
    source = stream(shards)
    epoch = StreamLoader(source, batch_size=6, seed=4).epoch(2)
    found = [next(epoch) for _ in range(3)]
    group = int(source.locate(source.order(seed=4, epoch=2)[-1:])[0])
    path = shards / source.shards.files[source.shards.group(group)[0]].name.split("/")[-1]
    whole = path.read_bytes()
    harm(path)
    with pytest.raises(DataError) as caught:
        found.extend(epoch)
    path.write_bytes(whole)
    expected = tools.batches(stream(shards))
    tools.same(found, expected[: len(found)])
    tools.same(tools.batches(stream(shards), start=len(found)), expected[len(found) :])
    return path.name, str(caught.value)


def test_a_shard_that_is_gone_in_mid_epoch(tools, shards, monkeypatch):
    name, message = breaking(shards, tools, monkeypatch, lambda path: path.unlink())
    assert f"set/{name}, row group " in message
    assert "is gone (FileNotFoundError" in message
    assert "of 10 in epoch 2; what was saved before is intact" in message


def test_a_shard_that_is_cut_off_in_mid_epoch(tools, shards, monkeypatch):
    name, message = breaking(shards, tools, monkeypatch, lambda path: path.write_bytes(b"PAR1 and no more"))
    assert f"set/{name}, row group " in message


def test_a_shard_that_is_written_anew_in_mid_epoch(tools, shards, monkeypatch):
    name, message = breaking(shards, tools, monkeypatch, lambda path: tools.write(path, range(3)))
    assert name in message
    assert "The set has changed since it was opened" in message


def test_damaged_images_are_named_by_file_and_row(tools, tmp_path):
    blobs = [tools.encoded(tools.picture(n)) for n in range(12)]
    blobs[7], blobs[9] = blobs[7][:40], None
    path = tools.write(tmp_path / "train.parquet", range(12), images=blobs)
    with pytest.raises(DataError, match=r"/train.parquet, row [79] cannot be decoded .* skip_broken: true"):
        tools.batches(stream(path))
    source = stream(path, skip_broken=True)
    assert len(tools.joined(tools.batches(source))) == 12
    assert source.damaged == {7, 9}


def test_labels_outside_the_classes(tools, tmp_path):
    path = tools.write(tmp_path / "train.parquet", range(12), labels=[0, 1, 2, 7, *[0] * 8])
    with pytest.raises(DataError, match=r"in column 'label' of .*train.parquet reach from 0 to 7; 3 classes have"):
        stream(path)
    path = tools.write(tmp_path / "none" / "train.parquet", range(6), labels=[0, 1, None, 2, 0, 1])
    with pytest.raises(DataError, match=r"none/train.parquet, row 2 has no label; there are 3 classes"):
        tools.batches(stream(path))
    path = tools.write(tmp_path / "word" / "train.parquet", range(3), labels=["a", "b", "d"], names=None)
    with pytest.raises(DataError, match=r"word/train.parquet, row 2 has the label 'd'; there are 2 classes"):
        tools.batches(stream(path, class_names=["a", "b"]))


def test_statistics_of_a_large_set_are_estimated(tools, shards, monkeypatch, caplog):
    monkeypatch.setattr(source_module, "_STATISTICS_IMAGES", 12)
    monkeypatch.setattr(source_module, "_STATISTICS_CHUNKS", 4)
    with caplog.at_level("INFO", "limbeck"):
        one, two = stream(shards), stream(shards)
        assert one.mean == two.mean
    assert "estimated from 10 of 57 images" in caplog.text
    given = stream(shards, mean=[0.1], std=[0.2])
    assert (given.mean, given.std) == ((0.1,), (0.2,))
    assert one.mean == pytest.approx(build("parquet", root=str(shards), channels=1).mean, abs=0.02)


def test_the_fingerprint_tells_sets_apart(tools, shards):
    first = stream(shards).fingerprint
    assert stream(shards).fingerprint == first
    assert stream(shards, size=4).fingerprint != first
    assert stream(shards, limit=10).fingerprint != first
    (shards / "train-00003.parquet").rename(shards / "train-00004.parquet")
    assert stream(shards).fingerprint != first


def test_row_groups_that_are_too_large_are_warned_of(shards, monkeypatch, caplog):
    monkeypatch.setattr(module, "ROW_GROUP_BYTES", 100)
    stream(shards)
    assert "is read at once; write the files again with smaller ones" in caplog.text


def test_settings_are_checked(shards, monkeypatch):
    with pytest.raises(ConfigError, match=r"no setting 'bufer'. Did you mean 'buffer'"):
        stream(shards, bufer=3)
    with pytest.raises(ConfigError, match=r"random_crop cuts images to one size"):
        stream(shards, random_crop=0.3)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'limbeck\[hf\]'"):
        stream(shards)


def test_names_of_a_whole_file(tools, tmp_path):
    import pyarrow.parquet as pq

    path = tools.write(tmp_path / "train.parquet", range(6), names=None)
    table = pq.read_table(path).replace_schema_metadata({"class_names": json.dumps(["u", "v", "w"])})
    pq.write_table(table, path)
    assert stream(path).class_names == ("u", "v", "w")
