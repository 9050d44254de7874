"""Bad input: each case gets one message that names what is wrong and what would be right, and harms nothing."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from terminal import RECIPE, Done, limbeck, snapshot

MORE = """\
  more:
    kind: classify.distill
    teacher: {teacher}
    source: {source}
    model: {model}
    terms: {terms}
    weak_teacher: {weak_teacher}
    train: {{steps: 2, batch_size: 20{train}}}
    {rest}
smoke:"""


@dataclass
class World:
    """The folder in which a case happens: `run` is a finished run of RECIPE, `my.yaml` the recipe."""

    path: Path
    monkeypatch: pytest.MonkeyPatch
    cleanup: list[Callable[[], Any]] = field(default_factory=list)

    def recipe(self, old: str = "", new: str = "", *, more: dict[str, str] | None = None) -> Path:
        """The recipe with one change, or with one more stage."""
        text = RECIPE
        if old:
            assert old in text
            text = text.replace(old, new, 1)
        if more is not None:
            values = {
                "teacher": "teacher",
                "source": "{name: digits, per_class: 4}",
                "model": "resnet8",
                "terms": "kd",
                "weak_teacher": "true",
                "train": "",
                "rest": "",
            }
            text = text.replace("smoke:", MORE.format(**(values | more)), 1)
        return self.write("my.yaml", text)

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def photos(self, classes: Sequence[str] = ("cat", "cow", "dog"), images: int = 5) -> str:
        for name in classes:
            (self.path / "photos" / name).mkdir(parents=True)
            for number in range(images):
                picture = Image.effect_noise((16, 16), 40 + number)
                picture.save(self.path / "photos" / name / f"{number}.png")
        return "{name: folder, root: photos, size: 8, channels: 1}"

    def model(self) -> bytes:
        return (self.path / "run/teacher/model.safetensors").read_bytes()

    def run(self, *arguments: object, recipe: Path | str = "my.yaml") -> Done:
        return limbeck("run", recipe, "--out", "run", "--device", "cpu", *arguments)


Act = Callable[[World], Done]


@dataclass(frozen=True)
class Case:
    """One kind of bad input."""

    name: str
    act: Act
    says: tuple[str, ...]
    code: int = 2
    late: bool = False
    """Found only when the stage starts: the run folder has taken in the recipe by then."""


def changed(name: str, old: str, new: str, *says: str) -> Case:
    """The recipe with one change."""

    def act(world: World) -> Done:
        world.recipe(old, new)
        return world.run()

    return Case(name, act, says)


def written(name: str, text: str | bytes, *says: str) -> Case:
    """Another recipe altogether."""

    def act(world: World) -> Done:
        world.write("my.yaml", text)
        return world.run()

    return Case(name, act, says)


def asked(name: str, arguments: Sequence[str], *says: str) -> Case:
    """The right recipe with a wrong command line."""

    def act(world: World) -> Done:
        world.recipe()
        return world.run(*arguments)

    return Case(name, act, says)


def added(
    name: str, more: dict[str, str], *says: str, code: int = 2, prepare: Callable[[World], Any] | None = None
):
    """The right recipe with one more stage, which cannot start."""

    def act(world: World) -> Done:
        if prepare is not None:
            prepare(world)
        world.recipe(more=more)
        return world.run()

    return Case(name, act, says, code, late=True)


def in_python(name: str, call: Callable[[World], Any], *says: str) -> Case:
    """What the command line cannot reach."""

    def act(world: World) -> Done:
        from limbeck.errors import LimbeckError

        with pytest.raises(LimbeckError) as caught:
            call(world)
        return Done(caught.value.exit_code, "", str(caught.value))

    return Case(name, act, says)


# --- what takes more than a line to arrange


def truncated_image(world: World) -> None:
    world.photos()
    victim = world.path / "photos/cow/2.png"
    victim.write_bytes(victim.read_bytes()[:60])


def empty_folder(world: World) -> None:
    (world.path / "photos/cat").mkdir(parents=True)
    (world.path / "photos/dog").mkdir(parents=True)


def parquet_without_labels(world: World) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    (world.path / "hf").mkdir()
    table = pa.table({"img": [b"x", b"y"], "caption": ["a", "b"]})
    for split in ("train", "test"):
        pq.write_table(table, world.path / f"hf/{split}.parquet")


def truncated_model(world: World) -> None:
    world.write("broken.safetensors", world.model()[:-100])


def flipped_bit(world: World) -> None:
    content = bytearray(world.model())
    content[-10] ^= 1
    world.write("broken.safetensors", bytes(content))


def pickled_model(world: World) -> None:
    torch.save({"weight": torch.zeros(2)}, world.path / "broken.safetensors")


def newer_model(world: World) -> None:
    content = world.model()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    card = json.loads(header["__metadata__"]["limbeck"]) | {"format": 99}
    header["__metadata__"]["limbeck"] = json.dumps(card)
    head = json.dumps(header).encode()
    world.write("broken.safetensors", len(head).to_bytes(8, "little") + head + content[8 + length :])


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def full_disk(world: World) -> Done:
    world.recipe(more={})
    world.monkeypatch.setattr(os, "fsync", no_space)
    return world.run()


def full_disk_at_a_checkpoint(world: World) -> Done:
    from limbeck.engine import checkpoint
    from limbeck.files import atomic_write

    def write(path: Path, data: bytes) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", no_space)
            atomic_write(path, data)

    world.recipe(more={})
    world.monkeypatch.setattr(checkpoint, "atomic_write", write)
    return world.run()


def read_only(world: World) -> Done:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    world.recipe()
    world.monkeypatch.setattr(os, "mkdir", refuse)
    return limbeck("run", "my.yaml", "--out", "elsewhere/run")


def foreign_folder(world: World) -> Done:
    world.recipe()
    world.write("home/thesis.tex", "years of work")
    return limbeck("run", "my.yaml", "--out", "home")


def named(out: str) -> Act:
    def act(world: World) -> Done:
        world.recipe()
        return limbeck("run", "my.yaml", "--out", out)

    return act


def locked(world: World) -> Done:
    hold = (
        "import sys, time; from pathlib import Path; from limbeck.runs.lock import locked\n"
        "with locked(Path('run')): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True)
    world.recipe()
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        done = world.run()
    finally:
        process.kill()
        process.communicate()
    assert f"process {process.pid}" in done.err
    return done


def newer_run_folder(world: World) -> Done:
    resolved = json.loads((world.path / "run/resolved.json").read_text())
    shutil.copytree(world.path / "run", world.path / "later")
    world.write("later/resolved.json", json.dumps(resolved | {"format": 99}))
    return limbeck("report", "later")


def plugin(name: str, text: str | None, *says: str, argument: str | None = None) -> Case:
    def act(world: World) -> Done:
        world.recipe()
        if text is not None:
            world.write(f"{name}.py", text)
        return world.run("--plugin", argument or f"{name}.py")

    return Case(f"plugin: {name}", act, says)


LOSS = """\
from torch import Tensor
from limbeck.losses import register

