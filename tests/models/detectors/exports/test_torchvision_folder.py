"""A detector rebuilt by the Python file in its folder."""

from __future__ import annotations

import json

import pytest
import torch

import limbeck
from limbeck.errors import CheckpointError, InputError, ModelError, RunFolderError, ShapeError
from limbeck.models import DataConfig, build, save
from limbeck.models.detectors import predict
from limbeck.models.detectors.exports import export_torchvision, torchvision_folder
from limbeck.models.detectors.exports.portable import detector as portable
from limbeck.models.detectors.exports.source import difference_of

CASES = ("small_ssd", "ssd", "retinanet", "fcos", "fcos_bins", "faster_rcnn")
OF_TORCHVISION = [
    pytest.param(f"torchvision/{name}", marks=pytest.mark.slow)
    for name in ("ssdlite320_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_320_fpn")
]


@pytest.mark.parametrize("case", [*CASES, *OF_TORCHVISION])
def test_the_same_objects_at_any_size(detector_file, pictures, tmp_path, case):
    written = export_torchvision(detector_file(case), tmp_path / "out")
    assert written.compared[0].difference <= written.compared[0].allowed
    again, detector = portable.load(tmp_path / "out"), limbeck.load(detector_file(case))
    assert type(again) is type(detector)
    noise = pictures(70, 110)[0]
    assert difference_of(predict(detector, [noise])[0], portable.predict(again, [noise])[0]) <= 1e-5


def test_limbeck_reads_the_folder_and_the_file_alone(certain_file, tmp_path):
    written = export_torchvision(certain_file, tmp_path / "net.safetensors")
    assert written.files == ("net.safetensors",)
    names: dict[str, object] = {}
    exec(written.usage, names)
    export_torchvision(certain_file, tmp_path / "out")
    image = torch.rand(3, 64, 64)
    wanted = predict(limbeck.load(certain_file), [image])[0]
    for again in (names["detector"], limbeck.load(tmp_path / "out")):
        assert torch.equal(predict(again, [image])[0]["boxes"], wanted["boxes"])
        assert again.limbeck_data.class_names == ("cat", "dog", "owl")
        assert "secret" not in again.limbeck_notes


def test_scores_of_the_run_are_in_the_card(certain_file, tmp_path):
    stage = tmp_path / "stage"
    stage.mkdir()
    (stage / "model.safetensors").write_bytes(certain_file.read_bytes())
    result = {"numbers": {"AP": {"value": 0.25}, "AP50": {"value": 0.5}}, "summary": "AP 25.0% on 9 images."}
    (stage / "result.json").write_text(json.dumps(result))
    export_torchvision(stage, tmp_path / "out", licence="apache-2.0")
    card = (tmp_path / "out/README.md").read_text()
    assert "AP 25.0% on 9 images." in card
    assert "| AP50 | 50.00% |" in card
    assert '{"type": "AP", "value": 0.25}' in card


def test_frozen_norms_keep_their_epsilon(tmp_path, pictures):
    from limbeck.models.detectors import build_detector
    from limbeck.models.detectors import save as save_detector

    torch.manual_seed(0)
    settings = {"backbone": "timm/test_resnet", "frozen_norms": True, "size": (64, 64), "extra_channels": 32}
    detector = build_detector("ssd", num_classes=3, **settings).eval()
    for module in detector.backbone.modules():
        if type(module).__name__.startswith("FrozenBatchNorm"):
            module.eps = 0.3
    save_detector(detector, tmp_path / "net.safetensors")
    config = torchvision_folder.config_of(
        torchvision_folder.open_detector(tmp_path / "net.safetensors", images=pictures(64, 64))
    )
    assert config["norm_epsilon"] == pytest.approx(1e-5)  # what the file rebuilds, not what somebody changed
    export_torchvision(tmp_path / "net.safetensors", tmp_path / "out")


def test_what_is_refused_leaves_nothing_behind(certain_file, tmp_path, monkeypatch):
    net = build("resnet8", num_classes=2, in_channels=1)
    data = DataConfig(input_shape=(1, 8, 8), mean=(0.0,), std=(1.0,))
    (tmp_path / "in").mkdir()
    save(net, tmp_path / "in/net.safetensors", spec=net.limbeck_spec, data=data)
    out = tmp_path / "out"
    with pytest.raises(CheckpointError, match="holds a model, but no detector"):
        export_torchvision(tmp_path / "in/net.safetensors", out)
    with pytest.raises(InputError, match=r"\.safetensors file"):
        export_torchvision(certain_file, tmp_path / "out.onnx")
    with pytest.raises(InputError, match="licence"):
        export_torchvision(certain_file, out, licence="my own")
    with pytest.raises(RunFolderError, match="not empty"):
        export_torchvision(certain_file, tmp_path / "in")
    with pytest.raises(ShapeError, match=r"images of shape \(3, 64, 64\)"):
        export_torchvision(certain_file, out, images=[torch.rand(3, 32, 32)])
    monkeypatch.setattr(torchvision_folder, "OWN", ())
    with pytest.raises(ModelError, match="neither a detector of torchvision's nor of Limbeck's"):
        export_torchvision(certain_file, out)
    assert not out.exists()


def test_a_copy_that_differs_is_refused(certain_file, tmp_path, monkeypatch):
    true = portable.load

    def broken(folder):
        net = true(folder)
        with torch.no_grad():
            net.backbone.stem[0].weight.mul_(1.1)
        return net

    monkeypatch.setattr(portable, "load", broken)
    with pytest.raises(ModelError, match="checked and refused: read by torchvision"):
        export_torchvision(certain_file, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
