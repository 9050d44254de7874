"""The library's recipes for published pairs and their tables, written out from one place.

`python schemas/library.py` writes `src/limbeck/recipes/library/{cifar100,imagenet,coco}/`. Recipes have no
anchors, so what twenty of them share stands here once: schedules, objectives by method, what depends on the pair.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.classify.methods import METHODS
from limbeck.models.cifar.stages import stage_taps

sys.path.insert(0, str(Path(__file__).parent))
import library_tables as tables

LIBRARY = Path(__file__).parents[1] / "src" / "limbeck" / "recipes" / "library"
WIDTH = 115
NESTEROV = {"train": {"optimizer": {"nesterov": True}}}
TITLES = {
    "mobilenet_v2_half": "MobileNetV2",
    "shufflenet_v1": "ShuffleNetV1",
    "shufflenet_v2": "ShuffleNetV2",
    "resnet50_cifar": "ResNet-50",
    "vgg8": "VGG-8",
    "vgg13": "VGG-13",
    "wrn_16_2": "WRN-16-2",
    "wrn_40_1": "WRN-40-1",
    "wrn_40_2": "WRN-40-2",
}


def title_of(model: str) -> str:
    """A model's name as people write it."""
    return TITLES.get(model) or model.replace("resnet", "ResNet-")


# --- objectives


