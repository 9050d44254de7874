"""From a name and settings, or from whatever holds images and labels, to a source."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from limbeck.errors import ConfigError, DataError, did_you_mean
from limbeck.protocols import Source
from limbeck.sources._registry import SOURCES

_FACTS = ("class_names", "image_shape", "__getitem__", "__len__")


def build(name: str, *, split: Literal["train", "test"] = "train", **settings: Any) -> Source:
    """One split of a source by name.

    Args:
        name: as in a recipe ("digits", "parquet", "torchvision/cifar10").
        split: train or test.
        settings: of the source.

    Raises:
        UnknownNameError: nothing of that name.
        ConfigError: a setting that the source does not have, or needs.
        DataError: the data is not there or cannot be used.

    Example:
        >>> len(build("digits", split="test", per_class=3))
        30
    """
    component = SOURCES.describe(name)
    if split not in ("train", "test"):
        raise ConfigError(f"source '{name}': split is 'train' or 'test', not {split!r}.")
    if component.inputs:
        inputs = ", ".join(component.inputs)
        raise ConfigError(
            f"source '{name}' takes {inputs} from Python, which a recipe cannot hold: "
            f"limbeck.sources.{name}({inputs})."
        )
    known = [s for s in component.settings if s != "split"]
    for setting in settings:
        if setting not in component.settings and not component.open_ended:
            raise ConfigError(
                f"source '{name}' has no setting '{setting}'.{did_you_mean(setting, known)} "
                f"It has: {', '.join(known)}."
            )
    missing = [s.name for s in component.settings.values() if s.required and s.name not in (*settings, "split")]
    if missing:
        raise ConfigError(f"source '{name}' needs the setting '{missing[0]}'.")
    found: Source = SOURCES[name](split=split, **settings)
    return found


def as_source(thing: Any, *, split: Literal["train", "test"] = "train") -> Source:
    """Whatever holds images and labels, as a source.

    Args:
        thing: a source; a pair (images, labels) of arrays; a torchvision-style data set; a Hugging Face
            `IterableDataset`; the name of a source, or a mapping of name and settings as in a recipe; the path of
            a folder with one subfolder for each class, of a folder with Parquet files, or of a Parquet file.
        split: where the thing has splits. A set on disk without splits is taken whole for "train".

    Raises:
        DataError: it is none of these, or holds nothing that can be used.

    Example:
        >>> import numpy as np
        >>> pair = np.zeros((4, 8, 8), dtype=np.uint8), np.array([0, 1, 0, 1])
        >>> as_source(pair).image_shape
        (1, 8, 8)
    """
    if isinstance(thing, str | Path):
        return _from_text(str(thing), split)
    if isinstance(thing, dict):
        settings = dict(thing)
        if "name" not in settings:
            raise DataError(f"a source as a mapping needs a name; got {', '.join(map(str, thing)) or 'nothing'}.")
        return build(settings.pop("name"), split=split, **settings)
    # Asked of the class: an attribute of the object could cost a pass over the data.
    if all(hasattr(type(thing), name) or name in getattr(thing, "__dict__", {}) for name in _FACTS):
        found: Source = thing
        return found
    if isinstance(thing, tuple | list) and len(thing) == 2 and all(hasattr(part, "__len__") for part in thing):
        from limbeck.sources.arrays import arrays

        return arrays(*thing)
    if type(thing).__name__ == "IterableDataset" and type(thing).__module__.startswith("datasets."):
        from limbeck.sources.streaming.hf_stream import from_iterable

        return from_iterable(thing)
    if hasattr(thing, "__getitem__") and hasattr(thing, "__len__") and not isinstance(thing, tuple | list):
        from limbeck.sources.torchvision_sets import from_dataset

        return from_dataset(thing)
    raise DataError(
        f"a {type(thing).__name__} is no source of images. Give the name of a source ({', '.join(SOURCES)}), "
        "a path, a pair (images, labels), a torchvision-style data set, or a source."
    )


def _from_text(text: str, split: Literal["train", "test"]) -> Source:
    path = Path(text).expanduser()
    if text in SOURCES and not path.exists():
        return build(text, split=split)
    if not path.exists():
        raise DataError(
            f"'{text}' is neither a source nor a path.{did_you_mean(text, SOURCES)} Sources: {', '.join(SOURCES)}."
        )
    if path.is_file() or any(path.glob("*.parquet")) or any(path.glob("data/*.parquet")):
        return build("parquet", split=split, root=text, test_share=0.0)
    return build("folder", split=split, root=text, test_share=0.0)
