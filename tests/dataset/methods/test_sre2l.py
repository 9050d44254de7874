"""SRe2L: its optimizer against torch's, its range of pixels, the end of its schedule."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from limbeck.dataset.methods.sre2l import sre2l
from limbeck.dataset.preprocess import fit_whitening
from limbeck.dataset.recover import Statistics
from limbeck.errors import ConfigError


def teacher() -> nn.Module:
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)]
    model = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    for _ in range(20):
        model(torch.randn(16, 3, 8, 8))
    return model.eval().requires_grad_(False)


def test_steps_are_those_of_adam_under_a_cosine(ground):
    begun = ground(teacher=teacher(), ipc=1)
    # Mirroring is the only thing left to chance; symmetric images do not notice it.
    start = 0.5 * (begun.start + begun.start.flip(3)) * 0.1
    method = sre2l(ground(teacher=teacher(), ipc=1, start=start), iterations=10, lr_images=0.01)
    images = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([images], lr=0.01, betas=(0.5, 0.9))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    statistics = Statistics(teacher())
    logits, distance = statistics(images)
    loss = nn.functional.cross_entropy(logits, begun.labels) + 0.01 * distance
    assert method.iteration(0)["loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()
    # The first step of Adam is the rate times the sign of the gradient, whichever way the images face.
    moved, wanted = (method.images - start).abs(), (images - start).abs()
    torch.testing.assert_close(moved.sort().values, wanted.detach().sort().values, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("whiten", [False, True])
def test_pixels_stay_in_range_whatever_the_preprocessing(ground, whiten):
    sample = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(3))
    begun = ground(teacher=teacher(), preprocess=fit_whitening(sample) if whiten else None)
    method = sre2l(begun, iterations=5, lr_images=5.0)
    for number in range(4):
        method.iteration(number)
    pixels = begun.real.preprocess.invert(method.learned().images)
    assert float(pixels.min()) > -1e-3
    assert float(pixels.max()) < 1 + 1e-3


def test_batches_hold_consecutive_classes(ground):
    seen = []
    begun = ground(teacher=teacher(), ipc=2)
    method = sre2l(begun, iterations=5, batch_size=3)
    statistics = method.statistics
    method.statistics = lambda images: (seen.append(images.detach().clone()), statistics(images))[1]
    before = method.images.clone()
    method.iteration(0)
    for batch, rows in zip(seen, ([0, 2, 4], [1, 3, 5]), strict=True):
        for image, row in zip(batch, rows, strict=True):
            assert any(torch.equal(image, one) for one in (before[row], before[row].flip(2)))


def test_a_schedule_that_is_over_is_said_so(ground):
    method = sre2l(ground(teacher=teacher()), iterations=1)
    method.iteration(0)
    with pytest.raises(ConfigError, match="ends after 1, where its rate is 0"):
        method.iteration(1)
