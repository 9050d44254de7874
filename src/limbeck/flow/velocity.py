"""A flow: a network, what its output means, and what is known about it."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from limbeck.errors import ModelError
from limbeck.flow._registry import PARAMETERISATIONS
from limbeck.flow.kernels import time_of_sigma
from limbeck.flow.path import END, data_of, per_image, require_times
from limbeck.specs import Spec

Predicts = Literal["velocity", "average velocity", "consistency"]
"""What the velocity is for: any solver; the mean over an interval; jumps to the data."""


class Flow(nn.Module):
    """A velocity field dx/dt = v(x, t) from data at t = 0 to noise at t = 1.

    Args:
        network: called (x, time, labels); see `limbeck.models.velocity`.
        parameterisation: what its output means, by name with settings.
        image_shape: channels, height, width.
        classes: labels it is conditioned on; 0 for none.
        predicts: what the velocity is for: "velocity" for any solver, "average velocity" for steps that say where
            they end (MeanFlow), "consistency" for jumps to the data.
        rounds: reflows behind it: 0 for a flow of independent pairs or a diffusion model, whose paths are curved;
            1 for the student of such a one; None where nobody knows. The noise-anchored rule asks for it.
        trained: first and last time seen in training; the parameterisation's unless given.

    Example:
        >>> from limbeck.models.velocity import build_velocity_network
        >>> flow = Flow(build_velocity_network("mlp", image_shape=(2, 1, 1)), image_shape=(2, 1, 1))
        >>> flow(torch.zeros(5, 2, 1, 1), torch.full((5,), 0.5)).shape
        torch.Size([5, 2, 1, 1])
    """

    def __init__(
        self,
        network: nn.Module,
        parameterisation: Spec | str = "velocity",
        *,
        image_shape: tuple[int, int, int],
        classes: int = 0,
        predicts: Predicts = "velocity",
        rounds: int | None = None,
        trained: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        spec = Spec(name=parameterisation) if isinstance(parameterisation, str) else parameterisation
        self.parameterisation = spec
        self._meaning = PARAMETERISATIONS[spec.name](**spec.settings)
        self.image_shape = image_shape
        self.classes = classes
        self.predicts: Predicts = predicts
        self.rounds = rounds
        self.trained = trained or self._meaning.trained
        self.class_names: tuple[str, ...] = ()
        self.notes: dict[str, Any] = {}

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None, *interval: Tensor) -> Tensor:
        """Velocity at x, the same shape.

        Args:
            x: (n, c, h, w).
            t: (n,), in [0, 1].
            labels: (n,) int64, -1 for no class; or None.
            interval: at most one tensor (n,), t - r, for average velocities.

        Raises:
            InputError: a time outside [0, 1].
            ModelError: labels that the flow does not have.
        """
        if not torch.compiler.is_compiling():
            require_times(t)
            self._require_labels(labels)
        found: Tensor = self._meaning.velocity(self.network, x, t, labels, *interval)
        return found

    def data(self, x: Tensor, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """The data that the velocity at x points back to, x - t v."""
        velocity: Tensor = self(x, t, labels)
        return data_of(x, velocity, t)

    def denoise(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """The denoiser D(x; sigma) of data + sigma noise, as diffusion models' own solvers call it.

        Args:
            x: (n, c, h, w).
            sigma: (n,), above 0.
            labels: (n,) or None.
        """
        if self._meaning.denoise is not None:
            denoised: Tensor = self._meaning.denoise(self.network, x, sigma, labels)
            return denoised
        t = time_of_sigma(sigma)
        return self.data(x * per_image(1 - t, x), t, labels)

    @property
    def begin(self) -> float:
        """Where sampling begins: 1 - 1e-5, or the last time that the network has seen."""
        return min(1 - END, self.trained[1])

    def facts(self) -> dict[str, Any]:
        """What an artefact keeps beside weights and network."""
        return {
            "parameterisation": self.parameterisation.model_dump(),
            "image_shape": list(self.image_shape),
            "classes": self.classes,
            "predicts": self.predicts,
            "rounds": self.rounds,
            "trained": list(self.trained),
        }

    def like(self, network: nn.Module, **changes: Any) -> Flow:
        """The same meaning with another network."""
        facts: dict[str, Any] = {
            "image_shape": self.image_shape,
            "classes": self.classes,
            "predicts": self.predicts,
            "rounds": self.rounds,
            "trained": self.trained,
        }
        return Flow(network, self.parameterisation, **{**facts, **changes})

    def _require_labels(self, labels: Tensor | None) -> None:
        if labels is None:
            return
        if not self.classes:
            if bool((labels >= 0).any()):
                raise ModelError("this flow knows no classes; leave the labels out.")
        elif bool((labels >= self.classes).any()):
            raise ModelError(
                f"label {int(labels.max())} is beyond the {self.classes} classes of this flow "
                f"(0 to {self.classes - 1})."
            )


class Guided(nn.Module):
    """Classifier-free guidance: v_none + scale (v_class - v_none), two evaluations in one batch.

    Args:
        flow: trained with some labels left out.
        scale: 1 is the class alone.
    """

    evaluations = 2

    def __init__(self, flow: Flow, scale: float) -> None:
        super().__init__()
        if not flow.classes:
            raise ModelError("guidance needs a flow with classes; this one knows none.")
        self.flow, self.scale = flow, scale

    def forward(self, x: Tensor, t: Tensor, labels: Tensor | None = None, *interval: Tensor) -> Tensor:
        """Velocity at x; needs labels."""
        if labels is None:
            raise ModelError("guidance needs labels: towards which class?")
        twice = [torch.cat([h, h]) for h in (x, t, *interval)]
        both = self.flow(twice[0], twice[1], torch.cat([labels, torch.full_like(labels, -1)]), *twice[2:])
        given, none = both.chunk(2)
        guided: Tensor = none + self.scale * (given - none)
        return guided
