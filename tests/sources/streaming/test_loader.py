import copy
import threading
from functools import partial

import pytest
import torch

from limbeck.errors import ConfigError, DataError
from limbeck.sources import Loader, Mix, arrays, crop, flip, loader_of, rotate
from limbeck.sources.decoding import Reading
from limbeck.sources.streaming import StreamLoader

AUGMENT = [partial(crop, padding=1), flip, partial(rotate, degrees=15.0)]
SIZES = [5, 7, 4, 9, 6, 8, 3, 11]  # 53 rows


@pytest.fixture
def source(tools):
    return tools.memory(SIZES)


def test_every_image_comes_once_with_its_label(tools, source):
    found = tools.batches(source)
    index = tools.joined(found)
    assert [len(b["index"]) for b in found] == [6] * 8 + [5]
    assert sorted(index.tolist()) == list(range(53))
    assert torch.equal(tools.joined(found, "labels"), index % 3)
    assert torch.equal((tools.joined(found, "images")[:, 0, 0, 0] * 255).round().long(), index)
    assert found[0]["images"].dtype == torch.float32
    assert {key: value.dtype for key, value in found[0].items() if key != "images"} == {
        "labels": torch.int64,
        "index": torch.int64,
    }


def test_batches_are_those_of_a_loader_but_for_the_order(tools, source):
    whole = arrays(torch.stack([source[i][0] for i in range(53)]), source.labels)
    chosen = {"batch_size": 6, "seed": 4, "augment": AUGMENT, "views": {"other": [flip]}}
    by_index = {}
    for batch in Loader(whole, **chosen).epoch(2):
        for row, index in enumerate(batch["index"].tolist()):
            by_index[index] = {key: value[row] for key, value in batch.items()}
    for batch in tools.batches(source, **chosen):
        for row, index in enumerate(batch["index"].tolist()):
            assert all(torch.equal(batch[key][row], by_index[index][key]) for key in by_index[index])
    tools.same(
        tools.batches(source, shuffle=False), list(Loader(whole, shuffle=False, batch_size=6, seed=4).epoch(2))
    )


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("drop_last", [False, True])
def test_any_start_gives_the_same_rest(tools, source, workers, drop_last):
    chosen = {"augment": AUGMENT, "drop_last": drop_last, "mix": Mix()}
    whole = tools.batches(source, **chosen)
    assert len(whole) == 9 - drop_last
    for start in range(len(whole) + 1):
        tools.same(tools.batches(source, start=start, workers=workers, **chosen), whole[start:])


def test_a_later_start_reads_only_what_is_left(tools, source):
    assert source.image_shape == (1, 8, 8)  # once, from the first chunk
    order = source.order(seed=4, epoch=2)
    for start in (0, 3, 6, 8):
        source.shards.read.clear()
        tools.batches(source, start=start)
        needed = set(source.locate(order[start * 6 :])[0].tolist())
        assert set(source.shards.read) == needed
        assert len(source.shards.read) == len(needed)  # and each chunk once
    assert len(needed) < len(SIZES) / 2


@pytest.mark.parametrize(("world", "mix"), [(2, None), (3, None), (2, Mix())])
def test_parts_of_all_processes_make_the_whole_batch(tools, source, world, mix):
    parts = [tools.batches(source, rank=rank, world=world, augment=AUGMENT, mix=mix) for rank in range(world)]
    tools.same(tools.together(parts), tools.batches(source, augment=AUGMENT, mix=mix))


def test_epochs_and_seeds_differ(tools, source):
    first = tools.joined(tools.batches(source))
    for change in ({"number": 3}, {"seed": 5}):
        assert not torch.equal(tools.joined(tools.batches(source, **change)), first)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_memory_is_bounded(tools, workers):
    source = tools.memory([4] * 50, buffer=16)
    tools.batches(source)  # reads the first image's chunk, which stays
    source._kept.clear()
    source.shards.most = 0
    assert tools.joined(tools.batches(source, workers=workers)).shape == (200,)
    # One window and what the next batch needs; with workers as much again, read ahead.
    assert source.shards.most <= (2 * 4 if workers == 0 else 2 * 4 + 4)
    assert not source.shards.alive


def test_several_epochs_under_way_do_not_disturb_each_other(tools, source):
    loader = StreamLoader(source, batch_size=6, seed=4, workers=1)
    one, two = loader.epoch(1), loader.epoch(2)
    pairs = list(zip(one, two, strict=True))
    tools.same([pair[0] for pair in pairs], tools.batches(source, number=1))
    tools.same([pair[1] for pair in pairs], tools.batches(source, number=2))


def test_an_epoch_that_is_given_up_leaves_no_thread(tools, source):
    before = set(threading.enumerate())
    epoch = StreamLoader(source, batch_size=6, seed=4, workers=2).epoch(1)
    next(epoch)
    assert set(threading.enumerate()) - before
    epoch.close()
    assert not set(threading.enumerate()) - before


