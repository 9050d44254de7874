"""Every mistake in a recipe is one message with its place and the way out; several are reported together."""

from __future__ import annotations

import pytest

from limbeck.errors import ConfigError, InputError, UnknownNameError
from limbeck.recipes import catalogue
from limbeck.recipes.schema import load_recipe

TRAIN = "stages:\n  t:\n    kind: classify.train\n    source: digits\n    model: resnet8\n"
DISTILL = TRAIN + (
    "  s:\n    kind: classify.distill\n    teacher: t\n    source: digits\n    model: resnet8\n    terms: kd\n"
)
COMPARE = DISTILL + (
    "  c:\n    kind: classify.compare\n    teacher: t\n    source: digits\n    model: resnet8\n"
    "    methods: {kd: kd}\n"
)
FROM_COMPARISON = (
    "  d:\n    kind: classify.distill\n    teacher: c\n    source: digits\n    model: resnet8\n    terms: kd\n"
)
LATER = "  u:\n    kind: classify.train\n    source: digits\n    model: resnet8\n"

BAD = {
    "unknown key": (TRAIN + "    epoch: 3\n", ["stages.t.epoch", "line 6", "Did you mean 'train.epochs'?"]),
    "unknown nested key": (TRAIN + "    train: {epochz: 3}\n", ["stages.t.train.epochz", "line 6", "'epochs'"]),
    "unknown top-level key": (TRAIN + "sed: 1\n", ["line 6", "Did you mean 'seed'?"]),
    "wrong type": (TRAIN + "    train: {epochs: many}\n", ["stages.t.train.epochs", "line 6", "'many'"]),
    "out of range": (TRAIN + "    train: {epochs: 0}\n", ["stages.t.train.epochs", "line 6", "1", "(got 0)"]),
    "not one of the words": (TRAIN + "    train: {precision: fp8}\n", ["line 6", "bfloat16", "'fp8'"]),
    "missing field": (TRAIN.replace("    source: digits\n", ""), ["stages.t.source", "line 2", "missing"]),
    "unknown stage kind": (TRAIN.replace("train", "trian"), ["stages.t.kind", "line 3", "'classify.train'?"]),
    "no stage kind": ("stages:\n  t: {source: digits}\n", ["stages.t.kind", "line 2", "classify.distill"]),
    "forward reference": (DISTILL.replace("teacher: t", "teacher: u") + LATER, ["s.teacher", "line 8", "earlier"]),
    "reference to itself": (DISTILL.replace("teacher: t", "teacher: s"), ["stages.s.teacher", "line 8"]),
    "reference to nothing": (DISTILL.replace("teacher: t", "teacher: tt"), ["'tt'", "Earlier stages: t"]),
    "wrong artefact kind": (
        COMPARE + FROM_COMPARISON,
        ["stages.d.teacher", "line 20", "comparison", "classifier"],
    ),
    "duplicate key": (TRAIN + "    model: resnet14\n", ["line 6", "'model'", "line 5"]),
    "anchor": (TRAIN + "    train: &x {epochs: 1}\n", ["line 6", "&x"]),
    "python tag": (TRAIN + "    train: !!python/name:os.system x\n", ["line 6", "os.system"]),
    "local tag": (TRAIN + "    train: !x {epochs: 1}\n", ["line 6", "!x", "pure data"]),
    "merge key": (TRAIN + "    <<: {seed: 1}\n", ["line 6", "'<<'"]),
    "tab": ("stages:\n\tt: 1\n", ["line 2", "tabs"]),
    "bad YAML": ("stages: {t: [1\n", ["line 2", "not valid YAML"]),
    "two documents": (TRAIN + "---\na: 1\n", ["line 6", "another document"]),
    "empty file": ("# nothing\n", ["is empty", "'stages'"]),
    "not a mapping": ("- 1\n- 2\n", ["holds a list", "mapping"]),
    "HTML as a stage's name": ("stages:\n  <b>x</b>: {kind: classify.train}\n", ["line 2", "lower-case letters"]),
    "a path as a stage's name": ("stages:\n  ../x: {kind: classify.train}\n", ["line 2", "lower-case letters"]),
    "unknown method": (DISTILL.replace("terms: kd", "terms: kdd"), ["stages.s.terms", "Did you mean 'kd'?"]),
    "unknown model": (TRAIN.replace("resnet8", "resnet9"), ["stages.t.model", "line 5", "Did you mean 'resnet8'"]),
    "code without leave": (TRAIN.replace("resnet8", "os:system"), ["line 5", "--plugin os"]),
}


