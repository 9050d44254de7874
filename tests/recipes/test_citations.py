"""What a run stands on is found by its components' names."""

from __future__ import annotations

import re

import pytest

from limbeck.cli.catalogue import registries
from limbeck.recipes.citations import bibliography, keys_of, names_in, stage_keys


def test_names_are_found_at_any_depth():
    stages = {"a": {"model": {"name": "resnet8"}, "terms": [{"loss": {"name": "kd"}, "name": None}]}}
    assert names_in(stages) == {"resnet8", "kd"}


def test_a_loss_brings_its_paper_and_unknown_names_bring_none():
    (key,) = keys_of(["kd", "no such thing"], registries().values())
    assert key.startswith("hinton2015")
    assert bibliography()[key].startswith("@")


def test_entries_are_whole():
    entries = bibliography()
    assert len(entries) >= 4
    for key, entry in entries.items():
        assert entry.count("{") == entry.count("}"), key
        assert re.search(r"title\s*=", entry), key
        assert re.search(r"year\s*=", entry), key


@pytest.mark.parametrize("word", registries())
def test_every_key_that_a_docstring_cites_is_in_the_bibliography(word):
    registry, known = registries()[word], bibliography()
    for name in registry:
        doc = registry.describe(name.replace("*", "NAME")).doc
        assert set(re.findall(r"\[([a-z]+\d{4}\w*)\]", doc)) <= known.keys(), name


def test_stages_cite_what_they_do():
    source = {"name": "digits"}
    synthesize = {"kind": "dataset.synthesize", "source": source, "method": {"name": "dm"}, "ipc": 4}
    assert stage_keys({"set": synthesize}) == []
    assert stage_keys({"set": {**synthesize, "subsets": 2}}) == ["du2023seqmatch"]
    search = {"kind": "dataset.search", "source": source, "experts": "e", "ipcs": [1], "epochs": [1]}
    label = {"kind": "dataset.label", "source": source, "ipc": 1}
    assert stage_keys({"a": search, "b": label, "c": {"kind": "of a later release"}}) == ["qin2024label"]
