"""Bad input to the stages of detection: one clear message each, exit code 2, nothing harmed."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys

import pytest
import torch
from PIL import Image
from terminal import limbeck, snapshot

from limbeck.sealed import Sealed, write_sealed

SIDE = 64
CLASSES = ("circle", "square")
DATA = "source: {name: coco, root: data}"
TRAIN = "train: {steps: 1, batch_size: 2, augment: []}"
SSD = f"{{name: small_ssd, size: [{SIDE}, {SIDE}], width: 4}}"
CROPS = "{name: object_crops, of: {name: coco, root: data}, size: 16}"
TURNED = "{name: object_crops, of: {name: coco, root: data, class_names: [square, circle]}, size: 16}"
FEW = "{name: object_crops, of: {name: coco, root: data, class_names: [square]}, size: 16}"
MADE = f"""\
title: Detectors and their teachers
stages:
  classifier: {{kind: classify.train, source: {CROPS}, model: resnet8, train: {{steps: 1}}}}
  other: {{kind: classify.train, source: {CROPS}, model: resnet8, seed: 9, train: {{steps: 1}}}}
  turned: {{kind: classify.train, source: {TURNED}, model: resnet8, train: {{steps: 1}}}}
  digits: {{kind: classify.train, source: {{name: digits, per_class: 4}}, model: resnet8, train: {{steps: 1}}}}
  detector: {{kind: detect.train, {DATA}, model: {SSD}, {TRAIN}}}
  labels: {{kind: detect.label, classifier: classifier, {DATA}}}
  flow:
    kind: flow.train
    source: {{name: digits, per_class: 10}}
    network: {{name: mlp, width: 8, depth: 1}}
    train: {{steps: 1, ema: []}}
"""


def content(images=3, first=1):
    """A COCO file: ids of categories with gaps, the last image without objects."""
    boxes = ([4, 6, 30, 28], [20.5, 10, 24, 40], [2, 30, 16, 16])
    return {
        "images": [
            {"id": first + n, "file_name": f"{first + n}.png", "width": SIDE, "height": SIDE}
            for n in range(images)
        ],
        "categories": [{"id": 9, "name": "square"}, {"id": 4, "name": "circle"}],
        "annotations": [
            {"id": 100 + n, "image_id": first + n // 2, "category_id": (4, 9)[n % 2], "bbox": boxes[n % 3]}
            for n in range(2 * (images - 1))
        ],
    }


def write_data(folder):
    (folder / "annotations").mkdir(parents=True)
    (folder / "images").mkdir()
    for split, images, first in (("train", 4, 1), ("test", 3, 11)):
        coco = content(images, first)
        (folder / f"annotations/{split}.json").write_text(json.dumps(coco))
        for entry in coco["images"]:
            draw = torch.Generator().manual_seed(entry["id"])
            pixels = torch.randint(0, 256, (SIDE, SIDE, 3), generator=draw, dtype=torch.uint8)
            Image.fromarray(pixels.numpy()).save(folder / "images" / entry["file_name"])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Trained teachers beside their data; not to be written to."""
    folder = tmp_path_factory.mktemp("made")
    write_data(folder / "data")
    (folder / "made.yaml").write_text(MADE)
    with contextlib.chdir(folder):
        done = limbeck("run", "made.yaml", "--out", "made", "--quiet", "--device", "cpu")
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def place(made, tmp_path, cli):
    """A copy of all that, where commands run."""
    shutil.copytree(made / "made", tmp_path / "made")
    shutil.copytree(made / "data", tmp_path / "data")
    return tmp_path


def run(place, kind, rest, *, command=("run", "--out", "out", "--quiet", "--device", "cpu")):
    before = snapshot(place / "made")
    (place / "my.yaml").write_text(f"title: More\nstages:\n  more: {{kind: detect.{kind}, {rest}}}\n")
    done = limbeck(command[0], "my.yaml", *command[1:])
    assert snapshot(place / "made") == before
    return done


def train(rest="", data=DATA, model=SSD, steps=TRAIN):
    return "train", f"{data}, model: {model}, {steps}{rest}"


def distill(rest, model=SSD, steps=TRAIN):
    return "distill", f"{DATA}, model: {model}, {steps}, {rest}"


def evaluate(reference):
    return "evaluate", f"{DATA}, detectors: {{student: {reference}}}"


def check(done, says):
    text = done.out + done.err
    assert done.code == 2, text
    assert re.search(says, text, flags=re.DOTALL), text
    assert "Traceback" not in text
    assert "unexpected" not in text
    assert "BUG" not in text


# ---- annotations