def preset(name: str, **changes: Mapping[str, Any]) -> dict[str, Any]:
    """A method's terms with other values: the name of a loss -> what is laid over its term."""
    method = METHODS[name]
    terms = [_plain(term) for term in method["terms"]]
    for loss, values in changes.items():
        for term in terms:
            if term["loss"]["name"] == loss:
                _merge(term, values)
    return {"terms": terms, **{key: _plain(value) for key, value in method.items() if key != "terms"}}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _merge(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for key, value in above.items():
        if isinstance(value, Mapping) and isinstance(below.get(key), dict):
            _merge(below[key], value)
        elif value is None:
            below.pop(key, None)
        else:
            below[key] = value


def halving(weight: float, stages: int) -> list[float]:
    """Weights of stages, the last one whole and each one before it half of the next."""
    return [weight * 2.0 ** (stage + 1 - stages) for stage in range(stages)]


CROSS_ENTROPY = {"loss": {"name": "cross_entropy"}}


def wkd(
    *,
    logit: tuple[float, float] | None = None,
    feature: tuple[float, float] | None = None,
    grid: int = 1,
    projector: str = "conv",
    reads: Mapping[str, Any] | None = None,
    cost: Mapping[str, Any],
    start: float,
) -> dict[str, Any]:
    """WKD-L with (weight, temperature), WKD-F with (weight, weight of the means) and its taps, or both."""
    terms: list[dict[str, Any]] = [CROSS_ENTROPY]
    decay = {"start": start}
    if logit is not None:
        loss = {"name": "wkd_transport", "temperature": logit[1]}
        terms.append({"loss": {"name": "wkd_target"}})
        terms.append({"loss": loss, "weight": logit[0], "cost": dict(cost), "decay": decay})
    if feature is not None:
        loss = {"name": "wkd_feature", "mean_weight": feature[1], "grid": grid}
        term = {"loss": loss, "weight": feature[0], **(reads or {}), "projector": {"name": projector}}
        terms.append({**term, "decay": decay})
    return {"terms": terms, **NESTEROV}


# --- CIFAR-100


@dataclass(frozen=True)
class Pair:
    """A teacher, a student, and what the authors of methods set for them.

    Attributes:
        teacher: model.
        student: model.
        beta: of DKD.
        review: weight of ReviewKD; None where none was published.
        extra: variants that only this pair has.
    """

    teacher: str
    student: str
    beta: float = 8.0
    review: float | None = None
    extra: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the recipe."""
        return f"{self.teacher}-{self.student}".replace("_cifar", "").replace("_half", "")

    @property
    def stages(self) -> int:
        """Pairs of stages that both networks have."""
        return min(len(stage_taps(self.teacher)), len(stage_taps(self.student)))

    def taps(self, stage: int) -> dict[str, str]:
        """Where both networks are read at the end of a stage, as the authors count them."""
        return {
            "student": stage_taps(self.student)[stage].output,
            "teacher": stage_taps(self.teacher)[stage].output,
        }

    @property
    def last(self) -> dict[str, Any]:
        """What a term that reads the last stage has to say: nothing where that is the network's last map."""
        behind = ("wrn", "mobilenet", "shufflenet_v2")  # something follows the last stage
        differs = self.teacher.startswith(behind) or self.student.startswith(behind)
        return {"taps": self.taps(-1)} if differs else {}

    @property
    def light(self) -> bool:
        """Whether the student takes the small learning rate."""
        return self.student.startswith(("mobilenet", "shufflenet"))


PAIRS = (
    Pair("wrn_40_2", "wrn_16_2", beta=6.0, review=5.0),
    Pair("wrn_40_2", "wrn_40_1", beta=6.0, review=5.0),
    Pair("resnet56", "resnet20", beta=2.0, review=0.6),
    Pair("resnet110", "resnet20", beta=2.0),
    Pair("resnet110", "resnet32", beta=2.0, review=1.0),
    Pair(
        "resnet32x4",
        "resnet8x4",
        review=5.0,
        extra={f"simkd_f{factor}": {"terms": "simkd", "head": {"factor": factor}} for factor in (4, 8)},
    ),
    Pair("vgg13", "vgg8", beta=6.0),
    Pair("vgg13", "mobilenet_v2_half", beta=6.0),
    Pair("resnet50_cifar", "mobilenet_v2_half"),
    Pair("resnet50_cifar", "vgg8"),
    Pair("resnet32x4", "shufflenet_v1", review=5.0),
    Pair("resnet32x4", "shufflenet_v2", review=8.0),
    Pair("wrn_40_2", "shufflenet_v1", review=5.0),
)
CIFAR_METHODS = (
    *("control", "kd", "hint", "at", "nst", "sp", "cc", "vid", "rkd", "pkt", "crd", "ofd", "reviewkd", "ickd"),
    *(
        "ickd_kd",
        "dkd",
        "dist",
        "kd_ls",
        "dkd_ls",
        "mld",
        "mld_ls",
        "simkd",
        "nkd",
        "wkd_l",
        "wkd_f",
        "wkd",
        "pefd",
    ),
)
CKA = {"name": "cka", "rows": 32000}


def cifar_variants(pair: Pair) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every method's objective for a pair, as values over the student's stage."""
    halved = {"train": {"optimizer": {"lr": 0.005 if pair.light else 0.025}}}
    beta = pair.beta
    cost = {**CKA, **({"tap": "layer3"} if pair.teacher.startswith("wrn") else {})}
    shuffle = pair.name == "wrn_40_2-shufflenet_v1"
    wkd_f = {"grid": 4 if shuffle else 1, "reads": pair.last}
    own: dict[str, Any] = {
        "hint": lambda: preset("hint", hint={"taps": pair.taps(1)}),
        **{name: (lambda name=name: preset(name, **{name[:4]: pair.last})) for name in ("sp", "ickd", "ickd_kd")},
        "dkd": lambda: preset("dkd", dkd={"loss": {"beta": beta}}),
        "dkd_ls": lambda: preset("dkd_ls", dkd={"loss": {"alpha": 9.0, "beta": 9 * beta}}),
        "ofd": lambda: preset("ofd", ofd={"weight": halving(1e-3, pair.stages)}),
        "reviewkd": lambda: preset("reviewkd", reviewkd={} if pair.review is None else {"weight": pair.review}),
        "nkd": lambda: preset("nkd", nkd={"loss": {"gamma": 3.5, "temperature": 3.0}}),
        "mld": lambda: {"terms": "mld", **halved},
        # The published runs of this row are twice as long, with the same milestones.
        "mld_ls": lambda: {"terms": "mld_ls", "train": {"epochs": 480, **halved["train"]}},
        "wkd_l": lambda: wkd(logit=(200.0, 6.0) if shuffle else (600.0, 8.0), cost=cost, start=0.625),
        "wkd_f": lambda: wkd(feature=(0.3, 3.0) if shuffle else (0.08, 4.0), cost=cost, start=0.625, **wkd_f),
        "wkd": lambda: wkd(
            logit=(60.0, 4.0) if shuffle else (200.0, 8.0),
            feature=(0.5, 3.0) if shuffle else (0.08, 8.0),
            cost=cost,
            start=0.625,
            **wkd_f,
        ),
    }
    for name in CIFAR_METHODS:
        if name in METHODS:
            values = own[name]() if name in own else {"terms": name}
            yield name, {"terms": name} if values == preset(name) else values
    yield from pair.extra.items()


def cifar_recipe(pair: Pair) -> str:
    """One file of the library."""
    name = f"cifar100/{pair.name}"
    teacher, student = title_of(pair.teacher), title_of(pair.student)
    variants = dict(cifar_variants(pair))
    table = next(key for key in ("homogeneous", "heterogeneous") if pair.name in tables.columns_of(key))
    remarks = []
    if pair.review is None:
        remarks.append("ReviewKD has no published weight for this pair; it takes that of another.")
    if pair.name not in ("resnet32x4-resnet8x4", "wrn_40_2-shufflenet_v1"):
        remarks.append("WKD has no published weights for this pair; it takes those of ResNet-32x4 to ResNet-8x4.")
    lr = 0.01 if pair.light else 0.05
    # After two steps the running statistics of 110 layers still let activations grow without bound.
    shallow = ["model: resnet56"] if pair.teacher == "resnet110" else []
    optimizer = "{{name: sgd, lr: {}, momentum: 0.9, weight_decay: 5e-4}}"
    schedule = "{name: multi_step, milestones: [150, 180, 210], factor: 0.1}"
    smoke = "{name: digits, per_class: 2, size: 32}"
    lines = [
        f"# What it does: a {teacher} learns CIFAR-100 from its labels, then teaches a {student} by any of the",
        "#   published methods below, each with its authors' settings for this pair where there are some.",
        *(f"#   {remark}" for remark in remarks),
        f"# Run:    limbeck run {name} --variant dkd --reuse runs/cifar100",
        "#         (--reuse lets all students share one teacher. The images are fetched into ./data; from Parquet",
        "#         files in a folder DIR:",
        '#         --set "teacher.source={name: parquet, root: DIR}"',
        '#         --set "student.source={name: parquet, root: DIR}")',
        "# Cost:   240 epochs for the teacher and for each student; what that means here is said by",
        f"#         limbeck plan {name}",
        f"# Expect: limbeck table cifar100/{table}",
        "# Written by schemas/library.py.",
        f"title: {teacher} teaches {student} on CIFAR-100",
        "seed: 0",
        "stages:",
        "  teacher:",
        "    kind: classify.train",
        "    source: {name: torchvision/cifar100, root: data, download: true}",
        f"    model: {pair.teacher}",
        "    train:",
        "      epochs: 240",
        "      batch_size: 64",
        f"      optimizer: {optimizer.format(0.05)}",
        f"      schedule: {schedule}",
        "      augment: [{name: crop, padding: 4}, {name: flip}]",
        "      evaluate_every: 10",
        "    seed: 0",
        "  student:",
        "    kind: classify.distill",
        "    teacher: teacher",
        "    source: {name: torchvision/cifar100, root: data, download: true}",
        f"    model: {pair.student}",
        "    terms: kd",
        "    train:",
        "      epochs: 240",
        "      batch_size: 64",
        f"      optimizer: {optimizer.format(lr)}",
        f"      schedule: {schedule}",
        "      augment: [{name: crop, padding: 4}, {name: flip}]",
        "      evaluate_every: 10",
        "variants:",
        *(line for method, values in variants.items() for line in _variant(method, values)),
        "smoke:",
        *_smoke("teacher", smoke, *shallow),
        *_smoke("student", smoke),
    ]
    return "\n".join(lines) + "\n"


def _smoke(stage: str, source: str, *more: str) -> list[str]:
    return [
        f"  {stage}:",
        *(f"    {line}" for line in more),
        f"    source: {source}",
        f"    test_source: {source}",
        "    train: {steps: 2, batch_size: 10, workers: 0}",
    ]


# --- ImageNet


@dataclass(frozen=True)
class ImagePair:
    """A pretrained teacher and a student on ImageNet, with the methods that have a published number for them.

    Attributes:
        name: of the recipe.
        teacher: model with weights.
        student: model.
        titles: of both, as people write them.
        variants: values over the student's stage by method.
        table: where its numbers stand.
    """

    name: str
    teacher: str
    student: str
    titles: tuple[str, str]
    variants: Mapping[str, Mapping[str, Any]]
    table: str = "main"


IMAGENET_KD = {
    "terms": [{**CROSS_ENTROPY, "weight": 0.5}, {"loss": {"name": "kd", "temperature": 1.0}, "weight": 0.5}]
}
LARGE_BATCH = {"train": {"batch_size": 512, "optimizer": {"lr": 0.2}}}


def imagenet_variants(*, beta: float, review: float, wkd_settings: Mapping[str, Any]) -> dict[str, Any]:
    """Every method with a published ImageNet number."""
    short = {"warmup": {"epochs": 1}}
    own = {
        "control": lambda: {"terms": "control"},
        "kd": lambda: IMAGENET_KD,
        "crd": lambda: {"terms": "crd"},
        "ofd": lambda: preset("ofd", ofd={"weight": halving(1e-4, 4)}),
        "reviewkd": lambda: preset("reviewkd", reviewkd={"weight": review, **short}),
        "ickd": lambda: {"terms": "ickd"},
        "dkd": lambda: {
            **preset("dkd", dkd={"loss": {"alpha": 1.0, "beta": beta, "temperature": 1.0}, **short}),
            **LARGE_BATCH,
        },
        "nkd": lambda: preset("nkd", nkd={"loss": {"gamma": 1.5, "temperature": 1.0}}),
        "dist": lambda: preset("dist", dist={"loss": {"temperature": 1.0}}),
        "kd_ls": lambda: preset("kd_ls", cross_entropy={"weight": 1.0}),
        "mld": lambda: {"terms": "mld"},
        "pefd": lambda: {"terms": "pefd"},
        **{name: (lambda values=values: values) for name, values in wkd_settings.items()},
    }
    return {name: make() for name, make in own.items() if name in METHODS}


def imagenet_wkd(
    kappa: float, logit: Sequence[Any], feature: Sequence[Any], both: Sequence[Any]
) -> dict[str, Any]:
    """WKD's three settings on ImageNet: weights, and where the decay of WKD-F begins."""
    shared = {
        "cost": {"name": "cka", "tap": "", "rows": 732, "kappa": kappa},
        "grid": 4,
        "projector": "bottleneck",
    }
    return {
        "wkd_l": wkd(logit=(logit[0], 2.0), start=0.0, **shared),
        "wkd_f": wkd(feature=(feature[0], 2.0), start=feature[1], **shared),
        "wkd": wkd(logit=(both[0], 2.0), feature=(both[1], 2.0), start=0.0, **shared),
    }


def dist_variants() -> dict[str, Any]:
    """What DIST's authors report for other teachers."""
    warm = [{**CROSS_ENTROPY, "weight": 0.5}, {"loss": {"name": "kd", "temperature": 4.0}, "weight": 0.5}]
    found = {"control": {"terms": "control"}, "kd": {"terms": warm}}
    if "dist" in METHODS:
        found["dist"] = preset("dist", dist={"loss": {"temperature": 1.0}})
    return found


_R18, _R34, _MV1 = "timm/resnet18", "timm/resnet34", "timm/mobilenetv1_100"
IMAGE_PAIRS = (
    ImagePair(
        "resnet34-resnet18",
        "timm/resnet34.tv_in1k",
        _R18,
        ("ResNet-34", "ResNet-18"),
        imagenet_variants(beta=0.5, review=1.0, wkd_settings=imagenet_wkd(1.0, (30.0,), (0.02, 0.0), (10.0, 1.0))),
    ),
    ImagePair(
        "resnet50-mobilenetv1",
        "timm/resnet50.tv_in1k",
        _MV1,
        ("ResNet-50", "MobileNetV1"),
        imagenet_variants(
            beta=2.0, review=8.0, wkd_settings=imagenet_wkd(2.0, (25.0,), (0.005, 0.3), (25.0, 0.005))
        ),
    ),
    ImagePair(
        "densenet201-resnet18",
        "timm/densenet201.tv_in1k",
        _R18,
        ("DenseNet-201", "ResNet-18"),
        {name: {"terms": name} for name in ("control", "pefd")} | {"kd": IMAGENET_KD},
        "",
    ),
    *(
        ImagePair(
            f"resnet{depth}-resnet{small}",
            f"timm/resnet{depth}.tv_in1k",
            student,
            (f"ResNet-{depth}", f"ResNet-{small}"),
            dist_variants(),
            "dist-teachers",
        )
        for small, student in ((18, _R18), (34, _R34))
        for depth in (50, 101, 152)
    ),
)


def imagenet_recipe(pair: ImagePair) -> str:
    """One file of the library."""
    name = f"imagenet/{pair.name}"
    teacher, student = pair.titles
    # Networks with as many stages as the recipe's terms expect, on images that give their last maps 5 x 5 pixels.
    real = pair.table == "main"
    smoke = "{name: digits, per_class: 2, size: 160}" if real else "{name: digits, per_class: 2, size: 32}"
    taught = pair.teacher.partition(".")[0] if real else "resnet8"
    expect = f"limbeck table imagenet/{pair.table}" if pair.table else "no number of this pair is in the tables."
    lines = [
        f"# What it does: a {teacher} with torchvision's first weights teaches a {student} on ImageNet, by the",
        "#   published methods below, each with its authors' settings where there are some.",
        f"# Run:    limbeck run {name} --variant {list(pair.variants)[-1]} --set student.source.root=DIR",
        "#         (DIR holds train/ and val/ with one folder a class)",
        "# Cost:   100 epochs of 1.28 million images; what that means here is said by",
        f"#         limbeck plan {name} --set student.source.root=DIR",
        f"# Expect: {expect}",
        "# Written by schemas/library.py.",
        f"title: {teacher} teaches {student} on ImageNet",
        "seed: 0",
        "stages:",
        "  student:",
        "    kind: classify.distill",
        f"    teacher: {{name: {pair.teacher}, pretrained: true}}",
        f"    source: {IMAGENET_SOURCE}",
        f"    model: {pair.student}",
        "    terms: kd" if "kd" not in pair.variants else "    terms:",
        *_terms(pair.variants["kd"]["terms"], 6),
        "    train:",
        "      epochs: 100",
        "      batch_size: 256",
        "      optimizer: {name: sgd, lr: 0.1, momentum: 0.9, weight_decay: 1e-4}",
        "      schedule: {name: multi_step, milestones: [30, 60, 90], factor: 0.1}",
        "      augment: [{name: flip}]",
        "      workers: 8",
        "variants:",
        *(line for method, values in pair.variants.items() for line in _variant(method, values)),
        "smoke:",
        *_smoke("teacher", smoke, "kind: classify.train", f"model: {taught}"),
        *_smoke("student", smoke, "teacher: teacher", *([] if real else ["model: resnet8"])),
    ]
    return "\n".join(lines) + "\n"


# A random part of 8 to 100 % of the area to train on, the middle of images of 256 pixels to test on.
IMAGENET_SOURCE = "{name: folder, root: imagenet, size: 224, channels: 3, random_crop: 0.08, crop_share: 0.875}"


# --- YAML


def _variant(name: str, values: Mapping[str, Any]) -> Iterator[str]:
    short = f"  {name}: {flow({'student': values})}"
    if isinstance(values["terms"], str) and len(short) <= WIDTH:
        yield short
        return
    yield f"  {name}:"
    yield "    student:"
    for key, value in values.items():
        if key == "terms" and not isinstance(value, str):
            yield "      terms:"
            yield from _terms(value, 8)
        elif key == "views":
            yield "      views:"
            for view, augment in value.items():
                yield f"        {view}: {flow(augment)}"
        else:
            yield f"      {key}: {flow(value)}"


def _terms(terms: Sequence[Mapping[str, Any]], indent: int) -> Iterator[str]:
    for term in terms:
        line = f"{' ' * indent}- {flow(_short(term))}"
        if len(line) <= WIDTH:
            yield line
            continue
        for number, (key, value) in enumerate(_short(term).items()):
            yield f"{' ' * indent}{'- ' if number == 0 else '  '}{key}: {flow(value)}"


def _short(term: Mapping[str, Any]) -> dict[str, Any]:
    """Components without settings by their name alone."""
    return {
        key: value["name"] if isinstance(value, Mapping) and list(value) == ["name"] else value
        for key, value in term.items()
    }


def flow(value: Any) -> str:
    """A value as YAML on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(flow(item) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, int | float):
        return (
            f"{value:.10g}"
            if isinstance(value, int) or value == int(value) or abs(value) >= 1e-4
            else f"{value:g}"
        )
    return tables.quoted(str(value))


def files() -> dict[Path, str]:
    """Every file of the library that is written from here, with its text."""
    found = {LIBRARY / "cifar100" / f"{pair.name}.yaml": cifar_recipe(pair) for pair in PAIRS}
    found |= {LIBRARY / "imagenet" / f"{pair.name}.yaml": imagenet_recipe(pair) for pair in IMAGE_PAIRS}
    cifar = {pair.name: {name for name, _ in cifar_variants(pair)} for pair in PAIRS}
    image = {pair.name: set(pair.variants) for pair in IMAGE_PAIRS}
    found |= {LIBRARY / folder / "tables.yaml": text for folder, text in tables.texts(cifar, image).items()}
    return found


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
