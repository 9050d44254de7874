"""Image classifiers of Hugging Face's transformers under the same contract as the zoo."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import nn

from limbeck.bounds import PositiveInt
from limbeck.errors import MissingExtraError, ModelError, did_you_mean
from limbeck.models.adapting import explained, replace_stem, spread, tell_new_head
from limbeck.models.classifier import classifier_of
from limbeck.models.data_config import DataConfig

_LOGGER = logging.getLogger("limbeck")
_CLASSES = 1000
# Entries of a config that say where it came from, repeat num_classes and in_channels, or bear the name of one of
# ours (EfficientNet calls the widths of its blocks in_channels).
_NO_SETTINGS = frozenset(
    {"transformers_version", "model_type", "_name_or_path", "dtype", "torch_dtype"}
    | {"id2label", "label2id", "num_labels", "num_channels", "return_dict", "problem_type"}
    | {"num_classes", "in_channels", "pretrained"}
)


def hf_model(
    source: str,
    /,
    *,
    num_classes: PositiveInt | None = None,
    in_channels: PositiveInt = 3,
    pretrained: bool = False,
    **settings: Any,
) -> nn.Module:
    """An image classifier of transformers: `hf/vit` by type, `hf/<owner>/<repository>` with its weights.

    A folder that `save_pretrained` wrote is named by its path: `hf//data/my-vit` or `hf/./my-vit`. Weights are
    read from safetensors files alone, and no code that comes with them is run. The network puts out an object
    whose `logits` are the logits.

    Args:
        source: type of model, repository, or folder.
        num_classes: outputs; those of the weights unless given, 1000 without weights.
        in_channels: 1 for grey images, 3 for colour.
        pretrained: load the weights of a repository (over a network, or out of the cache) or folder.
        settings: of the model's config, e.g. `hidden_size`, `image_size` or `depths`.

    Raises:
        MissingExtraError: transformers is not installed.
        ModelError: no such type or repository, a setting that its config does not have, or weights that cannot be
            loaded.
    """
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingExtraError.of("transformers", "hf", f"the model 'hf/{source}'") from error
    name, by_type = f"hf/{source}", "/" not in source
    if by_type and pretrained:
        raise ModelError(
            f"'{name}' is a type of model and has no weights of its own. Name a repository, "
            "hf/<owner>/<repository>, or a folder; or leave pretrained out."
        )
    _refuse_repeated(name, settings)
    try:
        if by_type:
            config = _config_of_type(source, settings)
        else:
            config = _config_of_source(source, settings, fetch=pretrained)
        if pretrained:
            model = _with_weights(source, config, num_classes)
        else:
            model = _without_weights(config, num_classes or (_CLASSES if by_type else None), in_channels)
    except ModelError:
        raise
    except Exception as error:  # transformers, its download clients and its models raise whatever they like
        raise explained(name, error, pretrained, settings) from error
    _take_channels(model, in_channels)
    if pretrained:
        data = _data(source, model, in_channels)
        if data is not None:
            model.limbeck_data = data  # type: ignore[assignment]
    # By type and with every setting, so that an artefact of it is rebuilt without the repository.
    model.limbeck_spec = _spec(model, in_channels)  # type: ignore[assignment]
    return model.train()


def _refuse_repeated(name: str, settings: Mapping[str, Any]) -> None:
    for key, ours in (("num_labels", "num_classes"), ("num_channels", "in_channels"), ("id2label", "num_classes")):
        if key in settings:
            raise ModelError(f"model '{name}': say {ours}, not {key}.")


def _config_of_type(model_type: str, settings: Mapping[str, Any]) -> Any:
    from transformers import AutoConfig, AutoModelForImageClassification

    known = sorted(
        c.model_type
        for c in AutoModelForImageClassification._model_mapping  # no public list
        if c.model_type
    )
    if model_type not in known:
        raise ModelError(
            f"transformers has no image classifier of type '{model_type}'.{did_you_mean(model_type, known)} "
            f"Known: {', '.join(known)}. A repository is named with its owner: hf/<owner>/<repository>."
        )
    default = AutoConfig.for_model(model_type)
    allowed = sorted({*default.to_dict(), *default.attribute_map} - _NO_SETTINGS)
    _refuse_unknown(f"hf/{model_type}", [key for key in settings if key not in allowed], allowed)
    return AutoConfig.for_model(model_type, **settings)


def _config_of_source(source: str, settings: Mapping[str, Any], *, fetch: bool) -> Any:
    from transformers import AutoConfig

    try:
        config, unused = AutoConfig.from_pretrained(
            source, return_unused_kwargs=True, local_files_only=not fetch, **settings
        )
    except OSError as error:
        if fetch:
            raise
        raise ModelError(
            f"'hf/{source}' is neither a folder with a config.json nor in the cache, and nothing is fetched "
            "unless you say pretrained: true. A network without weights is named by its type, e.g. hf/vit."
        ) from error
    allowed = sorted(set(config.to_dict()) - _NO_SETTINGS)
    _refuse_unknown(f"hf/{source}", list(unused), allowed)
    return config


def _refuse_unknown(name: str, unknown: list[str], allowed: list[str]) -> None:
    if unknown:
        raise ModelError(
            f"model '{name}' has no setting '{unknown[0]}'.{did_you_mean(unknown[0], allowed)} "
            f"Its config has: {', '.join(allowed)}."
        )


def _without_weights(config: Any, num_classes: int | None, in_channels: int) -> nn.Module:
    from transformers import AutoModelForImageClassification

    if num_classes is not None:
        config.num_labels = num_classes
    if hasattr(config, "num_channels"):
        config.num_channels = in_channels
    config.architectures = config.architectures or []  # which None would not let be looked through
    model = AutoModelForImageClassification.from_config(config)
    assert isinstance(model, nn.Module)
    return model


def _with_weights(source: str, config: Any, num_classes: int | None) -> nn.Module:
    from transformers import AutoModelForImageClassification

    classes = config.num_labels
    if num_classes not in (None, classes):
        config.num_labels = num_classes
    model, loading = AutoModelForImageClassification.from_pretrained(
        source,
        config=config,
        use_safetensors=True,  # never a pickle
        ignore_mismatched_sizes=True,  # what did not fit is looked at below
        output_loading_info=True,
    )
    assert isinstance(model, nn.Module)
    model = model.float()  # newer versions keep the precision of the file
    head = classifier_of(model, config.num_labels)[0] + "."
    unfit = sorted(str(key[0] if isinstance(key, tuple) else key) for key in loading["mismatched_keys"])
    if any(not key.startswith(head) for key in unfit):
        first = next(key for key in unfit if not key.startswith(head))
        raise ModelError(
            f"the weights of 'hf/{source}' do not fit the settings: '{first}' has another shape. "
            "Leave out the settings that change shapes, or build without pretrained."
        )
    absent = sorted(str(key) for key in loading["missing_keys"])
    if unfit:
        tell_new_head(f"hf/{source}", classes, num_classes)
    if absent:
        _LOGGER.warning(
            "hf/%s: its weights lack %d tensors of %s (%s ...), which are new and untrained.",
            source,
            len(absent),
            type(model).__name__,
            absent[0],
        )
    return model


def _take_channels(model: nn.Module, in_channels: int) -> None:
    """Give a network that was built for other channels a first convolution for these."""
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    has = 3 if first is None else first.in_channels
    if has == in_channels:
        return
    if first is None:
        raise ModelError(f"{type(model).__name__} has no convolution to take {in_channels} channels.")
    replace_stem(model, in_channels)
    for part in (*model.modules(), model.config):
        if getattr(part, "num_channels", None) == has:  # what its embeddings check images against
            setattr(part, "num_channels", in_channels)  # noqa: B010, the type of a module's attribute is not known


def _spec(model: nn.Module, in_channels: int) -> dict[str, Any]:
    config: Any = model.config
    settings = {key: value for key, value in config.to_diff_dict().items() if key not in _NO_SETTINGS}
    # One type can have several classes, as DeiT has with and without a token for its teacher.
    settings["architectures"] = [type(model).__name__]
    classes = {"num_classes": config.num_labels, "in_channels": in_channels}
    return {"name": f"hf/{config.model_type}", **classes, **settings}


def _data(source: str, model: nn.Module, in_channels: int) -> DataConfig | None:
    """What the image processor does to an image, as mean and deviation of an image in [0, 1]."""
    from transformers import AutoImageProcessor

    try:
        facts = AutoImageProcessor.from_pretrained(source).to_dict()
    except (OSError, ValueError) as error:
        _LOGGER.warning(
            "hf/%s says nothing about its normalisation (%s); it takes that of the data.",
            source,
            str(error).splitlines()[0][:120],
        )
        return None
    config: Any = model.config
    mean, std = _normalisation(facts)
    height, width = _size(facts, config)
    names = [str(config.id2label[i]) for i in sorted(config.id2label)]
    generic = names == [f"LABEL_{i}" for i in range(len(names))]
    return DataConfig(
        input_shape=(in_channels, height, width),
        mean=spread(mean, in_channels),
        std=spread(std, in_channels),
        class_names=() if generic else tuple(names),
    )


def _normalisation(facts: Mapping[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean, std = [0.0] * 3, [1.0] * 3
    if facts.get("do_normalize", True) and facts.get("image_mean") is not None:
        mean, std = _channels(facts["image_mean"]), _channels(facts["image_std"])
    # Pixels of 0 to 255 times a factor, less one where they are to lie in [-1, 1].
    factor = 255 * facts.get("rescale_factor", 1 / 255) if facts.get("do_rescale", True) else 255.0
    offset = 1.0 if facts.get("rescale_offset") else 0.0
    return tuple((m + offset) / factor for m in mean), tuple(s / factor for s in std)


def _channels(value: Any) -> list[float]:
    return [float(value)] * 3 if isinstance(value, int | float) else [float(v) for v in value]


def _size(facts: Mapping[str, Any], config: Any) -> tuple[int, int]:
    cropped = facts.get("crop_size") if facts.get("do_center_crop") else None
    size = cropped or facts.get("size") or getattr(config, "image_size", None) or 224
    if isinstance(size, Mapping):
        side = size.get("shortest_edge") or size.get("longest_edge") or 224
        return int(size.get("height") or side), int(size.get("width") or side)
    if isinstance(size, list | tuple):
        return int(size[0]), int(size[1])
    return int(size), int(size)