def test_the_global_random_state_is_left_alone(tools, source):
    before = torch.get_rng_state()
    tools.batches(source, augment=AUGMENT, workers=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_part_has_indices_of_its_own(tools, source):
    rows = [0, 4, 5, 30, 31, 52, 12, 13, 14]
    part = source.part(rows)
    assert (len(part), part.labels.tolist()) == (9, [n % 3 for n in sorted(rows)])
    found = tools.batches(part, batch_size=4)
    index = tools.joined(found)
    assert sorted(index.tolist()) == list(range(9))
    numbers = (tools.joined(found, "images")[:, 0, 0, 0] * 255).round().long()
    assert torch.equal(numbers, torch.tensor(sorted(rows))[index])
    source.shards.read.clear()
    tools.batches(part)
    assert len(source.shards.read) == 6  # chunks without a row of the part are not read
    assert part.part([1, 2]).labels.tolist() == [4 % 3, 5 % 3]
    assert part.fingerprint not in (source.fingerprint, source.part(rows[1:]).fingerprint)
    assert (part.mean, part.std) == (source.mean, source.std)
    for bad in ([53], [-1]):
        with pytest.raises(DataError, match=r"rows reach from"):
            source.part(bad)
    with pytest.raises(DataError, match=r"there are no images"):
        source.part([])


def test_random_parts_are_those_of_a_folder(tools):
    source = tools.memory(SIZES, reading=Reading(size=6, channels=1), random_crop=0.3)
    chosen = {"batch_size": 6, "seed": 4, "source_views": True}
    of_loader = {}
    for batch in Loader(source, **chosen).epoch(2):
        for image, index in zip(batch["images"], batch["index"].tolist(), strict=True):
            of_loader[index] = image
    found = tools.batches(source, **chosen)
    assert all(
        torch.equal(image, of_loader[int(i)])
        for batch in found
        for i, image in zip(batch["index"], batch["images"], strict=True)
    )
    assert not torch.equal(found[0]["images"], tools.batches(source)[0]["images"])
    with pytest.raises(ConfigError, match=r"random_crop cuts images to one size; give size"):
        tools.memory(SIZES, random_crop=0.3)


def test_errors_that_pass_are_tried_again(tools, source, caplog):
    source.shards.fail = {2: [ConnectionResetError("peer"), TimeoutError()], 5: [OSError("stale")]}
    expected = tools.batches(tools.memory(SIZES))
    tools.same(tools.batches(source), expected)
    assert "a set: chunk 2: ConnectionResetError: peer; attempt 2 of 3" in caplog.text


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(
    ("errors", "message"),
    [
        ([ConnectionResetError("peer")] * 3, r"chunk 3 cannot be read \(ConnectionResetError: peer\)"),
        ([FileNotFoundError("no file")], r"chunk 3 is gone \(FileNotFoundError: no file\)"),
        ([ValueError("nonsense")], r"chunk 3 cannot be read \(ValueError: nonsense\)"),
    ],
)
def test_errors_that_stay_end_the_epoch_where_they_are(tools, source, workers, errors, message):
    whole = tools.batches(tools.memory(SIZES))
    order = source.order(seed=4, epoch=2)
    at = int((source.locate(order)[0] == 3).nonzero()[0]) // 6
    # A batch needs what is read before its own chunks too.
    source.shards.fail = {3: list(errors)}
    found = []
    epoch = StreamLoader(source, batch_size=6, seed=4, workers=workers).epoch(2)
    with pytest.raises(DataError, match=rf"a set: {message}.* was batch \d+ of 9 in epoch 2; .* is intact"):
        found.extend(epoch)
    assert len(found) <= at
    tools.same(found, whole[: len(found)])
    source.shards.fail = {}
    tools.same(tools.batches(source, start=len(found)), whole[len(found) :])


def test_a_chunk_with_other_rows_than_announced(tools, source):
    read = source.shards._read
    source.shards._read = lambda chunk: read(chunk)[: 2 if chunk == 1 else None]
    with pytest.raises(DataError, match=r"chunk 1 was announced with 7 rows and has 2. The set has changed"):
        tools.batches(source)


@pytest.fixture
def damage(tools):
    def make(*numbers, skip_broken=True, **settings):
        source = tools.memory(SIZES, reading=Reading(channels=1, skip_broken=skip_broken), **settings)
        read = source.shards._read

        def damaged(chunk):
            rows = read(chunk)
            first = sum(SIZES[:chunk])
            for at in range(len(rows)):
                if first + at in numbers:
                    rows[at] = (b"garbage" if at % 2 else None, rows[at][1])
            return rows

        source.shards._read = damaged
        return source

    return make


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_is_named(tools, damage, workers):
    with pytest.raises(DataError, match=r"chunk 1, row 3 cannot be decoded .* such images out .* batch \d of"):
        tools.batches(damage(8, skip_broken=False), workers=workers)


def test_damaged_images_are_counted_and_others_stand_in(tools, damage, caplog):
    source = damage(8, 9, 11, 0)
    found = tools.batches(source)
    index = tools.joined(found).sort().values.tolist()
    assert source.damaged == {0, 8, 9, 11}
    assert "left out" in caplog.text
    assert "4 images could not be decoded so far" in caplog.text
    # The next good one of the chunk, round its end: 8 and 9 -> 10, 11 -> 5, 0 -> 1.
    assert index == sorted([*(set(range(53)) - {0, 8, 9, 11}), 10, 10, 5, 1])
    parts = [tools.batches(damage(8, 9, 11, 0), rank=rank, world=2) for rank in range(2)]
    tools.same(tools.together(parts), found)
    for start in (2, 5):
        tools.same(tools.batches(damage(8, 9, 11, 0), start=start), found[start:])


def test_an_unshuffled_stream_goes_without_them(tools, damage):
    source = damage(8, 9, 52)
    assert tools.joined(tools.batches(source, shuffle=False)).tolist() == [*range(8), *range(10, 52)]
    assert source.first(9).shape == (9, 1, 8, 8)


def test_a_chunk_of_nothing_but_damaged_images(tools, damage):
    with pytest.raises(DataError, match=r"none of the 4 images of chunk 2 can be decoded"):
        tools.batches(damage(*range(12, 16)))


def test_a_stand_in_is_of_the_same_part(tools, damage):
    part = damage(8).part([5, 8, 20, 21, 33])  # 6, 7 and 9 are of chunk 1 too, but not of the part
    assert sorted(tools.joined(tools.batches(part)).tolist()) == [0, 0, 2, 3, 4]


def test_labels_that_are_no_class(tools, source):
    read = source.shards._read
    for bad, said in ((3, "has the label 3"), (None, "has no label"), ("dog", "has the label 'dog'")):
        source.shards._read = lambda chunk, bad=bad: [
            (image, bad if chunk == 4 and at == 2 else label) for at, (image, label) in enumerate(read(chunk))
        ]
        with pytest.raises(DataError, match=rf"chunk 4, row 2 {said}; there are 3 classes, 0 to 2: a, b, c"):
            tools.batches(source)


def test_images_of_another_size(tools, source):
    read = source.shards._read
    other = tools.encoded(torch.zeros(4, 9).numpy())
    source.shards._read = lambda chunk: [
        (other if chunk == 4 and at == 2 else image, label) for at, (image, label) in enumerate(read(chunk))
    ]
    with pytest.raises(DataError, match=r"the first image is 8x8 pixels, chunk 4, row 2 is 9x4.*size: 8"):
        tools.batches(source)


def test_single_images_and_facts(tools, source):
    assert [int(source[i][0][0, 0, 0]) for i in (0, 52, 17)] == [0, 52, 17]
    assert source[17][1] == 17 % 3
    assert source.image_shape == (1, 8, 8)
    assert tools.memory(SIZES, reading=Reading(size=4)).image_shape == (3, 4, 4)
    whole = arrays(torch.stack([source[i][0] for i in range(53)]), source.labels)
    assert source.mean == pytest.approx(whole.mean)
    assert source.std == pytest.approx(whole.std)
    assert (tools.memory(SIZES, mean=[0.5], std=[0.2]).mean, source.labels.tolist()) == (
        (0.5,),
        [n % 3 for n in range(53)],
    )
    assert source.fingerprint == tools.memory(SIZES).fingerprint != tools.memory(SIZES[:-1]).fingerprint
    with pytest.raises(IndexError):
        source[53]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mean": [0.1, 0.2]}, "mean has 2 values; the images have 1 channels"),
        ({"buffer": 0}, "buffer is at least 1, got 0"),
    ],
)
def test_sources_that_cannot_be(tools, settings, message):
    with pytest.raises(DataError, match=message):
        tools.memory(SIZES, **settings)


def test_which_loader(source):
    assert loader_of(source) is StreamLoader
    plain = arrays(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), [0, 1, 0, 1])
    assert loader_of(plain) is Loader
    with pytest.raises(DataError, match=r"reads a StreamSource, not a ArraySource"):
        StreamLoader(plain, batch_size=2, seed=0)
    with pytest.raises(DataError, match=r"batch_size 1 gives 2 processes no image each"):
        StreamLoader(source, batch_size=1, seed=0, world=2)


def test_batches_may_be_changed_without_harm(source):
    loader = StreamLoader(source, batch_size=53, seed=0, shuffle=False)
    first = next(loader.epoch(1))
    kept = copy.deepcopy(first)
    for value in first.values():
        value.zero_()
    assert torch.equal(next(loader.epoch(1))["images"], kept["images"])
