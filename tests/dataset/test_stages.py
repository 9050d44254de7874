"""The stages end to end on real digits: products, resuming, SeqMatch, evaluation, search, ablation, plans."""

from __future__ import annotations

import json
import math

import pytest
import torch

from limbeck.dataset import synthesis
from limbeck.dataset.config import (
    AblateStage,
    EvaluateStage,
    ExpertsStage,
    LabelStage,
    SearchStage,
    SynthesizeStage,
)
from limbeck.dataset.image_set import load
from limbeck.dataset.planning import (
    plan_ablate,
    plan_evaluate,
    plan_experts,
    plan_label,
    plan_search,
    plan_synthesize,
)
from limbeck.dataset.stages.ablate import run_ablate
from limbeck.dataset.stages.evaluate import run_evaluate
from limbeck.dataset.stages.experts import run_experts
from limbeck.dataset.stages.label import run_label
from limbeck.dataset.stages.search import run_search
from limbeck.dataset.stages.synthesize import run_synthesize
from limbeck.dataset.trajectories import Trajectories
from limbeck.errors import CheckpointError, ConfigError, DataError, Interrupted
from limbeck.protocols import StageContext
from limbeck.runs.folder import StageFolder

DIGITS = {"source": {"name": "digits", "per_class": 30}}
NET = {"name": "convnet", "depth": 1, "width": 4, "image_size": 8}
AUGMENT = "crop_rotate"
STUDENTS = {"protocol": "mtt", "epochs": 6, "augment": AUGMENT, "seeds": [0]}
MTT = {"name": "mtt", "steps": 3, "expert_epochs": 1, "start_epochs": [0, 2], "lr": 0.05, "augment": AUGMENT}


def run(path, function, config, name="stage", **inputs):
    folder = StageFolder(path, name)
    folder.begin(config.model_dump(mode="json"))
    function(config, folder, StageContext(seed=0, inputs=inputs, device="cpu"))
    return folder


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    config = ExpertsStage.model_validate(
        {**DIGITS, "model": NET, "experts": 2, "epochs": 3, "lr": 0.1, "batch_size": 32, "augment": AUGMENT}
    )
    return run(tmp_path_factory.mktemp("experts") / "experts", run_experts, config, "experts")


def synthesize(**changes) -> SynthesizeStage:
    values = {**DIGITS, "experts": "e", "method": MTT, "ipc": 2, "iterations": 4, "log_every": 1}
    return SynthesizeStage.model_validate({**values, "students": STUDENTS, **changes})


@pytest.fixture(scope="module")
def small(experts, tmp_path_factory):
    return run(tmp_path_factory.mktemp("small") / "set", run_synthesize, synthesize(), e=experts.path)


def test_experts_leave_trajectories_and_their_ages(experts):
    found = Trajectories(experts.path / "trajectories")
    assert (len(found), found.snapshots) == (2, 4)
    rows = experts.tables()["experts"]["rows"]
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert rows[-1]["accuracy"] > rows[0]["accuracy"]
    assert experts.result()["kind"] == "trajectories"


def test_a_synthetic_set_carries_all_that_training_needs(small):
    found = load(small.path / "set.safetensors")
    assert found.images.shape == (20, 1, 8, 8)
    assert found.labels.tolist() == sorted(found.labels.tolist())
    assert found.subsets[0].lr > 0
    assert found.class_names == tuple("0123456789")
    assert found.provenance["method"]["name"] == "mtt"
    assert small.images()["set"][0].startswith(b"\x89PNG")
    assert [line["step"] for line in small.read_scalars()] == [1, 2, 3, 4]
    assert small.result()["numbers"]["images"]["value"] == 20


