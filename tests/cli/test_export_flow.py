"""`limbeck export` of a flow: what it prints, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from limbeck.flow import Flow
from limbeck.flow import save as save_flow
from limbeck.models import DataConfig, build, save
from limbeck.models.velocity import build_velocity_network

RECIPE = """\
title: Tiny flow
stages:
  flow:
    kind: flow.train
    target: {name: moons}
    network: {name: mlp, width: 8}
    train: {steps: 2, batch_size: 20}
"""


@pytest.fixture(scope="module", autouse=True)
def _no_trace() -> Iterator[None]:
    """Torch describes each step of a capture at length to whoever listens to its log, as pytest does."""
    import logging

    logger = logging.getLogger("torch.__trace")
    before, logger.propagate = logger.propagate, False
    yield
    logger.propagate = before


@pytest.fixture(scope="module")
def flow(tmp_path_factory) -> Path:
    """A flow's file; not to be written to."""
    torch.manual_seed(0)
    network = build_velocity_network("mlp", image_shape=(2, 1, 1), width=8)
    path = tmp_path_factory.mktemp("flow") / "model.safetensors"
    save_flow(Flow(network, image_shape=(2, 1, 1)), path)
    return path


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Path:
    net = build("resnet8", num_classes=3, in_channels=1).eval()
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save(net, path, spec=net.limbeck_spec, data=DataConfig(input_shape=(1, 8, 8), mean=(0.25,), std=(0.5,)))
    return path


def test_the_weights_unless_a_format_is_named(cli, flow):
    done = cli("export", flow, "--out", "student.safetensors")
    assert done.code == 0, done.err
    assert "the velocities at 8 points differ by at most 0" in done.out
    lines = done.out.partition("load     ")[2].splitlines()
    names: dict[str, object] = {}
    exec("\n".join([lines[0], *(line[9:] for line in lines[1:])]), names)
    assert isinstance(names["flow"], Flow)


def test_a_sampler_whose_printed_lines_run(cli, flow):
    done = cli("export", flow, "--format", "torch", "--times", "1,0.8", "--out", "s.pt2")
    assert done.code == 0, done.err
    assert "checked  read by torch" in done.out
    assert "the images from 8 noises" in done.out
    lines = [line[9:] for line in done.out.partition("load     ")[2].splitlines()]
    names: dict[str, object] = {}
    exec("\n".join(["import torch", *lines[1:]]), names)
    assert names["images"].shape == (16, 2, 1, 1)


def test_a_folder_for_diffusers(cli, flow):
    pytest.importorskip("diffusers")
    done = cli("export", flow, "--format", "diffusers", "--evaluations", 2, "--out", "out", "--licence", "mit")
    assert done.code == 0, done.err
    assert "velocity/velocity.pt2" in done.out
    assert json.loads(Path("out/model_index.json").read_text())["flow"]["times"] == [1 - 1e-5, 0.5, 0.0]
    assert 'license: "mit"' in Path("out/README.md").read_text()


@pytest.mark.parametrize(
    ("what", "arguments", "expected"),
    [
        (
            "flow",
            ("--format", "timm"),
            "holds a flow, and the format timm is of a classifier. There are safetensors",
        ),
        ("flow", ("--format", "hf"), "and the format hf is of a classifier"),
        ("flow", ("--format", "state-dict"), "There are safetensors, torch, diffusers."),
        ("classifier", ("--format", "diffusers"), "holds a classifier, and the format diffusers is of a flow"),
        ("classifier", ("--format", "safetensors"), "There are state-dict, timm, hf, onnx, torch."),
        ("classifier", ("--format", "torch", "--times", "1"), "--times: the format torch has no such setting"),
        ("classifier", ("--evaluations", "2"), "torch of a flow and diffusers of a flow do"),
        ("flow", ("--format", "torch", "--precision", "float16"), "--precision: the format torch has no such"),
        ("flow", ("--format", "torch", "--times", "0.5,0.8"), "times fall from noise (1) to data (0)"),
        ("flow", ("--format", "torch", "--times", "one"), "--times one: numbers between commas"),
        ("flow", ("--format", "torch", "--evaluations", "0"), "at least 1 network evaluation"),
        ("flow", ("--format", "difusers"), "Did you mean 'diffusers'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_refused_leaves_nothing_behind(cli, flow, classifier, what, arguments, expected):
    done = cli("export", {"flow": flow, "classifier": classifier}[what], "--out", "out", *arguments)
    assert done.code == 2
    assert expected in " ".join(done.err.split())
    assert list(Path().iterdir()) == []


def test_the_lines_after_a_run_are_true(cli):
    Path("tiny.yaml").write_text(RECIPE)
    done = cli("run", "tiny.yaml", "--out", "run", "--device", "cpu")
    assert done.code == 0, done.err
    (load,) = [line for line in done.out.splitlines() if line.startswith("load     ")]
    names: dict[str, object] = {}
    exec(load[9:], names)
    assert isinstance(names["model"], Flow)
    (export,) = [line for line in done.out.splitlines() if line.startswith("export   limbeck ")]
    again = cli(*export.split()[2:])
    assert again.code == 0, again.err
    assert Path("student.safetensors").is_file()
