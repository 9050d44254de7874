"""Published tables: what is wrong with one is said at once; every recipe that the shipped ones name exists."""

from __future__ import annotations

import runpy

import pytest

from limbeck.errors import ConfigError, UnknownNameError
from limbeck.recipes import catalogue, published

TEXT = """\
same_data: [torchvision/cifar100, parquet]
tables:
  small:
    title: Small
    cells:
      - {row: KD, column: a, recipe: cifar100/x, variant: kd, reported: 70.5, spread: 0.2, source: README}
      - {row: AB, column: a, recipe: null, reported: 71, source: README, reason: no such loss}
      - {row: KD, column: b, recipe: cifar100/y, reported: 72, source: README, verified: false}
"""


def test_a_table_is_read_with_its_order():
    file = published.parse(TEXT, "tables.yaml")
    table = file.tables["small"]
    assert (table.rows, table.columns, table.unit) == (("KD", "AB"), ("a", "b"), "top-1 %")
    first, second, third = table.cells
    assert (first.reported, first.spread, first.stage, first.verified) == (70.5, 0.2, "student", True)
    assert (second.recipe, second.reason) == (None, "no such loss")
    assert third.verified is False


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("reported: 70.5", "reported: high", 6, "cells.0.reported"),
        ("reported: 70.5", "reportd: 70.5", 6, "Did you mean 'reported'"),
        (", source: README}", "}", 6, "is missing. Where it was published"),
        (", reason: no such loss", "", 7, "so a reason is needed"),
        ("recipe: null", "recipe: null, variant: kd", 7, "belongs to no recipe"),
        ("source: README, verified", "source: README, reason: none, verified", 8, "needs no reason"),
        ("row: AB", "row: KD", 3, "two cells stand in the same place: row 'KD', column 'a'"),
        ("    title: Small\n", "", 3, "tables.small.title"),
    ],
)
def test_a_mistake_has_its_place(old, new, line, said):
    assert old in TEXT
    with pytest.raises(ConfigError) as caught:
        published.parse(TEXT.replace(old, new, 1), "tables.yaml")
    message = str(caught.value)
    assert message.startswith("tables.yaml has ")
    assert any(said in problem and f"(line {line})" in problem for problem in caught.value.problems), message


def test_all_mistakes_are_reported_together():
    text = TEXT.replace("70.5", "high").replace(", reason: no such loss", "")
    with pytest.raises(ConfigError) as caught:
        published.parse(text, "tables.yaml")
    assert [("line 6" in p, "line 7" in p) for p in caught.value.problems] == [(True, False), (False, True)]


def test_an_empty_file_is_no_table():
    with pytest.raises(ConfigError, match="a mapping with 'tables'"):
        published.parse("", "tables.yaml")


def test_an_unknown_table_names_the_nearest():
    with pytest.raises(UnknownNameError, match="Did you mean 'cifar100/homogeneous'"):
        published.find("cifar100/homogenous")


@pytest.mark.parametrize("name", published.names())
def test_every_recipe_and_variant_that_a_shipped_table_names_exists(name):
    table, _ = published.find(name)
    for cell in table.cells:
        if cell.recipe is not None:
            assert cell.recipe in catalogue.names(), cell
            assert cell.variant is None or cell.variant in catalogue.variants(cell.recipe), cell
            assert cell.variant is not None or cell.stage == "teacher" or not catalogue.variants(cell.recipe), cell


def test_the_shipped_tables_hold_what_was_published():
    assert len(published.find("cifar100/homogeneous")[0].cells) == 166
    assert len(published.find("cifar100/heterogeneous")[0].cells) == 113
    cells = {(c.row, c.column): c for c in published.find("cifar100/homogeneous")[0].cells}
    assert cells["DIST", "R56 → R20"].spread == 0.30
    assert cells["DKD", "R110 → R20"].source == "LSKD README"
    assert cells["teacher", "VGG13 → VGG8"].stage == "teacher"
    cells = {(c.row, c.column): c for c in published.find("imagenet/main")[0].cells}
    assert cells["WKD-L + WKD-F", "R50 → MobileNetV1"].reported == 73.69
    assert not cells["MLKD", "R34 → R18"].verified


def test_the_tables_of_flows_are_of_fid_and_name_the_number_of_a_cell():
    for name in ("ablation", "evaluations", "cifar10", "imagenet64"):
        table, _ = published.find(f"flow/{name}")
        assert table.heading.endswith("(FID, lower is better)")
        for cell in table.cells:
            assert cell.recipe is None or (cell.stage, "_fid_" in cell.number) == ("look", True), cell
    cells = {(c.row, c.column): c for c in published.find("flow/evaluations")[0].cells}
    assert cells["CIFAR-10, G", "1 evaluation"].reported == 3.07
    assert not cells["CIFAR-10, G", "2 evaluations"].verified


def test_the_tables_of_detectors_hold_what_was_published(root):
    cells = {(c.row, c.column): c for c in published.find("detect/compact")[0].cells}
    assert len(cells) == 4 * 5 * 7
    best = cells["SSD300-VGG16 + all", "mAR"]
    assert (best.reported, best.number, best.variant) == (40.4, "AR100", "all")
    cells = {(c.row, c.column): c for c in published.find("detect/together")[0].cells}
    assert cells["RetinaNet-R50", "DICOD + FKD"].reported == 40.7
    assert not cells["SSD512-VGG16", "DICOD + FKD"].verified
    cells = {(c.row, c.column): c for c in published.find("detect/overlaps")[0].cells}
    assert (cells["loc + KD_loc", "0.90"].reported, cells["loc + KD_loc", "0.90"].number) == (8.4, "AP90")
    assert published.find("detect/detectors")[0].cells[0].note.startswith("+0.7 over 38.4")
    files = runpy.run_path(str(root / "schemas" / "detection_library.py"))["files"]()
    for name, text in files.items():
        there = (catalogue.LIBRARY / name).read_text(encoding="utf-8")
        assert there == text, "run: python schemas/detection_library.py"


def test_the_files_in_the_library_are_what_their_source_says(root):
    files = runpy.run_path(str(root / "schemas" / "library.py"))["files"]()
    assert len(files) > 20
    for path, text in files.items():
        assert path.read_text(encoding="utf-8") == text, "run: python schemas/library.py"
    there = {path for name in ("cifar100", "imagenet", "coco") for path in (catalogue.LIBRARY / name).iterdir()}
    assert there == set(files)