@register
def {name}(student: Tensor, teacher: Tensor) -> Tensor:
    "A loss of a test."
    return {value}
"""


def with_loss(name: str, value: str, *says: str) -> Case:
    """One more stage, whose loss is a plugin's."""

    def act(world: World) -> Done:
        world.write("mine.py", LOSS.format(name=name, value=value))
        world.recipe(
            more={
                "terms": f"[cross_entropy_here, {{loss: {name}}}]".replace(
                    "cross_entropy_here", "{loss: cross_entropy}"
                )
            }
        )
        return world.run("--plugin", "mine.py")

    return Case(f"loss: {name}", act, says, code=1, late=True)


def mislabelled(_: World) -> None:
    import limbeck

    images = torch.zeros(6, 1, 8, 8, dtype=torch.uint8)
    limbeck.train("resnet8", (images, torch.tensor([0, 1, 2, 0, 1, -1])), out="never")


def unlabelled(_: World) -> None:
    import limbeck

    limbeck.train(
        "resnet8", (torch.zeros(6, 1, 8, 8, dtype=torch.uint8), torch.zeros(5, dtype=torch.int64)), out="never"
    )


def reordered_teacher(world: World) -> None:
    """The teacher as if its classes had been listed the other way round."""
    from dataclasses import replace

    from limbeck.models import load, save

    model = load(world.path / "run/teacher")
    data = replace(model.limbeck_data, class_names=tuple(reversed(model.limbeck_data.class_names)))
    save(model, world.path / "broken.safetensors", spec=model.limbeck_spec, data=data)