def test_a_stopped_synthesis_goes_on_to_the_same_bits(experts, small, tmp_path, monkeypatch):
    from limbeck.dataset.methods.trajectory import TrajectoryMatching

    iterate = TrajectoryMatching.iteration

    def stopped(self, number):
        if number == 2:
            import os
            import signal

            os.kill(os.getpid(), signal.SIGTERM)
        return iterate(self, number)

    monkeypatch.setattr(TrajectoryMatching, "iteration", stopped)
    with pytest.raises(Interrupted, match="stopped by SIGTERM after iteration 3"):
        run(tmp_path / "set", run_synthesize, synthesize(), e=experts.path)
    monkeypatch.setattr(TrajectoryMatching, "iteration", iterate)
    folder = run(tmp_path / "set", run_synthesize, synthesize(), e=experts.path)
    one, other = (load(f.path / "set.safetensors") for f in (folder, small))
    assert torch.equal(one.images, other.images)
    assert one.subsets[0].lr == other.subsets[0].lr
    assert [line["step"] for line in folder.read_scalars()] == [1, 2, 3, 4]


def test_a_checkpoint_of_other_settings_is_refused(tmp_path, experts, monkeypatch):
    monkeypatch.setattr(synthesis, "SAVE_AFTER", -1.0)
    run(tmp_path / "set", run_synthesize, synthesize(), e=experts.path)
    (tmp_path / "set/part-set.safetensors").unlink()
    (tmp_path / "set/config.json").unlink()
    with pytest.raises(CheckpointError, match="other settings"):
        run(tmp_path / "set", run_synthesize, synthesize(method={**MTT, "lr": 0.01}), e=experts.path)


def test_one_subset_is_the_base_method(experts, small, tmp_path):
    folder = run(tmp_path / "set", run_synthesize, synthesize(subsets=[2]), e=experts.path)
    one, other = (load(f.path / "set.safetensors") for f in (folder, small))
    assert torch.equal(one.images, other.images)


@pytest.mark.parametrize("segment", ["regenerate", "slice"])
def test_later_subsets_follow_and_earlier_ones_stay(experts, tmp_path, segment):
    later = [{"lr": 0.02}]
    config = synthesize(subsets=2, segment=segment, regenerated=2, later=later if segment == "regenerate" else [])
    folder = run(tmp_path / "set", run_synthesize, config, e=experts.path)
    found = load(folder.path / "set.safetensors")
    first = load(folder.path / "trials/subset-1/part-set.safetensors")
    assert torch.equal(found.subsets[0].images, first.images)
    assert [len(s.labels) for s in found.subsets] == [10, 10]
    again = folder.path / "trials/subset-2/trajectories"
    assert again.exists() == (segment == "regenerate")
    if segment == "regenerate":
        assert Trajectories(again).card.begins != "random"
        start = Trajectories(again).weights(0, 0)
        assert not torch.equal(start, Trajectories(experts.path / "trajectories").weights(0, 0))


def test_no_real_image_begins_two_subsets(experts, tmp_path):
    config = synthesize(subsets=2, method={"name": "dm", "batch_real": 4, "lr_images": 1e-12, "augment": AUGMENT})
    found = load(run(tmp_path / "set", run_synthesize, config, e=experts.path).path / "set.safetensors")
    flat = found.images.flatten(1)
    assert torch.cdist(flat, flat).add(torch.eye(len(flat)) * 9).min() > 1e-3


def test_the_best_iteration_is_chosen_by_validation(experts, tmp_path):
    config = synthesize(judge_every=2)
    folder = run(tmp_path / "set", run_synthesize, config, e=experts.path)
    judged = [line for line in folder.read_scalars() if "validation/accuracy" in line]
    assert [line["step"] for line in judged] == [2, 4]
    row = folder.tables()["subsets"]["rows"][0]
    assert row["validation_accuracy"] == max(line["validation/accuracy"] for line in judged)


