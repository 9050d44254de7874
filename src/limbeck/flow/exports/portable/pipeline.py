"""A pipeline of Diffusers that samples from a flow; exported by Limbeck, which it does not need."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from diffusers import DiffusionPipeline
from diffusers.pipelines.pipeline_utils import ImagePipelineOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor


class FlowPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Noise to images along a flow: time 1 is noise, 0 is data, x_t = (1 - t) x + t z.

    One of `unet`, `transformer` and `velocity` is there: a network of Diffusers that gives the velocity at time
    1000 t, or a program called (x, t, labels, interval).

    Args:
        scheduler: `FlowMatchEulerDiscreteScheduler` without a shift; with `stochastic_sampling` for consistency
            models, which jump to the data and add new noise.
        unet: a `UNet2DModel`; its last class is "no class" where it has any.
        transformer: a `DiTTransformer2DModel`; its last class is "no class".
        velocity: a `VelocityProgram`.
        flow: `image_shape`, `classes`, `predicts`, `times` to sample at unless told otherwise, and `begin`, the
            time that sampling begins at.
    """

    _optional_components = ["unet", "transformer", "velocity"]  # noqa: RUF012 (Diffusers wants a list)
    model_cpu_offload_seq = "unet->transformer->velocity"

    def __init__(
        self,
        scheduler: Any,
        unet: Any = None,
        transformer: Any = None,
        velocity: Any = None,
        flow: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(scheduler=scheduler, unet=unet, transformer=transformer, velocity=velocity)
        self.register_to_config(flow=flow)

    @torch.no_grad()
    def __call__(
        self,
        batch_size: int | None = None,
        class_labels: list[int] | Tensor | None = None,
        num_inference_steps: int | None = None,
        times: list[float] | None = None,
        guidance_scale: float = 1.0,
        generator: torch.Generator | list[torch.Generator] | None = None,
        latents: Tensor | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
    ) -> Any:
        """Sample.

        Args:
            batch_size: images to make; as many as there are labels or noises, or 1, unless given.
            class_labels: one for each image, -1 for no class; no class at all unless given.
            num_inference_steps: network evaluations, on even times; what the pipeline was exported with unless
                given.
            times: where the steps begin, falling from 1.
            guidance_scale: of classifier-free guidance; above or below 1 every step costs two evaluations.
            generator: of the noise.
            latents: the noise itself, (n, c, h, w).
            output_type: "pil", "np" (n, h, w, c) or "pt" (n, c, h, w) in [0, 1], or "latent": as the network gives
                it, in [-1, 1] up to what it overshoots.
            return_dict: an object with `images` rather than a tuple.
        """
        flow = self.config.flow
        given = class_labels if class_labels is not None else latents
        count = batch_size or (1 if given is None else len(given))
        labels = self._labels(class_labels, count)
        if latents is None:
            latents = randn_tensor(
                (count, *flow["image_shape"]), generator=generator, device=self._execution_device
            )
        grid = self._grid(num_inference_steps, times)
        x = latents.to(self._execution_device, torch.float32) * grid[0]
        self.scheduler.set_timesteps(sigmas=grid[:-1], device=x.device)
        steps = zip(self.progress_bar(pairwise(grid)), self.scheduler.timesteps, strict=True)
        for (t, to), timestep in steps:
            v = self._velocity(x, t, to, labels)
            if guidance_scale != 1:
                none = self._velocity(x, t, to, self._labels(None, count))
                v = none + guidance_scale * (v - none)
            x = self.scheduler.step(v, timestep, x, generator=generator, return_dict=False)[0]
        images = self._finished(x, output_type)
        return ImagePipelineOutput(images=images) if return_dict else (images,)

    def _velocity(self, x: Tensor, t: float, to: float, labels: Tensor | None) -> Tensor:
        time = torch.full((len(x),), t, device=x.device)
        if self.velocity is not None:
            averages = self.config.flow["predicts"] == "average velocity"
            found: Tensor = self.velocity(x, time, labels, torch.full_like(time, t - to) if averages else None)
            return found
        network = self.unet if self.unet is not None else self.transformer
        if self.transformer is not None or labels is not None:
            classes = self.config.flow["classes"]
            rows = torch.full((len(x),), -1, device=x.device) if labels is None else labels
            labels = torch.where(rows < 0, classes, rows)
        out: Tensor = network(x.to(network.dtype), time * 1000, class_labels=labels, return_dict=False)[0]
        return out[:, : x.shape[1]].float()

    def _grid(self, steps: int | None, times: list[float] | None) -> list[float]:
        flow = self.config.flow
        begin = flow["begin"]
        if times is not None:
            return [*(min(float(t), begin) for t in times), 0.0]
        if steps is None:
            return [float(t) for t in flow["times"]]
        if begin >= 1 - 2e-5:
            return [begin, *(1 - i / steps for i in range(1, steps)), 0.0]
        return [*(begin * (1 - i / steps) for i in range(steps)), 0.0]

    def _labels(self, given: list[int] | Tensor | None, count: int) -> Tensor | None:
        classes = self.config.flow["classes"]
        if not classes:
            if given is not None:
                raise ValueError("this flow knows no classes; leave class_labels out.")
            return None
        labels = torch.full((count,), -1) if given is None else torch.as_tensor(given, dtype=torch.int64)
        if labels.shape != (count,) or bool((labels >= classes).any()):
            raise ValueError(f"class_labels: {count} numbers from 0 to {classes - 1}, or -1; got {given}.")
        return labels.to(self._execution_device)

    def _finished(self, x: Tensor, output_type: str) -> Any:
        if output_type == "latent":
            return x
        x = (x / 2 + 0.5).clamp(0, 1)
        if output_type == "pt":
            return x
        arrays = x.permute(0, 2, 3, 1).cpu().numpy()
        return arrays if output_type == "np" else self.numpy_to_pil(arrays)
