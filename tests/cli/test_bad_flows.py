"""Bad input to the stages of flow distillation: one clear message each, exit code 2, nothing harmed."""

from __future__ import annotations

import re
import shutil

import pytest
import torch
from terminal import limbeck, snapshot

DIGITS = "{name: digits, per_class: 10}"
QUICK = "train: {steps: 2, batch_size: 32, ema: []}"
NET = "{name: mlp, width: 8, depth: 1}"
MADE = f"""\
title: A flow and its pairs
stages:
  flow: {{kind: flow.train, source: {DIGITS}, network: {NET}, conditional: true, {QUICK}}}
  other: {{kind: flow.train, source: {DIGITS}, network: {NET}, conditional: true, seed: 9, {QUICK}}}
  points: {{kind: flow.train, target: moons, network: {NET}, {QUICK}}}
  pairs: {{kind: flow.pairs, teacher: flow, count: 40, shard_size: 20, evaluations: 3}}
  straight: {{kind: flow.distill, teacher: flow, pairs: pairs, {QUICK}}}
  classifier: {{kind: classify.train, source: {DIGITS}, model: resnet8, train: {{steps: 1}}}}
"""
STAGE = """\
title: More
stages:
  more: {{kind: flow.{kind}, {rest}}}
"""
REAL = f"source: {DIGITS}"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    (folder / "made.yaml").write_text(MADE)
    done = limbeck("run", folder / "made.yaml", "--out", folder / "made", "--quiet", "--device", "cpu")
    assert done.code == 0, done.err
    return folder / "made"


def distill(rest="", teacher="made/flow", pairs="made/pairs"):
    return "distill", f"teacher: {teacher}, pairs: {pairs}, {QUICK}{rest}"


CASES = {
    "a budget that heun cannot spend": (
        ("pairs", "teacher: made/flow, count: 10, evaluations: 4"),
        "heun takes two network evaluations.*odd number.*give 3 or 5",
    ),
    "a budget for the adaptive solver": (
        ("sample", "flow: made/flow, evaluations: [4], solver: adaptive"),
        "chooses its own number",
    ),
    "times outside": (
        ("sample", "flow: made/flow, evaluations: [2], times: [1.5, 0.5]"),
        r"times\[0\].*less than or equal to 1|times.*at most 1",
    ),
    "times that rise": (
        ("sample", "flow: made/flow, evaluations: [2], times: [0.5, 0.8]"),
        "times fall from noise",
    ),
    "the new rule on a curved flow": (
        ("sample", "flow: made/flow, evaluations: [4], solver: anchored"),
        "not reflowed.*euler or heun",
    ),
    "a label beyond the classes": (("sample", "flow: made/flow, labels: [10]"), "10 is beyond the 10 classes"),
    "labels for a flow without": (("sample", "flow: made/points, labels: [1]"), "knows no classes"),
    "a class that does not exist": (
        ("sample", f"flow: made/flow, translate: [1, 12], {REAL}"),
        "classes run from 0 to 9",
    ),
    "guidance without classes": (
        ("sample", "flow: made/points, guidance: 2"),
        "guidance needs a flow with classes",
    ),
    "pairs of another teacher": (distill(teacher="made/other"), "another teacher .* than 'made/other'"),
    "a teacher of another resolution": (
        ("score", "flows: {a: made/flow}, source: {name: digits, size: 16}"),
        r"images of \(1, 8, 8\), the data \(1, 16, 16\)",
    ),
    "a classifier where a flow is due": (
        ("pairs", "teacher: made/classifier, count: 10"),
        "is a classifier|needed is a flow|holds a classifier|no flow",
    ),
    "a model without pairs": (("distill", f"teacher: made/flow, {QUICK}"), "pairs: which pairs"),
    "no distance": (distill(", objective: perceptual_huber"), "which distance"),
    "no classifier for the distance": (
        distill(", objective: perceptual_huber, distance: classifier"),
        "needs features",
    ),
    "missing feature weights": (
        distill(", objective: perceptual_huber, distance: {name: lpips_vgg, vgg_weights: nowhere.pth}"),
        "weights of VGG-16.*nowhere.pth.*distance: classifier",
    ),
    "missing inception weights": (
        ("score", f"flows: {{a: made/flow}}, {REAL}, scoring: {{samples: 20, inception_weights: nowhere.pth}}"),
        "pt_inception-2015-12-05",
    ),
    "real pairs without a store": (distill(", real_share: 0.5"), "real_pairs: <a stage"),
    "points as bytes": (("pairs", "teacher: made/points, count: 10, evaluations: 3"), "points need keep: float32"),
    "more real pairs than images": (
        ("pairs", f"teacher: made/flow, invert: true, solver: euler, count: 900, {REAL}"),
        "900 pairs of real images",
    ),
    "inversion by a rule that only generates": (
        ("pairs", f"teacher: made/flow, invert: true, solver: sigma_heun, {REAL}"),
        "sigma_heun only generates",
    ),
    "a network that cannot begin as its teacher": (
        distill(", network: {name: mlp, width: 16}"),
        "initialise: random",
    ),
    "a progressive start that is no power of two": (
        distill(", method: {name: progressive, start: 6}"),
        "power of two",
    ),
    "data for a method of pairs": (distill(f", on_data: true, {REAL}"), "learns from pairs"),
    "neither images nor points": (("train", f"network: {NET}"), "source: <images>, or target"),
    "classes of points": (("train", f"network: {NET}, target: moons, conditional: true"), "have no classes"),
    "a size that cannot be halved": (
        ("train", f"network: {{name: small_unet, multiples: [1, 1, 1, 1, 1]}}, {REAL}, {QUICK}"),
        "cannot be halved 4 times",
    ),
    "a setting that a network lacks": (
        ("train", f"network: {{name: mlp, widht: 8}}, {REAL}"),
        "no setting 'widht'. Did you mean 'width'",
    ),
    "a teacher that is not there": (
        ("teacher", f"weights: nowhere.pt, network: {NET}, parameterisation: edm, image_shape: [1, 8, 8]"),
        "no file at nowhere.pt",
    ),
    "a teacher that does not say what it is": (
        ("teacher", "weights: weights.pt"),
        "network: a state dict does not say",
    ),
    "a teacher of other channels": (
        (
            "teacher",
            f"weights: weights.pt, network: {NET}, parameterisation: velocity, image_shape: [3, 8, 8]",
        ),
        "does not fit the network.*is needed",
    ),
    "reversed time": (
        (
            "teacher",
            f"weights: backwards.pt, network: {NET}, parameterisation: velocity, image_shape: [1, 2, 2]",
        ),
        "time runs backwards.*direction: noise_to_data",
    ),
    "a pickle": (
        ("teacher", f"weights: pickle.pt, network: {NET}, parameterisation: velocity, image_shape: [1, 2, 2]"),
        "without executing it",
    ),
}


