"""Shipped recipes: each reads, says what it is, and runs with its smoke overlay."""

from __future__ import annotations

import pytest

from limbeck.recipes import catalogue
from limbeck.recipes.runner import run_recipe
from limbeck.recipes.schema import load_recipe, load_variants

NAMES = catalogue.names()
SMALL = [name for name in NAMES if name.startswith(("small_sets/", "soft_labels/"))]
"""Recipes of data-set distillation, whose stages count epochs and iterations instead of steps."""
FLOWS = [name for name in NAMES if name.startswith("flow/")]
DETECTORS = [name for name in NAMES if name.startswith("detect/")]
AUDITS = [name for name in NAMES if name.startswith("audit/")]
"""Run in `test_audit_library.py`."""
CLASSIFIERS = [name for name in NAMES if name not in SMALL + FLOWS + DETECTORS + AUDITS]
PAIR = "cifar100/resnet56-resnet20"
LATER: set[str] = set()
"""Methods without a number in the published tables."""


def test_there_are_enough_of_them():
    assert len(NAMES) >= 2
    assert {"demo/digits", "cifar10/methods", PAIR, "imagenet/resnet34-resnet18"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_what_it_does_how_to_run_it_and_what_to_expect(name):
    text = catalogue.read(name)[1]
    for word in ("# What it does:", "# Run:", "# Cost:", "# Expect:"):
        assert word in text
    assert catalogue.summary(name) == load_recipe(text, name=name).title
    assert "smoke:" in text


@pytest.mark.parametrize("smoke", [False, True], ids=["as it stands", "smoke"])
@pytest.mark.parametrize("name", NAMES)
def test_every_variant_reads(name, smoke):
    found = load_variants(catalogue.read(name)[1], name=name, smoke=smoke)
    assert list(found) == [None, *catalogue.variants(name)]
    if smoke:
        for recipe in found.values():
            for config in recipe.stages.values():
                source = getattr(config, "source", None)
                if name not in DETECTORS + AUDITS:
                    assert source.name == "digits" if source is not None else name in FLOWS
                if name in CLASSIFIERS and config.kind != "audit.compare":
                    assert (config.train.steps, config.train.workers) == (2, 0)
                assert not any(isinstance(part, dict) and part.get("pretrained") for part in _values(config))


def _values(config):
    return config.model_dump(mode="json").values()


def test_every_published_method_has_a_variant():
    from limbeck.classify.methods import METHODS

    assert set(METHODS) - set(catalogue.variants(PAIR)) <= LATER


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "variant"),
    [
        (PAIR, "wkd"),
        (PAIR, "reviewkd"),
        (PAIR, "simkd"),
        (PAIR, "mld_ls"),
        ("cifar100/vgg13-mobilenet_v2", "ofd"),
        ("cifar100/wrn_40_2-shufflenet_v1", "wkd_f"),
        ("imagenet/resnet34-resnet18", "dkd"),
    ],
)
def test_a_variant_runs_in_two_steps(name, variant, tmp_path):
    recipe = load_recipe(catalogue.read(name)[1], name=name, variant=variant, smoke=True)
    run = run_recipe(recipe, tmp_path / "run", command=["test"], device="cpu")
    assert all(stage.finished for stage in run.stages())
    assert run.provenance["variant"] == run.resolved["variant"] == variant


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("small_sets/cifar10-10", "mtt"),
        ("small_sets/cifar100-10", "seqmatch"),
        ("small_sets/tiny_imagenet-1", "dm"),
        ("soft_labels/cifar10-1", None),
    ],
)
def test_a_small_set_is_made_from_digits_in_seconds(name, variant, tmp_path):
    recipe = load_recipe(catalogue.read(name)[1], name=name, variant=variant, smoke=True)
    run = run_recipe(recipe, tmp_path / "run", command=["test"], device="cpu")
    assert all(stage.finished for stage in run.stages())
    assert 0 <= run.stage("look").result()["numbers"]["accuracy"]["value"] <= 1


@pytest.mark.parametrize("name", FLOWS)
def test_a_smoke_run_of_flows_needs_no_file(name):
    for recipe in load_variants(catalogue.read(name)[1], name=name, smoke=True).values():
        for config in recipe.stages.values():
            values = config.model_dump(mode="json")
            assert config.kind != "flow.teacher"
            assert (values.get("distance") or {}).get("name") != "lpips_vgg"
            assert (values.get("scoring") or {}).get("inception_weights") is None
            if "train" in values:
                assert values["train"]["steps"] <= 100