def of(number, **changes):
    """Change one annotation of the training split."""

    def harm(coco):
        coco["annotations"][number].update(changes)

    return harm


def duplicated_image(coco):
    coco["images"][1]["id"] = 1


def duplicated_category(coco):
    coco["categories"][1]["id"] = 9


def corners(coco):
    for entry in coco["annotations"]:
        x, y, w, h = entry["bbox"]
        entry["bbox"] = [x, y, x + w, y + h]


def fractions(coco):
    for entry in coco["annotations"]:
        entry["bbox"] = [number / SIDE for number in entry["bbox"]]


def missing_picture(coco):
    coco["images"][1]["file_name"] = "gone.png"


def other_size(coco):
    coco["images"][0]["width"] = 80


ANNOTATIONS = {
    "a box outside its image": (of(1, bbox=[70, 5, 20, 20]), r"train\.json.*annotation 101 of image 1.*outside"),
    "a box over the border": (
        of(1, bbox=[50, 5, 40, 20]),
        r"annotation 101 of image 1 .*\[50, 5, 40, 20\].*64x64",
    ),
    "a box without area": (of(2, bbox=[5, 5, 0, 20]), r"annotation 102 of image 2.*(area|width)"),
    "a box that is not a number": (of(0, bbox=[5, 5, float("nan"), 20]), "annotation 100.*four finite numbers"),
    "three numbers": (of(0, bbox=[5, 5, 20]), "annotation 100.*four finite numbers"),
    "a box of words": (of(3, bbox="5 5 20 20"), "annotation 103.*four finite numbers"),
    "no box": (lambda coco: coco["annotations"][3].pop("bbox") and None, "annotation 103 .*no bbox"),
    "corners for widths": (corners, r"x1, y1, x2, y2.*\[x, y, width, height\]"),
    "shares of the image for pixels": (fractions, "pixels"),
    "an unknown category": (of(1, category_id=5), r"annotation 101.*no category with the id 5.*4.*9"),
    "a duplicated annotation": (of(1, id=100), "the id 100 is given twice"),
    "a duplicated image": (duplicated_image, r"image id 1 is given twice, to 1\.png and 2\.png"),
    "a duplicated category": (duplicated_category, "category id 9 is given twice, to 'square' and 'circle'"),
    "an image that is not listed": (of(2, image_id=77), "annotation 102.*no image with the id 77"),
    "an image that is not there": (missing_picture, r"image 2 .*gone\.png"),
    "an image of another size": (other_size, r"image 1 .*1\.png.*80"),
    "results for annotations": (
        lambda coco: list(coco["annotations"]),
        "a list, as detectors write their results",
    ),
    "no categories": (lambda coco: coco.pop("categories") and None, "no list 'categories'"),
}


@pytest.mark.parametrize("name", ANNOTATIONS)
def test_annotations_are_named(name, place):
    harm, says = ANNOTATIONS[name]
    file = place / "data/annotations/train.json"
    coco = json.loads(file.read_text())
    file.write_text(json.dumps(harm(coco) or coco))
    check(run(place, *train()), says)


def test_a_cut_off_annotation_file(place):
    file = place / "data/annotations/train.json"
    file.write_text(file.read_text()[:-40])
    check(run(place, *train()), r"train\.json: line 1, column \d+.*no complete JSON; copy it anew")


def test_a_broken_picture(place):
    (place / "data/images/2.png").write_bytes(b"\x89PNG but not really")
    check(run(place, *train()), r"2\.png")


def test_gaps_in_ids_and_images_without_objects_are_fine(place):
    done = run(place, *train())
    assert done.code == 0, done.err
    rows = json.loads((place / "out/more/tables/classes.json").read_text())["rows"]
    assert [row["class"] for row in rows] == list(CLASSES)
    assert [row["objects"] for row in rows] == [2, 2]
    assert "3 images" in json.loads((place / "out/more/result.json").read_text())["summary"]


@pytest.mark.parametrize(("split", "says"), [("train", "nothing to learn"), ("test", "nothing to measure")])
def test_a_split_without_any_object_is_refused(split, says, place):
    file = place / f"data/annotations/{split}.json"
    coco = json.loads(file.read_text())
    file.write_text(json.dumps({**coco, "annotations": []}))
    check(run(place, *train()), rf"{says}: none of the \d images.*circle, square")