def truncated(path):
    file = path / "made/pairs/pairs/pairs-00001.safetensors"
    file.write_bytes(file.read_bytes()[:-30])


def changed(path):
    file = path / "made/pairs/pairs/pairs-00000.safetensors"
    whole = bytearray(file.read_bytes())
    whole[-1] ^= 1
    file.write_bytes(bytes(whole))


def missing(path):
    (path / "made/pairs/pairs/pairs-00001.safetensors").unlink()


def emptied(path):
    (path / "made/pairs/pairs/manifest.json").write_text("{}")


def cut_flow(path):
    file = path / "made/flow/model.safetensors"
    file.write_bytes(file.read_bytes()[:-9])


DAMAGED = {
    "a truncated shard": (truncated, distill(), "pairs-00001.safetensors is cut short"),
    "a changed shard": (changed, distill(), "checksum"),
    "a missing shard": (missing, distill(), "is missing. Run the stage that makes the pairs again"),
    "a damaged manifest": (emptied, distill(), "manifest.json is damaged"),
    "a truncated flow": (cut_flow, ("sample", "flow: made/flow"), "damaged|cut short"),
}


def files(path):
    from limbeck.models.velocity import build_velocity_network

    torch.manual_seed(0)
    net = build_velocity_network("mlp", image_shape=(1, 8, 8), width=8, depth=1)
    torch.save(net.state_dict(), path / "weights.pt")
    torch.save(net, path / "pickle.pt")
    small = build_velocity_network("mlp", image_shape=(1, 2, 2), width=8, depth=1)
    # The velocity of noise at 0 and data at 1 against all noise: -x through the first layers of a linear net.
    with torch.no_grad():
        for parameter in small.parameters():
            parameter.zero_()
        small.enter.weight[:4] = torch.eye(4)
        small.enter.weight[4:] = -torch.eye(4)
        small.leave[1].weight[:, :4] = -torch.eye(4)
        small.leave[1].weight[:, 4:] = torch.eye(4)
    torch.save(small.state_dict(), path / "backwards.pt")


def run(tmp_path, made, kind, rest, harm=None):
    shutil.copytree(made, tmp_path / "made")
    files(tmp_path)
    if harm is not None:
        harm(tmp_path)
    before = snapshot(tmp_path / "made")
    (tmp_path / "my.yaml").write_text(STAGE.format(kind=kind, rest=rest))
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
    asked, says = CASES[name]
    check(run(tmp_path, made, *asked), says)


@pytest.mark.parametrize("name", DAMAGED)
def test_one_clear_message_about_files(name, made, tmp_path, cli):
    harm, asked, says = DAMAGED[name]
    check(run(tmp_path, made, *asked, harm=harm), says)
