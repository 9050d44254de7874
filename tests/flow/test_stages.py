"""The stages end to end: products, resuming, several processes, comparison, plans."""

from __future__ import annotations

import json

import pytest
import torch

from limbeck.engine.interrupt import StopFlag
from limbeck.errors import CheckpointError, ConfigError, Interrupted, ModelError
from limbeck.flow import artefact
from limbeck.flow.config import (
    CompareStage,
    DistillStage,
    PairsStage,
    SampleStage,
    ScoreStage,
    TeacherStage,
    TrainStage,
)
from limbeck.flow.pairs import Pairs, shard_file
from limbeck.flow.planning import (
    plan_compare,
    plan_distill,
    plan_pairs,
    plan_sample,
    plan_score,
    plan_teacher,
    plan_train,
)
from limbeck.flow.sampling import sample
from limbeck.flow.stages.compare import run_compare
from limbeck.flow.stages.distill import run_distill
from limbeck.flow.stages.pairs import run_pairs
from limbeck.flow.stages.sample import run_sample
from limbeck.flow.stages.score import run_score
from limbeck.flow.stages.teacher import run_teacher
from limbeck.flow.stages.train import run_train
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder
from limbeck.sealed import Sealed

OPTIMIZER = {"name": "adamw", "lr": 0.003, "weight_decay": 0.0}
TRAIN = {"steps": 30, "batch_size": 64, "optimizer": OPTIMIZER, "ema": [0.9], "log_every": 10}
POINTS = {"target": {"name": "gaussian"}}
DIGITS = {"source": {"name": "digits", "per_class": 20}}
SMALL = {"name": "mlp", "width": 24, "depth": 1}
LITTLE = {"samples": 40, "evaluations": [1, 2], "path_steps": 4}


def run(path, function, config, seed=0, begin=True, **inputs):
    folder = StageFolder(path, path.name)
    if begin:
        folder.begin(config.model_dump(mode="json"))
    function(config, folder, StageContext(seed=seed, inputs=inputs, device="cpu"))
    return folder


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    config = TrainStage.model_validate(
        {
            **DIGITS,
            "network": SMALL,
            "conditional": True,
            "label_dropout": 0.2,
            "train": {**TRAIN, "ema": [0.9, 0.5]},
        }
    )
    return run(tmp_path_factory.mktemp("flow") / "flow", run_train, config)


def pairs_stage(**changes):
    values = {"teacher": "flow", "count": 50, "shard_size": 20, "evaluations": 5, "batch_size": 16}
    return PairsStage.model_validate({**values, **changes})


@pytest.fixture(scope="module")
def pairs(flow, tmp_path_factory):
    return run(tmp_path_factory.mktemp("pairs") / "pairs", run_pairs, pairs_stage(), flow=flow.path)


def distill_stage(**changes):
    values = {"teacher": "flow", "pairs": "pairs", "train": {**TRAIN, "warmup_steps": 5}}
    return DistillStage.model_validate({**values, **changes})


def test_a_flow_is_written_with_its_averages(flow):
    found = artefact.load(flow.path)
    assert (found.image_shape, found.classes, found.rounds) == ((1, 8, 8), 10, 0)
    assert found.class_names[3] == "3"
    other = artefact.load(flow.path / "averages/ema-0.5.safetensors")
    assert artefact.fingerprint(other) != artefact.fingerprint(found)
    assert flow.result()["numbers"]["passes"]["value"] == 30 * 64
    assert flow.images()["samples"][0].startswith(b"\x89PNG")
    assert flow.read_scalars()[-1]["step"] == 30


def test_classifiers_are_no_flows(tmp_path):
    from limbeck.models import DataConfig, build, save

    net = build("resnet8", num_classes=2, in_channels=1)
    file = tmp_path / "model.safetensors"
    save(net, file, spec=net.limbeck_spec, data=DataConfig((1, 8, 8), (0.5,), (0.5,)))
    with pytest.raises(CheckpointError, match="no flow"):
        artefact.load(file)


