"""Networks of Diffusers: built from settings, or read from a folder that Diffusers wrote.

Only safetensors are read, nothing is unpickled or fetched, and only two classes are ever built: `UNet2DModel` and
`DiTTransformer2DModel`. The model itself is `network.model`, so `network.model.save_pretrained(folder)` writes a
folder that Diffusers reads.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limbeck.bounds import Fraction, PositiveInt
from limbeck.errors import CheckpointError, MissingExtraError, ModelError, ShapeError, did_you_mean
from limbeck.models.velocity.edm_blocks import square_side

PredictionType = Literal["epsilon", "v_prediction", "sample", "flow"]
"""What the output is: noise, velocity of the variance-preserving process, data, or velocity of a flow."""

_UNET, _TRANSFORMER = "UNet2DModel", "DiTTransformer2DModel"
_WEIGHTS = "diffusion_pytorch_model"


def diffusers_unet(
    *,
    image_shape: tuple[int, int, int],
    classes: int = 0,
    width: PositiveInt = 128,
    multiples: tuple[PositiveInt, ...] = (1, 2, 2, 2),
    blocks: PositiveInt = 2,
    attention: tuple[PositiveInt, ...] = (16,),
    head_channels: PositiveInt = 8,
    dropout: Fraction = 0.1,
    config: dict[str, Any] | None = None,
) -> nn.Module:
    """Diffusers' `UNet2DModel`, with the sizes of DDPM for CIFAR-10 unless told otherwise.

    Its time is the model's own, from 0 to about 1,000, so a flow takes
    `parameterisation: {name: velocity, time_scale: 1000}`.

    Args:
        image_shape: channels, height, width; sides divisible by two once for each multiple but one.
        classes: labels it is conditioned on; 0 for none.
        width: channels at the full resolution, before the multiples.
        multiples: channels at each resolution, in widths.
        blocks: residual blocks at each resolution; one more on the way up.
        attention: heights with attention; the lowest has one in its middle anyway.
        head_channels: of a head of attention.
        dropout: share of activations dropped in training.
        config: further settings of `UNet2DModel` by their names there; they go before all others.

    Raises:
        MissingExtraError: Diffusers is not installed.
        ModelError: sizes that make no network, or a setting that `UNet2DModel` does not have.

    References:
        Ho et al. 2020 [ho2020denoising], appendix B.
    """
    channels, height, breadth = image_shape
    halvings = 2 ** (len(multiples) - 1)
    if height % halvings or breadth % halvings:
        raise ModelError(
            f"images of {height} x {breadth} cannot be halved {len(multiples) - 1} times; give diffusers_unet "
            f"fewer multiples, or images whose sides are multiples of {halvings}."
        )
    widths = tuple(width * multiple for multiple in multiples)
    attends = tuple(height >> level in attention for level in range(len(multiples)))
    for level, channels_there in enumerate(widths):
        if (attends[level] or level == len(widths) - 1) and channels_there % head_channels:
            raise ModelError(
                f"{channels_there} channels cannot be divided among heads of attention of {head_channels} each; "
                "give diffusers_unet another width or head_channels."
            )
    common = math.gcd(*widths)
    settings = {
        "sample_size": [height, breadth],
        "in_channels": channels,
        "out_channels": channels,
        "block_out_channels": widths,
        "layers_per_block": blocks,
        "down_block_types": tuple("AttnDownBlock2D" if here else "DownBlock2D" for here in attends),
        "up_block_types": tuple("AttnUpBlock2D" if here else "UpBlock2D" for here in reversed(attends)),
        "attention_head_dim": head_channels,
        "norm_num_groups": max(groups for groups in range(1, 33) if common % groups == 0),
        "dropout": dropout,
        "num_class_embeds": classes or None,
        **(config or {}),
    }
    return DiffusersNetwork(_built(_UNET, settings), image_shape)


def diffusers_transformer(
    *,
    image_shape: tuple[int, int, int],
    classes: int = 0,
    width: PositiveInt = 384,
    depth: PositiveInt = 12,
    heads: PositiveInt = 6,
    patch: PositiveInt = 2,
    dropout: Fraction = 0.0,
    config: dict[str, Any] | None = None,
) -> nn.Module:
    """Diffusers' `DiTTransformer2DModel`, a DiT-S/2 unless told otherwise; it learns no variances.

    No class is the row behind the last class. Weights begin as in the paper: every block is the identity at first
    and the output zero, which Diffusers itself leaves out. Its time is the model's own, from 0 to about 1,000, so
    a flow takes `parameterisation: {name: velocity, time_scale: 1000}`.

    Args:
        image_shape: channels, height, width; square, the side a multiple of the patch.
        classes: labels it is conditioned on; 0 for none.
        width: of a token; DiT-B has 768, DiT-L 1024, DiT-XL 1152.
        depth: blocks; DiT-B has 12, DiT-L 24, DiT-XL 28.
        heads: of attention in each block; DiT-B has 12, DiT-L and DiT-XL 16.
        patch: side of what becomes a token.
        dropout: share of activations dropped in training.
        config: further settings of `DiTTransformer2DModel` by their names there; they go before all others.

    Raises:
        MissingExtraError: Diffusers is not installed.
        ModelError: sizes that make no network, or a setting that `DiTTransformer2DModel` does not have.

    References:
        Peebles and Xie 2023 [peebles2023scalable], section 3.2 and table 1.
    """
    side = square_side(image_shape, "diffusers_transformer")
    if side % patch:
        raise ModelError(f"images of {side} x {side} cannot be cut into patches of {patch} x {patch}.")
    if width % heads:
        raise ModelError(f"a width of {width} cannot be divided among {heads} heads.")
    settings = {
        "sample_size": side,
        "in_channels": image_shape[0],
        "out_channels": image_shape[0],
        "num_attention_heads": heads,
        "attention_head_dim": width // heads,
        "num_layers": depth,
        "patch_size": patch,
        "dropout": dropout,
        "num_embeds_ada_norm": classes,
        **(config or {}),
    }
    model = _built(_TRANSFORMER, settings)
    _begin_as_identity(model)
    return DiffusersNetwork(model, image_shape)


class DiffusersNetwork(nn.Module):
    """A model of Diffusers, called as every velocity network is.

    Its attention has no forward derivatives: objectives that need `torch.func.jvp` take another network.

    Args:
        model: a `UNet2DModel` or a `DiTTransformer2DModel`; without a class, a U-Net adds nothing where it adds
            the embedding of one, and a transformer takes the row behind the last class. Labels are dropped by
            whoever trains, never by the model itself.
        image_shape: channels, height, width.

    Attributes:
        model: the same, with a `save_pretrained` of its own.
        classes: labels that it knows; 0 for none.
    """

    def __init__(self, model: nn.Module, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        settings: Mapping[str, Any] = model.config  # type: ignore[assignment]
        self.model, self.image_shape = model, image_shape
        self.is_transformer = "num_embeds_ada_norm" in settings
        self.classes = int(settings["num_embeds_ada_norm" if self.is_transformer else "num_class_embeds"] or 0)
        if not self.is_transformer and self.classes:
            _accept_no_class(model)
        for module in model.modules():
            # Each block of a DiT would draw for itself, and differently, which labels it does not see.
            if type(module).__name__ == "LabelEmbedding":
                module.dropout_prob = 0.0  # type: ignore[assignment]

    def forward(
        self, x: Tensor, time: Tensor, labels: Tensor | None = None, interval: Tensor | None = None
    ) -> Tensor:
        """Images (n, c, h, w) and times (n,), in the model's own steps, to the shape of the images.

        Raises:
            ModelError: a label that the model does not know, or an interval.
            ShapeError: images that it was not built for.
        """
        if interval is not None:
            raise ModelError(
                "networks of Diffusers know no interval; for average velocities take small_unet, ddpmpp, ncsnpp "
                "or adm."
            )
        if x.ndim != 4 or tuple(x.shape[1:]) != self.image_shape:
            wanted = ", ".join(str(side) for side in self.image_shape)
            raise ShapeError(f"this network takes images of (n, {wanted}), not {tuple(x.shape)}.")
        out: Tensor = self.model(x, time, class_labels=self._labels(labels, x), return_dict=False)[0]
        # Models that learn variances tell them in as many channels more.
        return out[:, : x.shape[1]]

    def _labels(self, labels: Tensor | None, x: Tensor) -> Tensor | None:
        if labels is not None and not torch.compiler.is_compiling() and bool((labels >= self.classes).any()):
            if not self.classes:
                raise ModelError(
                    "a class was given to a network that knows none; build it with classes: <how many>."
                )
            raise ModelError(
                f"label {int(labels.max())} is beyond the {self.classes} classes of the network "
                f"(0 to {self.classes - 1})."
            )
        if not self.classes and not self.is_transformer:
            return None
        if labels is None:
            labels = torch.full((x.shape[0],), -1, dtype=torch.int64, device=x.device)
        return torch.where(labels < 0, self.classes, labels) if self.is_transformer else labels


@dataclass(frozen=True, eq=False)
class DiffusersFacts:
    """What a folder says about its model.

    Attributes:
        model: class of Diffusers.
        image_shape: channels, height, width.
        classes: labels it knows; 0 for none.
        learned_sigma: it tells variances too, which the network leaves out.
        autoencoder: class of what its images are the latents of; None for a model of pixels.
        scheduler: class of its scheduler; None where the folder holds none.
        prediction_type: what the output is; None where no scheduler says, or one of another kind.
        steps: of training; the model's time runs from 0 to that, less one for diffusion models.
        beta_schedule: "linear", "scaled_linear", "squaredcos_cap_v2", ..., or "trained"; None for flows.
        beta_start: first beta.
        beta_end: last beta.
        alphas_cumprod: (steps,), the squared scale of the data at each step; None for flows.
    """

    model: str
    image_shape: tuple[int, int, int]
    classes: int
    learned_sigma: bool = False
    autoencoder: str | None = None
    scheduler: str | None = None
    prediction_type: PredictionType | None = None
    steps: int | None = None
    beta_schedule: str | None = None
    beta_start: float | None = None
    beta_end: float | None = None
    alphas_cumprod: Tensor | None = None


def from_folder(path: str | Path, *, image_size: int | None = None) -> tuple[DiffusersNetwork, DiffusersFacts]:
    """Read a model that Diffusers wrote: the folder of a model, or of a whole pipeline.

    Args:
        path: with a `config.json` of a model, or a `model_index.json` of a pipeline, whose `unet` or `transformer`
            and `scheduler` are taken. Weights are safetensors; half precision is read into float32.
        image_size: side of the images, where the model's config does not say.

    Returns:
        The network in eval mode, whose `limbeck_spec` rebuilds it without the folder; and the facts.

    Raises:
        CheckpointError: no such folder, a model of another class, damaged or pickled weights, or weights that do
            not fit the config.
        MissingExtraError: Diffusers is not installed.
    """
    folder = Path(path)
    place, scheduler, autoencoder = _parts(folder)
    settings = _read_json(place / "config.json")
    name = settings.get("_class_name")
    if name not in (_UNET, _TRANSFORMER):
        raise CheckpointError(
            f"{place / 'config.json'} is of a {name or 'model without a class'}; read are {_UNET} and "
            f"{_TRANSFORMER}, which are told a time and perhaps a class."
        )
    if settings.get("class_embed_type"):
        raise CheckpointError(
            f"{place / 'config.json'}: class_embed_type '{settings['class_embed_type']}' takes something "
            "else than labels."
        )
    model = _with_weights(name, place)
    shape = _image_shape(model.config, place, image_size)
    network = DiffusersNetwork(model, shape).eval()
    given = {key: value for key, value in model.config.items() if not key.startswith("_")}
    network.limbeck_spec = {  # type: ignore[assignment]
        "name": "diffusers_unet" if name == _UNET else "diffusers_transformer",
        "image_shape": list(shape),
        "classes": network.classes,
        "config": json.loads(json.dumps(given)),
    }
    facts = DiffusersFacts(
        model=name,
        image_shape=shape,
        classes=network.classes,
        learned_sigma=(model.config["out_channels"] or shape[0]) == 2 * shape[0],
        autoencoder=autoencoder,
        **_schedule(scheduler),
    )
    return network, facts


class _EmbeddingOrNothing(nn.Embedding):
    """An embedding whose row -1 is zero."""

    def forward(self, labels: Tensor) -> Tensor:
        rows = F.embedding(labels.clamp_min(0), self.weight)
        return rows * (labels >= 0).to(rows.dtype)[:, None]


def _accept_no_class(model: Any) -> None:
    weight = model.class_embedding.weight
    taking = _EmbeddingOrNothing(weight.shape[0], weight.shape[1], device="meta")
    taking.weight = weight
    model.class_embedding = taking


def _begin_as_identity(model: Any) -> None:
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    patches = model.pos_embed.proj
    nn.init.xavier_uniform_(patches.weight.flatten(1))
    nn.init.zeros_(patches.bias)
    idle = [model.proj_out_1, model.proj_out_2]
    for block in model.transformer_blocks:
        idle.append(block.norm1.linear)
        nn.init.normal_(block.norm1.emb.class_embedder.embedding_table.weight, std=0.02)
        nn.init.normal_(block.norm1.emb.timestep_embedder.linear_1.weight, std=0.02)
        nn.init.normal_(block.norm1.emb.timestep_embedder.linear_2.weight, std=0.02)
    for layer in idle:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)


def _diffusers(purpose: str) -> Any:
    try:
        return importlib.import_module("diffusers")
    except ImportError as error:
        raise MissingExtraError.of("diffusers", "flow", purpose) from error


@contextmanager
def _quiet(diffusers: Any) -> Iterator[None]:
    """No progress bars and no remarks: what matters becomes an error."""
    logging = diffusers.utils.logging
    level = logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()


def _built(name: str, settings: Mapping[str, Any]) -> Any:
    kind = getattr(_diffusers(f"a {name}"), name)
    known = set(kind._get_init_keys(kind)) - {"self", "kwargs"}  # no public list
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ModelError(
            f"{name} has no setting '{unknown[0]}'.{did_you_mean(unknown[0], known)} "
            f"It has: {', '.join(sorted(known))}."
        )
    try:
        return kind(**settings)
    except Exception as error:  # Diffusers raises whatever it likes
        raise ModelError(f"{name} cannot be built with {dict(settings)}: {error}") from error


def _parts(folder: Path) -> tuple[Path, Path | None, str | None]:
    """Where model and scheduler are, and the class of the autoencoder in front of it."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder; nothing is fetched, so download the model first.")
    if not (folder / "model_index.json").is_file():
        if not (folder / "config.json").is_file():
            raise CheckpointError(
                f"{folder} holds neither a config.json nor a model_index.json: it is no folder that Diffusers "
                "wrote."
            )
        beside = folder / "scheduler_config.json"
        return folder, beside if beside.is_file() else None, None
    index = _read_json(folder / "model_index.json")
    present = {key: value[1] for key, value in index.items() if isinstance(value, list) and value[1:] and value[1]}
    name = next((name for name in ("unet", "transformer") if name in present), None)
    if name is None:
        raise CheckpointError(
            f"the pipeline in {folder} has no unet and no transformer; it has: {', '.join(present) or 'nothing'}."
        )
    # The first pipelines that were published have all their files in one folder.
    place = folder / name if (folder / name).is_dir() else folder
    files = (folder / "scheduler" / "scheduler_config.json", folder / "scheduler_config.json")
    return (
        place,
        next((file for file in files if file.is_file()), None),
        present.get("vae") or present.get("vqvae"),
    )