def test_a_budget_in_megabytes_is_kept_labels_counted(experts, tmp_path):
    config = synthesize(ipc=None, megabytes=0.0014)
    found = load(run(tmp_path / "set", run_synthesize, config, e=experts.path).path / "set.safetensors")
    assert (found.ipc, found.bytes) == (2, 20 * 65)
    values = {**DIGITS, "experts": "e", "megabytes": 0.0014, "labels": {"epoch": 1}}
    picked = run(tmp_path / "picked", run_label, LabelStage.model_validate(values), e=experts.path)
    assert load(picked.path / "set.safetensors").ipc == 1
    with pytest.raises(ConfigError, match=r"hold no image of every class; one of each takes 0.00065"):
        run(tmp_path / "x", run_synthesize, synthesize(ipc=None, megabytes=0.0001), e=experts.path)


@pytest.fixture(scope="module")
def labelled(experts, tmp_path_factory):
    config = LabelStage.model_validate(
        {**DIGITS, "experts": "e", "ipc": 3, "labels": {"epoch": 2, "beta": 2.0, "experts": 2, "views": 2}}
    )
    return run(tmp_path_factory.mktemp("labelled") / "set", run_label, config, e=experts.path)


def test_labels_are_probabilities_with_their_facts(labelled):
    found = load(labelled.path / "set.safetensors")
    torch.testing.assert_close(found.soft.sum(1), torch.ones(30))
    assert found.provenance["labels"]["epoch"] == 2
    numbers = labelled.result()["numbers"]
    assert 0 < numbers["entropy"]["value"] < math.log(10)
    assert labelled.figures()["second_guess"]["kind"] == "matrix"


@pytest.mark.parametrize(
    "changes",
    [
        {"labels": {"epoch": 3, "top_k": 2}},
        {"labels": {"epoch": 3, "top_k": 2, "renormalise": True}},
        {"labels": {"epoch": 3, "ema": 0.5}},
        {"select": "9"},
        {"select": "kmeans"},
    ],
)
def test_every_way_of_labelling_and_choosing_makes_a_set(experts, tmp_path, changes):
    config = LabelStage.model_validate({**DIGITS, "experts": "e", "ipc": 2, **changes})
    found = load(run(tmp_path / "set", run_label, config, e=experts.path).path / "set.safetensors")
    assert found.labels.tolist() == torch.arange(10).repeat_interleave(2).tolist()
    if "top_k" in changes.get("labels", {}):
        assert int((found.soft > 0).sum(1).max()) == 2
        assert bool(found.provenance.get("truncated")) != bool(changes["labels"].get("renormalise"))


def test_a_set_can_be_labelled_anew(experts, small, tmp_path):
    config = LabelStage.model_validate({**DIGITS, "experts": "e", "set": "s", "labels": {"epoch": 3}})
    found = load(run(tmp_path / "set", run_label, config, e=experts.path, s=small.path).path / "set.safetensors")
    assert torch.equal(found.images, load(small.path / "set.safetensors").images)
    assert found.soft is not None


def test_stored_images_of_several_tiles_have_no_soft_label(experts, tmp_path):
    method = {
        "name": "idc",
        "inner": 1,
        "real_images": 8,
        "batch_real": 4,
        "base_size": 8,
        "augment": "color_crop",
    }
    made = run(tmp_path / "set", run_synthesize, synthesize(method=method, ipc=1, iterations=1), e=experts.path)
    assert load(made.path / "set.safetensors").factor == 2
    config = LabelStage.model_validate({**DIGITS, "experts": "e", "set": "s", "labels": {"epoch": 1}})
    with pytest.raises(ConfigError, match="holds 2 x 2 training images"):
        run(tmp_path / "x", run_label, config, e=experts.path, s=made.path)
    look = {"sets": {"idc": "s"}, "models": {"a": NET}, "experts": "e", "soft": {"epoch": 1}, "students": STUDENTS}
    folder = run(
        tmp_path / "look",
        run_evaluate,
        EvaluateStage.model_validate({**DIGITS, **look}),
        e=experts.path,
        s=made.path,
    )
    rows = folder.tables()["students"]["rows"]
    assert [row["labels"] for row in rows if row["set"] == "idc"] == ["hard"]


