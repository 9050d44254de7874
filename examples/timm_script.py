"""Distillation in a timm-style training script: timm's models, loaders, optimizer, schedule, weight average.

A timm ConvNeXt teaches a timm ResNet. Run: python examples/timm_script.py
"""

from __future__ import annotations

import sys

import timm
import torch
from PIL import Image
from sklearn.datasets import load_digits
from timm.data import create_loader
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from timm.utils import ModelEmaV3
from torch import nn
from torch.utils.data import DataLoader, Dataset

from limbeck import Taps
from limbeck.losses import ProjectorEnsemble, cross_entropy, direction_alignment, kd
from limbeck.measures import accuracy

SIZE, MEAN, STD = 32, (0.3,), (0.3,)
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 30  # a number behind the script's name shortens it


class Digits(Dataset):
    """Pictures and labels, as timm's data sets give them; `transform` is filled in by timm's loader."""

    def __init__(self, first: int, last: int) -> None:
        """Take a part of the shuffled digits."""
        digits = load_digits()
        order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))[first:last].tolist()
        self.images = [Image.fromarray((digits.images[i] * 15).astype("uint8")) for i in order]
        self.labels = digits.target[order].tolist()
        self.transform = None

    def __len__(self) -> int:
        """How many there are."""
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[object, int]:
        """One picture, transformed, with its label."""
        return self.transform(self.images[index]), self.labels[index]


def loader(first: int, last: int, *, training: bool) -> DataLoader:
    """The loader of timm, for pictures of one channel, in this process."""
    here = {"num_workers": 0, "persistent_workers": False, "use_prefetcher": False}
    return create_loader(
        Digits(first, last),
        input_size=(1, SIZE, SIZE),
        batch_size=20 if training else 250,
        is_training=training,
        scale=(0.8, 1.0),
        hflip=0.0,
        crop_pct=1.0,
        mean=MEAN,
        std=STD,
        **here,
    )


# --8<-- [start:objective]
class Distillation(nn.Module):
    """The student, what is trained beside it, and the loss: what timm's script is given in place of the model."""

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        """Tap what the classifiers read, in any model of timm."""
        super().__init__()
        self.student, self._teacher = student, [teacher.eval().requires_grad_(False)]  # a list hides its weights
        sizes = {"student_dim": student.head_hidden_size, "teacher_dim": teacher.head_hidden_size}
        self.projector = ProjectorEnsemble(**sizes, activation="none")
        self._paths = [f"{network.default_cfg['classifier']}:input" for network in (student, teacher)]

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of a batch. Hooks are there for as long as it takes, so that ModelEmaV3 copies none."""
        teacher, (own, theirs) = self._teacher[0], self._paths
        with Taps(self.student, [own]) as taps:
            logits, feature = self.student(images), taps.take()[own]
        with Taps(teacher, [theirs]) as taps, torch.no_grad():
            wanted, target = teacher(images), taps.take()[theirs]
        loss = 0.1 * cross_entropy(logits, labels).mean() + 0.9 * kd(logits, wanted, temperature=4.0).mean()
        return loss + 5 * direction_alignment(self.projector(feature), target).mean()
        # --8<-- [end:objective]


class Labels(nn.Module):
    """The same frame without a teacher."""

    def __init__(self, student: nn.Module) -> None:
        """Wrap a model."""
        super().__init__()
        self.student = student

    def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of a batch."""
        return cross_entropy(self.student(images), labels).mean()


# --8<-- [start:train]
def train(model: nn.Module, batches: DataLoader, *, epochs: int) -> nn.Module:
    """The train loop of timm; `model(images, labels)` is the loss. Gives the averaged student."""
    optimizer = create_optimizer_v2(model, opt="adamw", lr=2e-3, weight_decay=0.02)
    schedule, _ = create_scheduler_v2(
        optimizer, sched="cosine", num_epochs=epochs, warmup_epochs=min(2, epochs - 1)
    )
    average = ModelEmaV3(model.student, decay=0.95)
    for epoch in range(epochs):
        model.train()
        for images, labels in batches:
            loss = model(images, labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            average.update(model.student)
        schedule.step(epoch + 1)
    return average.module.eval()
    # --8<-- [end:train]


def main() -> None:
    """Train a teacher, then students with few labels, alone and taught."""
    torch.manual_seed(0)
    few, many, test = (
        loader(0, 60, training=True),
        loader(0, 1297, training=True),
        loader(1297, 1797, training=False),
    )
    kinds = {"in_chans": 1, "num_classes": 10}

    def report(name: str, model: nn.Module) -> None:
        with torch.no_grad():
            logits, labels = (torch.cat(part) for part in zip(*((model(x), y) for x, y in test), strict=True))
        print(f"{name:8s} accuracy {accuracy(logits, labels):.3f}")

    teacher = train(Labels(timm.create_model("test_convnext", **kinds)), many, epochs=min(EPOCHS, 8))
    report("teacher", teacher)
    for name in ("control", "taught"):
        torch.manual_seed(1)
        student = timm.create_model("test_resnet", **kinds)
        model = Distillation(student, teacher) if name == "taught" else Labels(student)
        report(name, train(model, few, epochs=EPOCHS))


if __name__ == "__main__":
    main()
