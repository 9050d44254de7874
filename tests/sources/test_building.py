import subprocess
import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from limbeck.errors import ConfigError, DataError, InputError, UnknownNameError
from limbeck.sources import AUGMENTS, SOURCES, ArraySource, Subset, as_source, build, digits
from limbeck.specs import Spec, spec_of


def picture(value, shape=(8, 8, 3)):
    return np.full(shape, value, dtype=np.uint8)


PAIR = np.zeros((4, 8, 8), dtype=np.uint8), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    "thing",
    [
        PAIR,
        list(PAIR),
        (torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 0, 1])),
        "digits",
        {"name": "digits", "per_class": 2},
        digits(per_class=1),
        Subset(digits(), [0, 1]),
        torch.utils.data.TensorDataset(torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 0, 1])),
    ],
)
def test_what_holds_images_becomes_a_source(thing):
    assert as_source(thing).image_shape == (1, 8, 8)


def test_a_source_stays_itself_and_nothing_is_computed():
    source = digits()
    assert as_source(source) is source
    assert "fingerprint" not in vars(source)
    assert "mean" not in vars(source)


def test_paths(make_folder, make_parquet):
    root = make_folder({f"{c}/{i}.png": picture(i) for c in "ab" for i in range(5)})
    assert len(as_source(root)) == len(as_source(str(root))) == 10
    file = make_parquet([picture(i) for i in range(4)], [0, 1, 0, 1], "images.parquet")
    assert len(as_source(file)) == len(as_source(file.parent)) == 4


def test_a_split_by_request():
    assert as_source("digits", split="test").fingerprint == digits(split="test").fingerprint


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        ("digit", r"'digit' is neither a source nor a path. Did you mean 'digits'\? Sources: arrays, "),
        (3, "a int is no source of images. Give the name of a source"),
        ((1, 2), "a tuple is no source"),
        (["digits"], "a list is no source"),
        ({"root": "x"}, "a source as a mapping needs a name; got root"),
    ],
)
def test_what_is_no_source(thing, message):
    with pytest.raises(DataError, match=message):
        as_source(thing)


@pytest.mark.parametrize(
    ("kind", "name", "settings", "message"),
    [
        (UnknownNameError, "digit", {}, r"unknown source 'digit'. Did you mean 'digits'\?"),
        (
            ConfigError,
            "digits",
            {"perclass": 3},
            r"no setting 'perclass'. Did you mean 'per_class'\? It has: limit",
        ),
        (ConfigError, "parquet", {}, "source 'parquet' needs the setting 'root'"),
        (
            ConfigError,
            "arrays",
            {},
            r"takes images, labels from Python, .*limbeck.sources.arrays\(images, labels\)",
        ),
        (ConfigError, "digits", {"split": "dev"}, "split is 'train' or 'test', not 'dev'"),
        (InputError, "some.module:Source", {}, "names code outside Limbeck"),
    ],
)
def test_what_cannot_be_built(kind, name, settings, message):
    with pytest.raises(kind, match=message):
        build(name, **settings)


def test_a_source_of_ones_own():
    @SOURCES.register
    def two_greys(*, split: str = "train", level: int = 3):
        return as_source((np.full((2, 8, 8), level, dtype=np.uint8), [0, 1]))

    try:
        assert build("two_greys", level=5).images.max() == 5
    finally:
        SOURCES._registered.pop("two_greys")


def test_recipes_check_sources_and_augmentations():
    source, augment = (TypeAdapter(Annotated[Spec, spec_of(kind)]) for kind in (SOURCES, AUGMENTS))
    spec = source.validate_python({"name": "parquet", "root": "x", "per_class": 100, "channels": 1})
    assert {"root": "x", "per_class": 100, "channels": 1}.items() <= spec.settings.items()
    assert source.validate_python({"name": "torchvision/cifar10", "root": "x"}).settings["root"] == "x"
    assert augment.validate_python("flip").settings == {"probability": 0.5}
    for bad in ({"name": "digits", "per_class": 0}, {"name": "digits", "perclass": 3}, {"name": "parquet"}):
        with pytest.raises(ValidationError):
            source.validate_python(bad)
    with pytest.raises(ValidationError):
        augment.validate_python({"name": "flip", "probability": 1.5})


def test_names_and_settings_are_known_without_torch():
    code = (
        "import sys\n"
        "from limbeck.sources import AUGMENTS, SOURCES\n"
        "from limbeck.models import MODELS\n"
        "for registry in (AUGMENTS, SOURCES, MODELS):\n"
        "    for name in registry:\n"
        "        described = registry.describe(name.replace('*', 'x'))\n"
        "        assert described.summary and all(s.doc for s in described.settings.values()), name\n"
        "heavy = {'torch', 'timm', 'torchvision', 'sklearn', 'pyarrow', 'PIL', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent)


def test_every_image_source_gives_the_same_kind_of_thing():
    assert isinstance(build("digits"), ArraySource)
