"""The parts of a flow's training and sampling, by name. A leaf: nothing is imported here."""

from __future__ import annotations

from limbeck.registry import Registry

TIMES = Registry(
    "time distribution",
    {
        name: "limbeck.flow.times"
        for name in ("uniform", "u_shaped", "logit_normal", "exponential", "at", "steps_of")
    },
)
"""`name(quantile, *, settings) -> t`: inverse distribution functions, so that draws are uniform numbers."""

OBJECTIVES = Registry(
    "flow objective",
    {name: "limbeck.flow.objectives" for name in ("l2", "rms", "huber", "perceptual", "perceptual_huber")},
)
"""`name(chord, velocity, distance, *, settings) -> (n,)`."""

PARAMETERISATIONS = Registry(
    "parameterisation",
    {
        name: "limbeck.flow.parameterisations"
        for name in ("velocity", "data", "noise", "edm", "edm_ve", "edm_vp", "ddpm")
    },
)
"""`name(*, settings) -> Parameterisation`: what the output of a network means."""

SOLVERS = Registry(
    "solver",
    {
        **{name: "limbeck.flow.solvers" for name in ("euler", "heun", "anchored", "anchored_heun", "renoised")},
        "adaptive": "limbeck.flow.adaptive",
        "sigma_heun": "limbeck.flow.sigma_solver",
    },
)
"""`name(*, settings) -> Solver`."""

METHODS = Registry(
    "few-step method",
    {
        "reflow": "limbeck.flow.methods.reflow",
        "direct": "limbeck.flow.methods.direct",
        "progressive": "limbeck.flow.methods.progressive",
        "consistency_distillation": "limbeck.flow.methods.consistency",
        "consistency_training": "limbeck.flow.methods.consistency",
        "mean_flow": "limbeck.flow.methods.mean_flow",
    },
)
"""`name(ground, *, settings) -> Method`."""

DISTANCES = Registry(
    "perceptual distance",
    {"lpips_vgg": "limbeck.flow.perception", "classifier": "limbeck.flow.perception"},
)
"""`name(*, settings) -> FeatureDistance`."""

TARGETS = Registry(
    "target",
    {
        name: "limbeck.flow.targets"
        for name in ("eight_gaussians", "moons", "checkerboard", "gaussian")
    },
)
"""`name(count, generator, *, settings) -> (n, 2, 1, 1)`: distributions in the plane."""
