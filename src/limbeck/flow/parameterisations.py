"""What the output of a network means: a velocity, the data, the noise, or the inside of a preconditioned denoiser.

Each function gives a `Parameterisation`, which turns a network into a velocity on the path of `limbeck.flow.path`
and says over which times the network was trained. Diffusion models of other kernels come in through the exact
change of time and scale of `limbeck.flow.kernels`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from limbeck.bounds import Positive, PositiveInt
from limbeck.flow.kernels import vp_scale, vp_time
from limbeck.flow.path import END, per_image, velocity_to_data, velocity_to_noise

Network = Callable[..., Tensor]
"""`network(x, time, labels)`, or with a fourth argument for the length of an interval."""


@dataclass(frozen=True)
class Parameterisation:
    """How a network becomes a velocity.

    Attributes:
        velocity: (network, x, t, labels, *interval) to v; x (n, c, h, w), t (n,) in [0, 1].
        trained: first and last time that the network has seen in training.
        denoise: (network, x, sigma, labels) to D(x; sigma), for models that are denoisers themselves: at small
            noise levels the way over the flow's time would cost digits.
    """

    velocity: Callable[..., Tensor]
    trained: tuple[float, float] = (END, 1 - END)
    denoise: Callable[[Network, Tensor, Tensor, Tensor | None], Tensor] | None = None


def velocity(
    *, direction: Literal["data_to_noise", "noise_to_data"] = "data_to_noise", time_scale: Positive = 1.0
) -> Parameterisation:
    """The network gives the velocity itself.

    Args:
        direction: which way its time runs. Libraries that have noise at 0 (flow_matching, torchcfm, the first
            rectified flow) are `noise_to_data`; 2-rectified flow++, MeanFlow and Diffusers' sigmas are
            `data_to_noise`.
        time_scale: what its time is multiplied by: 999 for the first rectified flow, 1000 for Diffusers.
    """

    def forwards(network: Network, x: Tensor, t: Tensor, labels: Tensor | None, *interval: Tensor) -> Tensor:
        return network(x, t * time_scale, labels, *(h * time_scale for h in interval))

    def backwards(network: Network, x: Tensor, t: Tensor, labels: Tensor | None, *interval: Tensor) -> Tensor:
        return -network(x, (1 - t) * time_scale, labels, *(h * time_scale for h in interval))

    return Parameterisation(forwards if direction == "data_to_noise" else backwards)


def data(*, time_scale: Positive = 1.0) -> Parameterisation:
    """The network gives the data; v = (x_t - x) / t.

    Args:
        time_scale: what its time is multiplied by.
    """

    def turned(network: Network, x: Tensor, t: Tensor, labels: Tensor | None, *interval: Tensor) -> Tensor:
        found = network(x, t * time_scale, labels, *(h * time_scale for h in interval))
        return velocity_to_data(x, found, t.clamp_min(END))

    return Parameterisation(turned)


def noise(*, time_scale: Positive = 1.0) -> Parameterisation:
    """The network gives the noise; v = (z - x_t) / (1 - t).

    Args:
        time_scale: what its time is multiplied by.
    """

    def turned(network: Network, x: Tensor, t: Tensor, labels: Tensor | None, *interval: Tensor) -> Tensor:
        found = network(x, t * time_scale, labels, *(h * time_scale for h in interval))
        return velocity_to_noise(x, found, t.clamp_max(1 - END))

    return Parameterisation(turned)


def edm(
    *, sigma_data: Positive = 0.5, sigma_min: Positive = 0.002, sigma_max: Positive = 80.0
) -> Parameterisation:
    """The inside of EDM's preconditioning (Karras et al. 2022), as one stable expression.

    With q = t^2 + sd^2 (1 - t)^2 and F = network(x_t / sqrt(q), logit(t) / 4),

        v = ((t - sd^2 (1 - t)) x_t - sd sqrt(q) F) / q.

    It equals (x_t - D(x_t / (1 - t); t / (1 - t))) / t and divides by nothing that vanishes; in single precision
    the chain of divisions is wrong in the fourth digit near the data. The released checkpoints of EDM are all of
    this kind, those called `ve` and `vp` too.

    Args:
        sigma_data: standard deviation of the data that the model assumed.
        sigma_min: least noise level in its training.
        sigma_max: largest one; flows that were initialised from it and trained on see all times.
    """

    def turned(network: Network, x: Tensor, t: Tensor, labels: Tensor | None, *interval: Tensor) -> Tensor:
        at = per_image(t, x)
        q = at.square() + sigma_data**2 * (1 - at).square()
        root = q.sqrt()
        told = (torch.logit(t.clamp(END, 1 - END)) / 4).to(x.dtype)
        inner = network(x / root, told, labels, *interval)
        return ((at - sigma_data**2 * (1 - at)) * x - sigma_data * root * inner) / q

    def denoise(network: Network, x: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        level = per_image(sigma.to(x.dtype), x)
        size = level.square() + sigma_data**2
        inner = network(x * (1 / size.sqrt()), sigma.to(x.dtype).log() / 4, labels)
        return sigma_data**2 / size * x + level * sigma_data / size.sqrt() * inner

    trained = (sigma_min / (1 + sigma_min), sigma_max / (1 + sigma_max))
    return Parameterisation(turned, trained, denoise)


def edm_ve(*, sigma_min: Positive = 0.02, sigma_max: Positive = 100.0) -> Parameterisation:
    """The variance-exploding model of Song et al. (2021) in EDM's notation: D = y + sigma F(y; ln(sigma / 2)).

    On the flow's path v = -(x_t + F) / (1 - t), with y = x_t / (1 - t).

    Args:
        sigma_min: least noise level in its training.
        sigma_max: largest one.
    """

    def turned(network: Network, x: Tensor, t: Tensor, labels: Tensor | None, *interval: Tensor) -> Tensor:
        t = t.clamp(END, 1 - END)
        at = per_image(t, x)
        inner = network(x / (1 - at), (t / (1 - t) / 2).log(), labels, *interval)
        # x-hat = x_t / (1 - t) + t / (1 - t) F, and v = (x_t - x-hat) / t.
        return -(x + inner) / (1 - at)

    return Parameterisation(turned, (sigma_min / (1 + sigma_min), sigma_max / (1 + sigma_max)))


def edm_vp(
    *, beta_range: Positive = 19.9, beta_min: Positive = 0.1, steps: PositiveInt = 1000
) -> Parameterisation:
    """The variance-preserving model of Song et al. (2021): the network gives the noise, told steps - 1 times T.

    Args:
        beta_range: beta_max - beta_min.
        beta_min: beta at time 0.
        steps: of the discrete model that its time is counted in.
    """
    first, last = (_flow_time_of_vp(time, beta_min, beta_range) for time in (1e-3, 1.0))

    def turned(network: Network, x: Tensor, t: Tensor, labels: Tensor | None, *interval: Tensor) -> Tensor:
        t = t.clamp(END, 1 - END)
        time = vp_time(t.double(), beta_min=beta_min, beta_range=beta_range).to(t.dtype)
        scaled = x * per_image(vp_scale(t), x)
        inner = network(scaled, (steps - 1) * time, labels, *((steps - 1) * h for h in interval))
        # y - sigma eps with y = x_t / (1 - t), sigma = t / (1 - t); then v = (x_t - x-hat) / t.
        return (inner - x) / (1 - per_image(t, x))

    return Parameterisation(turned, (first, last))


def ddpm(
    *,
    schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] = "linear",
    beta_start: Positive = 1e-4,
    beta_end: Positive = 0.02,
    steps: PositiveInt = 1000,
    predicts: Literal["epsilon", "v_prediction", "sample"] = "epsilon",
) -> Parameterisation:
    """A model in discrete steps, as Diffusers keeps them; between two steps the time is interpolated.

    The step whose ratio of signal to noise is that of the flow's time is found in the logarithm of sigma; before
    the first and after the last step the outermost ones are taken.

    Args:
        schedule: of the betas.
        beta_start: first beta, of the first two schedules.
        beta_end: last beta, of the first two schedules.
        steps: in training.
        predicts: noise, velocity of the variance-preserving process, or data.
    """
    log_sigmas = _log_sigmas(schedule, beta_start, beta_end, steps)
    first, last = (float(s.exp() / (1 + s.exp())) for s in (log_sigmas[0], log_sigmas[-1]))

    def turned(network: Network, x: Tensor, t: Tensor, labels: Tensor | None, *interval: Tensor) -> Tensor:
        t = t.clamp(END, 1 - END)
        steps_at = _step_of(torch.logit(t.double()), log_sigmas.to(t.device)).to(t.dtype)
        length = per_image(vp_scale(t), x)  # alpha = (1 - t) length, sigma' = t length
        at = per_image(t, x)
        scaled = x * length
        inner = network(scaled, steps_at, labels, *((steps - 1) * h for h in interval))
        if predicts == "epsilon":
            return (inner - x) / (1 - at)
        if predicts == "sample":
            return (x - inner) / at
        # (x_t - x-hat) / t with x-hat = alpha x' - sigma' v', the divisions by t taken out.
        return length * ((2 * at - 1) * scaled + inner)

    return Parameterisation(turned, (first, last))


def _flow_time_of_vp(time: float, beta_min: float, beta_range: float) -> float:
    sigma = math.sqrt(math.expm1(beta_range * time**2 / 2 + beta_min * time))
    return sigma / (1 + sigma)


def _log_sigmas(schedule: str, start: float, end: float, steps: int) -> Tensor:
    if schedule == "linear":
        betas = torch.linspace(start, end, steps, dtype=torch.float64)
    elif schedule == "scaled_linear":
        betas = torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64).square()
    else:
        bar = torch.cos(
            (torch.arange(steps + 1, dtype=torch.float64) / steps + 0.008) / 1.008 * math.pi / 2
        ).square()
        betas = (1 - bar[1:] / bar[:-1]).clamp(max=0.999)
    bar = torch.cumprod(1 - betas, 0)
    return ((1 - bar) / bar).log() / 2


def _step_of(log_sigma: Tensor, table: Tensor) -> Tensor:
    above = torch.searchsorted(table, log_sigma.contiguous()).clamp(1, len(table) - 1)
    low, high = table[above - 1], table[above]
    return (above - 1) + ((log_sigma - low) / (high - low)).clamp(0, 1)
