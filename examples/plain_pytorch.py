"""Distil any network into any other in a plain PyTorch loop: KD on logits, PEFD on features, read by taps.

Run: python examples/plain_pytorch.py
"""

from __future__ import annotations

import sys

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from limbeck import Taps
from limbeck.losses import ProjectorEnsemble, cross_entropy, direction_alignment, kd
from limbeck.measures import accuracy, agreement

LABELLED, BATCH = 100, 20
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 60  # a number behind the script's name shortens it


def network(width: int) -> nn.Sequential:
    """A classifier that knows nothing of distillation: two convolutions, a pooling, a linear layer."""
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
        *(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, 10)),
    )


def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images in [0, 1] and labels: 1,297 to train the teacher on, 500 to test."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], labels[order]
    return images[:1297], labels[:1297], images[1297:], labels[1297:]


def train(student: nn.Module, images: Tensor, labels: Tensor, *, epochs: int, batch: int) -> None:
    """What a loop looks like before anybody teaches: SGD with a cosine schedule on the labels."""
    optimizer = torch.optim.SGD(student.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    student.train()
    for _ in range(epochs):
        for index in torch.randperm(len(labels)).split(batch):
            loss = cross_entropy(student(images[index]), labels[index]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
    student.eval()


# --8<-- [start:distil]
def distil(
    student: nn.Module, teacher: nn.Module, images: Tensor, labels: Tensor, *, epochs: int, batch: int
) -> None:
    """The same loop with a teacher; "8:input" is what the last linear layer of both networks reads."""
    teacher.eval().requires_grad_(False)
    projector = ProjectorEnsemble(student_dim=student[8].in_features, teacher_dim=teacher[8].in_features)
    learnt = nn.ModuleList([student, projector]).train()
    optimizer = torch.optim.SGD(learnt.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    with Taps(student, ["8:input"]) as own, Taps(teacher, ["8:input"]) as theirs:
        for _ in range(epochs):
            for index in torch.randperm(len(labels)).split(batch):
                logits = student(images[index])
                with torch.no_grad():
                    wanted = teacher(images[index])
                feature, target = own.take()["8:input"], theirs.take()["8:input"]
                loss = 0.1 * cross_entropy(logits, labels[index]).mean()
                loss = loss + 0.9 * kd(logits, wanted, temperature=4.0).mean()
                loss = loss + 5 * direction_alignment(projector(feature), target).mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            schedule.step()
    student.eval()  # without hooks again; the projector is not needed any more
    # --8<-- [end:distil]


def main() -> None:
    """Train a teacher, then students with few labels, alone and taught."""
    torch.manual_seed(0)
    images, labels, test_images, test_labels = data()
    teacher = network(width=32)
    train(teacher, images, labels, epochs=min(EPOCHS, 15), batch=64)
    with torch.no_grad():
        teacher_logits = teacher(test_images)
    print(f"teacher  accuracy {accuracy(teacher_logits, test_labels):.3f}")
    few = {"images": images[:LABELLED], "labels": labels[:LABELLED], "epochs": EPOCHS, "batch": BATCH}
    for name in ("control", "taught"):
        torch.manual_seed(1)
        student = network(width=8)
        if name == "taught":
            distil(student, teacher, **few)
        else:
            train(student, **few)
        with torch.no_grad():
            logits = student(test_images)
        print(
            f"{name:8s} accuracy {accuracy(logits, test_labels):.3f}   "
            f"agreement with the teacher {agreement(logits, teacher_logits):.3f}"
        )


if __name__ == "__main__":
    main()