def _read_json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{file} is missing.") from error
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{file} should hold settings by name, not a {type(found).__name__}.")
    return found


def _with_weights(name: str, place: Path) -> Any:
    diffusers = _diffusers(f"reading {place}")
    variant = _variant(place)
    try:
        with _quiet(diffusers):
            model, found = getattr(diffusers, name).from_pretrained(
                str(place),
                variant=variant,
                torch_dtype=torch.float32,
                local_files_only=True,
                use_safetensors=True,
                # Otherwise weights that are missing stay without values.
                low_cpu_mem_usage=False,
                output_loading_info=True,
            )
    except Exception as error:  # Diffusers and safetensors raise whatever they like
        raise CheckpointError(f"the {name} in {place} cannot be read: {error}") from error
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if found.get(kind):
            raise CheckpointError(
                f"the weights in {place} do not fit its config.json: {kind.replace('_', ' ')} "
                f"{list(found[kind])[:3]}."
            )
    return model


def _variant(place: Path) -> str | None:
    """The word in the names of the weights, as in `diffusion_pytorch_model.fp16.safetensors`; None for none."""
    if any((place / f"{_WEIGHTS}.safetensors{more}").is_file() for more in ("", ".index.json")):
        return None
    files = sorted(file.name for file in place.glob(f"{_WEIGHTS}.*") if file.suffix == ".safetensors")
    words = {name.removeprefix(f"{_WEIGHTS}.").split("-")[0].removesuffix(".safetensors") for name in files}
    if len(words) == 1:
        return words.pop()
    pickled = sorted(file.name for file in place.iterdir() if file.suffix in (".bin", ".pt", ".pth", ".ckpt"))
    if pickled:
        raise CheckpointError(
            f"{place} has its weights in {pickled[0]}, a pickle, which could run anything when it is read. Load "
            "it with Diffusers where you trust it and save it with save_pretrained(..., safe_serialization=True)."
        )
    raise CheckpointError(f"{place} holds no {_WEIGHTS}.safetensors" + (f", but {files}." if files else "."))


