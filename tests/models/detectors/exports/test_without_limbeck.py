"""Every format finds the same objects as `predict`, in a process in which Limbeck cannot be imported."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import limbeck
from limbeck.models.detectors import predict
from limbeck.models.detectors.exports import export_onnx, export_torch, export_torchvision
from limbeck.models.detectors.exports.source import difference_of

READER = """
import onnxruntime
import torch
import torchvision
from safetensors.torch import load_file, save_file
folder = sys.argv[1]
images = load_file(f"{folder}/images.safetensors")
sys.path.insert(0, f"{folder}/torchvision")
from detector import load, predict
rebuilt, program = load(), torch.export.load(f"{folder}/model.pt2").module()
session = onnxruntime.InferenceSession(f"{folder}/model.onnx", providers=["CPUExecutionProvider"])
names = ["boxes", "labels", "scores"]
found = {}
for number, image in images.items():
    each = {"torchvision": predict(rebuilt, [image])[0], "torch": program(image[None])}
    values = session.run(names, {"images": image[None].numpy()})
    each["onnx"] = {name: torch.from_numpy(value) for name, value in zip(names, values)}
    for format, one in each.items():
        found |= {f"{format}.{number}.{name}": one[name].contiguous() for name in names}
assert rebuilt.class_names == ("cat", "dog", "owl")
save_file(found, f"{folder}/found.safetensors")
"""
FAMILIES = [
    "small_ssd",
    *(pytest.param(case, marks=pytest.mark.slow) for case in ("ssd", "retinanet", "fcos", "fcos_bins")),
    pytest.param("faster_rcnn", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("case", FAMILIES)
def test_the_same_objects_in_every_format(detector_file, certain_file, alone, pictures, tmp_path, root, case):
    # Of SSD the detector that finds nothing in the plain image; of the two-stage one images of another size.
    path = certain_file if case == "small_ssd" else detector_file(case)
    size = (80, 50) if case == "faster_rcnn" else None
    written = [
        export_torchvision(path, tmp_path / "torchvision"),
        export_torch(path, tmp_path / "model.pt2", size=size),
        export_onnx(path, tmp_path / "model.onnx", size=size),
    ]
    for one in written:
        assert one.compared[0].difference <= one.compared[0].allowed
    images = pictures(*(size or (64, 64)))
    save_file({str(number): image for number, image in enumerate(images)}, tmp_path / "images.safetensors")
    alone(READER, tmp_path)
    found, detector = load_file(tmp_path / "found.safetensors"), limbeck.load(path)
    # In a plain image scores of untrained weights are equal, and which box is the first is anyone's guess.
    for number, image in enumerate(images if case == "small_ssd" else images[:2]):
        (wanted,) = predict(detector, [image])
        for form, allowed in (("torchvision", 1e-5), ("torch", 1e-5), ("onnx", 1e-4)):
            copy = {name: found[f"{form}.{number}.{name}"] for name in ("boxes", "labels", "scores")}
            assert difference_of(wanted, copy) <= allowed, (form, number)
            assert (copy["boxes"].shape[1], copy["labels"].dtype) == (4, wanted["labels"].dtype)
    if case == "small_ssd":
        assert [len(found[f"onnx.{number}.scores"]) > 0 for number in range(3)] == [True, True, False]
    for file in (path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".pyc"):
        for said in (str(tmp_path), str(root), sys.prefix, str(path.parent)):
            assert said.encode() not in file.read_bytes(), (file, said)


def test_what_the_files_say_of_themselves(certain_file, tmp_path):
    import onnx
    import torch

    export_torch(certain_file, tmp_path / "torch", licence="MIT")
    export_onnx(certain_file, tmp_path / "onnx", repository="me/owls")
    extra = {"limbeck.json": ""}
    torch.export.load(tmp_path / "torch/model.pt2", extra_files=extra)
    model = onnx.load(tmp_path / "onnx/model.onnx")
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(metadata["class_names"]) == json.loads(extra["limbeck.json"])["class_names"]
    assert json.loads(metadata["class_names"]) == ["cat", "dog", "owl"]
    assert json.loads(metadata["input_shape"]) == [1, 3, 64, 64]
    assert "NonMaxSuppression" in {node.op_type for node in model.graph.node}
    assert [one.name for one in model.graph.output] == ["boxes", "labels", "scores"]
    card = (tmp_path / "torch/README.md").read_text()
    assert 'license: "mit"' in card
    assert 'pipeline_tag: "object-detection"' in card
    assert "0 cat, 1 dog, 2 owl" in card
    assert "differ by at most 0 (1e-05 is allowed)" in card
    assert 'hf_hub_download("me/owls", "model.onnx")' in (tmp_path / "onnx/README.md").read_text()
    # The threshold can be changed by whoever has the file.
    program = torch.export.load(tmp_path / "torch/model.pt2").module()
    image = torch.rand(1, 3, 64, 64)
    assert len(program(image)["scores"])
    program.get_buffer("score_threshold").fill_(2)
    assert {name: tuple(value.shape) for name, value in program(image).items()} == {
        "boxes": (0, 4),
        "labels": (0,),
        "scores": (0,),
    }


def test_the_lines_of_the_card_run(certain_file, tmp_path, alone):
    alone(export_torch(certain_file, tmp_path / "s.pt2").usage + "\nassert found['boxes'].shape[1] == 4")
    folder = export_torchvision(certain_file, tmp_path / "folder")
    alone(folder.usage + "\nassert found[0]['boxes'].shape[1] == 4")
    assert sorted(p.name for p in Path(folder).iterdir() if p.suffix) == [
        "README.md",
        "config.json",
        "detector.py",
        "model.safetensors",
    ]
