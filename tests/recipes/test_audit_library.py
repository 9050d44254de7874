"""Recipes of audits: each runs on digits, and every published cell finds its number in what is left behind."""

from __future__ import annotations

import json
import runpy

import pytest

from limbeck.recipes import catalogue, published
from limbeck.recipes.reproduction import reproduce
from limbeck.recipes.runner import run_recipe
from limbeck.recipes.schema import load_recipe, load_variants
from limbeck.runs import RunFolder

NAMES = [name for name in catalogue.names() if name.startswith("audit/")]
TABLES = [name for name in published.names() if name.startswith("audit/")]
CELLS = [cell for name in TABLES for cell in published.find(name)[0].cells]
QUICK = {("audit/shape", "low"), ("audit/imagenet-crops", "shifts"), ("audit/fairface", None)}
RUNS = [
    pytest.param(name, variant, marks=[] if (name, variant) in QUICK else pytest.mark.slow)
    for name in NAMES
    for variant in (catalogue.variants(name) or [None])
]


def smoke_run(name, variant, place):
    recipe = load_recipe(catalogue.read(name)[1], name=name, variant=variant, smoke=True)
    return run_recipe(recipe, place, command=["test"], device="cpu")


def test_there_is_one_for_every_experiment():
    assert {
        "audit/cifar10-colour", "audit/mnist-domains", "audit/pacs-domains", "audit/crops", "audit/bias",
        "audit/fairface", "audit/shape", "audit/self-distillation", "audit/small-set", "audit/detectors",
        "audit/cifar100", "audit/imagenet-resnet50-resnet18", "audit/imagenet-vgg19-vgg11",
        "audit/imagenet-vgg19-resnet18", "audit/imagenet-vit-resnet18", "audit/imagenet-swin",
        "audit/imagenet-colour", "audit/imagenet-crops",
    } == set(NAMES)  # fmt: skip


@pytest.mark.parametrize(("name", "variant"), RUNS)
def test_it_runs_on_digits_and_has_every_published_number(name, variant, tmp_path):
    run = smoke_run(name, variant, tmp_path / "run")
    assert all(stage.finished for stage in run.stages())
    for cell in CELLS:
        if (cell.recipe, cell.variant) == (name, variant):
            found = run.stage(cell.stage).result()["by_method"]
            assert cell.number in found, cell
            assert cell.method in found[cell.number]["of"], cell


@pytest.mark.parametrize("name", NAMES)
def test_it_ends_with_an_audit_and_its_smoke_run_needs_no_file_and_no_weights(name):
    for recipe in load_variants(catalogue.read(name)[1], name=name, smoke=True).values():
        *_, last = recipe.stages.values()
        assert last.kind in ("audit.compare", "audit.detectors")
        for config in recipe.stages.values():
            text = json.dumps(config.model_dump(mode="json"))
            assert '"root"' not in text
            assert '"pretrained": true' not in text
            train = getattr(config, "train", None)
            assert train is None or (train.steps, train.workers) == (2, 0)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("audit/detectors", "audit/small-set")])
def test_controls_have_the_seeds_of_the_students_and_three_of_them(name):
    for recipe in load_variants(catalogue.read(name)[1], name=name).values():
        compared = [config for config in recipe.stages.values() if config.kind == "classify.compare"]
        assert all(config.seeds == (0, 1, 2) for config in compared)
        assert len({tuple(config.methods) for config in compared}) == 1  # a placebo student for each student


def test_a_pair_has_the_weights_of_the_paper():
    name = "audit/imagenet-resnet50-resnet18"
    students = load_recipe(catalogue.read(name)[1], name=name).stages["students"]
    weights = {method: [term.weight for term in one.terms] for method, one in students.methods.items()}
    # The paper's hint is half of the squared difference.
    assert weights == {"kd": [0.5, 0.5], "hint": [1, 2.5], "crd": [1, 0.8]}
    assert students.methods["kd"].terms[1].loss.settings == {"temperature": 4}
    assert (students.train.epochs, students.train.batch_size) == (100, 256)


def test_digits_have_the_weights_of_the_paper():
    students = load_recipe(catalogue.read("audit/mnist-domains")[1], name="audit/mnist-domains").stages["students"]
    labels, taught = students.methods["kd"].terms
    assert (labels.weight, taught.weight, taught.loss.settings["temperature"]) == (0.1, 0.9, 8)
    contrast = students.methods["crd"].terms[1]
    assert contrast.weight == 0.1
    assert {"temperature": 0.1, "negatives": 32}.items() <= contrast.loss.settings.items()