def test_any_pair_can_be_made_again_from_its_index(flow, pairs):
    store = Pairs(pairs.path)
    teacher = artefact.load(flow.path)
    index = torch.tensor([37])
    manifest = store.manifest
    made = sample(teacher, manifest.noise(index), manifest.labels(index), evaluations=5, solver="heun").x
    assert float((made.clamp(-1, 1) - store.images(index)).abs().max()) <= 1.01 / 127.5
    assert manifest.teacher == artefact.fingerprint(teacher)


def test_pairs_resume_to_the_same_bytes(flow, pairs, tmp_path, monkeypatch):
    whole = [shard_file(pairs.path / "pairs", n).read_bytes() for n in range(3)]
    folder = StageFolder(tmp_path / "again", "again")
    folder.begin(pairs_stage().model_dump(mode="json"))
    context = StageContext(seed=0, inputs={"flow": flow.path}, device="cpu")
    with monkeypatch.context() as patch:
        patch.setattr(StopFlag, "__bool__", lambda self: True)
        with pytest.raises(Interrupted, match="shard 1 of 3"):
            run_pairs(pairs_stage(), folder, context)
    file = shard_file(folder.path / "pairs", 0)
    file.write_bytes(file.read_bytes()[:-3])  # damaged meanwhile: made again
    run_pairs(pairs_stage(), folder, context)
    assert [shard_file(folder.path / "pairs", n).read_bytes() for n in range(3)] == whole


def test_batches_of_another_size_give_the_same_pairs(flow, pairs, tmp_path):
    other = run(tmp_path / "other", run_pairs, pairs_stage(batch_size=50, shard_size=50), flow=flow.path)
    index = torch.arange(50)
    a, b = Pairs(pairs.path), Pairs(other.path)
    assert float((a.images(index) - b.images(index)).abs().max()) <= 1.01 / 127.5
    assert torch.equal(a.noise(index), b.noise(index))


