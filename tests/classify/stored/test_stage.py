"""The stage: what a recipe may say, what it leaves behind, and what it costs."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from limbeck.classify.config import DistillStage, TrainStage
from limbeck.classify.signals import LiveTeacher
from limbeck.classify.stages import run_distill, run_train
from limbeck.classify.stored.config import StoreStage
from limbeck.classify.stored.stage import plan_store, run_store
from limbeck.errors import CheckpointError, ModelError
from limbeck.protocols import StageContext
from limbeck.recipes.schema import load_recipe
from limbeck.runs.folder import StageFolder

DIGITS = {"name": "digits", "per_class": 4}
VIEWS = {"augment": [{"name": "translate", "pixels": 1}], "validation": 0.2, "batch_size": 16}
WEAK = {"weak_teacher": True}
"""Two steps make no teacher, and no test here needs a good one."""
RECIPE = """\
stages:
  teacher:
    kind: classify.train
    source: digits
    model: resnet8
  outputs:
    kind: classify.store_teacher
    teacher: teacher
    source: digits
    epochs: 2
    outputs: {logits: {top: 5}, taps: [layer3], dtype: float16}
  more:
    kind: classify.store_teacher
    teacher: teacher
    source: digits
    epochs: 3
    extends: outputs
"""


def begun(path, config):
    folder = StageFolder(path, path.name)
    folder.begin(config.model_dump(mode="json"))
    return folder


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    config = TrainStage.model_validate(
        {"source": DIGITS, "model": "resnet8", "train": {"steps": 2, "batch_size": 16}}
    )
    folder = begun(tmp_path_factory.mktemp("stored") / "teacher", config)
    run_train(config, folder, StageContext(seed=0, inputs={}, device="cpu"))
    return folder


@pytest.fixture
def stored(teacher, tmp_path):
    def run(name="outputs", seed=1, inputs=None, **settings):
        config = StoreStage.model_validate({"teacher": "teacher", "source": DIGITS, **VIEWS, **settings})
        folder = begun(tmp_path / name, config)
        run_store(config, folder, StageContext(seed, {"teacher": teacher.path, **(inputs or {})}, device="cpu"))
        return folder

    return run


def distilled(path, teacher, store, **settings):
    train = {**VIEWS, "epochs": 2, "log_every": 1}
    config = DistillStage.model_validate(
        {
            "source": DIGITS,
            "model": "resnet8",
            "teacher": "teacher",
            "terms": "kd",
            "train": train,
            **WEAK,
            **settings,
        }
    )
    folder = begun(path, config)
    inputs = {"teacher": teacher.path, "outputs": store.path}
    run_distill(config, folder, StageContext(seed=1, inputs=inputs, device="cpu"))
    return [line for line in folder.read_scalars() if "loss" in line]


def test_a_recipe_may_store_and_extend():
    stages = load_recipe(RECIPE, name="x").stages
    assert stages["outputs"].outputs.logits.top == 5
    assert stages["more"].outputs.logits == "full"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"seeds": [1, 1]}, "seeds must be distinct"),
        ({"seeds": []}, "at least 1"),
        ({"outputs": {"dtype": "int8"}}, "bfloat16"),
        ({"outputs": {"logits": "some"}}, "full"),
        ({"source": {"name": "digits", "split": "test"}}, "'split' is chosen by the stage"),
    ],
)
def test_what_makes_no_sense_is_refused(settings, said):
    with pytest.raises(ValidationError, match=said):
        StoreStage.model_validate({"teacher": "t", "source": "digits", **settings})


def test_the_stage_leaves_a_store_and_says_what_it_cost(stored):
    folder = stored(epochs=2, outputs={"logits": {"top": 3}, "taps": ["layer3"]})
    result = folder.result()
    assert result["kind"] == "teacher_outputs"
    assert result["numbers"]["passes"]["value"] == 2
    assert result["numbers"]["views"]["value"] == 64
    files = list((folder.path / "outputs").glob("*.safetensors"))
    assert result["numbers"]["bytes"]["value"] == sum(file.stat().st_size for file in files)
    names = [row["name"] for row in folder.tables()["outputs"]["rows"]]
    assert names == ["index", "top_logits", "top_classes", "rest", "tap:layer3"]


def test_a_student_of_the_store_learns_what_one_beside_the_teacher_learns(teacher, stored, tmp_path, monkeypatch):
    store = stored(epochs=2)
    truth = distilled(tmp_path / "live", teacher, store)
    monkeypatch.setattr(LiveTeacher, "signals", lambda *_: pytest.fail("the teacher ran"))
    assert distilled(tmp_path / "stored", teacher, store, stored="outputs") == truth


def test_a_store_of_another_split_is_refused(teacher, stored, tmp_path):
    store = stored(epochs=2, seed=2, seeds=[1])  # the stage's seed holds out other images
    with pytest.raises(CheckpointError, match="data, fingerprint"):
        distilled(tmp_path / "stored", teacher, store, stored="outputs")


def test_a_stage_extends_the_store_of_another(stored):
    first = stored("outputs", epochs=1)
    more = stored("more", epochs=2, extends="outputs", inputs={"outputs": first.path})
    kept = {file.name: file.read_bytes() for file in (first.path / "outputs").glob("*.safetensors")}
    both = {file.name: file.read_bytes() for file in (more.path / "outputs").glob("*.safetensors")}
    assert len(kept) == 1
    assert len(both) == 2
    assert kept.items() <= both.items()


def test_a_network_without_weights_is_refused(stored):
    with pytest.raises(ModelError, match="has nothing to teach"):
        stored(teacher={"name": "resnet8"})


def test_the_plan_says_bytes_and_passes_and_runs_no_pass(teacher):
    config = StoreStage.model_validate({"teacher": "teacher", "source": DIGITS, **VIEWS, "epochs": 5})
    recipe = {"teacher": TrainStage.model_validate({"source": DIGITS, "model": "resnet8"})}
    context = StageContext(seed=0, inputs={}, device="cpu")
    cost = plan_store(config, context, recipe)
    assert cost["steps"] == 10
    assert cost["parameters"] == cost["trainable_parameters"] > 0
    assert "5 passes of the teacher over 32 images, 17,280 bytes in 5 files" in cost["notes"][0]
