"""From a name and settings to a source of images with boxes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from limbeck.errors import ConfigError, did_you_mean
from limbeck.protocols import DetectionSource
from limbeck.sources._registry import DETECTION_SOURCES
from limbeck.sources.detection.places import check_split


def build_detection(
    name: str, *, split: Literal["train", "validation", "test"] = "train", **settings: Any
) -> DetectionSource:
    """One split of a detection source by name.

    Args:
        name: as in a recipe ("coco", "voc", "digit_scenes").
        split: train, validation or test.
        settings: of the source.

    Raises:
        UnknownNameError: nothing of that name.
        ConfigError: a setting that the source does not have, or needs.
        DataError: the data is not there or cannot be used.

    Example:
        >>> len(build_detection("digit_scenes", split="test", count=3))
        3
    """
    component = DETECTION_SOURCES.describe(name)
    what = f"detection source '{name}'"
    check_split(split, what=what)
    known = [s for s in component.settings if s != "split"]
    for setting in settings:
        if setting not in known and not component.open_ended:
            near = did_you_mean(setting, known)
            raise ConfigError(f"{what} has no setting '{setting}'.{near} It has: {', '.join(known)}.")
    missing = [s.name for s in component.settings.values() if s.required and s.name not in (*settings, "split")]
    if missing:
        raise ConfigError(f"{what} needs the setting '{missing[0]}'.")
    found: DetectionSource = DETECTION_SOURCES[name](split=split, **settings)
    return found


def from_mapping(
    thing: Mapping[str, Any], *, split: Literal["train", "validation", "test"] = "train"
) -> DetectionSource:
    """A source written as in a recipe, `{name: coco, root: ...}`.

    Raises:
        ConfigError: it has no name, or gives the split, which is not its own to say.

    Example:
        >>> len(from_mapping({"name": "digit_scenes", "count": 4}))
        4
    """
    settings = dict(thing)
    name = settings.pop("name", None)
    if not isinstance(name, str):
        raise ConfigError(f"a detection source needs a name, one of {', '.join(DETECTION_SOURCES)}.")
    if "split" in settings:
        raise ConfigError(f"detection source '{name}': the split is given from outside; leave it out.")
    return build_detection(name, split=split, **settings)
