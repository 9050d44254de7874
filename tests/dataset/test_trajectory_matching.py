"""Trajectory matching: recorded losses and gradients; exact, unrolled and TESLA's."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.dataset.dsa import Draw
from limbeck.dataset.flat import Flat
from limbeck.dataset.matching.distributions import mean_distance
from limbeck.dataset.matching.trajectories import (
    Step,
    matching_gradient,
    minibatches,
    tesla_gradient,
    unrolled_gradient,
)
from limbeck.errors import ShapeError


def steps_of(indices, draws=None):
    draws = draws or [Draw("")] * len(indices)
    return [Step(torch.tensor(rows), drawn) for rows, drawn in zip(indices, draws, strict=True)]


@pytest.mark.parametrize("gradient", [matching_gradient, unrolled_gradient])
@pytest.mark.parametrize("number", range(3))
def test_mtt_agrees_with_the_recorded_program(golden, close, convnet, number, gradient):
    params, a = golden(f"mtt_{number}")
    net = Flat(convnet(params))
    lr = torch.tensor(params["lr"], dtype=torch.float64)
    found = gradient(
        net.logits, a["start"], a["target"], a["images"], a["labels"], lr, steps_of(params["indices"])
    )
    close(found.loss, a["loss"], params)
    close(found.images, a["grad_images"], params)
    close(found.lr, a["grad_lr"], params)
    close(found.final, a["final_params"], params)


def test_mtt_with_augmentation_agrees_with_the_recorded_program(golden, close, convnet):
    params, a = golden("mtt_with_augmentation")
    draws = [Draw(s["transform"], tuple(a[d] for d in s["draws"])) for s in params["augmentation_per_step"]]
    net, lr = Flat(convnet(params)), torch.tensor(params["lr"], dtype=torch.float64)
    steps = steps_of(params["indices"], draws)
    for chunk in (None, 2):
        found = matching_gradient(
            net.logits, a["start"], a["target"], a["images"], a["labels"], lr, steps, chunk=chunk
        )
        close(found.loss, a["loss"], params)
        close(found.images, a["grad_images"], params)
        close(found.lr, a["grad_lr"], params)


@pytest.mark.parametrize("number", range(3))
def test_tesla_agrees_with_its_formula_and_not_with_mtt(golden, close, convnet, number):
    params, a = golden(f"tesla_{number}")
    net, lr = Flat(convnet(params)), torch.tensor(params["lr"], dtype=torch.float64)
    arguments = (net.logits, a["start"], a["target"], a["images"], a["labels"], lr, steps_of(params["indices"]))
    found = tesla_gradient(*arguments)
    close(found.loss, a["loss"], params)
    close(found.images, a["grad_images"], params)
    close(found.lr, a["grad_lr"], params)
    exact = matching_gradient(*arguments)
    close(exact.images, a["mtt_grad_images"], params)
    cosine = torch.nn.functional.cosine_similarity(found.images.flatten(), exact.images.flatten(), dim=0)
    assert float(cosine) == pytest.approx(params["cosine_to_mtt_gradient"], rel=1e-6)


@pytest.mark.parametrize("name", ["seqmatch_mtt_stage_two", "seqmatch_mtt_stage_three"])
def test_later_subsets_are_matched_on_the_union(golden, close, convnet, name):
    params, a = golden(name)
    net, lr = Flat(convnet(params)), torch.tensor(params["lr"], dtype=torch.float64)
    images = torch.cat([a["previous_images"], a["images"]])
    labels = torch.cat([a["previous_labels"], a["labels"]])
    t = params["start_epoch"]
    found = matching_gradient(
        net.logits,
        a["trajectory"][t],
        a["trajectory"][t + params["expert_epochs"]],
        images,
        labels,
        lr,
        steps_of(params["indices_into_union"]),
    )
    close(found.loss, a["loss"], params)
    close(found.images[params["n_previous"] :], a["grad_images"], params)
    close(found.lr, a["grad_lr"], params)


def problem(soft: bool):
    torch.manual_seed(0)
    net = Flat(nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 3)).double())
    start = net.start()
    images = torch.randn(5, 3, 2, 2, dtype=torch.float64)
    targets = torch.rand(5, 3, dtype=torch.float64).softmax(1) if soft else torch.tensor([0, 1, 2, 0, 1])
    steps = [Step(torch.tensor(rows), Draw("")) for rows in ([0, 1, 2], [3, 4], [0, 2, 4])]
    return net, start, start + 0.1 * torch.randn_like(start), images, targets, steps


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("chunk", [None, 1, 2])
def test_constant_memory_changes_nothing(soft, chunk):
    net, start, target, images, targets, steps = problem(soft)
    lr = torch.tensor(0.3, dtype=torch.float64)
    want = unrolled_gradient(net.logits, start, target, images, targets, lr, steps)
    found = matching_gradient(net.logits, start, target, images, targets, lr, steps, chunk=chunk)
    torch.testing.assert_close(found.images, want.images, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(found.lr, want.lr, rtol=1e-12, atol=1e-14)
    assert (found.targets is None) == (not soft)
    if soft:
        torch.testing.assert_close(found.targets, want.targets, rtol=1e-12, atol=1e-14)


def test_the_gradient_of_soft_targets_is_that_of_finite_differences():
    net, start, target, images, targets, steps = problem(True)
    lr = torch.tensor(0.3, dtype=torch.float64)
    found = matching_gradient(net.logits, start, target, images, targets, lr, steps)
    for place in ((0, 1), (4, 2)):
        shift = torch.zeros_like(targets)
        shift[place] = 1e-6
        up, down = (
            matching_gradient(net.logits, start, target, images, targets + s, lr, steps).loss
            for s in (shift, -shift)
        )
        assert float((up - down) / 2e-6) == pytest.approx(float(found.targets[place]), rel=1e-5)


def test_minibatches_come_from_the_end_of_a_permutation():
    generator = torch.Generator().manual_seed(1)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(1))
    first, second, third, fourth = minibatches(5, 2, 4, generator=generator)
    assert torch.equal(torch.cat([third, second, first]), order[[0, 1, 2, 3, 4]])
    assert len(first) == 1
    assert len(fourth) == 1


def test_an_expert_that_stands_still_is_refused():
    net, start, _, images, targets, steps = problem(False)
    with pytest.raises(ShapeError, match="did not move"):
        matching_gradient(net.logits, start, start, images, targets, torch.tensor(0.1), steps)


def test_distribution_matching_agrees_with_the_recorded_program(golden, close, convnet):
    params, a = golden("dm_0")
    net = Flat(convnet(params))
    images = a["x_syn"].requires_grad_(True)
    real, syn = (
        net.embed(a["flat_param"], x.flatten(0, 1)).unflatten(0, x.shape[:2]) for x in (a["x_real"], images)
    )
    loss = mean_distance(real, syn)
    close(loss, a["loss"], params)
    (gradient,) = torch.autograd.grad(loss, images)
    close(gradient, a["grad_x_syn"], params)
