import copy
import subprocess
import sys
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.errors import DataError
from limbeck.seeding import permutation
from limbeck.sources import Loader, Subset, arrays, brightness, contrast, crop, cutout, flip, normalise, rotate

AUGMENT = [
    partial(crop, padding=1),
    flip,
    partial(rotate, degrees=15.0),
    partial(cutout, size=3),
    brightness,
    contrast,
]


class Lazy:
    """A source that is not in memory."""

    def __init__(self, source, broken=None):
        self._source, self._broken = source, broken
        self.class_names, self.mean, self.std = source.class_names, source.mean, source.std
        self.image_shape, self.fingerprint = source.image_shape, source.fingerprint

    def __len__(self):
        return len(self._source)

    def __getitem__(self, index):
        if index == self._broken:
            raise DataError("image 7 is broken.")
        return self._source[index]


def numbered(n=23):
    """Images that say which they are."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 1, 8, 8), generator=generator, dtype=torch.uint8)
    return arrays(pixels, torch.arange(n) % 3)


def batches(source, *, number=2, start=0, **settings):
    settings = {"batch_size": 5, "seed": 4, "augment": AUGMENT, **settings}
    return list(Loader(source, **settings).epoch(number, start=start))


def same(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert all(torch.equal(a[key], b[key]) for key in ("images", "labels", "index"))
        assert all(a[key].dtype == b[key].dtype for key in a)


def test_every_image_comes_once_with_its_label():
    source = numbered()
    found = batches(source, augment=[])
    index = torch.cat([b["index"] for b in found])
    assert [len(b["index"]) for b in found] == [5, 5, 5, 5, 3]
    assert torch.equal(index, permutation(23, 4, 2))
    assert torch.equal(torch.cat([b["labels"] for b in found]), source.labels[index])
    assert torch.equal(torch.cat([b["images"] for b in found]), source.images[index].float() / 255)
    assert found[0]["images"].dtype == torch.float32


def test_without_shuffling():
    assert torch.equal(torch.cat([b["index"] for b in batches(numbered(), shuffle=False)]), torch.arange(23))


@settings(deadline=None)
@given(start=st.integers(0, 6), batch_size=st.integers(1, 25), drop_last=st.booleans())
def test_a_later_start_gives_the_same_rest(start, batch_size, drop_last):
    if drop_last and batch_size > 23:
        return
    chosen = {"batch_size": batch_size, "drop_last": drop_last}
    whole = batches(numbered(), **chosen)
    assert len(whole) == len(Loader(numbered(), seed=0, **chosen))
    same(batches(numbered(), start=start, **chosen), whole[start:])


def test_drop_last():
    assert [len(b["index"]) for b in batches(numbered(), drop_last=True)] == [5, 5, 5, 5]


@pytest.mark.parametrize("start", [0, 3])
def test_loader_processes_change_nothing(start):
    same(batches(numbered(), workers=2, start=start), batches(numbered(), start=start))


def test_neither_does_where_the_images_are():
    source, part = numbered(), [20, 3, 4, 9, 1, 8, 7]
    same(batches(Lazy(source)), batches(source))
    same(batches(Subset(Lazy(source), part)), batches(Subset(source, part)))
    same(batches(Subset(source, part)), batches(arrays(source.images[part], source.labels[part])))


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("lazy", [False, True])
def test_parts_of_all_processes_make_the_whole_batch(world, lazy):
    source = Lazy(numbered()) if lazy else numbered()
    parts = [batches(source, rank=rank, world=world) for rank in range(world)]
    joined = [{key: torch.cat([b[key] for b in group]) for key in group[0]} for group in zip(*parts, strict=True)]
    same(joined, batches(numbered()))


def test_a_last_batch_smaller_than_the_number_of_processes():
    parts = [batches(Lazy(numbered(6)), rank=rank, world=2) for rank in range(2)]
    assert [b["images"].shape[0] for b in parts[0]] == [2, 0]
    assert [b["images"].shape for b in parts[1]] == [(3, 1, 8, 8), (1, 1, 8, 8)]


def test_epochs_and_seeds_differ():
    first = batches(numbered())
    for change in ({"number": 3}, {"seed": 5}):
        other = batches(numbered(), **change)
        assert not torch.equal(other[0]["index"], first[0]["index"])
        here, there = (
            {int(i): x for b in found for i, x in zip(b["index"], b["images"], strict=True)}
            for found in (first, other)
        )
        assert not all(torch.equal(here[i], there[i]) for i in here)


def test_augmentations_draw_independently():
    twice = torch.cat([b["images"] for b in batches(numbered(), shuffle=False, augment=[flip, flip])])
    plain = torch.cat([b["images"] for b in batches(numbered(), shuffle=False, augment=[])])
    assert not torch.equal(twice, plain)  # the same draw twice would flip back


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("lazy", [False, True])
def test_the_global_random_state_is_left_alone(workers, lazy):
    source = Lazy(numbered()) if lazy else numbered()
    before = torch.get_rng_state()
    batches(source, workers=workers)
    assert torch.equal(torch.get_rng_state(), before)


def test_loader_processes_serve_several_epochs_under_way_and_abandoned_ones():
    source = Lazy(numbered())
    loader = Loader(source, batch_size=5, seed=4, augment=AUGMENT, workers=2)
    first = loader.epoch(1)
    begun = [next(first)]
    same(list(loader.epoch(2)), batches(source))
    same([*begun, *first], batches(source, number=1))
    abandoned = loader.epoch(1)
    next(abandoned)
    abandoned.close()
    same(list(loader.epoch(2, start=1)), batches(source, start=1))
    same(list(loader.epoch(3)), batches(source, number=3))


def test_loader_processes_go_on_after_a_broken_image():
    loader = Loader(Lazy(numbered(), broken=7), batch_size=5, seed=4, shuffle=False, workers=1)
    for _ in range(2):
        epoch = loader.epoch(1)
        assert next(epoch)["index"].tolist() == [0, 1, 2, 3, 4]
        with pytest.raises(DataError, match="image 7 is broken"):
            next(epoch)


def test_a_process_that_is_left_in_mid_epoch_ends():
    code = (
        "import torch; from limbeck.sources import Loader, Subset, arrays;"
        "from limbeck.sources.loader import _READERS;"
        "source = Subset(arrays(torch.zeros(40, 1, 8, 8), torch.arange(40) % 2), range(40));"
        "loader = Loader(source, batch_size=8, seed=0, workers=1); epoch = loader.epoch(1); next(epoch);"
        "assert len(_READERS) == 1; print('left')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["left"]


def test_augmentations_give_the_same_on_bytes_as_one_by_one_on_floats():
    changes = [partial(crop, padding=1), flip, partial(cutout, size=3)]
    quick = torch.cat([b["images"] for b in batches(numbered(), augment=[*changes, brightness])])
    plain = [lambda x, d, change=change: change(x, d) for change in changes]  # unmarked, so given floats
    floats = torch.cat([b["images"] for b in batches(numbered(), augment=[*plain, brightness])])
    assert torch.equal(quick, floats)


def test_channels_last():
    settings = {"views": {"strong": [flip]}}
    for batch, plain in zip(
        batches(numbered(), channels_last=True, **settings), batches(numbered(), **settings), strict=True
    ):
        for name in ("images", "strong"):
            assert batch[name].is_contiguous(memory_format=torch.channels_last)
            assert torch.equal(batch[name], plain[name])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_image_is_told_plainly(workers):
    with pytest.raises(DataError) as caught:
        batches(Lazy(numbered(), broken=7), workers=workers)
    assert str(caught.value) == "image 7 is broken."


def test_batches_may_be_changed_without_harm():
    source = numbered()
    before = copy.deepcopy(source.images)
    for batch in Loader(source, batch_size=23, seed=0, shuffle=False).epoch(1):
        batch["images"].zero_()
        batch["labels"].zero_()
        batch["index"].zero_()
    assert torch.equal(source.images, before)
    assert source.labels.max() == 2


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"batch_size": 0}, "got batch_size 0, workers 0, rank 0, world 1"),
        ({"workers": -1}, "workers -1"),
        ({"rank": 2, "world": 2}, "rank 2, world 2"),
        ({"views": {"labels": []}}, "a view cannot be named 'labels'"),
        ({"prefetch": 0}, "prefetch >= 1; got 0"),
        ({"batch_size": 1, "world": 2}, "batch_size 1 gives 2 processes no image each"),
        ({"batch_size": 24, "drop_last": True}, "leaves nothing of 23 images; use a batch_size of at most 23"),
    ],
)
def test_settings_that_make_no_batch(chosen, message):
    with pytest.raises(DataError, match=message):
        Loader(numbered(), **{"batch_size": 5, "seed": 0, **chosen})


def test_normalise():
    images = torch.rand(2, 3, 4, 4, dtype=torch.float64)
    mean, std = (0.1, 0.2, 0.3), [0.5, 0.6, 0.7]
    out = normalise(images, mean, std)
    for channel in range(3):
        assert torch.allclose(out[:, channel], (images[:, channel] - mean[channel]) / std[channel])
    assert out.dtype == torch.float64
    with pytest.raises(DataError, match=r"images have 3 channels; mean has 1 and std 1 values"):
        normalise(images, (0.5,), (0.5,))


def test_normalise_under_inference_mode_then_autograd():
    mean, std = (0.123,), (0.321,)
    with torch.inference_mode():
        normalise(torch.rand(1, 1, 2, 2), mean, std)
    images = torch.rand(1, 1, 2, 2, requires_grad=True)
    normalise(images, mean, std).sum().backward()
    assert torch.allclose(images.grad, torch.full_like(images, 1 / 0.321))
