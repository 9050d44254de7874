"""IDC: its match as recorded, whose momentum moves what, and how its network is trained."""

from __future__ import annotations

import pytest
import torch

from limbeck.dataset import idc_augment
from limbeck.dataset.flat import Flat
from limbeck.dataset.formation import decode
from limbeck.dataset.methods import idc as module
from limbeck.dataset.methods._base import Ground
from limbeck.dataset.methods.idc import FIX_EVERY, FIX_EVERY_LATER, IDC, idc
from limbeck.dataset.preprocess import Normalisation, fit_whitening
from limbeck.dataset.real import Real, Split
from limbeck.seeding import generator

PLAIN = Normalisation((0.0,) * 3, (1.0,) * 3)
SMALL = {"inner": 1, "batch_real": 4, "real_images": 8}


def test_a_match_after_earlier_subsets_agrees_with_the_recorded_program(golden, close, convnet):
    params, a = golden("seqmatch_idc_loss")
    net, label, size = convnet(params), params["label"], params["im_size"]
    labels = torch.tensor([label] * len(a["x_real"]) + [c for c in range(3) if c != label])
    others = torch.zeros(2, 3, size, size, dtype=torch.float64)
    part = Split(torch.cat([a["x_real"], others]), labels)
    begun = Ground(
        start=a["current"],
        labels=torch.full((len(a["current"]),), label),
        real=Real(part, None, part, PLAIN, ("a", "b", "c"), "recorded"),
        build=lambda _: net,
        seed=0,
        frozen=(a["previous"], torch.full((len(a["previous"]),), label)),
    )
    method = IDC(
        begun,
        factor=1,
        inner=1,
        fix_every=1,
        batch_real=6,
        lr_images=1.0,
        momentum=0.0,
        real_images=1,
        warm_up=0,
        cutmix=0.0,
        distance="convolution_squared",
        augment="",
    )
    method.factor = params["factor"]  # the first images are the recorded ones, not tiles of real ones
    method.images.copy_(a["current"])
    loss = method._match(Flat(net).write(a["flat_param"]), label, generator(0))
    close(loss, a["loss"], params)
    torch.testing.assert_close(a["current"] - method.images, a["grad_current"], rtol=1e-6, atol=1e-9)


def test_a_step_for_one_class_carries_the_momentum_of_all_on(ground):
    method = idc(ground(), **SMALL)
    net = method.ground.build(0)
    method._match(net, 0, generator(0))
    before, first = method.images.clone(), method._sgd.buffers["images"].clone()
    method._match(net, 1, generator(1))
    rows = method.ground.rows[0]
    assert bool(first[rows].any())
    wanted = before[rows] - 0.5 * method._sgd.rates["images"] * first[rows]
    torch.testing.assert_close(method.images[rows], wanted)


@pytest.mark.parametrize(("earlier", "wanted"), [(0, FIX_EVERY), (2, FIX_EVERY_LATER)])
def test_a_network_lives_for_the_published_number_of_iterations(ground, earlier, wanted):
    assert idc(ground(earlier=earlier), **SMALL).fix_every == wanted


def test_with_earlier_subsets_every_iteration_begins_with_a_copy(ground):
    built = []

    def taught(seed: int) -> torch.nn.Module:
        built.append(seed)
        return ground().build(seed)

    method = idc(ground(earlier=1, initial=taught), fix_every=3, **SMALL)
    method.iteration(0)
    weights = method.weights.clone()
    method.iteration(1)
    assert torch.equal(method.weights, weights)
    assert not method.velocity.any()
    assert len(built) == 1
    method.iteration(2)
    method.iteration(3)
    assert len(set(built)) == 2


def test_without_earlier_subsets_the_network_goes_on_learning(ground):
    method = idc(ground(), fix_every=2, **SMALL)
    method.iteration(0)
    weights = method.weights.clone()
    method.iteration(1)
    assert not torch.equal(method.weights, weights)


def test_the_network_sees_each_image_changed_by_itself_and_no_cutout_beside_cutmix(ground, monkeypatch):
    drawn = []
    real = idc_augment.draw

    def watched(strategy, shape, **rest):
        found = real(strategy, shape, **rest)
        drawn.append((strategy, rest.get("siamese", True), [len(d.numbers[0]) for d in found.draws]))
        return found

    monkeypatch.setattr(module.idc_augment, "draw", watched)
    idc(ground(), augment="color_crop_cutout", **SMALL).iteration(0)
    *matches, training = drawn
    assert training == ("color_crop", False, [8, 8])
    assert matches == [("color_crop_cutout", True, [1, 1, 1])] * 3
    drawn.clear()
    idc(ground(), augment="color_crop_cutout", cutmix=0.0, **SMALL).iteration(0)
    assert drawn[-1][0] == "color_crop_cutout"


def test_a_network_can_learn_real_images_before_its_first_match(ground):
    cold, warm = (idc(ground(), warm_up=passes, **SMALL) for passes in (0, 2))
    assert cold.iteration(0)["loss"] != warm.iteration(0)["loss"]


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize("whiten", [False, True])
def test_earlier_subsets_are_decoded_as_pixels(ground, factor, whiten):
    preprocess = (
        fit_whitening(torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(3))) if whiten else None
    )
    method = idc(ground(earlier=2, preprocess=preprocess, images=72), factor=factor, **SMALL)
    images, labels = method.ground.frozen
    for label, pixels in enumerate(method._before):
        wanted = method.ground.real.preprocess.invert(images[labels == label])
        torch.testing.assert_close(pixels, wanted)
        assert float(decode(pixels, pixels, factor)[0].min()) > -1e-2
    method.iteration(0)
    assert bool(torch.isfinite(method.learned().images).all())
    assert method.learned().factor == factor


def test_pixels_stay_in_range(ground):
    method = idc(ground(), lr_images=100.0, **SMALL)
    method.iteration(0)
    assert float(method.images.min()) >= 0
    assert float(method.images.max()) <= 1


@pytest.mark.parametrize("earlier", [0, 2])
@pytest.mark.parametrize("fix_every", [1, 3])
def test_going_on_after_a_stop_gives_the_same_bits(ground, earlier, fix_every):
    settings = {**SMALL, "inner": 2, "fix_every": fix_every, "warm_up": 1}
    whole, first, second = (idc(ground(earlier=earlier), **settings) for _ in range(3))
    for number in range(4):
        whole.iteration(number)
    for number in range(2):
        first.iteration(number)
    second.load_state(first.state())
    for number in (2, 3):
        second.iteration(number)
    for key, value in whole.state().items():
        assert torch.equal(second.state()[key], value), key
