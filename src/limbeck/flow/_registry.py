"""The parts of a flow's training and sampling, by name. A leaf: nothing is imported here."""

from __future__ import annotations

from limbeck.registry import Registry

TIMES = Registry(
    "time distribution",
    dict.fromkeys(("uniform", "u_shaped", "logit_normal", "exponential", "at", "steps_of"), "limbeck.flow.times"),
)
"""`name(quantile, *, settings) -> t`: inverse distribution functions, so that draws are uniform numbers."""

OBJECTIVES = Registry(
    "flow objective",
    dict.fromkeys(("l2", "rms", "huber", "perceptual", "perceptual_huber"), "limbeck.flow.objectives"),
)
"""`name(chord, velocity, distance, *, settings) -> (n,)`."""

PARAMETERISATIONS = Registry(
    "parameterisation",
    dict.fromkeys(
        ("velocity", "data", "noise", "edm", "edm_ve", "edm_vp", "ddpm"), "limbeck.flow.parameterisations"
    ),
)
"""`name(*, settings) -> Parameterisation`: what the output of a network means."""

SOLVERS = Registry(
    "solver",
    {
        **dict.fromkeys(("euler", "heun", "anchored", "anchored_heun", "renoised"), "limbeck.flow.solvers"),
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
"""`name(model, *, settings) -> FeatureDistance`; the model is a trained classifier, or None."""

TARGETS = Registry(
    "target",
    dict.fromkeys(("eight_gaussians", "moons", "checkerboard", "gaussian"), "limbeck.flow.targets"),
)
"""`name(count, generator, *, settings) -> (n, 2, 1, 1)`: distributions in the plane."""