def plain_convnet(world: World) -> None:
    """A teacher without batch norm."""
    from limbeck.models import build, load, save

    model = build("convnet3", num_classes=10, in_channels=1, image_size=8, width=4)
    save(
        model,
        world.path / "broken.safetensors",
        spec=model.limbeck_spec,
        data=load(world.path / "run/teacher").limbeck_data,
    )


STORE = """\
stages:
  outputs:
    kind: classify.store_teacher
    teacher: run/teacher
    source: {name: digits, per_class: 4}
    batch_size: 20
"""


def stored_outputs(world: World) -> None:
    world.write("store.yaml", STORE)
    assert limbeck("run", "store.yaml", "--out", "store", "--device", "cpu").code == 0


def damaged_store(world: World) -> None:
    stored_outputs(world)
    shard = next((world.path / "store/outputs").rglob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-7] ^= 1
    shard.write_bytes(content)


def without(package: str) -> Callable[[World], None]:
    """As if an optional package were not installed."""
    return lambda world: world.monkeypatch.setitem(sys.modules, package, None)


NET = """\
import torch
from torch import nn

class Net(nn.Module):
    "A network with a part that never runs."

    def __init__(self, *, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 4, 3, padding=1)
        self.spare = nn.Conv2d(4, 4, 1)
        self.fc = nn.Linear(4, num_classes)

    def forward(self, images):
        maps = self.conv(images{damage})
        return self.fc(maps.mean((2, 3)))
"""


def with_model(name: str, more: dict[str, str], *says: str, damage: str = "", code: int = 2) -> Case:
    """One more stage, whose student is a plugin's."""

    def act(world: World) -> Done:
        world.write("mine.py", NET.replace("{damage}", damage))
        world.monkeypatch.syspath_prepend(str(world.path))
        world.monkeypatch.delitem(sys.modules, "mine", raising=False)
        world.recipe(more={"model": "{name: 'mine:Net'}", **more})
        return world.run("--plugin", "mine")

    return Case(name, act, says, code=code, late=True)


def term(text: str) -> dict[str, str]:
    return {"terms": f"[{{{text}}}]"}


BROKEN = {"teacher": "broken.safetensors"}
TWO = {"teacher": "{first: run/teacher, second: run/teacher}"}

