"""The classifier-to-detector losses against values of the authors' own code: value and gradient."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.losses.detection.kd_cls import kd_cls, kd_cls_sigmoid, kd_cls_sigmoid_l1, kd_cls_softmax
from limbeck.losses.detection.kd_loc import GREY_LEVELS, kd_loc_features, kd_loc_pixels
from limbeck.numerics.crops import box_crops

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "golden" / "detect"
CASES: list[dict[str, Any]] = (
    json.loads((FOLDER / "cases.json").read_text())["cases"] if (FOLDER / "cases.json").is_file() else []
)
pytestmark = pytest.mark.skipif(not CASES, reason=f"golden values are not at {FOLDER}")


def of_kind(kind: str) -> list[Any]:
    return [pytest.param(c, id=c["name"]) for c in CASES if c["kind"] == kind] or [None]


def arrays(case: dict[str, Any], dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    with np.load(FOLDER / case["file"]) as content:
        found = {name: torch.from_numpy(content[name]) for name in content.files}
    return {name: t.to(dtype) if t.is_floating_point() else t for name, t in found.items()}


def agree(found: Tensor, wanted: Tensor, *, atol: float = 1e-5) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=atol)


class RecordedTeacher(nn.Module):
    """The network that the recorded cases describe."""

    def __init__(self, values: dict[str, Tensor]) -> None:
        super().__init__()
        state = {name.removeprefix("teacher."): v for name, v in values.items() if name.startswith("teacher.")}

        def convolution(name: str, stride: int) -> nn.Module:
            weight = state[f"{name}.0.weight"]
            return nn.Sequential(nn.Conv2d(weight.shape[1], weight.shape[0], 3, stride, 1), nn.ReLU())

        self.conv1 = nn.Conv2d(3, len(state["conv1.weight"]), 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(self.conv1.out_channels)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2 = convolution("layer1", 1), convolution("layer2", 2)
        self.layer3, self.layer4 = convolution("layer3", 2), convolution("layer4", 2)
        self.fc = nn.Linear(self.layer4[0].out_channels, len(state["fc.weight"]))
        self.load_state_dict({**state, "bn1.num_batches_tracked": torch.tensor(0)})
        self.to(state["fc.weight"].dtype).eval().requires_grad_(False)

    def stem(self, x: Tensor) -> Tensor:
        return self.maxpool(self.bn1(self.conv1(x)).relu())

    def taps(self, x: Tensor, count: int) -> list[Tensor]:
        found = [self.stem(x)]
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4)[: count - 1]:
            found.append(layer(found[-1]))
        return found

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.taps(x, 5)[-1].mean((2, 3)))


def owners(counts: Tensor) -> Tensor:
    return torch.repeat_interleave(torch.arange(len(counts)), counts)


def located(
    case: dict[str, Any], values: dict[str, Tensor], predicted: Tensor, true: Tensor, owner: Tensor
) -> Tensor:
    """The two terms of KD_loc as the released configuration adds them; zero without positives."""
    images = values["images"]
    size, layers, pools = case["crop_size"], case["layers"], case["pool_sizes"]
    if len(predicted) == 0:
        return predicted.sum() * 0
    ours = box_crops(images, owner, predicted, size=size)
    theirs = box_crops(images, owner, true, size=size)
    terms = []
    if -1 in layers:  # the recorded images are in grey levels, ours in [0, 1]
        terms.append(kd_loc_pixels(ours / GREY_LEVELS, theirs / GREY_LEVELS, pool=pools[layers.index(-1)]))
    taps = [layer for layer in layers if layer >= 0]
    if taps:
        teacher = RecordedTeacher(values)
        maps = [[teacher.taps(crops, 5)[tap] for tap in taps] for crops in (ours, theirs)]
        terms.append(kd_loc_features(*maps, pool=pools[layers.index(taps[0])]))
    return torch.stack(terms).sum(0).mean()


def test_every_case_is_covered() -> None:
    assert {c["kind"] for c in CASES} == {"kd_cls", "crop", "kd_loc", "teacher_logits", "ssd_head"}


@pytest.mark.parametrize("case", of_kind("kd_cls"))
def test_soft_labels(case: dict[str, Any]) -> None:
    x = arrays(case)
    student = x["student_logits"].requires_grad_()
    form = {
        "softmax": lambda s, t: kd_cls_softmax(s, t, temperature=case["T"], background="last"),
        "sigmoid_binary": lambda s, t: kd_cls_sigmoid(s, t, temperature=case["T"]),
        "sigmoid_l1norm": lambda s, t: kd_cls_sigmoid_l1(s, t, temperature=case["T"]),
    }[case["variant"]]
    values = form(student, x["teacher_logits"])
    loss = case["lam"] * (x["weights"] * values).sum() / max(case["avg_factor"], 1)
    agree(loss, x["loss"])
    (gradient,) = torch.autograd.grad(loss, student)
    agree(gradient, x["grad_student_logits"], atol=1e-4)


@pytest.mark.parametrize("case", of_kind("kd_cls"))
def test_the_form_follows_from_the_head(case: dict[str, Any]) -> None:
    x = arrays(case)
    if case["variant"] == "softmax":
        first = x["student_logits"].roll(1, dims=1)
        wanted = kd_cls_softmax(x["student_logits"], x["teacher_logits"], temperature=case["T"], background="last")
        agree(kd_cls(first, x["teacher_logits"], temperature=case["T"]), wanted)
    else:
        wanted = kd_cls_sigmoid(x["student_logits"], x["teacher_logits"], temperature=case["T"])
        agree(kd_cls(x["student_logits"], x["teacher_logits"], temperature=case["T"]), wanted)


@pytest.mark.parametrize("case", of_kind("crop"))
def test_crops(case: dict[str, Any]) -> None:
    x = arrays(case)
    boxes = x["boxes"].requires_grad_()
    crops = box_crops(x["image"][None], torch.zeros(len(boxes), dtype=torch.int64), boxes, size=case["size"])
    agree(crops, x["crops"])
    (gradient,) = torch.autograd.grad((crops * x["cotangent"]).sum(), boxes)
    agree(gradient, x["grad_boxes"], atol=1e-4)


@pytest.mark.parametrize("case", of_kind("kd_loc"))
def test_crops_of_predictions(case: dict[str, Any]) -> None:
    x = arrays(case)
    predicted = x["pred_boxes"].requires_grad_()
    loss = case["lam"] * located(case, x, predicted, x["gt_boxes"], owners(x["counts"]))
    agree(loss, x["loss"])
    (gradient,) = torch.autograd.grad(loss, predicted)
    agree(gradient, x["grad_pred_boxes"], atol=1e-4)


@pytest.mark.parametrize("case", of_kind("teacher_logits"))
def test_teacher_on_true_boxes(case: dict[str, Any]) -> None:
    x = arrays(case)
    crops = box_crops(x["images"], owners(x["counts"]), x["gt_boxes"], size=case["crop_size"])
    agree(RecordedTeacher(x)(crops), x["teacher_logits"])


@pytest.mark.parametrize("case", of_kind("ssd_head"))
def test_the_whole_head(case: dict[str, Any]) -> None:
    x = arrays(case)
    logits, deltas = x["class_logits"].requires_grad_(), x["box_deltas"].requires_grad_()
    matched, classes = x["matched_idx"], x["class_logits"].shape[-1] - 1
    image, place = (matched >= 0).nonzero(as_tuple=True)
    thing = matched[image, place]
    true = x["gt_boxes"][image, thing]
    anchors = x["anchors"][image, place]
    weights = torch.tensor([10.0, 10.0, 5.0, 5.0])

    sides = anchors[:, 2:] - anchors[:, :2]
    middles = (anchors[:, 2:] + anchors[:, :2]) / 2
    moved = deltas[image, place] / weights
    centre, extent = middles + moved[:, :2] * sides, moved[:, 2:].exp() * sides
    predicted = torch.cat((centre - extent / 2, centre + extent / 2), dim=1)
    agree(predicted, x["pos_pred_boxes"], atol=1e-3)
    agree(true, x["pos_gt_boxes"], atol=1e-3)

    wanted = torch.full_like(matched, classes)
    wanted[image, place] = x["gt_labels"][image, thing]
    entropy = F.cross_entropy(logits.transpose(1, 2), wanted, reduction="none")
    hard = torch.stack([_hardest(e, m, case["neg_pos_ratio"]) for e, m in zip(entropy, matched, strict=True)])
    loss_cls = (entropy * ((matched >= 0) | hard)).sum() / case["avg_factor"]
    agree(loss_cls, x["loss_cls"])

    true_sides = true[:, 2:] - true[:, :2]
    goal = (
        torch.cat((((true[:, 2:] + true[:, :2]) / 2 - middles) / sides, (true_sides / sides).log()), 1) * weights
    )
    loss_box = F.smooth_l1_loss(deltas[image, place], goal, reduction="sum") / case["avg_factor"]
    agree(loss_box, x["loss_box"])

    soft = kd_cls_softmax(
        logits[image, place], x["teacher_logits_on_gt"][image, thing], temperature=case["T"], background="last"
    )
    loss_kd_cls = case["lam_cls"] * soft.sum() / case["avg_factor"]
    agree(loss_kd_cls, x["loss_kd_cls"])
    loss_kd_loc = case["lam_loc"] * located(case, x, predicted, true, image)
    agree(loss_kd_loc, x["loss_kd_loc"])
    grads = torch.autograd.grad(loss_cls + loss_box + loss_kd_cls + loss_kd_loc, (logits, deltas))
    agree(grads[0], x["grad_class_logits"], atol=1e-4)
    agree(grads[1], x["grad_box_deltas"], atol=1e-4)


def _hardest(entropy: Tensor, matched: Tensor, ratio: int) -> Tensor:
    """The negatives with the largest loss, `ratio` for each positive."""
    negative = entropy.detach().masked_fill(matched >= 0, -1)
    count = min(int((matched >= 0).sum()) * ratio, int((matched < 0).sum()))
    hard = torch.zeros_like(matched, dtype=torch.bool)
    hard[negative.topk(count).indices] = True
    return hard