def test_what_is_left_out_is_counted(place):
    file = place / "data/annotations/train.json"
    coco = json.loads(file.read_text())
    coco["annotations"][0]["bbox"] = [70, 5, 20, 20]
    coco["annotations"][1]["category_id"] = 5
    coco["annotations"][4]["category_id"] = 5
    file.write_text(json.dumps(coco))
    lenient = train(
        data="source: {name: coco, root: data, on_bad: skip}",
        steps="train: {steps: 1, batch_size: 4, augment: []}",
    )
    done = run(place, *lenient, command=("plan", "--device", "cpu"))
    assert done.code == 0, done.err
    said = " ".join(done.out.split())
    assert "left out of the training split: 2 x unknown category" in said
    assert "left out of the training split: 1 x outside the image" in said
    assert run(place, *lenient).code == 0
    result = json.loads((place / "out/more/result.json").read_text())
    assert result["skipped"] == {"train": {"unknown category": 2, "outside the image": 1}}
    assert limbeck("report", "out").code == 0
    page = (place / "out/report.html").read_text()
    assert "unknown category" in page


# ---- recipes

CASES = {
    "an unknown method": (
        distill("detector: made/detector, method: pdk"),
        "unknown method 'pdk'. Did you mean 'pkd'",
    ),
    "an unknown loss": (
        distill("classifier: made/classifier, method: [{loss: kd_clss}]"),
        "kd_clss.*[Dd]id you mean 'kd_cls'",
    ),
    "an unknown detector": (train(model="smal_ssd"), "smal_ssd.*[Dd]id you mean 'small_ssd'"),
    "a setting that a detector lacks": (
        train(model="{name: small_ssd, widht: 8}"),
        "widht.*[Dd]id you mean 'width'",
    ),
    "a setting that a source lacks": (
        train(data="source: {name: coco, rot: data}"),
        "rot.*[Dd]id you mean 'root'",
    ),
    "a setting that a loss lacks": (
        distill("classifier: made/classifier, method: [{loss: {name: kd_cls, gama: 2}}]"),
        "gama",
    ),
    "a setting out of bounds": (train(model="{name: small_ssd, width: 0}"), "width.* must be at least 1"),
    "an unknown source": (train(data="source: cocoa"), "cocoa.*[Dd]id you mean 'coco'"),
    "an augmentation of classifiers": (
        train(steps="train: {steps: 1, augment: [trivial_augment]}"),
        "trivial_augment.*flip",
    ),
    "the best of no evaluations": (
        train(steps="train: {steps: 1, keep: best}"),
        "keep: best chooses among evaluated epochs; say evaluate_every: 1",
    ),
    "no validation split": (
        train(steps="train: {steps: 1, evaluate_every: 1}"),
        r"no annotations of the validation split.*setting validation",
    ),
    "a split": (train(data="source: {name: coco, root: data, split: test}"), "'split' is chosen by the stage"),
    "nobody teaches": (distill("method: pkd"), "asks a larger detector: detector: <stage or model file>"),
    "no teacher and no method": (
        ("compare", f"{DATA}, model: {SSD}, {TRAIN}, methods: {{}}"),
        "methods is empty; name at least one",
    ),
    "a method of classifiers without one": (
        distill("detector: made/detector, method: dicod"),
        "'kd_cls' asks a classifier: classifier: <stage or model file>",
    ),
    "stored labels are no first layers": (
        distill("labels: made/labels, method: kd_loc"),
        "asks a classifier: classifier: <stage or model file>",
    ),
    "heads without towers": (
        distill("detector: made/detector, method: crosskd"),
        "crosskd needs heads with towers of convolutions, as RetinaNet and FCOS",
    ),
    "heads without distributions": (
        distill("detector: made/detector, method: ld"),
        r"distributions, in both detectors: \{name: fcos, bins: 16\}",
    ),
    "a second stage that is not there": (
        distill("detector: made/detector, method: wkd_l"),
        "R-CNN",
    ),
    "a detector for a classifier": (
        distill("classifier: made/detector"),
        "made.detector holds a detector; needed is a classifier",
    ),
    "a classifier for a detector": (
        distill("detector: made/classifier"),
        "made.classifier holds a classifier; needed is a detector",
    ),
    "a flow for a detector": (distill("detector: made/flow"), "holds a flow"),
    "a flow to be measured": (evaluate("made/flow"), "holds a flow"),
    "a classifier to be measured": (evaluate("made/classifier"), "needed is a detector"),
    "a classifier of other things": (
        distill("classifier: made/digits"),
        r"classifier does not know 'circle'.*source: object_crops",
    ),
    "labels of other things": (("label", f"{DATA}, classifier: made/digits"), "does not know 'circle'"),
    "another network to begin with": (
        train(", start_from: made/detector", model=f"{{name: small_ssd, size: [{SIDE}, {SIDE}], width: 8}}"),
        r"start_from: made.detector.*does not fit the detector.*of another shape",
    ),
    "a classifier to begin with": (train(", start_from: made/classifier"), "needed is a detector"),
    "stored labels of another classifier": (
        distill("classifier: made/other, labels: made/labels"),
        "made by another classifier.*Run the stage that labels the objects again",
    ),
    "stored labels and pixels that move": (
        distill(
            "classifier: made/classifier, labels: made/labels",
            steps="train: {steps: 1, augment: [flip, iou_crop]}",
        ),
        "'iou_crop' changes what a crop of an object shows",
    ),
    "a detector for stored labels": (
        distill("classifier: made/classifier, labels: made/detector"),
        "holds a detector; needed are object labels",
    ),
    "a level that is not there": (
        distill("detector: made/detector, method: [{loss: pkd, levels: [p9]}]"),
        "levels: 'p9' is not in both detectors",
    ),
    "a layer that is not there": (
        distill("classifier: made/classifier, method: [{loss: kd_loc_features, taps: [layer9]}]"),
        "layer9",
    ),
    "a module to freeze that is not there": (
        train(steps="train: {steps: 1, freeze: [backbon]}"),
        "backbon",
    ),
    "a seed twice": (
        ("compare", f"{DATA}, model: {SSD}, detector: made/detector, methods: {{a: pkd}}, seeds: [1, 1]"),
        "seeds must be distinct",
    ),
    "no detectors to measure": (("evaluate", f"{DATA}, detectors: {{}}"), "detectors is empty"),
    "a folder that is not there": (train(data="source: {name: coco, root: nowhere}"), "nowhere"),
}


