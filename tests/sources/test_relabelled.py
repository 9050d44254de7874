import json

import pytest
import torch

from limbeck.errors import DataError
from limbeck.sources import ArraySource, build
from limbeck.sources.relabelled import relabelled_of

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
PETS = ("tabby", "husky", "persian", "sofa")


@pytest.fixture
def pets():
    labels = torch.tensor([0, 1, 2, 3, 0, 1])
    images = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4)
    return ArraySource(images, labels, PETS, groups=torch.tensor([0, 1, 0, 1, 1, 0]), group_names=("old", "new"))


TO_CIFAR = {"tabby": "cat", "persian": "cat", "husky": "dog"}


def test_classes_are_brought_together_and_others_left_out(pets):
    found = relabelled_of(pets, CIFAR10, TO_CIFAR, drop_others=True)
    assert found.labels.tolist() == [3, 5, 3, 3, 5]
    assert found.images[:, 0, 0, 0].tolist() == [0, 1, 2, 4, 5]
    assert (found.groups.tolist(), found.group_names) == ([0, 1, 0, 1, 0], ("old", "new"))
    assert found.class_names == tuple(CIFAR10)


def test_numbers_stand_for_names_also_after_json(pets):
    numbers = {0: 3, 2: "cat", 1: 5}
    wanted = relabelled_of(pets, CIFAR10, TO_CIFAR, drop_others=True).fingerprint
    for mapping in (numbers, json.loads(json.dumps(numbers))):
        assert relabelled_of(pets, CIFAR10, mapping, drop_others=True).fingerprint == wanted


def test_classes_keep_their_names_in_another_order(pets):
    found = relabelled_of(pets, ["sofa", "lamp", "husky", "tabby", "persian"])
    assert found.labels.tolist() == [3, 2, 4, 0, 3, 2]


@pytest.mark.parametrize(
    ("classes", "mapping", "message"),
    [
        (CIFAR10, TO_CIFAR, "1 classes of the set have no new class: sofa.*drop_others: true"),
        (CIFAR10, {"taby": "cat"}, "the set have no class 'taby'. Did you mean 'tabby'"),
        (CIFAR10, {"tabby": "cats"}, "the new classes have no class 'cats'. Did you mean 'cat'"),
        (CIFAR10, {4: "cat"}, "the set have no class 4. There are 4"),
        (CIFAR10, {"tabby": -1}, "the new classes have no class -1"),
        (CIFAR10, {True: "cat"}, "the set have no class True"),
    ],
)
def test_what_cannot_be_mapped(pets, classes, mapping, message):
    with pytest.raises(DataError, match=message):
        relabelled_of(pets, classes, mapping)


def test_something_has_to_be_left(pets):
    with pytest.raises(DataError, match="no image is left; the set has the classes tabby"):
        relabelled_of(pets, CIFAR10, drop_others=True)


def test_by_name():
    parity = {str(n): "odd" if n % 2 else "even" for n in range(10)}
    settings = {"of": "digits", "classes": ["even", "odd"], "mapping": parity, "split": "test"}
    found = build("relabelled", **settings)
    assert torch.equal(found.labels, build("digits", split="test").labels % 2)
    assert torch.bincount(build("relabelled", per_class=4, **settings).labels).tolist() == [4, 4]


def test_tiny_imagenet_as_cifar10(shared):
    root = str(shared / "data" / "tiny_imagenet_100")
    column = {"root": root, "label_column": "cifar10_label", "ignore_label": -1, "size": 32}
    direct = build("parquet", split="test", class_names=CIFAR10, **column)
    assert torch.bincount(direct.labels, minlength=10).tolist() == [0, 100, 100, 75, 0, 150, 50, 0, 25, 25]
    mapped = build(
        "relabelled",
        of={"name": "parquet", **column},
        classes=CIFAR10,
        mapping={n: n for n in range(10)},
        split="test",
    )
    assert mapped.fingerprint == direct.fingerprint