def test_sets_are_held_against_random_images_with_the_same_labels(experts, small, tmp_path):
    config = EvaluateStage.model_validate(
        {
            **DIGITS,
            "sets": {"mtt": "s"},
            "models": {"a": NET, "b": {**NET, "width": 6}},
            "experts": "e",
            "soft": {"epoch": 3},
            "controls": ["random", "kmeans"],
            "students": {**STUDENTS, "rates": [0.1], "seeds": [0, 1]},
            "robust": True,
            "full": True,
            "full_epochs": 1,
        }
    )
    folder = run(tmp_path / "look", run_evaluate, config, e=experts.path, s=small.path)
    rows = folder.tables()["students"]["rows"]
    assert {row["set"] for row in rows} == {"mtt", "random 2 per class", "kmeans 2 per class"}
    assert len(rows) == 3 * 2 * 2 * 2
    worth = folder.tables()["worth"]["rows"][0]

    def of(name, labels):
        return next(
            r["accuracy"]
            for r in rows
            if (r["set"], r["labels"], r["model"], r["augment"]) == (name, labels, "a", "augmented")
        )

    assert worth["images"] == pytest.approx(of("mtt", "hard") - of("random 2 per class", "hard"))
    assert 0 <= worth["lrs"] <= 1
    assert 0 <= worth["ars"] <= 1
    trials = len(folder.trials())
    before = {t.name: (t.path / "result.json").stat().st_mtime_ns for t in folder.trials()}
    run(tmp_path / "look", run_evaluate, config, e=experts.path, s=small.path)
    assert len(folder.trials()) == trials
    assert before == {t.name: (t.path / "result.json").stat().st_mtime_ns for t in folder.trials()}


def test_ordered_subsets_are_learnt_in_order_and_at_once(experts, tmp_path):
    made = run(tmp_path / "set", run_synthesize, synthesize(subsets=2, regenerated=2), e=experts.path)
    config = EvaluateStage.model_validate(
        {**DIGITS, "sets": {"seq": "s"}, "models": {"a": NET}, "labels": ["hard"], "students": STUDENTS}
    )
    folder = run(tmp_path / "look", run_evaluate, config, s=made.path)
    modes = [row["mode"] for row in folder.tables()["students"]["rows"] if row["set"] == "seq"]
    assert modes == ["sequence", "union"]


def test_a_search_finds_ages_law_and_frontier(experts, tmp_path):
    config = SearchStage.model_validate(
        {
            **DIGITS,
            "experts": "e",
            "ipcs": [1, 2, 4, 8],
            "epochs": [1, 3],
            "top_k": [1],
            "student_epochs": {8: 2},
            "students": {"protocol": "soft", "epochs": 4, "lr": 0.2, "augment": AUGMENT, "seeds": [0, 1]},
        }
    )
    folder = run(tmp_path / "search", run_search, config, e=experts.path)
    tables, figures = folder.tables(), folder.figures()
    assert len(tables["students"]["rows"]) == 4 * (1 + 2 * 2)
    assert [row["ipc"] for row in tables["best"]["rows"]] == [1, 2, 4, 8]
    for row in tables["best"]["rows"]:
        mine = [r for r in tables["students"]["rows"] if r["ipc"] == row["ipc"] and r["epoch"] and r["k"] is None]
        assert row["validation"] == max(r["validation"] for r in mine)
    assert {"ages", "law-1", "law-3", "frontier"} <= set(figures)
    assert tables["law"]["rows"][0]["label"] == "hard"
    assert tables["frontier"]["rows"]


