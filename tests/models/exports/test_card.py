import json
import re

import pytest
import yaml

from limbeck.errors import InputError
from limbeck.models import export_state_dict, save
from limbeck.models.exports.origin import Origin, origin_of
from limbeck.models.exports.source import open_source


def front(card):
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, flags=re.DOTALL)[1])


@pytest.fixture
def run(tmp_path, saved):
    """A run folder with a teacher and a comparison, as training leaves it."""
    root = tmp_path / "run"
    stage = {
        "kind": "classify.compare",
        "teacher": "teacher",
        "source": {"name": "parquet", "root": "/home/someone/secret/cifar10"},
        "train": {"epochs": 20, "steps": None, "batch_size": 64, "optimizer": {"name": "sgd", "lr": 0.1}},
    }
    stages = {"teacher": {"kind": "classify.train", "model": {"name": "resnet20"}}, "students": stage}
    one = saved("resnet8", root / "students/trials/kd-s1")
    for method in ("kd", "control"):
        trial = root / f"students/trials/{method}-s1"
        trial.mkdir(exist_ok=True)
        notes = {"stage": "classify.compare", "method": method, "seed": 1}
        save(one.net, trial / "model.safetensors", spec=one.net.limbeck_spec, data=one.data, notes=notes)
        (trial / "config.json").write_text(json.dumps({"method": method, "seed": 1, "terms": []}))
        result = {
            "numbers": {"accuracy": {"value": 0.6911}, "agreement": {"value": 0.7383}},
            "summary": "69.11% of 10000 test images are classified correctly.",
            "components": ["loss:cross_entropy", "loss:kd", "model:resnet8", "source:parquet"],
        }
        (trial / "result.json").write_text(json.dumps(result))
    (root / "students/config.json").write_text(json.dumps(stage))
    (root / "resolved.json").write_text(json.dumps({"title": "CIFAR-10 | all", "stages": stages}))
    limbeck = {"version": "0.1.0", "commit": "3c2e8fb962c226ec"}
    (root / "provenance.json").write_text(json.dumps({"limbeck": limbeck}))
    return root


def test_a_trial_is_described_by_its_run(run, tmp_path):
    trial = run / "students/trials/kd-s1"
    assert origin_of(open_source(trial)) == Origin(
        recipe="CIFAR-10 | all",
        method="kd",
        losses=("cross_entropy", "kd"),
        teachers=("resnet20",),
        dataset="cifar10",
        accuracy=0.6911,
        test="69.11% of 10000 test images are classified correctly.",
        agreement=0.7383,
        seed=1,
        training="20 epochs, batches of 64, sgd",
        limbeck="0.1.0 (3c2e8fb962c2)",
    )
    card = (export_state_dict(trial, tmp_path / "out").path / "README.md").read_text()
    facts = front(card)
    assert facts["datasets"] == ["cifar10"]
    assert facts["teacher"] == ["resnet20"]
    assert facts["metrics"] == ["accuracy"]
    assert facts["license"] == "unknown"
    assert facts["tags"] == ["image-classification", "knowledge-distillation", "resnet8", "limbeck"]
    (result,) = facts["model-index"][0]["results"]
    assert result["metrics"] == [{"type": "accuracy", "value": 0.6911}]
    for part in (
        "taught by `resnet20`",
        "69.11%",
        "73.83%",
        "0 cat, 1 dog, 2 owl",
        "CIFAR-10 \\| all",
        "mean 0.25",
    ):
        assert part in card
    for part in ("secret", str(tmp_path)):
        assert part not in card


def test_the_hub_reads_the_front_matter(run, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    written = export_state_dict(run / "students/trials/kd-s1", tmp_path / "out", licence="MIT")
    data = hub.ModelCard.load(written.path / "README.md").data
    assert data.license == "mit"
    assert data.eval_results[0].metric_value == 0.6911
    assert data.library_name == "safetensors"


def test_the_control_was_taught_by_nobody(run):
    assert origin_of(open_source(run / "students/trials/control-s1")).teachers == ()


@pytest.mark.parametrize(
    ("teacher", "names"),
    [
        ({"ema": 0.999}, ("its own moving average",)),
        ({"name": "timm/resnet50.a1_in1k", "pretrained": True}, ("timm/resnet50.a1_in1k",)),
        ({"big": "teacher", "other": {"name": "vgg13"}}, ("resnet20", "vgg13")),
        ("somewhere/else/old-run", ("old-run",)),
        (None, ()),
    ],
)
def test_teachers_of_every_kind(run, teacher, names):
    config = run / "students/config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "teacher": teacher}))
    assert origin_of(open_source(run / "students/trials/kd-s1")).teachers == names


def test_a_teacher_of_another_run(run, saved, tmp_path):
    saved("resnet14", tmp_path / "other/teacher")
    config = run / "students/config.json"
    config.write_text(json.dumps({"teacher": str(tmp_path / "other")}))
    assert origin_of(open_source(run / "students/trials/kd-s1")).teachers == ("resnet14",)


def test_a_model_by_itself_has_a_card_too(saved, tmp_path):
    path = saved("resnet8", tmp_path / "in").path
    assert origin_of(open_source(path)) == Origin()
    card = (export_state_dict(path, tmp_path / "out").path / "README.md").read_text()
    assert "knowledge-distillation" not in card
    assert "model-index" not in front(card)


def test_a_damaged_run_folder_says_less(run):
    for file in ("students/config.json", "resolved.json", "students/trials/kd-s1/result.json"):
        (run / file).write_text('["no", "mapping"')
    found = origin_of(open_source(run / "students/trials/kd-s1"))
    assert (found.method, found.teachers, found.accuracy) == ("kd", (), None)


def test_the_repository_that_weights_began_with(saved, tmp_path):
    from limbeck.models.exports.card import _base_model

    one = saved("timm/test_resnet", tmp_path)
    for name, expected in (
        ("timm/test_resnet.r160_in1k", "timm/test_resnet.r160_in1k"),
        ("timm/test_resnet", None),
    ):
        spec = {**one.net.limbeck_spec, "name": name, "pretrained": True}
        save(one.net, one.path, spec=spec, data=one.data)
        assert _base_model(open_source(one.path)) == expected


def test_a_licence_is_an_identifier(saved, tmp_path):
    path = saved("resnet8", tmp_path / "in").path
    with pytest.raises(
        InputError, match=r"licence 'do what you like': an identifier is wanted, such as apache-2.0"
    ):
        export_state_dict(path, tmp_path / "out", licence="do what you like")
