from functools import partial

import pytest
import torch

from limbeck.errors import DataError
from limbeck.seeding import permutation
from limbeck.sources.detection import (
    DetectionLoader,
    coco,
    digit_scenes,
    flip,
    flip_vertical,
    iou_crop,
    photometric_distort,
    scale_jitter,
    zoom_out,
)

AUGMENT = [flip, flip_vertical, photometric_distort, partial(zoom_out, scale=(1.0, 1.5)), iou_crop, scale_jitter]


@pytest.fixture(scope="module")
def scenes():
    return digit_scenes(count=23, size=48, objects=(0, 4))


def batches(source, *, number=2, start=0, **settings):
    settings = {"batch_size": 5, "seed": 4, "augment": AUGMENT, **settings}
    return list(DetectionLoader(source, **settings).epoch(number, start=start))


def same(left, right):
    assert len(left) == len(right)
    for a, b in zip(left, right, strict=True):
        assert a.keys() == b.keys() == {"images", "targets", "index", "number"}
        assert torch.equal(a["index"], b["index"])
        assert a["number"] == b["number"]
        assert len(a["images"]) == len(b["images"]) == len(a["targets"]) == len(b["targets"])
        assert all(torch.equal(x, y) for x, y in zip(a["images"], b["images"], strict=True))
        for x, y in zip(a["targets"], b["targets"], strict=True):
            assert x.keys() == y.keys() == {"boxes", "labels", "objects"}
            assert all(torch.equal(x[key], y[key]) and x[key].dtype == y[key].dtype for key in x)


def test_a_batch(scenes):
    loader = DetectionLoader(scenes, batch_size=5, seed=0, shuffle=False)
    assert len(loader) == 5
    found = list(loader.epoch(1))
    assert [len(b["images"]) for b in found] == [5, 5, 5, 5, 3]
    assert torch.cat([b["index"] for b in found]).tolist() == list(range(23))
    objects = 0
    for batch in found:
        for image, target, index in zip(batch["images"], batch["targets"], batch["index"].tolist(), strict=True):
            sample = scenes[index]
            assert image.dtype == torch.float32
            torch.testing.assert_close(image, sample.image / 255)
            assert torch.equal(target["boxes"], sample.boxes)
            assert torch.equal(target["labels"], sample.labels)
            assert target["objects"].tolist() == list(range(objects, objects + len(sample.boxes)))
            objects += len(sample.boxes)
    assert objects == sum(scenes.box_counts)


def test_order_is_that_of_every_loader(scenes):
    found = torch.cat([b["index"] for b in batches(scenes)])
    assert torch.equal(found, permutation(23, 4, 2))
    assert not torch.equal(found, torch.cat([b["index"] for b in batches(scenes, number=3)]))


def test_batches_are_pure_functions(scenes):
    whole = batches(scenes)
    same(whole[3:], batches(scenes, start=3))
    same(whole, batches(scenes))
    other = batches(scenes, seed=5, shuffle=False), batches(scenes, shuffle=False)
    assert any(
        x.shape != y.shape or not torch.equal(x, y) for x, y in zip(*(b[0]["images"] for b in other), strict=True)
    )


def test_an_image_is_augmented_alike_in_any_batch(scenes):
    one = {i: b for b in batches(scenes, batch_size=1, shuffle=False) for i in b["index"].tolist()}
    for batch in batches(scenes):
        for place, index in enumerate(batch["index"].tolist()):
            assert torch.equal(batch["images"][place], one[index]["images"][0])
            assert torch.equal(batch["targets"][place]["boxes"], one[index]["targets"][0]["boxes"])


def test_workers_give_the_same_bits(scenes, make_coco, tree):
    state = torch.get_rng_state()
    same(batches(scenes), batches(scenes, workers=2))
    same(batches(scenes, start=2), batches(scenes, workers=2, start=2))
    assert torch.equal(torch.get_rng_state(), state)
    files = coco(root=str(make_coco(tree)), in_memory=False)
    same(batches(files, batch_size=2), batches(files, batch_size=2, workers=2))


def test_workers_serve_several_epochs(scenes):
    loader = DetectionLoader(scenes, batch_size=5, seed=4, augment=AUGMENT, workers=2)
    same(list(loader.epoch(1)), batches(scenes, number=1))
    running = loader.epoch(2)
    first = next(running)
    same(list(loader.epoch(3)), batches(scenes, number=3))
    same([first, *running], batches(scenes, number=2))


def test_parts_of_processes_make_the_whole(scenes):
    whole = batches(scenes)
    parts = [batches(scenes, rank=rank, world=2) for rank in (0, 1)]
    for batch, *halves in zip(whole, *parts, strict=True):
        assert torch.equal(batch["index"], torch.cat([half["index"] for half in halves]))
        both = [image for half in halves for image in half["images"]]
        assert all(torch.equal(x, y) for x, y in zip(batch["images"], both, strict=True))


def test_no_process_goes_without_an_image():
    few = digit_scenes(count=4, size=48)
    last = [batches(few, batch_size=3, rank=rank, world=3)[-1] for rank in range(3)]
    whole = batches(few, batch_size=3)[-1]
    assert [b["index"].tolist() for b in last] == [whole["index"].tolist()] * 3
    assert [(len(b["images"]), len(b["targets"])) for b in last] == [(1, 1)] * 3
    two = [batches(digit_scenes(count=5, size=48), batch_size=3, rank=rank, world=3)[-1] for rank in range(3)]
    assert {i for b in two for i in b["index"].tolist()} == set(
        batches(digit_scenes(count=5, size=48), batch_size=3)[-1]["index"].tolist()
    )


def test_drop_last(scenes):
    assert [len(b["images"]) for b in batches(scenes, drop_last=True)] == [5, 5, 5, 5]


def test_crowds_are_left_out_and_numbers_stay(make_coco, tree):
    source = coco(root=str(make_coco(tree)))
    (batch,) = batches(source, batch_size=3, shuffle=False, augment=())
    assert [t["objects"].tolist() for t in batch["targets"]] == [[0, 1, 2], [4, 5], []]
    assert [t["labels"].tolist() for t in batch["targets"]] == [[1, 0, 2], [1, 1], []]
    assert batch["targets"][2]["boxes"].shape == (0, 4)
    assert [tuple(i.shape) for i in batch["images"]] == [(3, 48, 64), (3, 30, 40), (3, 20, 20)]


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_come_through_whole(make_coco, tree, workers):
    root = make_coco(tree)
    source = coco(root=str(root), in_memory=False)
    (root / "images" / "b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"train.json: image 9 \(b.png\): the file cannot be decoded"):
        batches(source, batch_size=2, workers=workers)


def test_whether_objects_are_kept(scenes):
    assert DetectionLoader(scenes, batch_size=2, seed=0, augment=[flip, photometric_distort]).keeps_objects
    assert not DetectionLoader(scenes, batch_size=2, seed=0, augment=[flip, iou_crop]).keeps_objects


def test_settings_are_checked(scenes):
    make = partial(DetectionLoader, scenes, seed=0)
    with pytest.raises(DataError, match="a loader needs batch_size >= 1"):
        make(batch_size=0)
    with pytest.raises(DataError, match="batch_size 2 gives 3 processes no image each"):
        make(batch_size=2, world=3)
    with pytest.raises(DataError, match="drop_last with batch_size 24 leaves nothing of 23 images"):
        make(batch_size=24, drop_last=True)
