"""Teaching a detector in three lines of Python, with the names that recipes use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from limbeck.detect.classifier import ClassifierTeacher
from limbeck.detect.config import (
    DetectorSpec,
    DetectTraining,
    Method,
    Scoring,
    SourceSpec,
    Teaching,
    default_terms,
)
from limbeck.detect.data import split_of
from limbeck.detect.fitting import fit_detector
from limbeck.detect.given import require_detector
from limbeck.detect.lesson import Teachers
from limbeck.detect.products import MODEL_FILE, write_detector
from limbeck.detect.scoring import Judge, Scores
from limbeck.detect.stages._shared import find_teachers, known_detector
from limbeck.engine import Machine
from limbeck.errors import ConfigError, ModelError
from limbeck.models import data_config
from limbeck.models import load as load_model
from limbeck.models.detectors import build_detector
from limbeck.protocols import DetectionSource
from limbeck.runs.asked import folder_for
from limbeck.seeding import seed_everything
from limbeck.specs import checked

STAGE = "student"


@dataclass(frozen=True)
class Distilled:
    """What training or distilling gave.

    Attributes:
        model: the trained detector in eval mode; nothing of its teachers is in it.
        folder: the run folder, with records, model file and everything that a report needs.
        numbers: AP, AP50, AP75, what each kind of error costs, parameters, seconds.
    """

    model: nn.Module
    folder: Path
    numbers: Mapping[str, float]

    @property
    def model_file(self) -> Path:
        """One file that `limbeck.load` rebuilds the detector from."""
        return self.folder / STAGE / MODEL_FILE


def distill(
    model: nn.Module | str | Mapping[str, Any],
    source: DetectionSource | str | Mapping[str, Any],
    *,
    classifier: nn.Module | str | Path | None = None,
    detector: nn.Module | str | Path | None = None,
    method: str | list[Mapping[str, Any]] | None = None,
    labels: str | Path | None = None,
    test_source: DetectionSource | None = None,
    train: Mapping[str, Any] | None = None,
    teaching: Mapping[str, Any] | None = None,
    scoring: Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    device: str | None = None,
    progress: bool = False,
) -> Distilled:
    """Train a detector with a classifier of its objects, a larger detector, or both.

    One of the two teachers is all that has to be said: a classifier teaches by KD_cls and KD_loc, a detector
    by the correlation of feature maps (PKD).

    Args:
        model: the detector: a name with settings as in a recipe ("small_ssd"), or one that `build_detector` made.
        source: a name with settings as in a recipe ({"name": "coco", "root": ...}), or a `DetectionSource`.
        classifier: of the objects, with their classes: a module, a model file or the folder of a stage.
        detector: a larger one: a module, a model file or the folder of a stage.
        method: a published method by name, or a list of terms; the usual one for the teachers unless given.
        labels: folder of a stage `detect.label`: soft labels that are stored.
        test_source: what to measure on, beside a source that is no name; with the same classes.
        train: the training block of a recipe: epochs, batch_size, optimizer, augment, ...
        teaching: the teaching block of a recipe: crop_size, max_positives, ...
        scoring: the scoring block of a recipe.
        seed: of everything that is drawn.
        out: the run folder; `runs/<model>-<method>-s<seed>` unless given. An unfinished one is continued.
        device: a torch device; what is found unless given.
        progress: show a progress bar.

    Raises:
        ConfigError: settings that do not validate, every problem at once.
        ModelError: student, teachers and data do not fit together.
        MissingExtraError: the library that measures detectors is not installed.

    Example:
        >>> import limbeck.detect, tempfile
        >>> data = {"name": "digit_scenes", "count": 8}
        >>> big = limbeck.detect.train("small_ssd", data, train={"epochs": 1}, out=tempfile.mkdtemp() + "/big")
        >>> small = limbeck.detect.distill(
        ...     "small_ssd", data, detector=big.model, train={"epochs": 1}, out=tempfile.mkdtemp() + "/small"
        ... )
        >>> {'AP', 'AP50', 'AP75', 'error_Cls', 'error_Loc'} <= set(small.numbers)
        True
    """
    return _run(
        "distill",
        model=model,
        source=source,
        classifier=classifier,
        detector=detector,
        method=method,
        labels=labels,
        test_source=test_source,
        train=train,
        teaching=teaching,
        scoring=scoring,
        seed=seed,
        out=out,
        device=device,
        progress=progress,
    )


def train(
    model: nn.Module | str | Mapping[str, Any],
    source: DetectionSource | str | Mapping[str, Any],
    *,
    test_source: DetectionSource | None = None,
    train: Mapping[str, Any] | None = None,
    scoring: Mapping[str, Any] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    device: str | None = None,
    progress: bool = False,
) -> Distilled:
    """Train a detector on labels alone: a teacher, or the control that every claim needs.

    Arguments, errors and result are those of `distill`.
    """
    return _run(
        "train",
        model=model,
        source=source,
        classifier=None,
        detector=None,
        method="alone",
        labels=None,
        test_source=test_source,
        train=train,
        teaching=None,
        scoring=scoring,
        seed=seed,
        out=out,
        device=device,
        progress=progress,
    )


def evaluate(
    detector: nn.Module | str | Path,
    source: DetectionSource | str | Mapping[str, Any],
    *,
    scoring: Mapping[str, Any] | None = None,
    device: str | None = None,
) -> Scores:
    """COCO's scores of a detector and the breakdown of its errors.

    Args:
        detector: a module, a model file or the folder of a stage.
        source: a name with settings as in a recipe, or a `DetectionSource`, which is measured as it is.
        scoring: the scoring block of a recipe.
        device: a torch device; what is found unless given.

    Raises:
        ModelError: it finds other classes than the data have.
        MissingExtraError: the library that measures detectors is not installed.
    """
    measured: Scoring = checked("scoring", Scoring, dict(scoring or {}))
    machine = Machine(device=device)
    data = _split(source, measured.split) if isinstance(source, str | Mapping) else source
    return Judge(data, measured, machine)(_detector(detector, data, machine).eval())


def _run(
    verb: str,
    *,
    model: Any,
    source: Any,
    classifier: Any,
    detector: Any,
    method: Any,
    labels: str | Path | None,
    test_source: DetectionSource | None,
    train: Mapping[str, Any] | None,
    teaching: Mapping[str, Any] | None,
    scoring: Mapping[str, Any] | None,
    seed: int,
    out: str | Path | None,
    device: str | None,
    progress: bool,
) -> Distilled:
    training: DetectTraining = checked("train", DetectTraining, dict(train or {}))
    taught: Teaching = checked("teaching", Teaching, dict(teaching or {}))
    measured: Scoring = checked("scoring", Scoring, dict(scoring or {}))
    teaches = {
        "classifier": classifier is not None,
        "detector": detector is not None,
        "labels": labels is not None,
    }
    if verb == "distill" and not any(teaches.values()) and method is None:
        raise ConfigError("who teaches? classifier=<module or file>, detector=<module or file>, or both.")
    terms = default_terms(**teaches) if method is None else checked("method", Method, method)
    machine = Machine(device=device, precision=training.precision)
    learnt = _split(source, "train")
    tested = test_source if test_source is not None else _split(source, measured.split)
    if list(tested.class_names) != list(learnt.class_names):
        raise ConfigError(
            f"test_source has the classes {', '.join(list(tested.class_names)[:6])}, the source "
            f"{', '.join(list(learnt.class_names)[:6])}. Both need the same in the same order."
        )
    student = _student(model, learnt, seed)
    teachers = (
        _teachers(classifier, detector, labels, learnt, taught, machine) if verb == "distill" else Teachers()
    )
    asked = {
        "kind": f"detect.{verb}",
        "model": _named(model),
        "source": _named(source),
        "train": training.model_dump(mode="json"),
        "scoring": measured.model_dump(mode="json"),
        "seed": seed,
        **(
            {
                "classifier": _named(classifier),
                "detector": _named(detector),
                "labels": _named(labels),
                "method": [term.model_dump(mode="json") for term in terms],
                "teaching": taught.model_dump(mode="json"),
            }
            if verb == "distill"
            else {}
        ),
    }
    path = Path(out) if out is not None else Path("runs") / _run_name(model, method, seed)
    run = folder_for(path, asked, stage=STAGE, call=f"limbeck.detect.{verb}(...)")
    judge = Judge(tested, measured, machine)
    with run.lock():
        folder = run.stage(STAGE)
        if folder.finished:
            result = folder.result()
            trained = known_detector(folder.path / MODEL_FILE, learnt, machine.device, what=str(path))
        else:
            folder.begin(asked)
            validation = None
            if training.evaluate_every is not None:
                validation = Judge(_split(source, "validation"), measured, machine)
            try:
                fitted = fit_detector(
                    student,
                    terms,
                    source=learnt,
                    training=training,
                    machine=machine,
                    records=folder,
                    seed=seed,
                    judge=judge,
                    validation=validation,
                    teachers=teachers,
                    title=path.name,
                    progress=progress,
                )
            finally:
                teachers.close()  # the networks may be the caller's
            losses = [f"detection loss:{term.loss.name}" for term in terms]
            notes = {"stage": f"detect.{verb}", "seed": seed}
            result = write_detector(folder, fitted, judge=judge, source=learnt, components=losses, notes=notes)
            trained = fitted.model
    return Distilled(trained, path, {name: n["value"] for name, n in result["numbers"].items()})


def _split(source: Any, split: str) -> DetectionSource:
    if isinstance(source, str | Mapping):
        spec = checked("source", SourceSpec, source)
        if "split" in spec.settings:
            raise ConfigError(f"source {spec.name}: 'split' is chosen by what is done with it; remove it.")
        return split_of(spec, split)
    if split == "validation":
        raise ConfigError(
            "train.evaluate_every and scoring.split ask for a validation split, which a source given as an object "
            "lacks."
        )
    if split == "test":
        raise ConfigError(
            "test_source is missing: a source given as an object has no test split, and what is learnt says "
            'little when it is measured. To do so all the same: scoring={"split": "train"}.'
        )
    found: DetectionSource = source
    return found


def _student(model: Any, source: DetectionSource, seed: int) -> nn.Module:
    if isinstance(model, nn.Module):
        return require_detector(model, source, what="model")
    spec = checked("model", DetectorSpec, model)
    seed_everything(seed, "weights")
    return build_detector(spec.name, num_classes=len(source.class_names), **spec.settings)


def _teachers(
    classifier: Any, detector: Any, labels: Any, source: DetectionSource, teaching: Teaching, machine: Machine
) -> Teachers:
    return find_teachers(
        classifier=None if classifier is None else _classifier(classifier, source, teaching, machine),
        detector=None if detector is None else _detector(detector, source, machine),
        labels=None if labels is None else Path(labels),
        source=source,
        teaching=teaching,
        device=machine.device,
    )


def _classifier(given: Any, source: DetectionSource, teaching: Teaching, machine: Machine) -> ClassifierTeacher:
    model: Any = given if isinstance(given, nn.Module) else load_model(Path(given))
    facts = getattr(model, "limbeck_data", None) or data_config(model)
    if facts is None:
        raise ModelError(
            "classifier: nothing says how its input is normalised. Train it with limbeck.train, or set its "
            "`limbeck_data` to a limbeck.models.DataConfig."
        )
    return ClassifierTeacher(model.to(machine.device), facts, source.class_names, crop_size=teaching.crop_size)


def _detector(given: Any, source: DetectionSource, machine: Machine) -> nn.Module:
    if isinstance(given, nn.Module):
        return require_detector(given, source, what="detector").to(machine.device)
    return known_detector(Path(given), source, machine.device, what=str(given))


def _run_name(model: Any, method: Any, seed: int) -> str:
    spec = getattr(model, "limbeck_spec", None)
    named = model if isinstance(model, str) else (spec or model if isinstance(model, Mapping) else {})
    name = named if isinstance(named, str) else str(dict(named or {}).get("name", type(model).__name__))
    how = method if isinstance(method, str) else "distilled" if method is None else "terms"
    return f"{name.replace('/', '-')}-{how}-s{seed}"


def _named(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, str | Path):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    spec = getattr(value, "limbeck_spec", None)
    return spec if spec is not None else f"python object {type(value).__qualname__}"
