"""`limbeck export`: what it prints, what it refuses, and that a refusal leaves nothing behind."""

import re
import sys
from pathlib import Path

import pytest
import torch

from limbeck.models import DataConfig, build, save

LOADED = {
    "onnx": ("onnxruntime", "import onnxruntime"),
    "torch": ("torch", "torch.export.load("),
    "hf": ("torch", "torch.export.load("),
    "state-dict": ("load_state_dict", "safetensors.torch.load_file("),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model file; not to be written to."""
    torch.manual_seed(0)
    net = build("resnet8", num_classes=3, in_channels=1).eval()
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    data = DataConfig(input_shape=(1, 8, 8), mean=(0.25,), std=(0.5,), class_names=("cat", "dog", "owl"))
    save(net, path, spec=net.limbeck_spec, data=data)
    return path


@pytest.fixture
def hub(monkeypatch):
    """Somebody who is logged in, and a hub that only writes down what it is asked."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    asked = []

    class Api:
        def create_repo(self, repository, **settings):
            asked.append(("create", repository, settings["private"]))

        def repo_info(self, repository, **_):
            return type("Info", (), {"private": True})()

        def upload_folder(self, *, repo_id, folder_path, allow_patterns, **_):
            asked.append(("upload", repo_id, sorted(allow_patterns)))
            return f"https://huggingface.co/{repo_id}/commit/1"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_token")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    return asked


@pytest.mark.parametrize("form", LOADED)
def test_what_is_printed_of_each_format(cli, model, form):
    if form == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    done = cli("export", model, "--format", form, "--out", "out")
    assert done.code == 0, done.err
    assert done.out.splitlines()[0] == "out"
    written = sorted(p.name for p in Path("out").iterdir())
    assert "README.md" in written
    sizes = dict(re.findall(r"^  (\S+)\s+([\d,]+) bytes$", done.out, flags=re.MULTILINE))
    assert sizes == {name: f"{(Path('out') / name).stat().st_size:,}" for name in written}
    reader, line = LOADED[form]
    checked = r"^checked  read by (.*): the logits of 8 images differ by at most [\d.e-]+ \(.* is allowed\)$"
    (found,) = re.findall(checked, done.out, flags=re.MULTILINE)
    assert found.startswith(reader)
    assert line in done.out.partition("load     ")[2]
    assert "out/" in done.out.partition("load     ")[2]


def test_the_lines_that_are_printed_load_it(cli, model):
    done = cli("export", model, "--format", "torch", "--out", "net.pt2")
    assert done.code == 0, done.err
    assert f"size     {Path('net.pt2').stat().st_size:,} bytes" in done.out
    lines = [line[9:] for line in done.out.partition("load     ")[2].splitlines()]
    names = {"images": torch.rand(5, 1, 8, 8)}
    exec("\n".join(["import torch", *lines[1:]]), names)
    assert names["logits"].shape == (5, 3)


def test_the_model_of_a_run(cli, finished):
    done = cli("export", finished / "student", "--out", "out")
    assert done.code == 0, done.err
    card = Path("out/README.md").read_text()
    for part in ("tags: ", "knowledge-distillation", "digits", "taught by `resnet8`", "resnet8"):
        assert part in card
    assert str(finished) not in card


def test_what_is_there_is_replaced_only_on_request(cli, model):
    for name, arguments in (("out", ("--out", "out")), ("w.safetensors", ("--out", "w.safetensors"))):
        assert cli("export", model, *arguments).code == 0
        path = Path(name)
        before = {p: p.stat().st_mtime_ns for p in ([*path.iterdir()] if path.is_dir() else [path])}
        refused = cli("export", model, *arguments)
        assert refused.code == 2
        assert "--force" in refused.err
        assert {p: p.stat().st_mtime_ns for p in before} == before
        assert cli("export", model, *arguments, "--force").code == 0
    assert sorted(p.name for p in Path().iterdir()) == ["out", "w.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("--format", "tourch"),
            ("--format tourch", "Did you mean 'torch'?", "state-dict, timm, hf, onnx, torch"),
        ),
        (("--format", "timm"), ("'resnet8' is not an architecture of timm's", "--format hf, onnx or torch")),
        (("--opset", "18"), ("--opset: the format state-dict has no such setting", "onnx")),
        (
            ("--format", "hf", "--precision", "float16"),
            ("--precision: the format hf has no such", "onnx and torch"),
        ),
        (("--format", "torch", "--precision", "half"), ("--precision half", "float32, float16, bfloat16")),
        (("--format", "torch", "--normalise", "insid"), ("Did you mean 'inside'?",)),
        (("--private",), ("--private", "--push owner/name")),
        (("--licence", "as you like"), ("licence 'as you like'", "apache-2.0")),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) and value[0].startswith("--") else "",
)
def test_what_is_refused_leaves_nothing_behind(cli, model, arguments, expected):
    done = cli("export", model, "--out", "out", *arguments)
    assert done.code == 2
    for part in expected:
        assert part in done.err
    assert done.out == ""
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("form", "name", "expected"),
    [
        ("onnx", "net.pt2", "name the file net.onnx, not net.pt2"),
        ("torch", "net.pt", "a .pt2 file, not a pickle: name the file net.pt2"),
        ("state-dict", "net.onnx", "name the file net.safetensors"),
        ("hf", "net.safetensors", "this format is a folder: name one, e.g. net"),
    ],
)
def test_a_name_of_another_format(cli, model, form, name, expected):
    if form == "onnx":
        pytest.importorskip("onnxruntime")
    done = cli("export", model, "--format", form, "--out", name)
    assert done.code == 2
    assert expected in done.err
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("form", "package", "extra"),
    [("onnx", "onnx", "export"), ("onnx", "onnxscript", "export"), ("onnx", "onnxruntime", "export")],
)
def test_the_extra_is_named(cli, model, monkeypatch, form, package, extra):
    monkeypatch.setitem(sys.modules, package, None)
    done = cli("export", model, "--format", form, "--out", "out")
    assert done.code == 2
    assert f"needs the package '{package}'" in done.err
    assert f"limbeck[{extra}]" in done.err
    assert list(Path().iterdir()) == []


