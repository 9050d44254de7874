"""Published losses against recorded values and gradients of their authors' programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from limbeck.losses import (
    VID,
    BottleneckProjector,
    ConnectorProjector,
    ConvProjector,
    ProjectorEnsemble,
    ReviewKD,
    TransferProjector,
    at,
    correlation_congruence,
    crd_loss,
    crd_remember,
    cross_entropy,
    direction_alignment,
    dist,
    dkd,
    hint,
    ickd,
    kd,
    mld_batch,
    mld_class,
    nkd,
    nst,
    ofd,
    ofd_margin,
    pkt,
    reviewkd_hcl,
    rkd,
    simkd,
    sp,
    standardise,
    wkd_feature,
    wkd_target,
    wkd_transport,
    wkd_transport_all,
)
from limbeck.losses import wkd_logit as wkd_logit_loss
from limbeck.numerics.class_relations import (
    cosine_distance,
    gram_cka,
    linear_cka_distance,
    rbf_cka,
    relation_cost,
)
from limbeck.numerics.decay import cosine_decay
from limbeck.numerics.gaussian import moment_gaps
from limbeck.numerics.transport import truncated_plan, truncated_transport

FOLDER = Path(__file__).resolve().parents[3] / "shared" / "golden" / "classify"
CASES_BUILT = 46

Values = dict[str, Tensor]
Result = dict[str, Tensor]
Method = Callable[[dict[str, Any], Values], Result]
METHODS: dict[str, Method] = {}


def method(function: Method) -> Method:
    METHODS[function.__name__.removeprefix("golden_")] = function
    return function


@method
def golden_cka_cost(params: dict[str, Any], x: Values) -> Result:
    features = x["features"]
    centred = features - features.mean(dim=1, keepdim=True)
    distance = linear_cka_distance(features)
    return {
        "dist_linear": distance,
        "cka_linear_hsic": gram_cka(centred @ centred.mT),
        "cka_rbf": rbf_cka(features, scale=params["rbf_sigma"]),
        "cost_kappa1": relation_cost(distance, kappa=1.0),
        "cost_kappa2": relation_cost(distance, kappa=2.0),
    }


@method
def golden_prototype_cost(params: dict[str, Any], x: Values) -> Result:
    distance = cosine_distance(x["prototypes"])
    return {"dist": distance, "cost": relation_cost(distance, kappa=params["kappa"])}


@method
def golden_wkd_logit(params: dict[str, Any], x: Values) -> Result:
    student, teacher, labels = x["logits_student"], x["logits_teacher"], x["label"]
    settings = {name: params[name] for name in ("temperature", "reg", "iterations")}
    whole = wkd_logit_loss(
        student, teacher, labels, x["cost"], transport_weight=params["gamma"], **settings
    ).mean()
    return {
        "loss": whole,
        "target_term": wkd_target(student, teacher, labels).mean(),
        "transport": wkd_transport(student, teacher, labels, x["cost"], **settings).mean(),
    }


@method
def golden_wkd_logit_nosep(params: dict[str, Any], x: Values) -> Result:
    settings = {name: params[name] for name in ("temperature", "reg", "iterations")}
    return {"loss": wkd_transport_all(x["logits_student"], x["logits_teacher"], x["cost"], **settings).mean()}


@method
def golden_wkd_sinkhorn_plan(params: dict[str, Any], x: Values) -> Result:
    marginals = x["w_student"], x["w_teacher"], x["cost"]
    return {"plan": truncated_plan(*marginals, **params), "value": truncated_transport(*marginals, **params)}


@method
def golden_wkd_feature(params: dict[str, Any], x: Values) -> Result:
    return _wkd_feature(params, x["feat_student"], x["feat_teacher"])


def _wkd_feature(params: dict[str, Any], student: Tensor, teacher: Tensor) -> Result:
    settings = {"grid": params["grid"], "eps": params["eps"]}
    mean_gap, deviation_gap = moment_gaps(student, teacher, **settings)
    loss = wkd_feature(student, teacher, mean_weight=params["mean_cov_ratio"], **settings).mean()
    return {"loss": loss, "mean_loss": mean_gap.mean(), "cov_loss": deviation_gap.mean()}


@method
def golden_wkd_feature_projector(params: dict[str, Any], x: Values) -> Result:
    projected = _projected(params, x)
    return {"projected": projected, **_wkd_feature(params, projected, x["feat_teacher"])}


@method
def golden_fitnet_hint(params: dict[str, Any], x: Values) -> Result:
    return {"loss": hint(_projected(params, x), x["feat_teacher"]).mean()}


def _projected(params: dict[str, Any], x: Values) -> Tensor:
    shapes = {
        "student_shape": tuple(x["feat_student"].shape[1:]),
        "teacher_shape": tuple(x["feat_teacher"].shape[1:]),
    }
    projector: torch.nn.Module
    if params.get("projector") == "bottleneck":
        projector = BottleneckProjector(**shapes, hidden=params["hidden"])
    else:
        projector = ConvProjector(**shapes)
    weights = {name: x["proj_" + name.replace(".", "_")] for name, _ in projector.named_parameters()}
    projector.train().to(x["feat_student"].dtype)
    return torch.func.functional_call(projector, weights, x["feat_student"])


@method
def golden_projector_ensemble(params: dict[str, Any], x: Values) -> Result:
    student = x["feat_student"]
    ensemble = ProjectorEnsemble(
        student_dim=student.shape[1], teacher_dim=x["feat_teacher"].shape[1], projectors=params["q"]
    )
    weights = {}
    for k in range(params["q"]):
        weights |= {f"projectors.{k}.0.weight": x[f"W{k}"], f"projectors.{k}.0.bias": x[f"b{k}"]}
    assert set(weights) == {name for name, _ in ensemble.named_parameters()}
    projected = torch.func.functional_call(ensemble, weights, student)
    loss = params["beta"] * direction_alignment(projected, x["feat_teacher"]).mean()
    assert params["alpha_kl"] == 0
    return {"loss": loss + params["gamma_ce"] * cross_entropy(x["logits_student"], x["label"]).mean()}


@method
def golden_dkd(params: dict[str, Any], x: Values) -> Result:
    return {"loss": dkd(x["logits_student"], x["logits_teacher"], x["label"], **params).mean()}


@method
def golden_nkd(params: dict[str, Any], x: Values) -> Result:
    return {"loss": nkd(x["logits_student"], x["logits_teacher"], x["label"], **params).mean()}


@method
def golden_dist(params: dict[str, Any], x: Values) -> Result:
    settings = {
        "inter_weight": params["beta"],
        "intra_weight": params["gamma"],
        "temperature": params["tau"],
    }
    return {"loss": dist(x["logits_student"], x["logits_teacher"], **settings)}


@method
def golden_lskd(params: dict[str, Any], x: Values) -> Result:
    return {"loss": kd(standardise(x["logits_student"]), standardise(x["logits_teacher"]), **params).mean()}


@method
def golden_mld_bc(params: dict[str, Any], x: Values) -> Result:
    return {"loss": mld_batch(x["logits_student"], x["logits_teacher"], **params)}


@method
def golden_mld_cc(params: dict[str, Any], x: Values) -> Result:
    return {"loss": mld_class(x["logits_student"], x["logits_teacher"], **params)}


@method
def golden_at(params: dict[str, Any], x: Values) -> Result:
    stages = range(params["stages"])
    return {"loss": sum(at(x[f"fs{i}"], x[f"ft{i}"], power=params["p"]).mean() for i in stages)}


@method
def golden_nst(params: dict[str, Any], x: Values) -> Result:
    return {"loss": sum(nst(x[f"fs{i}"], x[f"ft{i}"]).mean() for i in range(params["stages"]))}


@method
def golden_sp(params: dict[str, Any], x: Values) -> Result:
    return {"loss": sp(x["feat_student"], x["feat_teacher"])}


@method
def golden_rkd(params: dict[str, Any], x: Values) -> Result:
    weights = {name: params[name] for name in ("distance_weight", "angle_weight")}
    return {"loss": rkd(x["feat_student"], x["feat_teacher"], **weights)}


@method
def golden_pkt(params: dict[str, Any], x: Values) -> Result:
    return {"loss": pkt(x["feat_student"], x["feat_teacher"], **params)}


@method
def golden_cc(params: dict[str, Any], x: Values) -> Result:
    return {"loss": correlation_congruence(x["embed_student"], x["embed_teacher"])}


@method
def golden_ickd(params: dict[str, Any], x: Values) -> Result:
    student, teacher = x["feat_student"], x["feat_teacher"]
    projector = ConnectorProjector(student_shape=tuple(student.shape[1:]), teacher_shape=tuple(teacher.shape[1:]))
    recorded = iter((x["proj_conv2d_weight"], x["proj_l2norm_weight"], x["proj_l2norm_bias"]))
    weights = {name: next(recorded) for name, _ in projector.named_parameters()}
    projected = torch.func.functional_call(projector.train().to(student.dtype), weights, student)
    return {"loss": ickd(projected, teacher).mean()}


@method
def golden_crd(params: dict[str, Any], x: Values) -> Result:
    memories = [x["memory_student0"].clone(), x["memory_teacher0"].clone()]
    scale = x["Ws"].new_zeros(2)
    losses = []
    for step in range(params["steps"]):
        student = F.normalize(F.linear(x["feat_student"][step], x["Ws"], x["bs"]), dim=1)
        teacher = F.normalize(F.linear(x["feat_teacher"][step], x["Wt"], x["bt"]), dim=1)
        loss, scale = crd_loss(
            student, teacher, *memories, x["contrast_index"][step], scale, temperature=params["nce_T"]
        )
        losses.append(loss)
        for memory, embedding in zip(memories, (student, teacher), strict=True):
            crd_remember(memory, embedding, x["index"][step], momentum=params["momentum"])
    steps = torch.stack(losses)
    found = {"memory_student": memories[0], "memory_teacher": memories[1], "Z": scale}
    return {"loss": steps.sum(), "loss_per_step": steps, **found}


@method
def golden_reviewkd_hcl(params: dict[str, Any], x: Values) -> Result:
    student, teacher = ([x[f"{side}{stage}"] for stage in range(params["stages"])] for side in ("fs", "ft"))
    return {"loss": reviewkd_hcl(student, teacher).mean()}


@method
def golden_reviewkd(params: dict[str, Any], x: Values) -> Result:
    student, teacher = ([x[f"{side}{stage}"] for stage in (0, 1, 2, "_pooled")] for side in ("fs", "ft"))
    shapes = {
        "student_shapes": [tuple(feature.shape[1:]) for feature in student],
        "teacher_shapes": [tuple(feature.shape[1:]) for feature in teacher],
    }
    loss = ReviewKD(**shapes).train().to(student[0].dtype)
    parts = {"reduce.": "conv1_", "project.": "conv2_", "attention.": "att_conv_0_"}
    weights = {}
    for name, _ in loss.named_parameters():
        _, depth, part, rest = name.split(".", 3)
        weights[name] = x[f"proj_{depth}_{parts[part + '.']}{rest.replace('.', '_')}"]
    assert len(weights) == sum(key.startswith("proj_") for key in x)
    assert params["warmup_factor"] == 1
    return {"loss": torch.func.functional_call(loss, weights, (student, teacher)).mean()}


@method
def golden_ofd(params: dict[str, Any], x: Values) -> Result:
    found: Result = {"loss": torch.zeros((), dtype=x["fs0"].dtype)}
    for stage in range(params["stages"]):
        student, teacher = x[f"fs{stage}"], x[f"ft{stage}"]
        connector = ConnectorProjector(
            student_shape=tuple(student.shape[1:]), teacher_shape=tuple(teacher.shape[1:]), init="fan_out"
        )
        connector.train().to(student.dtype)
        names = {"conv.weight": "0_weight", "bn.weight": "1_weight", "bn.bias": "1_bias"}
        weights = {name: x[f"proj_connectors_{stage}_{theirs}"] for name, theirs in names.items()}
        margin = ofd_margin(x[f"bn_weight{stage}"], x[f"bn_bias{stage}"])
        value = ofd(torch.func.functional_call(connector, weights, student), teacher, margin).mean()
        found[f"margin{stage}"] = margin
        found["loss"] = found["loss"] + value / 2 ** (params["stages"] - 1 - stage)
    return found


@method
def golden_vid(params: dict[str, Any], x: Values) -> Result:
    student, teacher = x["feat_student"], x["feat_teacher"]
    loss = VID(
        student_shape=tuple(student.shape[1:]),
        teacher_shape=tuple(teacher.shape[1:]),
        initial_variance=params["init_pred_var"],
        eps=params["eps"],
    ).to(student.dtype)
    weights = {f"mean.{i}.weight": x[f"proj_{i}_weight"] for i in (0, 2, 4)} | {"rho": x["log_scale"]}
    assert set(weights) == {name for name, _ in loss.named_parameters()}
    return {"loss": torch.func.functional_call(loss, weights, (student, teacher)).mean()}


@method
def golden_simkd(params: dict[str, Any], x: Values) -> Result:
    student, teacher = x["feat_student"], x["feat_teacher"]
    block = TransferProjector(
        student_shape=tuple(student.shape[1:]), teacher_shape=tuple(teacher.shape[1:]), factor=params["factor"]
    )
    places = {"conv1": 0, "bn1": 1, "conv2": 3, "bn2": 4, "conv3": 6, "bn3": 7}
    weights = {}
    for name, _ in block.named_parameters():
        module, _, kind = name.partition(".")
        weights[name] = x[f"proj_transfer_{places[module]}_{kind}"]
    block.train().to(student.dtype)
    projected = torch.func.functional_call(block, weights, student)
    logits = F.linear(projected.mean(dim=(2, 3)), x["cls_weight"], x["cls_bias"])
    return {"loss": simkd(projected, teacher).mean(), "logits": logits}


@method
def golden_kd(params: dict[str, Any], x: Values) -> Result:
    return {"loss": kd(x["logits_student"], x["logits_teacher"], **params).mean()}


@method
def golden_wkd_weight_schedule(params: dict[str, Any], x: Values) -> Result:
    rows = [
        [epoch, start, total, cosine_decay(epoch, start=start, total=total)]
        for epoch, start, total, _ in x["table"].tolist()
    ]
    return {"table": torch.tensor(rows, dtype=torch.float64)}


def _cases() -> list[dict[str, Any]]:
    if not FOLDER.is_dir():
        return []
    return json.loads((FOLDER / "cases.json").read_text())["cases"]


CASES = [case for case in _cases() if case["method"] in METHODS]


def test_every_case_of_the_built_methods_is_reached(shared: Path) -> None:
    assert len(CASES) == CASES_BUILT
    known = {case["method"] for case in _cases()}
    assert known == set(METHODS), "a method is not built"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_golden(case: dict[str, Any], dtype: str, shared: Path) -> None:
    if dtype not in case["tolerance"]:
        assert case["method"] == "wkd_weight_schedule"  # plain Python floats: one precision
        dtype = "float64"
    with np.load(FOLDER / case["file"]) as arrays:
        values = {name: torch.from_numpy(arrays[name]) for name in arrays.files}
    given = {
        name: values[name].to(getattr(torch, dtype))
        if values[name].is_floating_point() and name != "label"
        else values[name]
        for name in [*case["inputs"], *case["weights"]]
    }
    if case["method"] == "wkd_weight_schedule":
        given["table"] = values["table"]
    differentiated = [name.removeprefix("grad_") for name in case["outputs"] if name.startswith("grad_")]
    for name in differentiated:
        given[name].requires_grad_()
    results = METHODS[case["method"]](case["params"], given)
    if differentiated:
        gradients = torch.autograd.grad(results["loss"], [given[name] for name in differentiated])
        results |= {f"grad_{name}": g for name, g in zip(differentiated, gradients, strict=True)}
    for output in case["outputs"]:
        _compare(case, dtype, output, results[output].detach().double(), values[output].double())


def _compare(case: dict[str, Any], dtype: str, output: str, got: Tensor, wanted: Tensor) -> None:
    if output in case.get("official_not_finite", ()):
        return
    if dtype == "float32" and output in case.get("official_float32_misses_its_own_float64_by", {}):
        return
    assert got.shape == wanted.shape, output
    if output in case.get("exactly_zero_outputs", ()):
        assert got.abs().max() <= 1e-6, output
        return
    tolerance = case["tolerance"][dtype]
    bound = tolerance["rtol"] * wanted.abs() + tolerance["atol_rel"] * wanted.abs().max() + tolerance["atol"]
    excess = ((got - wanted).abs() - bound).max()
    assert excess <= 0, f"{output}: beyond its tolerance by {float(excess):.2e}"
