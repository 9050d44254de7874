"""DC and DSA: what one move of the images is, and networks with batch norms."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from limbeck.dataset.matching.gradients import row_cosine
from limbeck.dataset.methods.dc import LOOPS, dc, dsa
from limbeck.models import build
from limbeck.seeding import derive, generator, seed_everything


def batch_normed(seed: int) -> nn.Module:
    seed_everything(seed, "weights")
    return build("convnet", depth=2, width=4, image_size=8, num_classes=3, norm="batch")


def test_one_move_is_the_gradient_of_the_sum_over_classes(ground):
    begun = ground()
    method = dc(begun, rounds=1, passes=1, batch_real=5, lr_images=0.1)
    images = begun.start.clone().requires_grad_(True)
    net, draws = begun.build(derive(begun.seed, "dc", "network", 0)), generator(begun.seed, "dc", 0)

    def gradient(batch, label):
        loss = F.cross_entropy(net(batch), torch.full((len(batch),), label))
        return torch.autograd.grad(loss, list(net.parameters()), create_graph=True)

    total = sum(
        row_cosine(gradient(begun.real.batch(c, 5, generator=draws), c), gradient(images[begun.labels == c], c))
        for c in range(3)
    )
    (wanted,) = torch.autograd.grad(total, images)
    assert method.iteration(0)["loss"] == pytest.approx(float(total.detach()) / 3, rel=1e-5)
    torch.testing.assert_close(method.images, begun.start - 0.1 * wanted)


@pytest.mark.parametrize("ipc", [1, 10])
def test_published_loops_are_taken_by_images_per_class(ground, ipc):
    method = dsa(ground(ipc=ipc))
    assert (method.rounds, method.passes) == LOOPS[ipc]


def test_the_network_learns_between_rounds_and_the_images_meet_what_it_has_learnt(ground):
    seen = []

    def watched(seed: int) -> nn.Module:
        net = ground().build(seed)
        net.register_forward_pre_hook(
            lambda module, _: seen.append(next(module.parameters()).detach().sum().item())
        )
        return net

    dc(ground(build=watched), rounds=2, passes=3, batch_real=4).iteration(0)
    # Six passes of one match (three classes, real and synthetic), three of training, six of the next match.
    assert len(seen) == 15
    assert len(set(seen[:6])) == 1
    assert len(set(seen[9:])) == 1
    assert seen[0] != seen[-1]


def test_batch_norms_are_settled_on_all_classes_and_frozen(ground):
    modes = []

    def watched(seed: int) -> nn.Module:
        net = batch_normed(seed)
        norm = next(m for m in net.modules() if isinstance(m, nn.BatchNorm2d))
        norm.register_forward_pre_hook(lambda module, inputs: modes.append((module.training, len(inputs[0]))))
        return net

    method = dc(ground(build=watched), rounds=2, passes=1, batch_real=4)
    assert torch.isfinite(torch.tensor(method.iteration(0)["loss"]))
    # Settled on the twelve images that each of three classes has, matched with frozen statistics, then trained.
    match = [(True, 36), *[(False, 4), (False, 2)] * 3]
    assert modes == [*match, (True, 6), *match]


@pytest.mark.parametrize("augment", ["flip", "color_crop_cutout_flip_scale_rotate"])
def test_batch_norms_resume_to_the_same_bits(ground, augment):
    whole, first, second = (
        dsa(ground(build=batch_normed), rounds=2, passes=1, batch_real=4, augment=augment) for _ in range(3)
    )
    for number in range(4):
        whole.iteration(number)
    for number in range(2):
        first.iteration(number)
    second.load_state(first.state())
    for number in (2, 3):
        second.iteration(number)
    assert torch.equal(whole.images, second.images)
