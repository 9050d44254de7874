"""In which ways did a student become like its teacher? Digits, one teacher, KD beside a control, two seeds.

Run: python examples/audit.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import limbeck
from limbeck.audit import audit

EPOCHS = int(sys.argv[1]) if sys.argv[1:] else 12  # a number behind the script's name shortens it
SEEDS = (0, 1)
QUESTIONS = [
    "fidelity",
    "mistakes",
    "calibration",
    {"name": "adversarial", "images": 200, "matrix_images": 50},
    {"name": "colour", "strengths": [0.2, 0.4, 0.6]},
]


def trained(folder: Path) -> tuple[Path, dict[str, Path], dict[str, Path]]:
    """A teacher on all digits, and small networks on ten of each: with the teacher, and by labels alone."""
    few = {"name": "digits", "per_class": 10}
    budget = {"epochs": 10 * EPOCHS, "batch_size": 50, "optimizer": {"name": "sgd", "lr": 0.1}}
    teacher = limbeck.train("resnet14", "digits", train={"epochs": EPOCHS}, out=folder / "teacher")
    print(f"teacher: accuracy {teacher.numbers['accuracy']:.1%}")
    students, controls = {}, {}
    for seed in SEEDS:
        more = {"train": budget, "seed": seed}
        # Student and control of one seed begin with the same weights and see the same images.
        taught = limbeck.distill(teacher.model, "resnet8", few, terms="kd", out=folder / f"kd-{seed}", **more)
        alone = limbeck.train("resnet8", few, out=folder / f"control-{seed}", **more)
        students[f"kd-s{seed}"], controls[f"control-s{seed}"] = taught.model_file, alone.model_file
    return teacher.model_file, students, controls


def main() -> None:
    """Train, ask, and say what came of it."""
    folder = Path(tempfile.mkdtemp())
    teacher, students, controls = trained(folder)
    found = audit(teacher, students, controls, source="digits", questions=QUESTIONS, out=folder / "audit")

    right = found.finding("fidelity.accuracy")
    print(f"control: accuracy {right.control.mean:.1%}\nstudent: accuracy {right.student.mean:.1%}\n")
    for finding in found.findings:
        if finding.primary:
            print(f"{finding.verdict}: {finding.title}\n    {finding.reason}")
    print(f"\n{found.summary}")

    for line in found.broken("ece > 0.3", "calibration.ece == transferred"):  # what a pipeline would stop at
        print("not passed:", line)
    print(f"`limbeck report {folder / 'audit'}` makes a page of it.")


if __name__ == "__main__":
    main()
