"""Distil a small network with PEFD, an ensemble of projectors, in a plain PyTorch loop, on scikit-learn's digits.

Run: python examples/pefd.py
"""

from __future__ import annotations

import sys

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from limbeck.losses import ProjectorEnsemble, cross_entropy, direction_alignment
from limbeck.measures import accuracy, agreement

LABELLED, BATCH, WEIGHT = 100, 20, 25.0
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 60  # a number behind the script's name shortens it


class Network(nn.Module):
    """Two hidden layers; gives logits and the features that its classifier reads."""

    def __init__(self, width: int) -> None:
        """Make a network of this width."""
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.head = nn.Linear(width, 10)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (n, 10) and features (n, width)."""
        features = self.body(images)
        return self.head(features), features


def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images in [0, 1] and labels: 1,297 to train the teacher on, 500 to test."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], labels[order]
    return images[:1297], labels[:1297], images[1297:], labels[1297:]


def train(
    student: Network,
    images: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    batch: int,
    teacher: Network | None = None,
    projectors: ProjectorEnsemble | None = None,
) -> None:
    """SGD; with a teacher, the projected features follow the direction of the teacher's.

    The projectors are trained by the same optimizer and forgotten afterwards.
    """
    modules = nn.ModuleList([student, *([projectors] if projectors else [])])
    optimizer = torch.optim.SGD(modules.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for index in torch.randperm(len(labels)).split(batch):
            logits, features = student(images[index])
            loss = cross_entropy(logits, labels[index]).mean()
            if teacher is not None and projectors is not None:
                with torch.no_grad():
                    _, wanted = teacher(images[index])
                loss = loss + WEIGHT * direction_alignment(projectors(features), wanted).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()


def main() -> None:
    """Train a teacher, then students with few labels, alone and taught."""
    torch.manual_seed(0)
    images, labels, test_images, test_labels = data()
    teacher = Network(width=256)
    train(teacher, images, labels, epochs=min(EPOCHS, 20), batch=64)
    with torch.no_grad():
        teacher_logits, _ = teacher(test_images)
    print(f"teacher  accuracy {accuracy(teacher_logits, test_labels):.3f}")
    few = {"images": images[:LABELLED], "labels": labels[:LABELLED], "epochs": EPOCHS, "batch": BATCH}
    for name in ("control", "pefd"):
        torch.manual_seed(1)
        student = Network(width=16)
        if name == "pefd":
            train(student, **few, teacher=teacher, projectors=ProjectorEnsemble(student_dim=16, teacher_dim=256))
        else:
            train(student, **few)
        with torch.no_grad():
            logits, _ = student(test_images)
        print(
            f"{name:8s} accuracy {accuracy(logits, test_labels):.3f}   "
            f"agreement with the teacher {agreement(logits, teacher_logits):.3f}"
        )


if __name__ == "__main__":
    main()