def test_a_folder_is_pushed(cli, model, hub):
    done = cli("export", model, "--out", "out", "--push", "me/net", "--private", "--licence", "mit")
    assert done.code == 0, done.err
    assert hub == [("create", "me/net", True), ("upload", "me/net", ["README.md", "model.safetensors"])]
    assert "pushed   https://huggingface.co/me/net/commit/1" in done.out
    card = Path("out/README.md").read_text()
    assert '"me/net"' in card
    assert 'license: "mit"' in card


def test_nobody_logged_in_is_told_before_any_work(cli, model, hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    done = cli("export", model, "--out", "out", "--push", "me/net")
    assert done.code == 2
    for part in ("nobody is logged in", "nothing was uploaded", "hf auth login", "HF_TOKEN"):
        assert part in done.err
    assert hub == []
    assert list(Path().iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--out", "out", "--push", "net"), "a repository is owner/name"),
        (("--out", "net.safetensors", "--push", "me/net"), "--push uploads a folder with a model card: --out net"),
    ],
)
def test_a_push_that_cannot_be(cli, model, hub, arguments, expected):
    done = cli("export", model, *arguments)
    assert done.code == 2
    assert expected in done.err
    assert hub == []
    assert list(Path().iterdir()) == []


def test_an_export_that_differs_is_neither_kept_nor_pushed(cli, model, hub, monkeypatch):
    from limbeck.models.exports import state_dict

    monkeypatch.setattr(
        state_dict, "plain_tensors", lambda net: {k: torch.zeros_like(v) for k, v in net.state_dict().items()}
    )
    done = cli("export", model, "--out", "out", "--push", "me/net")
    assert done.code == 2
    assert "checked and refused" in done.err
    assert hub == []
    assert list(Path().iterdir()) == []


def test_a_network_of_ones_own_needs_its_plugin(cli, tmp_path, monkeypatch):
    from limbeck.registry import imports_allowed

    (tmp_path / "mine_own.py").write_text(
        "import torch\n\nclass Mine(torch.nn.Module):\n    def __init__(self, *, num_classes=2):\n"
        "        super().__init__()\n        self.fc = torch.nn.Linear(12, num_classes)\n\n"
        "    def forward(self, x):\n        return self.fc(x.flatten(1))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with imports_allowed(["mine_own"]):
        net = build("mine_own:Mine", num_classes=2)
    data = DataConfig(input_shape=(3, 2, 2), mean=(0.5,) * 3, std=(0.5,) * 3)
    save(net, "mine.safetensors", spec=net.limbeck_spec, data=data)
    refused = cli("export", "mine.safetensors", "--format", "torch", "--out", "mine.pt2")
    assert refused.code == 2
    assert "--plugin mine_own" in refused.err
    done = cli("export", "mine.safetensors", "--format", "torch", "--out", "mine.pt2", "--plugin", "mine_own")
    assert done.code == 0, done.err
    assert torch.export.load("mine.pt2").module()(torch.rand(4, 3, 2, 2)).shape == (4, 2)
    monkeypatch.delitem(sys.modules, "mine_own")