def test_no_student_learns_the_transform_that_is_asked_about():
    for name, kind in (("audit/cifar10-colour", "colour_jitter"), ("audit/crops", "random_resized_crop")):
        stages = load_recipe(catalogue.read(name)[1], name=name).stages
        learns = {stage: [a.name for a in one.train.augment] for stage, one in stages.items() if stage != "audit"}
        assert [stage for stage, augment in learns.items() if kind in augment] == ["teacher"]


def test_the_tables_hold_what_was_published():
    def cells(name):
        return {(c.row, c.column): c for c in published.find(f"audit/{name}")[0].cells}

    assert cells("accuracy")["KL", "stylised, high"].reported == 61.45
    found = cells("adversarial")["Hint", "VGG-19 to VGG-11"]
    assert (found.reported, found.spread, found.number, found.method) == (
        79.78,
        0.08,
        "adversarial.fooled",
        "hint",
    )
    assert cells("adversarial-cifar100")["CRD", "VGG-13 to VGG-8"].reported == 54.68
    assert cells("colour-strength")["KL", "ResNet-50, 0.4"].number == "colour.agreement"
    assert cells("colour-strength")["CRD", "Swin-T, 0.6"].reported == 42.00
    assert cells("crops")["KL", "0.6 of the area"].reported == 76.79
    assert cells("mnist")["Ind", "colour"].spread == 2.32
    assert cells("boundaries")["Hint", "colour"].reported == 79.80
    assert cells("unseen")["CRD", "VGG-19, silhouette"].reported == 37.81
    assert cells("domains")["KL", "VLCS, Caltech-101"].reported == 71.83
    assert all(not cell.verified for cell in CELLS if "figure" in cell.source)


def test_the_files_in_the_library_are_what_their_source_says(root):
    files = runpy.run_path(str(root / "schemas" / "audit_library.py"))["files"]()
    assert len(files) == 10
    for name, text in files.items():
        there = (catalogue.LIBRARY / name).read_text(encoding="utf-8")
        assert there == text, "run: python schemas/audit_library.py"


@pytest.fixture
def audited(tmp_path):
    """Write the folder of a finished run of the digits, with numbers that nothing measured."""

    def written(place, *overrides, seen):
        name = "audit/mnist-domains"
        text = catalogue.read(name)[1]
        recipe = load_recipe(text, name=name, overrides=overrides)
        run = RunFolder.create(tmp_path / place, recipe_text=text, resolved=recipe.resolved, provenance={})
        for stage in recipe.stages:
            run.stage(stage).begin(recipe.stage_config(stage))
            entry = {"unit": "fraction", "of": {"kd": seen}}
            run.stage(stage).write_result({"kind": "audit", "by_method": {"domains.accuracy_colour": entry}})
        return run

    return written


def reproduced(*runs):
    table, file = published.find("audit/mnist")
    return {(c.cell.row, c.cell.column): c for c in reproduce(table, file, runs)}


def test_a_cell_of_an_audit_is_the_mean_over_the_students_of_its_method(audited):
    found = reproduced(audited("run", seen={"kd-s0": 0.90, "kd-s1": 0.94}))
    assert found["KL", "colour"].mean == pytest.approx(92)
    assert found["KL", "colour"].difference == pytest.approx(92 - 91.76)
    assert found["Hint", "colour"].mean is None  # nothing of this method
    assert found["KL", "original"].mean is None  # nothing of this number


def test_an_undefined_number_stays_empty(audited):
    assert reproduced(audited("run", seen={"kd-s0": 0.90, "kd-s1": None}))["KL", "colour"].mean is None


def test_where_the_images_of_a_domain_lie_does_not_matter_and_how_many_there_are_does(audited):
    moved = audited("moved", "audit.domains.colour.of.root=elsewhere", seen={"kd-s0": 0.9})
    fewer = audited("fewer", "students.source.limit=100", seen={"kd-s0": 0.9})
    parts = audited("parts", "teacher.source.of.1.of.limit=100", seen={"kd-s0": 0.9})
    assert reproduced(moved)["KL", "colour"].mean == pytest.approx(90)
    assert reproduced(fewer)["KL", "colour"].mean is None
    (line,) = reproduced(parts)["KL", "colour"].left_out[0].changes
    assert "limit" in line
