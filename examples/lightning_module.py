"""Distillation as a LightningModule: teacher, projector and losses inside, the student alone in its checkpoints.

Run: python examples/lightning_module.py
"""

from __future__ import annotations

import logging
import sys

import lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from limbeck import Taps
from limbeck.losses import ProjectorEnsemble, cross_entropy, direction_alignment, kd
from limbeck.measures import accuracy

LABELLED, BATCH = 100, 20
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 60  # a number behind the script's name shortens it


def network(width: int) -> nn.Sequential:
    """A classifier that knows nothing of distillation: two convolutions, a pooling, a linear layer."""
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()),
        *(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2 * width, 10)),
    )


class Classifier(lightning.LightningModule):
    """A network that learns from labels."""

    def __init__(self, student: nn.Module, *, epochs: int) -> None:
        """Take the network to be trained."""
        super().__init__()
        self.student, self.epochs = student, epochs

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """The loss of a batch."""
        images, labels = batch
        return cross_entropy(self.student(images), labels).mean()

    def configure_optimizers(self) -> dict:
        """SGD with a cosine schedule over whatever wants a gradient."""
        learnt = [p for p in self.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(learnt, lr=0.05, momentum=0.9, weight_decay=5e-4)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.epochs)
        return {"optimizer": optimizer, "lr_scheduler": schedule}


# --8<-- [start:module]
class Distillation(Classifier):
    """The same with a teacher: its logits (KD) and the direction of its features (PEFD)."""

    def __init__(self, student: nn.Module, teacher: nn.Module, *, epochs: int) -> None:
        """Tap what the last linear layers read ("8:input")."""
        super().__init__(student, epochs=epochs)
        self.teacher = teacher.requires_grad_(False)
        self.projector = ProjectorEnsemble(student_dim=student[8].in_features, teacher_dim=teacher[8].in_features)
        self.own, self.theirs = Taps(student, ["8:input"]), Taps(teacher, ["8:input"])
        self.strict_loading = False  # checkpoints are without the teacher

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """The loss of a batch."""
        images, labels = batch
        self.teacher.eval()  # whatever mode the trainer has put it in
        logits = self.student(images)
        with torch.no_grad():
            wanted = self.teacher(images)
        feature, target = self.own.take()["8:input"], self.theirs.take()["8:input"]
        terms = {
            "labels": 0.1 * cross_entropy(logits, labels).mean(),
            "kd": 0.9 * kd(logits, wanted, temperature=4.0).mean(),
            "features": 5 * direction_alignment(self.projector(feature), target).mean(),
        }
        self.log_dict({f"loss/{name}": value for name, value in terms.items()}, batch_size=len(labels))
        return sum(terms.values())

    def state_dict(self, **settings) -> dict[str, Tensor]:
        """Student and projector; the teacher has a file of its own."""
        return {k: v for k, v in super().state_dict(**settings).items() if not k.startswith("teacher.")}
        # --8<-- [end:module]


def data() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images in [0, 1] and labels: 1,297 to train the teacher on, 500 to test."""
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 16
    labels = torch.tensor(digits.target)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    images, labels = images[order], labels[order]
    return images[:1297], labels[:1297], images[1297:], labels[1297:]


def fit(module: Classifier, images: Tensor, labels: Tensor, *, batch: int) -> nn.Module:
    """Lightning's trainer; gives the network."""
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = lightning.Trainer(accelerator="cpu", max_epochs=module.epochs, enable_model_summary=False, **quiet)
    trainer.fit(module, DataLoader(TensorDataset(images, labels), batch_size=batch, shuffle=True))
    return module.student.eval()


def main() -> None:
    """Train a teacher, then students with few labels, alone and taught."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    torch.manual_seed(0)
    images, labels, test_images, test_labels = data()

    def report(name: str, network: nn.Module) -> None:
        with torch.no_grad():
            print(f"{name:8s} accuracy {accuracy(network(test_images), test_labels):.3f}")

    teacher = fit(Classifier(network(width=32), epochs=min(EPOCHS, 15)), images, labels, batch=64)
    report("teacher", teacher)
    for name in ("control", "taught"):
        torch.manual_seed(1)
        student = network(width=8)
        taught = name == "taught"
        module = Distillation(student, teacher, epochs=EPOCHS) if taught else Classifier(student, epochs=EPOCHS)
        report(name, fit(module, images[:LABELLED], labels[:LABELLED], batch=BATCH))


if __name__ == "__main__":
    main()