def test_the_paper_recipe_of_cifar10_has_its_hyper_parameters():
    recipe = load_recipe(catalogue.read("flow/cifar10")[1], name="flow/cifar10")
    pairs, student, tuned = (recipe.stages[name] for name in ("pairs", "student", "tuned"))
    assert (pairs.count, pairs.evaluations, pairs.solver.name) == (1_000_000, 35, "sigma_heun")
    assert (student.train.steps, student.train.batch_size, student.train.warmup_steps) == (800_000, 512, 5000)
    assert (student.train.ema, student.train.ema_warm_up, student.dropout) == ((0.9999,), False, 0.13)
    assert (tuned.begin, tuned.real_share, tuned.train.steps) == ("student", 1, 5000)
    assert tuned.train.optimizer.settings["lr"] == 1e-5


@pytest.mark.parametrize(("name", "variant"), [("flow/cifar10", "ve"), ("flow/points", None)])
def test_a_flow_is_distilled_from_digits_or_points_in_seconds(name, variant, tmp_path):
    recipe = load_recipe(catalogue.read(name)[1], name=name, variant=variant, smoke=True)
    run = run_recipe(recipe, tmp_path / "run", command=["test"], device="cpu")
    assert all(stage.finished for stage in run.stages())


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOWS)
def test_every_variant_of_flows_runs_in_two_steps(name, tmp_path):
    for variant, recipe in load_variants(catalogue.read(name)[1], name=name, smoke=True).items():
        run = run_recipe(recipe, tmp_path / str(variant), command=["test"], device="cpu")
        assert all(stage.finished for stage in run.stages())


@pytest.mark.parametrize("name", DETECTORS)
def test_a_smoke_run_of_detectors_makes_its_scenes(name):
    for recipe in load_variants(catalogue.read(name)[1], name=name, smoke=True).values():
        for config in recipe.stages.values():
            source = config.source.settings["of"] if config.source.name == "object_crops" else config.source
            found = source["name"] if isinstance(source, dict) else source.name
            assert found == "digit_scenes"
            values = config.model_dump(mode="json")
            assert not (values.get("model") or {}).get("pretrained_backbone")
            if "train" in values:
                assert (values["train"]["steps"], values["train"]["workers"]) == (2, 0)


def test_the_paper_recipe_of_ssd_has_its_hyper_parameters():
    recipe = load_recipe(catalogue.read("detect/ssd300-vgg16")[1], name="detect/ssd300-vgg16", variant="all")
    student, train = recipe.stages["student"], recipe.stages["student"].train
    assert [(term.loss.name, term.weight) for term in student.terms] == [
        ("kd_cls", 0.4),
        ("kd_loc_pixels", 0.15),
        ("kd_loc_features", 0.15),
    ]
    assert recipe.stages["classifier"].source.settings["size"] == 112
    assert (train.epochs, train.batch_size, train.schedule.settings["milestones"]) == (120, 64, (80, 110))
    assert {"lr": 2e-3, "momentum": 0.9, "weight_decay": 5e-4}.items() <= train.optimizer.settings.items()
    assert student.teaching.max_positives is None


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("detect/ssd300-vgg16", "all"),
        ("detect/faster_rcnn-r50", "dicod_fkd"),
        ("detect/distributions-r50", "ld"),
        ("detect/digit-scenes", None),
    ],
)
def test_a_detector_is_taught_on_digit_scenes_in_seconds(name, variant, tmp_path):
    recipe = load_recipe(catalogue.read(name)[1], name=name, variant=variant, smoke=True)
    run = run_recipe(recipe, tmp_path / "run", command=["test"], device="cpu")
    assert all(stage.finished for stage in run.stages())


@pytest.mark.slow
@pytest.mark.parametrize("name", DETECTORS)
def test_every_variant_of_detectors_runs_in_two_steps(name, tmp_path):
    for variant, recipe in load_variants(catalogue.read(name)[1], name=name, smoke=True).items():
        run = run_recipe(recipe, tmp_path / str(variant), command=["test"], device="cpu")
        assert all(stage.finished for stage in run.stages())


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_recipe_runs_in_two_steps(name, tmp_path):
    smoke = load_recipe(catalogue.read(name)[1], name=name, smoke=True)
    lean = []  # less data than even the overlay takes: what is tested is that every stage starts and ends
    for stage, config in smoke.stages.items():
        if config.kind == "audit.compare":
            continue
        assert config.train.steps == 2
        assert config.source.name == "digits"
        lean += [f"{stage}.source.per_class=4", f"{stage}.train.batch_size=20", f"{stage}.model=resnet8"]
        lean += [f"{stage}.{source}.size=null" for source in ("source", "test_source") if getattr(config, source)]
    recipe = load_recipe(catalogue.read(name)[1], name=name, smoke=True, overrides=lean)
    run = run_recipe(recipe, tmp_path / "run", command=["test"], device="cpu")
    assert [stage.finished for stage in run.stages()] == [True] * len(recipe.stages)