@pytest.mark.parametrize("name", CASES)
def test_one_clear_message(name, place):
    asked, says = CASES[name]
    check(run(place, *asked), says)


def test_a_method_without_its_teacher_fails_before_anything_is_trained(place):
    for command in (("check",), ("plan", "--device", "cpu")):
        check(run(place, *distill("detector: made/detector, method: dicod"), command=command), "asks a classifier")


# ---- teachers that do fit


def test_classes_in_another_order_are_put_in_order(place):
    logits = {}
    for name in ("classifier", "turned"):
        done = run(place, "label", f"{DATA}, classifier: made/{name}", command=("run", "--out", name, "--quiet"))
        assert done.code == 0, done.err
        logits[name] = Sealed(place / name / "more/labels.safetensors", again="").tensors["logits"]
    # Both know the same two classes; stored labels say them in the order of the data.
    assert logits["turned"].shape == logits["classifier"].shape == (6, 2)
    done = run(place, *distill("classifier: made/turned"))
    assert done.code == 0, done.err


# ---- files


def cut_labels(place):
    file = place / "made/labels/labels.safetensors"
    file.write_bytes(file.read_bytes()[:-7])


def changed_labels(place):
    file = place / "made/labels/labels.safetensors"
    whole = bytearray(file.read_bytes())
    whole[-1] ^= 1
    file.write_bytes(bytes(whole))


def cut_detector(place):
    file = place / "made/detector/model.safetensors"
    file.write_bytes(file.read_bytes()[:-9])


def other_data(place):
    file = place / "data/annotations/train.json"
    coco = json.loads(file.read_text())
    coco["annotations"][0]["bbox"] = [4, 6, 20, 20]
    file.write_text(json.dumps(coco))


def newer_labels(place):
    file = place / "made/labels/labels.safetensors"
    stored = Sealed(file, again="")
    card = {**stored.card, "format": 2}
    del card["sha256"]
    write_sealed(file, {"logits": stored.rows("logits", slice(None))}, card)


WITH_LABELS = distill("classifier: made/classifier, labels: made/labels")
DAMAGED = {
    "truncated labels": (cut_labels, WITH_LABELS, r"labels\.safetensors.*(damaged|cut short).*again"),
    "changed labels": (changed_labels, WITH_LABELS, r"labels\.safetensors.*checksum"),
    "labels of a later Limbeck": (newer_labels, WITH_LABELS, r"this Limbeck can read .*format\s+2"),
    "labels of other data": (other_data, WITH_LABELS, "labels the objects of other data.*Run the stage"),
    "a truncated detector": (cut_detector, evaluate("made/detector"), "damaged|cut short"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_one_clear_message_about_files(name, place):
    harm, asked, says = DAMAGED[name]
    harm(place)
    check(run(place, *asked), says)


# ---- this machine


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_missing_library_is_named_before_training(command, place, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "faster_coco_eval"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    more = ("--out", "out", "--quiet") if command == "run" else ()
    check(run(place, *train(), command=(command, *more)), r"faster.coco.eval.*pip install.*limbeck\[detect\]")
    assert not (place / "out/more/checkpoints").exists()
