"""One student, several methods, several seeds, an equal budget: which method is worth it for this pair?"""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.classify.config import CompareStage, Term
from limbeck.classify.data import load_data
from limbeck.classify.fitting import fit_classifier, teacher_guesses
from limbeck.classify.products import write_classifier
from limbeck.classify.stages import build_student, components_of, find_teacher
from limbeck.engine import Machine, evaluate
from limbeck.measures import flops, parameters
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder

CONTROL = "control"
"""The row of the undistilled student: the same budget, labels alone."""


def run_compare(config: CompareStage, folder: StageFolder, context: StageContext) -> None:
    """Distil the student by every method with every seed, beside an undistilled control."""
    machine = Machine(device=context.device, precision=config.train.precision)
    data = load_data(config, seed=context.seed)
    teacher = find_teacher(config.teacher, data, machine, context)
    reference = teacher_guesses(teacher, data, machine)
    methods: dict[str, Sequence[Term]] = {
        CONTROL: (Term.model_validate({"loss": "cross_entropy"}),),
        **config.methods,
    }
    results: dict[str, list[dict[str, Any]]] = {}
    for method, terms in methods.items():
        for seed in config.seeds:
            trial = folder.stage(f"trials/{method}-s{seed}")
            results.setdefault(method, []).append(
                _trial(config, trial, method, terms, seed, data, teacher, reference, machine, context)
            )
    if machine.main:
        _write(folder, results, config, _teacher_row(teacher, data, machine))
    machine.wait()
