"""`limbeck export` of a detector: what it prints, and what it refuses."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from limbeck.models.detectors import build_detector, save


@pytest.fixture(scope="module", autouse=True)
def _no_trace() -> Iterator[None]:
    """Torch describes each step of a capture at length to whoever listens to its log, as pytest does."""
    logger = logging.getLogger("torch.__trace")
    before, logger.propagate = logger.propagate, False
    yield
    logger.propagate = before


@pytest.fixture(scope="module")
def detector(tmp_path_factory) -> Path:
    """A detector's file; not to be written to."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("detector") / "model.safetensors"
    save(build_detector("small_ssd", num_classes=2, size=(64, 64)).eval(), path, class_names=("cat", "dog"))
    return path


def test_the_weights_unless_a_format_is_named(cli, detector):
    done = cli("export", detector, "--out", "student.safetensors")
    assert done.code == 0, done.err
    assert "checked  read by torchvision" in done.out
    lines = done.out.partition("load     ")[2].splitlines()
    names: dict[str, object] = {}
    exec("\n".join([lines[0], *(line[9:] for line in lines[1:])]), names)
    assert names["detector"].limbeck_data.class_names == ("cat", "dog")


def test_a_folder_for_torchvision(cli, detector):
    done = cli("export", detector, "--out", "out", "--licence", "mit")
    assert done.code == 0, done.err
    assert "detector.py" in done.out
    assert 'license: "mit"' in Path("out/README.md").read_text()


def test_an_onnx_file_for_images_of_a_size(cli, detector):
    onnx = pytest.importorskip("onnx")
    done = cli("export", detector, "--format", "onnx", "--size", "48x80", "--out", "net.onnx")
    assert done.code == 0, done.err
    (image,) = onnx.load("net.onnx").graph.input
    assert [one.dim_value for one in image.type.tensor_type.shape.dim] == [1, 3, 48, 80]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("--format", "timm"),
            "holds a detector, and the format timm is of a classifier. There are torchvision, onnx, torch.",
        ),
        (("--format", "diffusers"), "and the format diffusers is of a flow"),
        (("--format", "safetensors"), "and the format safetensors is of a flow"),
        (("--format", "torchvison"), "Did you mean 'torchvision'?"),
        (("--format", "torch", "--times", "1"), "--times: the format torch has no such setting"),
        (("--size", "64x64"), "onnx of a detector and torch of a detector do"),
        (("--format", "torch", "--size", "64"), "--size 64: height and width are wanted, e.g. 480x640"),
        (("--format", "onnx", "--precision", "float16"), "--precision: the format onnx has no such setting"),
        (("--format", "onnx", "--opset", "9"), "opset 9: this onnx"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_refused_leaves_nothing_behind(cli, detector, arguments, expected):
    done = cli("export", detector, "--out", "out", *arguments)
    assert done.code == 2
    assert expected in " ".join(done.err.split())
    assert list(Path().iterdir()) == []
