from __future__ import annotations

import math

import pytest

from limbeck.report.quantities import quantity
from limbeck.report.tables import table_of


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.9134, "fraction", "91.3 %"),
        (1.0, "fraction", "100.0 %"),
        (999, "count", "999"),
        (9_999, "count", "9,999"),
        (12_431, "count", "12.4k"),
        (999_950, "count", "1M"),
        (25_600_000, "count", "25.6M"),
        (7_430_000_000, "count", "7.43B"),
        (640, "FLOP per image", "640 FLOPs"),
        (3_200_000, "FLOP per image", "3.2 MFLOPs"),
        (4.1e9, "FLOP per image", "4.1 GFLOPs"),
        (412_000_000, "bytes", "412 MB"),
        (72, "s", "1 min 12 s"),
        (0.5, "s", "0.5 s"),
        (3_599.6, "s", "1 h 0 min"),
        (86_399, "s", "1 d 0 h"),
        (6.3, "points", "+6.3 points"),
        (-0.04, "points", "−0.0 points"),
        (7, "epoch", "7"),
        (0.25, "nats", "0.25 nats"),
        (None, "s", "–"),
        (math.nan, "fraction", "–"),
        (math.inf, None, "–"),
        ("3 of 3", None, "3 of 3"),
        (True, None, "yes"),
    ],
)
def test_quantities(value, unit, text):
    assert quantity(value, unit) == text


def test_a_small_spread_gets_a_digit_more():
    assert quantity(0.9134, "fraction", sd=0.0004) == "91.34 ± 0.04 %"
    assert quantity(0.9134, "fraction", sd=0.0) == "91.3 ± 0.0 %"
    assert quantity(1.5, "nats", sd=0.25) == "1.5 ± 0.25 nats"


COLUMNS = [
    {"key": "method", "label": "Method"},
    {"key": "accuracy", "label": "Accuracy", "unit": "fraction", "better": "higher"},
    {"key": "accuracy_sd", "label": "± sd", "unit": "fraction"},
    {"key": "wins", "label": "Seeds won"},
    {"key": "seconds", "label": "Training", "unit": "s", "better": "lower"},
    {"key": "nothing", "label": "Nothing"},
]
ROWS = [
    {"method": "teacher", "accuracy": 0.97},
    {"method": "control", "accuracy": 0.84, "accuracy_sd": 0.01, "seconds": 4},
    {"method": "kd", "accuracy": 0.88, "accuracy_sd": 0.02, "wins": "3 of 3", "seconds": 5},
]


def test_a_table_as_text():
    table = table_of({"title": "T", "columns": COLUMNS, "rows": ROWS, "note": "N"})
    assert table.headers == ("Method", "Accuracy (± sd)", "Seeds won", "Training")
    assert table.rows == (
        ("teacher", "97.0 %", "–", "–"),
        ("control", "84.0 ± 1.0 %", "–", "4.0 s"),
        ("kd", "88.0 ± 2.0 %", "3 of 3", "5.0 s"),
    )
    assert table.numeric == (False, True, True, True)
    assert table.note == "N"


def test_the_teacher_is_never_the_best():
    assert table_of({"columns": COLUMNS, "rows": ROWS}).best == {(2, 1), (1, 3)}


def test_equal_values_and_single_rows_have_no_best():
    assert table_of({"columns": COLUMNS, "rows": ROWS[:2]}).best == frozenset()
    same = [{"method": name, "accuracy": 0.5} for name in "ab"]
    assert table_of({"columns": COLUMNS, "rows": same}).best == frozenset()


def test_a_table_without_rows_keeps_its_headers():
    assert table_of({"columns": COLUMNS[:2], "rows": []}).headers == ("Method", "Accuracy")
