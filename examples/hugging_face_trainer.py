"""Distillation with Hugging Face's Trainer: a subclass whose `compute_loss` asks a teacher.

Two small ViTs from configurations, nothing is fetched. Needs transformers and accelerate (`limbeck[hf]`).
Run: python examples/hugging_face_trainer.py
"""

from __future__ import annotations

import sys
import tempfile

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments, ViTConfig, ViTForImageClassification

from limbeck import Taps
from limbeck.losses import ProjectorEnsemble, direction_alignment, kd
from limbeck.measures import accuracy

LABELLED = 100
EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 100  # a number behind the script's name shortens it


def vit(width: int, layers: int) -> ViTForImageClassification:
    """A ViT for 8x8 digits in 16 patches."""
    return ViTForImageClassification(
        ViTConfig(
            image_size=8,
            patch_size=2,
            num_channels=1,
            num_labels=10,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=width // 16,
            intermediate_size=2 * width,
        )
    )


class Digits(Dataset):
    """Images in [-1, 1] and labels, by the names that the model's forward has."""

    def __init__(self, first: int, last: int) -> None:
        """Take a part of the shuffled digits."""
        digits = load_digits()
        order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))[first:last]
        self.images = (torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1)[order]
        self.labels = torch.tensor(digits.target)[order]

    def __len__(self) -> int:
        """How many there are."""
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One image with its label."""
        return {"pixel_values": self.images[index], "labels": self.labels[index]}


# --8<-- [start:trainer]
class Taught(nn.Module):
    """The student and its projector under one root, so that the Trainer optimises, wraps and moves both."""

    def __init__(self, student: nn.Module, teacher: nn.Module) -> None:
        """Size the projector, and tap what the classifier reads."""
        super().__init__()
        sizes = {"student_dim": student.config.hidden_size, "teacher_dim": teacher.config.hidden_size}
        self.student, self.projector = student, ProjectorEnsemble(**sizes, activation="none")
        self.taps = Taps(student, ["classifier:input"])

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """The student's outputs, its loss on the labels among them, and its projected features."""
        output = self.student(pixel_values=pixel_values, labels=labels)
        return {**output, "projected": self.projector(self.taps.take()["classifier:input"])}


class DistillationTrainer(Trainer):
    """A Trainer with a teacher."""

    def __init__(self, *arguments, teacher: nn.Module, **settings) -> None:
        """Take a trained teacher beside what a Trainer takes."""
        super().__init__(*arguments, **settings)
        self.teacher = teacher.to(self.args.device).eval().requires_grad_(False)
        self.taps = Taps(self.teacher, ["classifier:input"])

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):  # noqa: D102
        outputs = model(**inputs)
        with torch.no_grad():
            wanted = self.teacher(pixel_values=inputs["pixel_values"]).logits
        target = self.taps.take()["classifier:input"]
        loss = 0.1 * outputs["loss"] + 0.9 * kd(outputs["logits"], wanted, temperature=4.0).mean()
        loss = loss + direction_alignment(outputs["projected"], target).mean()
        return (loss, outputs) if return_outputs else loss
        # --8<-- [end:trainer]


def fit(
    kind: type[Trainer], model: nn.Module, digits: Dataset, *, epochs: int, batch: int = 20, **settings
) -> None:
    """Train with the Trainer's own optimizer and schedule."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=epochs,
            per_device_train_batch_size=batch,
            learning_rate=2e-3,
            lr_scheduler_type="cosine",
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            seed=1,
        )
        trainer = kind(model, arguments, train_dataset=digits, **settings)
        trainer.remove_callback(PrinterCallback)
        trainer.train()


def main() -> None:
    """Train a teacher, then students with few labels, alone and taught."""
    torch.manual_seed(0)
    few, many, test = Digits(0, LABELLED), Digits(0, 1297), Digits(1297, 1797)

    def report(name: str, model: nn.Module) -> None:
        with torch.no_grad():
            print(f"{name:8s} accuracy {accuracy(model.eval()(test.images).logits, test.labels):.3f}")

    teacher = vit(width=64, layers=3)
    fit(Trainer, teacher, many, epochs=min(EPOCHS, 20), batch=50)
    report("teacher", teacher)
    for name in ("control", "taught"):
        torch.manual_seed(1)
        student = vit(width=32, layers=2)
        if name == "taught":
            fit(DistillationTrainer, Taught(student, teacher), few, epochs=EPOCHS, teacher=teacher)
        else:
            fit(Trainer, student, few, epochs=EPOCHS)
        report(name, student)


if __name__ == "__main__":
    main()