def test_an_ablation_measures_every_change(experts, tmp_path):
    config = AblateStage.model_validate(
        {
            **DIGITS,
            "experts": "e",
            "ipc": 2,
            "epoch": 3,
            "erase": [3],
            "students": {"protocol": "soft", "epochs": 4, "lr": 0.2, "augment": AUGMENT, "seeds": [0]},
        }
    )
    folder = run(tmp_path / "ablate", run_ablate, config, e=experts.path)
    rows = {row["label"]: row for row in folder.tables()["labels"]["rows"]}
    assert {"hard", "whole", "smoothed, same entropy", "last expert, same entropy", "swap 1", "top 3"} <= set(rows)
    assert rows["smoothed, same entropy"]["entropy"] == pytest.approx(rows["whole"]["entropy"], abs=1e-3)
    assert rows["top 1"]["mass"] < 1
    assert "3: without its images" in rows
    with pytest.raises(ConfigError, match="swaps: 12 is more than 9"):
        run(tmp_path / "x", run_ablate, config.model_copy(update={"swaps": (12,)}), e=experts.path)


def test_plans_say_what_stages_cost(experts, small):
    context = StageContext(seed=0, inputs={"e": experts.path, "s": small.path}, device="cpu")
    base = {**DIGITS, "experts": "e"}
    plans = [
        plan_experts(ExpertsStage.model_validate({**DIGITS, "model": NET, "epochs": 2}), context, {}),
        plan_label(LabelStage.model_validate({**base, "ipc": 1, "labels": {"epoch": 1}}), context, {}),
        plan_synthesize(synthesize(), context, {}),
        plan_evaluate(
            EvaluateStage.model_validate({**DIGITS, "sets": {"a": "s"}, "models": {"a": NET}}), context, {}
        ),
        plan_search(SearchStage.model_validate({**base, "ipcs": [1], "epochs": [1]}), context, {}),
        plan_ablate(AblateStage.model_validate({**base, "ipc": 1, "epoch": 1}), context, {}),
    ]
    for plan in plans:
        assert plan["steps"] >= 1
        assert plan["seconds"] >= 0
        json.dumps(plan)
    assert plans[0]["steps"] == 2 * math.ceil(270 / 256)


@pytest.mark.parametrize(
    ("stage", "values", "said", "error"),
    [
        (LabelStage, {"ipc": 40}, "ipc: 40 images per class are asked for, class '0' has", DataError),
        (LabelStage, {"ipc": 1, "labels": {"epoch": 9}}, "no snapshot after 9 epochs", ConfigError),
        (LabelStage, {"ipc": 1, "labels": {"epoch": 1, "experts": 7}}, "holds 2", ConfigError),
        (SynthesizeStage, {"ipc": 40, "method": MTT, "iterations": 1}, "ipc: 40 images per class", ConfigError),
        (
            SynthesizeStage,
            {
                "ipc": 2,
                "subsets": 2,
                "later": [{"speed": 3}],
                "method": MTT,
                "iterations": 1,
                "students": STUDENTS,
            },
            r"later\[0\]: mtt has no setting 'speed'",
            ConfigError,
        ),
        (
            SynthesizeStage,
            {"ipc": 1, "method": "dm", "iterations": 1, "model": {"name": "resnet8"}},
            "running statistics",
            Exception,
        ),
    ],
)
def test_what_cannot_be_made_is_said_so(experts, tmp_path, stage, values, said, error):
    config = stage.model_validate({**DIGITS, "experts": "e", **values})
    function = run_label if stage is LabelStage else run_synthesize
    with pytest.raises(error, match=said):
        run(tmp_path / "x", function, config, e=experts.path)


def test_experts_of_other_images_and_sets_of_other_classes_are_refused(experts, small, tmp_path):
    other = {"source": {"name": "digits", "per_class": 20}}
    config = LabelStage.model_validate({**other, "experts": "e", "ipc": 1, "labels": {"epoch": 1}})
    with pytest.raises(CheckpointError, match="trained on other images"):
        run(tmp_path / "x", run_label, config, e=experts.path)
    whitened = LabelStage.model_validate({**DIGITS, "whiten": True, "set": "s"})
    with pytest.raises(CheckpointError, match="set whiten: false"):
        run(tmp_path / "y", run_label, whitened, s=small.path)
    with pytest.raises(CheckpointError, match="no such file"):
        run(tmp_path / "z", run_label, LabelStage.model_validate({**DIGITS, "set": "s"}), s=experts.path)
