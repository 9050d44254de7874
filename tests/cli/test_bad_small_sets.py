"""Bad input to the stages of data-set distillation: one clear message each, exit code 2, nothing harmed."""

from __future__ import annotations

import json
import re
import shutil

import pytest
from terminal import limbeck, snapshot

NET = "{name: convnet, depth: 1, width: 4, image_size: 8}"
DIGITS = "{name: digits, per_class: 20}"
MADE = f"""\
title: A small set
stages:
  experts: {{kind: dataset.experts, source: {DIGITS}, model: {NET}, epochs: 2, batch_size: 64, augment: crop}}
  set: {{kind: dataset.label, source: {DIGITS}, experts: experts, ipc: 2, labels: {{epoch: 2}}}}
"""
STAGE = """\
title: More
stages:
  more: {{kind: dataset.{kind}, source: {source}, {rest}}}
"""
SYNTH = "experts: made/experts, iterations: 1, method: {{name: mtt, {method}}}, ipc: {ipc}"


def synthesize(method="steps: 2, start_epochs: [0, 1], expert_epochs: 1", ipc=1, more=""):
    return "synthesize", SYNTH.format(method=method, ipc=ipc) + more


def label(rest):
    return "label", rest


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    (folder / "made.yaml").write_text(MADE)
    done = limbeck("run", folder / "made.yaml", "--out", folder / "made", "--quiet", "--device", "cpu")
    assert done.code == 0, done.err
    return folder / "made"


def truncated_shard(path):
    file = path / "made/experts/trajectories/expert-0000.safetensors"
    file.write_bytes(file.read_bytes()[:-40])


def missing_shards(path):
    (path / "made/experts/trajectories/expert-0000.safetensors").unlink()


def newer_shards(path):
    file = path / "made/experts/trajectories/trajectories.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "version": 9}))


def truncated_set(path):
    file = path / "made/set/set.safetensors"
    file.write_bytes(file.read_bytes()[:300])


def model_for_set(path):
    (path / "made/set/set.safetensors").write_bytes(b"PK\x03\x04 not tensors")


CASES = {
    "more images than a class has": (*synthesize(ipc=30), "ipc: 30 images per class.*class '0' has"),
    "an empty interval": (*synthesize("start_epochs: [2, 2]"), r"start_epochs: \[2, 2\) is empty"),
    "starts beyond the experts": (*synthesize("start_epochs: [0, 9]"), "snapshots 0 to 2"),
    "a setting that the method lacks": (*synthesize("stps: 3"), "no setting 'stps'. Did you mean 'steps'"),
    "a family that does not exist": (
        *synthesize("steps: 2, start_epochs: [0, 1], expert_epochs: 1, augment: crob"),
        "'crob'.*Did you mean 'crop'",
    ),
    "parts that do not add up": (
        *synthesize(ipc=4, more=", subsets: [2, 1]"),
        "have 3 images per class, ipc says 4",
    ),
    "experts of another network": (
        *synthesize(more=", model: {name: convnet, depth: 1, width: 8, image_size: 8}"),
        "experts in .* are .* parameters; the network to be matched has",
    ),
    "a network with running statistics": (
        "synthesize",
        "model: resnet8, method: dm, ipc: 1, iterations: 1",
        "running statistics .*instance",
    ),
    "no network": ("synthesize", "method: dm, ipc: 1, iterations: 1", "model: which network"),
    "no experts": ("synthesize", f"model: {NET}, method: mtt, ipc: 1, iterations: 1", "experts: <a stage"),
    "no teacher": ("synthesize", f"model: {NET}, method: sre2l, ipc: 1, iterations: 1", "teacher: <a stage"),
    "neither size nor budget": (
        "synthesize",
        f"model: {NET}, method: dm, iterations: 1",
        "either ipc or megabytes",
    ),
    "a budget that holds nothing": (
        "synthesize",
        f"model: {NET}, method: dm, megabytes: 0.0001, iterations: 1",
        "hold no image of every class",
    ),
    "choosing without validation": (
        *synthesize(more=", judge_every: 1, validation: 0"),
        "needs a validation share",
    ),
    "an epoch without a snapshot": (
        *label("experts: made/experts, ipc: 1, labels: {epoch: 7}"),
        "no snapshot after 7",
    ),
    "more experts than there are": (
        *label("experts: made/experts, ipc: 1, labels: {epoch: 1, experts: 4}"),
        "4 are asked for, .* holds 1",
    ),
    "soft labels without experts": (*label("ipc: 1, labels: {epoch: 1}"), "need experts"),
    "ipc beside a set": (*label("ipc: 1, set: made/set"), "give one of ipc and megabytes"),
    "ZCA beside normalisation": (*label("set: made/set, whiten: true"), "set whiten: false"),
    "a model where experts are due": (
        *label("experts: made/set, ipc: 1, labels: {epoch: 1}"),
        "holds a image set|needed",
    ),
    "a rank that does not exist": (
        "ablate",
        "experts: made/experts, ipc: 1, epoch: 1, swaps: [10]",
        "swaps: 10 is more than 9",
    ),
    "seeds that repeat": (
        "search",
        "experts: made/experts, ipcs: [1], epochs: [1], students: {seeds: [0, 0]}",
        "distinct",
    ),
}
DAMAGED = {
    "a truncated shard": (
        truncated_shard,
        label("experts: made/experts, ipc: 1, labels: {epoch: 1}"),
        "truncated",
    ),
    "missing shards": (
        missing_shards,
        label("experts: made/experts, ipc: 1, labels: {epoch: 1}"),
        "no expert yet",
    ),
    "shards of a newer release": (
        newer_shards,
        label("experts: made/experts, ipc: 1, labels: {epoch: 1}"),
        "version 9",
    ),
    "a truncated set": (truncated_set, label("set: made/set"), "truncated"),
    "a set that is something else": (model_for_set, label("set: made/set"), "no safetensors"),
    "experts of other images": (
        lambda path: None,
        ("label", "experts: made/experts, ipc: 1, labels: {epoch: 1}", "{name: digits, per_class: 10}"),
        "trained on other images",
    ),
}


def run(tmp_path, made, kind, rest, source=DIGITS, harm=None):
    shutil.copytree(made, tmp_path / "made")
    if harm is not None:
        harm(tmp_path)
    before = snapshot(tmp_path / "made")
    (tmp_path / "my.yaml").write_text(STAGE.format(kind=kind, source=source, rest=rest))
    done = limbeck("run", "my.yaml", "--out", "out", "--quiet", "--device", "cpu")
    assert snapshot(tmp_path / "made") == before
    return done


def check(done, says):
    text = done.out + done.err
    assert done.code == 2, text
    assert re.search(says, text, flags=re.DOTALL), text
    assert "Traceback" not in text
    assert "unexpected" not in text


@pytest.mark.parametrize("name", CASES)
def test_one_clear_message(name, made, tmp_path, cli):
    kind, rest, says = CASES[name]
    check(run(tmp_path, made, kind, rest), says)


@pytest.mark.parametrize("name", DAMAGED)
def test_one_clear_message_about_files(name, made, tmp_path, cli):
    harm, asked, says = DAMAGED[name]
    check(run(tmp_path, made, *asked, harm=harm), says)