CASES = [
    # the recipe's text
    written("empty", "", "my.yaml is empty", "'stages'"),
    written("no mapping", "- a\n- b\n", "a list", "mapping", "'stages'"),
    written("bad yaml", "title: x\nstages: {a: [1, 2\n", "my.yaml line 3", "not valid YAML"),
    written("tabs", "stages:\n\tteacher: x\n", "my.yaml line 2", "tab"),
    written("binary", b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "my.yaml", "not a text file"),
    written("no stages", "title: x\n", "'stages' is missing"),
    written("stages as a list", "stages: [1]\n", "stages", "named stage"),
    changed("duplicate key", "title: Tiny", "title: Tiny\ntitle: Twice", "line 2", "'title'", "line 1",
        "keep one"),
    changed("anchor", "{name: resnet8}", "&net {name: resnet8}", "line 6", "&net", "write it out"),
    changed("alias", "title: Tiny", "title: *tiny", "line 1", "tiny"),
    changed("tag", "title: Tiny", "title: !!python/object/apply:os.getcwd []", "line 1",
        "!!python/object/apply:os.getcwd", "tags are not part"),
    changed("merge key", "    kind: classify.train", "    <<: {kind: classify.train}", "<<"),
    # what it says
    changed("unknown top key", "title: Tiny", "titel: Tiny", "titel", "Did you mean 'title'?"),
    changed("unknown key", "terms: kd", "term: kd", "student.term", "Did you mean 'terms'?"),
    changed(
        "unknown nested key", "batch_size: 20", "batchsize: 20",
        "stages.teacher.train.batchsize", "line 7", "Did you mean 'batch_size'?",
    ),
    changed("unknown key of another place", "    model:", "    epochs: 3\n    model:",
        "Did you mean 'train.epochs'?"),
    changed("wrong type", "steps: 2", "steps: many", "train.steps", "whole number", "'many'"),
    changed("out of range", "steps: 2", "steps: 0", "train.steps", "at least 1", "got 0"),
    changed("not finite", "steps: 2", "clip_norm: .inf", "clip_norm", "a number", "'.inf'"),
    changed("too large", "steps: 2", "clip_norm: 1e999", "clip_norm", "finite"),
    changed("setting that is not finite", "    terms: kd",
        "    terms: [{loss: {name: kd, temperature: 1e999}}]", "temperature", "finite"),
    changed("unknown stage kind", "classify.train", "classify.trian", "Did you mean 'classify.train'?"),
    changed("no kind", "    kind: classify.train\n", "", "stages.teacher.kind", "is missing", "classify.distill"),
    changed("bad stage name", "  teacher:\n", "  Big Teacher:\n", "Big Teacher", "lower-case"),
    changed("unknown model", "resnet8", "resnet9", "unknown model 'resnet9'", "Did you mean 'resnet"),
    changed("unknown setting", "per_class: 4", "perclass: 4", "no setting 'perclass'",
        "Did you mean 'per_class'?"),
    changed("setting of a wrong type", "per_class: 4", "per_class: '4'", "per_class", "whole number", "'4'"),
    changed("missing setting", "{name: digits, per_class: 4}", "{name: folder}", "needs the setting 'root'"),
    changed("unknown method", "terms: kd", "terms: kdd", "unknown method 'kdd'", "Did you mean 'kd'?"),
    changed("unknown loss", "terms: kd", "terms: [{loss: krd}]", "unknown loss 'krd'", "Did you mean 'kd'?"),
    changed("missing field", "    model: {name: resnet8}\n", "", "teacher.model", "is missing",
        "network to train"),
    changed("unknown reference", "teacher: teacher", "teacher: techer", "'techer'", "Did you mean 'teacher'?"),
    changed("reference to itself", "teacher: teacher", "teacher: student", "'student'", "earlier stages"),
    changed("code without leave", "{name: resnet8}", "{name: 'os:system'}", "os:system", "--plugin os"),
    written(
        "forward reference",
        RECIPE.replace("  teacher:\n    kind", "  first:\n    kind").replace("teacher: teacher", "teacher: later")
        .replace("smoke:\n  teacher",
            "  later:\n    kind: classify.train\n    source: digits\n    model: resnet8\nsmoke:\n  first"),
        "student.teacher", "'later'", "comes later", "earlier stages",
    ),
    written(
        "wrong artefact",
        RECIPE.replace(
            "smoke:",
            "  table:\n    kind: classify.compare\n    teacher: teacher\n    source: digits\n    model: resnet8\n"
            "    methods: {kd: kd}\n  last:\n    kind: classify.distill\n    teacher: table\n    source: digits\n"
            "    model: resnet8\n    terms: kd\nsmoke:",
        ),
        "last.teacher", "'table' writes a comparison", "needed is a classifier",
    ),
    # the command line
    asked("--set without a value", ["--set", "student.train.steps"], "student.train.steps", "stage.key=value"),
    asked("--set of no stage", ["--set", "studnet.seed=1"], "studnet", "Did you mean 'student'?"),
    asked("--set of no field", ["--set", "student.train.step=1"], "--set student.train.step: ",
        "Did you mean 'steps'?"),
    asked("--set of bad yaml", ["--set", "student.train.steps=[1"], "--set student.train.steps", "YAML"),
    asked("--set beyond a list", ["--set", "student.terms.7.weight=1"], "--set student.terms.7.weight",
        "not a list"),
    asked("--set of a wrong setting", ["--set",
        "student.source.per_class=-4"], "--set student.source.per_class: ", "at least 1|greater than 0"),
    asked("--set beyond a number", ["--set", "student.train.steps.more=1"], "student.train.steps",
        "nothing inside"),
    asked("--fresh of no stage", ["--fresh", "studnet"], "--fresh studnet", "Did you mean 'student'?"),
    asked("--seed below zero", ["--seed", "-1"], "--seed", "0"),
    asked("unknown option", ["--outt", "x"], "--outt", "--out"),
    Case("unknown device", lambda w: (w.recipe(more={}), limbeck("run", "my.yaml", "--out", "run", "--device",
        "tpu9"))[1],
         ("device 'tpu9' is not here", "There are: cpu"), late=True),
    Case("no such recipe", lambda w: w.run(recipe="demo/digit"), ("demo/digit", "Did you mean 'demo/digits'?")),
    Case("a folder as recipe", lambda w: w.run(recipe="run"), ("run", "recipe")),
    Case("changed settings", lambda w: (w.recipe("steps: 2", "steps: 3"), w.run())[1],
         ("teacher.train.steps: 2 -> 3", "--fresh teacher", "--out")),
    Case("name with markup", named("<script>alert(1)<"), ("<script>", "letters, digits")),
    Case("name that leaves the folder", named("run/.."), ("'..'", "letters, digits")),
    Case("not ours", foreign_folder, ("home", "thesis.tex", "new or empty")),
    Case("second process", locked, ("being written by process", "--out")),
    Case("read-only folder", read_only, ("elsewhere/run", "Read-only file system", "--out")),
    Case("full disk", full_disk, ("run/", "No space left", "intact", "same command"), code=1),
    Case("full disk at a checkpoint", full_disk_at_a_checkpoint, ("last.ckpt", "No space left", "intact"),
         code=1, late=True),
    Case("report of no run", lambda w: limbeck("report", "photos"), ("photos", "limbeck run")),
    Case("report of a newer run", newer_run_folder, ("later", "99", "Upgrade")),
    Case("show of nothing", lambda w: limbeck("show", "wkd_transprot"), ("Did you mean 'wkd_transport'?",
        "limbeck list")),
    Case("list of nothing", lambda w: limbeck("list", "loses"), ("Did you mean 'losses'?",)),
    Case("taps of a bad shape", lambda w: limbeck("show", "resnet8", "--taps", "--input", "3x32"),
        ("channels,height,width", "3x32")),
    Case("export to nowhere known", lambda w: limbeck("export", "run/student", "--out", "x", "--format", "tim"),
         ("--format tim", "Did you mean 'timm'?", "state-dict, timm, hf, onnx, torch")),
    Case("export to a full folder", lambda w: limbeck("export", "run/student", "--out", "run"),
         ("run is not empty", "--force")),
    Case("export of a zoo net to timm",
         lambda w: limbeck("export", "run/student", "--out", "x", "--format", "timm"),
         ("'resnet8' is not an architecture of timm's", "--format hf, onnx or torch")),
    Case("export as a pickle", lambda w: limbeck("export", "run/student", "--out", "x.pt"),
         ("not a pickle", "name the file x.safetensors")),
    Case("export with a setting of others",
         lambda w: limbeck("export", "run/student", "--out", "x", "--opset", "18"),
         ("--opset", "state-dict has no such setting", "onnx")),
    Case("export normalised in between",
         lambda w: limbeck("export", "run/student", "--out", "x", "--format", "torch",
         "--normalise", "insid"), ("--normalise insid", "Did you mean 'inside'?")),
    Case("export to no repository", lambda w: limbeck("export", "run/student", "--out", "x", "--push", "net"),
         ("--push net", "owner/name")),
    Case("export of a private nothing", lambda w: limbeck("export", "run/student", "--out", "x", "--private"),
         ("--private", "--push owner/name")),
    Case("push of a file", lambda w: limbeck("export", "run/student", "--out", "x.onnx", "--format", "onnx",
         "--push", "me/net"), ("--push uploads a folder", "--out x")),
    Case("export of no model", lambda w: limbeck("export", "nothing", "--out", "x.safetensors"), ("nothing",
        "no such file")),
    Case("export of two models", lambda w: limbeck("export", "run", "--out", "x.safetensors"), ("2 models",
        "student, teacher")),
    Case("cite of nothing", lambda w: limbeck("cite", "nothing"), ("nothing", "no such file")),
    # plugins
    plugin("broken", "import torch\n\ndef f(:\n    pass\n", "broken.py", "line 3"),
    plugin("failing", "x = 1\ny = x / 0\n", "failing.py", "line 2", "ZeroDivisionError"),
    plugin("needy", "import no_such_package_at_all\n", "needy.py", "no_such_package_at_all"),
    plugin("absent", None, "absent.py", "no such file"),
    plugin("nowhere", None, "'nowhere_at_all'", "no such file, module or entry point", argument="nowhere_at_all"),
    # data and models, found when the stage starts
    added("unknown tap", {"terms": "[{loss: hint, taps: {student: stage.9, teacher: stage.2}}]"}, "stage.9",
        "stage"),
    added("teacher of other classes", {"teacher": "run/teacher",
        "source": "{name: folder, root: photos, size: 8, channels: 1}"},
          "10 classes", "the data 3", "cat", prepare=World.photos),
    added("model of other classes", {"model": "{name: resnet8, num_classes: 7}"}, "7", "10", "num_classes"),
    added("missing data", {"source": "{name: folder, root: no/where}"}, "no/where"),
    added("no images", {"source": "{name: folder, root: photos}"}, "no image in photos/",
        ".png", prepare=empty_folder),
    added("truncated image", {"source": "{name: folder, root: photos, size: 8}"}, "cow/2.png", "skip_broken",
          prepare=truncated_image),
    added("no label column", {"source": "{name: parquet, root: hf}"}, "caption",
        "label", prepare=parquet_without_labels),
    added("too many an class", {"source": "{name: digits, per_class: 5000}"}, "5,?000", "per_class"),
    added("truncated model", BROKEN, "broken.safetensors", "damaged", "again", prepare=truncated_model),
    added("flipped bit", BROKEN, "broken.safetensors", "damaged", "checksum", prepare=flipped_bit),
    added("pickle", BROKEN, "broken.safetensors", "pickle", "weights_only", prepare=pickled_model),
    added("newer model", BROKEN, "broken.safetensors", "99", "newer Limbeck", prepare=newer_model),
    # teachers, terms and weights
    added("teacher that guesses", {"weak_teacher": "false"}, "which is what guessing gives", "weak_teacher: true"),
    added("classes in another order", BROKEN, "class 0 is '9' for the teacher and '0' in the data", "same order",
        prepare=reordered_teacher),
    added("features of two teachers", TWO | term("loss: hint"), "first, second", "say which: teacher: first"),
    added("term of no teacher", TWO | term("loss: kd, teacher: frist"), "Did you mean 'first'?"),
    added("projector that cannot bridge", term(
        "loss: hint, taps: {student: layer1, teacher: layer3}, projector: {name: linear}"),
        "projector linear", "of equal height and width"),
    added("projector of other shapes", term("loss: hint, taps: {student: layer1, teacher: fc}, projector: conv"),
        "projector conv", "needs feature maps"),
    added("taps that do not pair", term("loss: at, taps: {student: [layer1, layer2], teacher: layer1}"),
        "2 taps of the student and 1 of the teacher"),
    added("too few weights", term("loss: at, weight: [1, 2], taps: '@stages'"), "2 weights for 3 pairs of taps"),
    added("standardised features", term("loss: hint, logits: standardised"), "takes no logits"),
    added("margin without batch norm", BROKEN | term("loss: ofd, taps: '@stages'"), "no batch norm of 4 channels",
        prepare=plain_convnet),
    added("nothing to freeze", {"train": ", freeze: [layr1]"}, "freeze: no module 'layr1'",
        "Did you mean 'layer1'?"),
    added("rate of nothing", {"train": ", lr_factors: {head: 10}"}, "lr_factors: 'head'", "fc"),
    added("weights of another network", {"model": "resnet14", "rest": "start_from: teacher"},
        "does not fit the student", "Only the classifier may differ"),
    added("model for another size", {"model": "{name: convnet3, image_size: 32}"}, "cannot take images", "size"),
    added("head of two teachers", TWO | {"terms": "simkd"}, "classifier of one teacher"),
    added("outputs of another teacher", {"teacher": "teacher", "rest": "stored: store/outputs",
        "source": "{name: digits, per_class: 3}"}, "store/outputs", "data", prepare=stored_outputs),
    added("outputs of other views", {"rest": "stored: store/outputs", "train": ", augment: [flip]"},
        "store/outputs", "augment", prepare=stored_outputs),
    added("outputs of another layer", {"rest": "stored: store/outputs", **term("loss: hint")}, "store/outputs",
        "layer3", prepare=stored_outputs),
    added("damaged outputs", {"rest": "stored: store/outputs"}, "checksum", "safetensors", prepare=damaged_store),
    added("no transformers", {"model": "hf/vit"}, "transformers", r"limbeck\[hf\]",
        prepare=without("transformers")),
    changed("view of no name", "terms: kd", "terms: [{loss: kd, view: strng}]", "the view 'strng'", "images"),
    changed("symbol of no taps", "terms: kd", "terms: [{loss: hint, taps: '@stage'}]", "Did you mean '@stages'?"),
    changed("average that never moves", "teacher: teacher", "teacher: {ema: 1}", "less than 1"),
    with_model("tap that never fires", term("loss: hint, taps: {student: spare, teacher: layer3}"), "'spare'",
        "did not fire"),
    with_model("feature that is no number", term("loss: hint, taps: {student: conv, teacher: layer3}"),
        "'hint'", "not a number", damage=" / 0 * 0", code=1),
    in_python("labels out of range", mislabelled, "-1", "label"),
    in_python("labels of another length", unlabelled, "6", "5"),
    # training that fails
    with_loss("endless", "student.sum(1) / 0 * 0", "'endless'", "step 1", "not a number"),
    with_loss("silent", "0 * student.sum(1)", "'silent'", "exactly zero", "Remove it"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_gets_one_clear_message_and_harms_nothing(case, finished, tmp_path, monkeypatch, cli):
    shutil.copytree(finished, tmp_path / "run")
    before = snapshot(tmp_path / "run")
    done = case.act(World(tmp_path, monkeypatch))
    text = done.out + done.err
    if os.environ.get("SHOW"):
        print(f"\n[{case.name}] -> {done.code}\n{done.err}")
    assert done.code == case.code, text
    for words in case.says:
        assert words in text or re.search(words, text), f"{words!r} is not in: {text}"
    assert "Traceback" not in text
    assert "unexpected" not in text
    after = snapshot(tmp_path / "run")
    if case.late:  # the recipe was taken in, what happened was noted; what was finished stands as it stood
        assert after.pop("events.jsonl").startswith(before.pop("events.jsonl"))
        for name in ("recipe.yaml", "resolved.json", "report.html"):
            before.pop(name)
        assert {name: after[name] for name in before} == before
    else:
        assert after == before


def test_there_are_enough_cases():
    assert len(CASES) >= 108
    assert len({case.name for case in CASES}) == len(CASES)
