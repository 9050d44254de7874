"""IDC's multi-formation: recorded decodings, beginnings, augmentation and the matching of SeqMatch-IDC."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from limbeck.dataset import idc_augment
from limbeck.dataset.flat import Flat
from limbeck.dataset.formation import decode, decode_bounded, decode_multi, decode_seen, mixed_start, pixel_rate
from limbeck.dataset.matching.gradients import convolution_squared
from limbeck.dataset.preprocess import Normalisation, fit_whitening
from limbeck.errors import ConfigError


@pytest.mark.parametrize("number", range(5))
def test_decoding_agrees_with_the_recorded_program(golden, close, number):
    params, a = golden(f"idc_decode_{number}")
    images = a["x"].requires_grad_(True)
    factor = params["factor"]
    if params["decode_type"] == "multi":
        found, targets = decode_multi(images, a["target"], factor)
    elif params["decode_type"] == "bound":
        found, targets = decode_bounded(images, a["target"], factor, bound=params["bound"])
    else:
        found, targets = decode(images, a["target"], factor)
    close(found, a["decoded"], params)
    assert torch.equal(targets, a["decoded_target"])
    (gradient,) = torch.autograd.grad((found * a["v"]).sum(), images)
    close(gradient, a["grad_x"], params)


def test_the_beginning_agrees_with_the_recorded_program(golden, close):
    params, a = golden("idc_init_mix")
    close(mixed_start(a["pool"], params["ipc"], params["factor"]), a["data"], params)


def test_the_rate_rule_agrees_with_the_recorded_program(golden):
    _, a = golden("idc_lr_rule")
    for ipc, size, lr, wanted in a["table"].tolist():
        assert pixel_rate(lr, int(ipc), int(size)) == pytest.approx(wanted)


@pytest.mark.parametrize("family", ["scale", "rotate"])
def test_augmentation_agrees_with_the_recorded_program(golden, close, family):
    params, a = golden(f"idcaug_{family}")
    change = idc_augment.scale if family == "scale" else idc_augment.rotate
    close(change(a["x"], *a["draws"].split(1)), a["y"], params)


def test_matching_after_earlier_subsets_agrees_with_the_recorded_program(golden, close, convnet):
    params, a = golden("seqmatch_idc_loss")
    net = Flat(convnet(params)).write(a["flat_param"])
    current = a["current"].requires_grad_(True)

    def gradient(images, *, keep):
        labels = torch.full((len(images),), params["label"])
        loss = F.cross_entropy(net(images), labels)
        return torch.autograd.grad(loss, list(net.parameters()), create_graph=keep)

    decoded = [decode(x, torch.zeros(len(x)), params["factor"])[0] for x in (a["previous"], current)]
    loss = convolution_squared(gradient(a["x_real"], keep=False), gradient(torch.cat(decoded), keep=True))
    close(loss, a["loss"], params)
    (found,) = torch.autograd.grad(loss, current)
    close(found, a["grad_current"], params)


def test_colour_cutout_and_flip_are_always_there_with_one_of_the_others():
    drawn = idc_augment.draw(
        "color_crop_cutout_flip_scale_rotate",
        (4, 3, 8, 8),
        generator=torch.Generator().manual_seed(0),
        device=torch.device("cpu"),
    )
    names = [one.family for one in drawn.draws]
    assert {"color", "cutout", "flip"} < set(names)
    assert len(names) == 4


def test_too_few_real_images_for_the_tiles_are_said_so():
    with pytest.raises(ConfigError, match="take 8 real images of a class; there are 7"):
        mixed_start(torch.zeros(7, 3, 8, 8), 2, 2)


@pytest.mark.parametrize("factor", [1, 2, 3])
@pytest.mark.parametrize("whiten", [False, True])
def test_decoding_what_networks_see_is_seeing_what_is_decoded(factor, whiten):
    pixels = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    preprocess = fit_whitening(pixels) if whiten else Normalisation((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    found, labels = decode_seen(preprocess.apply(pixels[:4]), torch.arange(4), factor, preprocess)
    wanted, repeated = decode(pixels[:4], torch.arange(4), factor)
    torch.testing.assert_close(found, preprocess.apply(wanted), rtol=1e-4, atol=1e-4)
    assert torch.equal(labels, repeated)