def _image_shape(settings: Mapping[str, Any], place: Path, image_size: int | None) -> tuple[int, int, int]:
    channels, out = int(settings["in_channels"]), settings["out_channels"] or settings["in_channels"]
    if out not in (channels, 2 * channels):
        raise CheckpointError(
            f"the model in {place} takes {channels} channels and gives {out}; a velocity has as many as the image."
        )
    size = image_size or settings["sample_size"]
    if size is None:
        raise CheckpointError(f"{place / 'config.json'} does not say the size of images; give image_size.")
    height, width = (size, size) if isinstance(size, int) else size
    return channels, int(height), int(width)


def _schedule(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    settings = _read_json(file)
    name = str(settings.get("_class_name"))
    diffusers = _diffusers(f"reading {file}")
    kind = getattr(diffusers, name, None) if name.endswith("Scheduler") else None
    if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
        raise CheckpointError(
            f"{file} is of a {name}, which the installed Diffusers does not know as a scheduler."
        )
    try:
        with _quiet(diffusers):
            scheduler: Any = kind.from_config(settings)  # type: ignore[attr-defined]
    except Exception as error:  # Diffusers raises whatever it likes
        raise CheckpointError(f"{file} cannot be read: {error}") from error
    known = scheduler.config
    facts: dict[str, Any] = {"scheduler": name, "steps": known.get("num_train_timesteps")}
    if name.startswith("FlowMatch") or known.get("prediction_type") == "flow_prediction":
        return {**facts, "prediction_type": "flow"}
    alphas = getattr(scheduler, "alphas_cumprod", None)
    if alphas is None or known.get("prediction_type") not in ("epsilon", "v_prediction", "sample"):
        return facts
    trained = known.get("trained_betas") is not None
    return {
        **facts,
        "prediction_type": known["prediction_type"],
        "beta_schedule": "trained" if trained else known.get("beta_schedule"),
        "beta_start": None if trained else known.get("beta_start"),
        "beta_end": None if trained else known.get("beta_end"),
        "alphas_cumprod": torch.as_tensor(alphas, dtype=torch.float32),
    }