def test_inverted_pairs_do_not_depend_on_batches(flow, tmp_path):
    made = []
    for size in (7, 50):
        config = pairs_stage(invert=True, count=50, batch_size=size, solver="euler", **DIGITS)
        made.append(Pairs(run(tmp_path / str(size), run_pairs, config, flow=flow.path).path))
    index = torch.arange(50)
    torch.testing.assert_close(made[0].noise(index), made[1].noise(index), rtol=0, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_an_adaptive_solver_chooses_its_evaluations(flow, tmp_path):
    made = run(tmp_path / "pairs", run_pairs, pairs_stage(solver="adaptive", count=10), flow=flow.path)
    assert "as the solver chose" in made.result()["summary"]
    shown = SampleStage.model_validate({"flow": "flow", "solver": "adaptive", "count": 4})
    assert run(tmp_path / "samples", run_sample, shown, flow=flow.path).images()


def test_inverted_pairs(flow, tmp_path):
    config = pairs_stage(invert=True, count=None, solver="euler", **DIGITS)
    made = run(tmp_path / "real", run_pairs, config, flow=flow.path)
    store = Pairs(made.path)
    assert len(store) == 200
    assert store.manifest.direction == "inverted"
    assert "noise_mean_square" in made.result()["numbers"]


def test_students_begin_as_their_teacher(flow, pairs, tmp_path):
    config = distill_stage(train={**TRAIN, "steps": 1, "optimizer": {**OPTIMIZER, "lr": 1e-9}})
    made = run(tmp_path / "student", run_distill, config, flow=flow.path, pairs=pairs.path)
    student, teacher = artefact.load(made.path), artefact.load(flow.path)
    assert student.rounds == 1
    for a, b in zip(student.network.parameters(), teacher.network.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "choice",
    [
        {},
        {"times": "uniform", "objective": "l2", "initialise": "random"},
        {"method": "direct", "dropout": 0.1},
        {"method": "mean_flow"},
        {"method": {"name": "progressive", "start": 2}},
        {"method": "consistency_distillation"},
        {"method": "consistency_training", "on_data": True, **DIGITS},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
def test_every_method_resumes_to_the_same_bits(flow, pairs, tmp_path, choice, monkeypatch):
    config = distill_stage(**choice, train={**TRAIN, "checkpoint_every": 7})
    inputs = {"flow": flow.path, "pairs": pairs.path}
    whole = run(tmp_path / "whole", run_distill, config, **inputs)
    asked = []

    def after_a_while(self):
        asked.append(None)
        return len(asked) == 12

    with monkeypatch.context() as patch:
        patch.setattr(StopFlag, "__bool__", after_a_while)
        with pytest.raises(Interrupted):
            run(tmp_path / "parts", run_distill, config, **inputs)
    parts = run(tmp_path / "parts", run_distill, config, begin=False, **inputs)
    assert (parts.path / "model.safetensors").read_bytes() == (whole.path / "model.safetensors").read_bytes()
    lines = [{k: v for k, v in line.items() if k != "lr"} for line in whole.read_scalars()]
    assert [{k: v for k, v in line.items() if k != "lr"} for line in parts.read_scalars()] == lines


def test_a_student_can_begin_with_another(flow, pairs, tmp_path):
    first = run(tmp_path / "one", run_distill, distill_stage(), flow=flow.path, pairs=pairs.path)
    real = run(
        tmp_path / "real", run_pairs, pairs_stage(invert=True, count=60, solver="euler", **DIGITS), flow=flow.path
    )
    config = distill_stage(begin="one", real_pairs="real", real_share=1.0)
    inputs = {"flow": flow.path, "pairs": pairs.path, "one": first.path, "real": real.path}
    second = run(tmp_path / "two", run_distill, config, **inputs)
    assert artefact.load(second.path).rounds == 1


def test_pairs_of_another_teacher_are_refused(pairs, tmp_path):
    config = TrainStage.model_validate({**DIGITS, "network": SMALL, "train": TRAIN})
    other = run(tmp_path / "other", run_train, config, seed=3)
    with pytest.raises(CheckpointError, match="another teacher"):
        run(tmp_path / "student", run_distill, distill_stage(), flow=other.path, pairs=pairs.path)


def test_comparison_scores_and_reads_back(flow, pairs, tmp_path):
    config = CompareStage.model_validate(
        {
            **DIGITS,
            "teacher": "flow",
            "pairs": "pairs",
            "seeds": [0, 1],
            "variants": {"A": {"times": "uniform", "objective": "l2"}, "direct": {"method": "direct"}},
            "train": TRAIN,
            "teacher_evaluations": 5,
            "scoring": {**LITTLE, "rounds": [2]},
        }
    )
    made = run(tmp_path / "students", run_compare, config, flow=flow.path, pairs=pairs.path)
    rows = made.tables()["scores"]["rows"]
    names = ["real data against real data", "teacher", "teacher", "A", "A", "direct", "direct"]
    assert [row["flow"] for row in rows] == names
    assert rows[3]["coupling_spread"] >= 0
    assert rows[4]["reconstruction"] > 0
    assert made.figures()["one"]["kind"] == "bars"
    before = json.dumps(rows)
    run_compare(config, made, StageContext(seed=0, inputs={"flow": flow.path, "pairs": pairs.path}, device="cpu"))
    assert json.dumps(made.tables()["scores"]["rows"][3]) == json.dumps(json.loads(before)[3])


def test_equal_passes_give_fewer_steps_to_dearer_methods(flow, pairs, tmp_path):
    config = CompareStage.model_validate(
        {
            **DIGITS,
            "teacher": "flow",
            "pairs": "pairs",
            "seeds": [0],
            "variants": {"cd": {"method": "consistency_distillation"}},
            "train": TRAIN,
            "teacher_evaluations": 5,
            "scoring": LITTLE,
        }
    )
    made = run(tmp_path / "students", run_compare, config, flow=flow.path, pairs=pairs.path)
    (row,) = made.tables()["costs"]["rows"]
    assert (row["steps"], row["passes"]) == (30 // 4, 30 // 4 * 4 * 50)


def test_scores_and_samples(flow, tmp_path):
    config = ScoreStage.model_validate({**DIGITS, "flows": {"f": "flow"}, "scoring": LITTLE})
    scores = run(tmp_path / "scores", run_score, config, flow=flow.path)
    assert {"fid", "frechet"}.isdisjoint(scores.tables()["scores"]["rows"][1])
    config = SampleStage.model_validate(
        {
            **DIGITS,
            "flow": "flow",
            "count": 12,
            "evaluations": [1, 2],
            "times": [1, 0.8],
            "labels": [7, 1],
            "guidance": 1.5,
            "reconstruct": 4,
            "interpolate": 3,
            "translate": [3, 8],
        }
    )
    made = run(tmp_path / "samples", run_sample, config, flow=flow.path)
    kept = Sealed(made.path / "samples.safetensors", again="")
    kept.verify()
    assert kept.tensors["evaluations_1"].shape == (12, 1, 8, 8)
    assert kept.tensors["labels"].tolist() == [7, 1] * 6
    assert {"reconstruction", "interpolation", "translation"} <= set(made.images())
    assert made.result()["numbers"]["translation_evaluations"]["value"] == 6
    assert "2, 4" in made.result()["summary"]  # guidance asks twice


def test_points_are_drawn_with_their_paths(tmp_path):
    config = TrainStage.model_validate({**POINTS, "network": SMALL, "train": TRAIN})
    made = run(tmp_path / "flow", run_train, config)
    shown = run(tmp_path / "samples", run_sample, SampleStage.model_validate({"flow": "flow"}), flow=made.path)
    assert shown.images()["evaluations-2"][0].startswith(b"\x89PNG")
    with pytest.raises(ConfigError, match="float32"):
        run(tmp_path / "pairs", run_pairs, pairs_stage(), flow=made.path)


def test_a_gaussian_is_learnt_to_its_closed_form(tmp_path):
    train = {**TRAIN, "steps": 700, "batch_size": 256, "schedule": "cosine", "ema": [0.98]}
    config = TrainStage.model_validate({**POINTS, "network": {**SMALL, "width": 48, "depth": 2}, "train": train})
    learnt = artefact.load(run(tmp_path / "flow", run_train, config).path)
    t = torch.rand(2000, generator=torch.Generator().manual_seed(0)) * 0.98 + 0.01
    x, z = 0.4 + 0.3 * torch.randn(2000, 2, 1, 1), torch.randn(2000, 2, 1, 1)
    at = t.view(-1, 1, 1, 1)
    here, s = (1 - at) * x + at * z, 0.09
    exact = -0.4 + (at - (1 - at) * s) / ((1 - at) ** 2 * s + at**2) * (here - (1 - at) * 0.4)
    with torch.no_grad():
        error = float((learnt(here, t) - exact).square().mean() / exact.square().mean())
    assert error < 0.02


def test_teachers_from_elsewhere(tmp_path):
    from safetensors.torch import save_file

    from limbeck.models.velocity import build_velocity_network

    torch.manual_seed(0)
    net = build_velocity_network("ddpmpp", image_shape=(1, 8, 8), width=8, multiples=(1,), blocks=1, attention=())
    save_file({f"model.{k}": v.contiguous() for k, v in net.state_dict().items()}, tmp_path / "edm.safetensors")
    network = {"name": "ddpmpp", "width": 8, "multiples": [1], "blocks": 1, "attention": []}
    values = {
        "weights": str(tmp_path / "edm.safetensors"),
        "network": network,
        "parameterisation": "edm",
        "image_shape": [1, 8, 8],
        "prefix": "model.",
    }
    made = run(tmp_path / "teacher", run_teacher, TeacherStage.model_validate(values))
    flow = artefact.load(made.path)
    assert flow.trained == pytest.approx((0.002 / 1.002, 80 / 81))
    assert flow.rounds == 0
    wrong = TeacherStage.model_validate({**values, "prefix": ""})
    with pytest.raises(CheckpointError, match=r"lacks .* it has"):
        run(tmp_path / "wrong", run_teacher, wrong)
    torch.save(net, tmp_path / "whole.pt")
    with pytest.raises(CheckpointError, match="without executing"):
        run(
            tmp_path / "pickle",
            run_teacher,
            TeacherStage.model_validate({**values, "weights": str(tmp_path / "whole.pt")}),
        )


def test_a_flow_of_another_size_is_refused(flow, tmp_path):
    config = ScoreStage.model_validate(
        {"source": {"name": "digits", "size": 16}, "flows": {"f": "flow"}, "scoring": LITTLE}
    )
    with pytest.raises(ModelError, match=r"\(1, 8, 8\), the data \(1, 16, 16\)"):
        run(tmp_path / "scores", run_score, config, flow=flow.path)


def test_plans_name_steps_and_bytes(flow, pairs):
    context = StageContext(seed=0, inputs={}, device="cpu")
    stages = {"flow": TrainStage.model_validate({**DIGITS, "network": SMALL, "train": TRAIN})}
    made = plan_train(stages["flow"], context, stages)
    assert (made["steps"], made["seconds"] > 0) == (30, True)
    assert "3,200 bytes on disk" in plan_pairs(pairs_stage(), context, stages)["notes"][0]
    assert plan_distill(distill_stage(), context, stages)["steps"] == 30
    scores = ScoreStage.model_validate({**DIGITS, "flows": {"f": "flow"}, "scoring": LITTLE})
    assert plan_score(scores, context, stages)["steps"] == 40 * 3
    assert plan_sample(SampleStage.model_validate({"flow": "flow"}), context, stages)["steps"] == 64 * 3
    compare = {"teacher": "flow", "pairs": "p", "variants": {"a": {}}, **DIGITS, "train": TRAIN}
    assert plan_compare(CompareStage.model_validate(compare), context, stages)["steps"] == 90
    teacher = TeacherStage.model_validate({"weights": "x.safetensors"})
    with pytest.raises(CheckpointError, match=r"x\.safetensors"):
        plan_teacher(teacher, context, stages)


def test_plans_of_what_follows_a_diffusers_folder_are_of_its_network(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    sizes = {"block_out_channels": (8,), "layers_per_block": 1, "norm_num_groups": 4}
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
    net = diffusers.UNet2DModel(sample_size=8, in_channels=1, out_channels=1, **sizes, **blocks)
    diffusers.DDPMPipeline(net, diffusers.DDPMScheduler()).save_pretrained(tmp_path / "folder")
    stages = {"teacher": TeacherStage.model_validate({"weights": str(tmp_path / "folder")})}
    context = StageContext(seed=0, inputs={}, device="cpu")
    pairs = PairsStage.model_validate({"teacher": "teacher", "count": 10, "evaluations": 3})
    count = sum(p.numel() for p in net.parameters())
    assert plan_pairs(pairs, context, stages)["parameters"] == count
    assert plan_teacher(stages["teacher"], context, stages)["parameters"] == count


def test_plans_ask_how_a_state_dict_is_to_be_read(tmp_path):
    (tmp_path / "x.safetensors").touch()
    stages = {"teacher": TeacherStage.model_validate({"weights": str(tmp_path / "x.safetensors")})}
    with pytest.raises(ConfigError, match="name network, parameterisation and image_shape"):
        plan_teacher(stages["teacher"], StageContext(seed=0, inputs={}, device="cpu"), stages)


def test_plans_of_what_follows_a_student_are_of_its_own_network():
    stages = {
        "flow": TrainStage.model_validate({**DIGITS, "network": SMALL}),
        "student": distill_stage(teacher="flow", initialise="random", network={**SMALL, "width": 48}),
    }
    context = StageContext(seed=0, inputs={}, device="cpu")
    plan = [plan_sample(SampleStage.model_validate({"flow": name}), context, stages) for name in stages]
    assert plan[1]["parameters"] > 2 * plan[0]["parameters"]


def test_plans_count_guided_samples_twice_and_no_first_pass(monkeypatch):
    from limbeck.flow import planning

    seconds = iter([60.0])  # the first pass of a process is slow; it must not be taken for what all cost
    slow = [0.0]

    def run_once(flow, batch, *, train):
        slow[0] += next(seconds, 0.001)

    monkeypatch.setattr(planning, "_run_once", run_once)
    monkeypatch.setattr(planning.time, "perf_counter", lambda: slow[0])
    stages = {"flow": TrainStage.model_validate({**DIGITS, "network": SMALL})}
    context = StageContext(seed=0, inputs={}, device="cpu")
    plan = plan_sample(SampleStage.model_validate({"flow": "flow", "guidance": 2.0}), context, stages)
    assert plan["steps"] == 64 * 3 * 2
    assert plan["seconds_per_step"] == pytest.approx(0.001 / 64)
