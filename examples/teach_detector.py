"""A classifier teaches a small detector in a plain PyTorch loop, on scenes made of scikit-learn's digits.

Run: python examples/teach_detector.py
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn

from limbeck.losses.detection import kd_cls, kd_loc_features, kd_loc_pixels
from limbeck.measures import accuracy
from limbeck.measures.detection import tide_errors
from limbeck.models.detectors import Seen, Watch, build_detector, predict
from limbeck.numerics.crops import box_crops, usable_boxes
from limbeck.sources.detection import DetectionLoader, digit_scenes
from limbeck.sources.object_crops import crops_of

EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 10  # a number behind the script's name shortens it
SCENES, SIZE, CROP, BATCH = 200 * EPOCHS, 64, 24, 16


def classifier() -> nn.Sequential:
    """A classifier of crops that knows nothing of detection: a stem, two blocks, a linear layer."""

    def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU())

    return nn.Sequential(block(3, 32, 1), block(32, 64, 2), block(64, 128, 2), nn.Flatten(), nn.LazyLinear(10))


def train_classifier(network: nn.Module, crops: Tensor, labels: Tensor, epochs: int) -> None:
    """Adam on the cut-out objects; nothing of it is special."""
    optimizer = torch.optim.Adam(network.train().parameters(), lr=2e-3)
    for _ in range(epochs):
        for index in torch.randperm(len(labels)).split(64):
            loss = nn.functional.cross_entropy(network(crops[index]), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval().requires_grad_(False)


# --8<-- [start:terms]
def taught(seen: Seen, teacher: nn.Sequential) -> Tensor:
    """What the classifier adds to the losses of one step: KD_cls and KD_loc."""
    found = seen.positives  # predictions that the detector itself has matched to an object
    counts = torch.tensor([len(target["boxes"]) for target in seen.targets])
    matched = (counts.cumsum(0) - counts)[found.image] + found.object  # among all objects of the batch
    limits = torch.tensor(seen.sizes)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (seen.mean, seen.std))

    def cut(owner: Tensor, boxes: Tensor) -> Tensor:
        return box_crops(seen.images, owner, boxes, size=CROP, limits=limits) * std + mean

    objects = cut(torch.repeat_interleave(counts), torch.cat([target["boxes"] for target in seen.targets]))
    scores = kd_cls(found.logits, teacher(objects)[matched])

    kept = usable_boxes(found.boxes, found.image, limits)  # early on, boxes lie outside the image
    own, true = cut(found.image[kept], found.boxes[kept]), objects[matched[kept]]
    pixels = kd_loc_pixels(own, true, pool=8)
    stem = kd_loc_features([teacher[0](own)], [teacher[0](true)])
    terms = ((0.4, scores), (0.15, pixels), (0.15, stem))
    return sum(weight * each.sum() / max(len(each), 1) for weight, each in terms)
    # --8<-- [end:terms]


# --8<-- [start:loop]
def train(detector: nn.Module, loader: DetectionLoader, teacher: nn.Sequential | None) -> None:
    """A loop as any other; `Watch` gives the detector's own losses, and what it saw on the way."""
    optimizer = torch.optim.AdamW(detector.train().parameters(), lr=2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=EPOCHS * len(loader))
    watch = Watch(detector)
    for epoch in range(1, EPOCHS + 1):
        for batch in loader.epoch(epoch):
            losses, seen = watch.forward(batch["images"], batch["targets"])
            loss = sum(losses.values())
            if teacher is not None:
                loss = loss + taught(seen, teacher)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(detector.parameters(), 10)
            optimizer.step()
            schedule.step()
    detector.eval()
    # --8<-- [end:loop]


def main() -> None:
    """Train a classifier on the objects, then one detector alone and one taught; tell what errors cost each."""
    torch.manual_seed(0)
    look = {"size": SIZE, "scale": (2.0, 4.0), "objects": (1, 3), "clutter": 2}
    source, test = digit_scenes(count=SCENES, **look), digit_scenes(split="test", count=SCENES // 10, **look)
    objects, test_objects = (crops_of(each, size=CROP) for each in (source, test))
    teacher = classifier()
    train_classifier(teacher, objects.images / 255, objects.labels, epochs=min(EPOCHS, 8))
    print(f"teacher  accuracy {accuracy(teacher(test_objects.images / 255), test_objects.labels):.3f}")
    truth = [{"boxes": scene.boxes, "labels": scene.labels} for scene in test]
    for name in ("control", "taught"):
        torch.manual_seed(1)
        detector = build_detector("small_ssd", num_classes=10, size=(SIZE, SIZE), mean=source.mean, std=source.std)
        loader = DetectionLoader(source, batch_size=BATCH, seed=1)
        train(detector, loader, teacher if name == "taught" else None)
        found = predict(detector, [scene.image / 255 for scene in test])
        errors = tide_errors(found, truth, classes=10)
        costs = f"classes cost {errors.dAP['Cls']:.3f}, places {errors.dAP['Loc']:.3f}"
        print(f"{name:8s} AP50 {errors.AP:.3f}   {costs}")


if __name__ == "__main__":
    main()
