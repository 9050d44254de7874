"""Distil a small network with WKD (logits and features) in a plain PyTorch loop, on scikit-learn's digits.

Run: python examples/wkd.py
"""

from __future__ import annotations

import sys

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from limbeck.losses import ConvProjector, cross_entropy, wkd_feature, wkd_target, wkd_transport
from limbeck.measures import accuracy, agreement
from limbeck.numerics.class_relations import cosine_distance, relation_cost
from limbeck.numerics.decay import cosine_decay

LABELLED, BATCH = 100, 20
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 60  # a number behind the script's name shortens it
TRANSPORT_WEIGHT, FEATURE_WEIGHT, DECAY_START = 10.0, 0.1, 40


class Network(nn.Module):
    """Three convolutions on 8x8 images; gives logits and its last feature map, 16 times `width` channels."""

    def __init__(self, width: int) -> None:
        """Make a network; `width` scales every layer."""
        super().__init__()

        def block(inputs: int, outputs: int, stride: int) -> nn.Sequential:
            convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())

        self.body = nn.Sequential(
            block(1, 4 * width, 1), block(4 * width, 8 * width, 2), block(8 * width, 16 * width, 1)
        )
        self.head = nn.Linear(16 * width, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, 10) and feature map (n, 16 width, 4, 4)."""
        features = self.body(images)
        return self.head(features.mean(dim=(2, 3))), features


def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images in [0, 1] and labels: 1,297 to train the teacher on, 500 to test."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], labels[order]
    return images[:1297], labels[:1297], images[1297:], labels[1297:]


def train(network: Network, images: Tensor, labels: Tensor, epochs: int, batch: int, terms=None) -> None:
    """SGD with momentum and a cosine schedule; `terms(images, labels, logits, features, epoch)` is added."""
    modules = nn.ModuleList([network, *([terms.projector] if terms else [])]).train()
    optimizer = torch.optim.SGD(modules.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(1, epochs + 1):
        for index in torch.randperm(len(labels)).split(batch):
            logits, features = network(images[index])
            loss = cross_entropy(logits, labels[index]).mean()
            if terms:
                loss = loss + terms(images[index], labels[index], logits, features, epoch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    network.eval()


class WkdTerms:
    """What the teacher adds to the cross entropy."""

    def __init__(self, teacher: Network, width: int) -> None:
        """Prepare cost and projector for a student of this width."""
        self.teacher = teacher
        self.cost = relation_cost(cosine_distance(teacher.head.weight), kappa=1.0)
        channels = teacher.head.in_features
        self.projector = ConvProjector(student_shape=(16 * width, 4, 4), teacher_shape=(channels, 4, 4))

    def __call__(self, images: Tensor, labels: Tensor, logits: Tensor, features: Tensor, epoch: int) -> Tensor:
        """Target, transport and feature terms; the last two fade out."""
        with torch.no_grad():
            teacher_logits, teacher_map = self.teacher(images)
        fade = cosine_decay(epoch, start=DECAY_START, total=EPOCHS)
        target = wkd_target(logits, teacher_logits, labels).mean()
        transport = wkd_transport(logits, teacher_logits, labels, self.cost, temperature=4.0).mean()
        feature = wkd_feature(self.projector(features), teacher_map, mean_weight=4.0).mean()
        return target + fade * (TRANSPORT_WEIGHT * transport + FEATURE_WEIGHT * feature)


def main() -> None:
    """Train a teacher, then students with few labels, alone and taught."""
    torch.manual_seed(0)
    images, labels, test_images, test_labels = data()
    teacher = Network(width=4)
    train(teacher, images, labels, epochs=min(EPOCHS, 10), batch=64)
    with torch.no_grad():
        teacher_logits, _ = teacher(test_images)
    print(f"teacher  accuracy {accuracy(teacher_logits, test_labels):.3f}")
    for name in ("control", "wkd"):
        torch.manual_seed(1)
        student = Network(width=1)
        terms = WkdTerms(teacher, width=1) if name == "wkd" else None
        train(student, images[:LABELLED], labels[:LABELLED], EPOCHS, BATCH, terms)
        with torch.no_grad():
            logits, _ = student(test_images)
        print(
            f"{name:8s} accuracy {accuracy(logits, test_labels):.3f}   "
            f"agreement with the teacher {agreement(logits, teacher_logits):.3f}"
        )


if __name__ == "__main__":
    main()