def refusal(text: str, **options: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load_recipe(text, name="my.yaml", **options)
    assert caught.value.exit_code == 2
    return str(caught.value)


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_explained(case):
    text, expected = BAD[case]
    message = refusal(text)
    assert message.startswith("my.yaml")
    for part in expected:
        assert part in message, message


def test_the_bases_of_these_cases_are_right():
    assert list(load_recipe(COMPARE, name="my.yaml").stages) == ["t", "s", "c"]


def test_all_mistakes_are_reported_together_in_the_order_of_the_lines():
    terms = "terms:\n      - {loss: {name: kd, temprature: 2}, weight: high}\n      - {loss: hintt}\n"
    text = DISTILL.replace("terms: kd\n", terms).replace("kind: classify.train", "kind: classify.trian", 1)
    message = refusal(text + "sed: 1\n")
    assert message.splitlines()[0] == "my.yaml has 5 problems:"
    places = ["stages.t.kind", "terms.0.loss", "terms.0.weight", "terms.1.loss", "sed"]
    found = [next(n for n, line in enumerate(message.splitlines()) if place in line) for place in places]
    assert found == sorted(found)
    assert "Did you mean 'temperature'?" in message


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("x.train.epochs=1", "'x' is no stage"),
        ("t.train.epochs", "has to read stage.key=value"),
        ("=3", "has to read stage.key=value"),
        ("t.train.epochs=[", "not valid YAML"),
        ("t.train.epoch=2", "Did you mean 'epochs'?"),
        ("t.train.epochs=0", "(got 0)"),
        ("t=3", "mapping with a 'kind'"),
    ],
)
def test_a_wrong_override_is_explained(override, expected):
    assert expected in refusal(DISTILL, overrides=[override])


def test_overrides_go_over_smoke_over_the_recipe():
    text = TRAIN + "    train: {epochs: 9, batch_size: 8}\nsmoke:\n  t: {train: {epochs: 2, steps: 2}}\n"

    def train(**options):
        return load_recipe(text, name="my.yaml", **options).stages["t"].train

    assert (train().epochs, train().steps) == (9, None)
    assert (train(smoke=True).epochs, train(smoke=True).batch_size) == (2, 8)
    assert train(smoke=True, overrides=["t.train.epochs=4"]).epochs == 4


def test_an_override_reaches_into_shorthand_and_reads_yaml():
    recipe = load_recipe(DISTILL, name="my.yaml", overrides=["t.source.per_class=3", "seed=7", "title=A try"])
    assert recipe.stages["t"].source.settings["per_class"] == 3
    assert (recipe.seed, recipe.title) == (7, "A try")


def test_numbers_and_words_are_what_they_look_like():
    text = TRAIN + "    train: {optimizer: {name: sgd, lr: 1e-3}}\ntitle: no\n"
    recipe = load_recipe(text, name="my.yaml")
    assert recipe.stages["t"].train.optimizer.settings["lr"] == 0.001
    assert recipe.title == "no"


def test_a_smoke_overlay_of_another_source_drops_the_old_settings():
    text = (
        TRAIN.replace("source: digits", "source: {name: folder, root: x}")
        + "smoke:\n  t: {source: {name: digits}}\n"
    )
    assert load_recipe(text, name="my.yaml", smoke=True).stages["t"].source.settings["per_class"] is None


def test_what_it_resolves_to_has_everything():
    resolved = load_recipe(DISTILL, name="my.yaml", overrides=["seed=3"]).resolved
    assert (resolved["schema"], resolved["seed"], resolved["title"]) == (1, 3, "my.yaml")
    assert resolved["stages"]["s"]["kind"] == "classify.distill"
    assert resolved["stages"]["s"]["seed"] == 3
    assert resolved["stages"]["s"]["train"]["epochs"] == 1
    assert [term["loss"]["name"] for term in resolved["stages"]["s"]["terms"]] == ["cross_entropy", "kd"]


def test_a_missing_recipe_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'demo/digits'"):
        catalogue.read("demo/digts")


def test_a_binary_file_is_no_recipe(tmp_path):
    file = tmp_path / "model.yaml"
    file.write_bytes(b"\x80\x02\xff\x00")
    with pytest.raises(InputError, match="not a text file"):
        catalogue.read(str(file))


@pytest.mark.parametrize("name", catalogue.names())
@pytest.mark.parametrize("smoke", [False, True])
def test_every_shipped_recipe_reads_well(name, smoke):
    assert load_recipe(catalogue.read(name)[1], name=name, smoke=smoke).stages


def test_recipes_are_shipped():
    assert {"demo/digits", "cifar10/methods"} <= set(catalogue.names())


ODD = {
    "a control character": ("title: \x00\n", {}),
    "two thousand brackets": ("stages: " + "[" * 2000 + "]" * 2000, {}),
    "a seed that is a word": (TRAIN, {"overrides": ["seed=x"]}),
    "a quoted number": (TRAIN + "    train: {epochs: '3'}\n", {}),
    "a boolean for a number": (TRAIN + "    train: {epochs: true}\n", {}),
    "infinity": (TRAIN + "    train: {clip_norm: .inf}\n", {}),
    "a tag of YAML's own": (TRAIN + "    seed: !!str 3\n", {}),
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_value_is_refused(case):
    text, options = ODD[case]
    with pytest.raises(ConfigError):
        load_recipe(text, name="my.yaml", **options)
