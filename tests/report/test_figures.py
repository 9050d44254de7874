from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from limbeck.report.axes import Scale, linear_ticks, log_ticks, span
from limbeck.report.draw_lines import spread, thinned
from limbeck.report.figures import KINDS, colours_of, draw

NAMES = ["cat", "dog", "a class with a very long name"]
FIGURES = {
    "lines": {
        "series": [
            {"label": "kd", "x": [1, 2, 3, 4], "y": [0.1, None, 0.4, 0.5]},
            {"label": "control", "x": [1, 2], "y": [0.2, 0.3], "faint": True},
        ],
        "x_label": "step",
        "unit": "fraction",
    },
    "bars": {
        "bars": [
            {"label": "control", "value": 0.84, "error": 0.01, "points": [0.83, 0.85]},
            {"label": "kd", "value": 0.88, "error": None},
            {"label": "broken", "value": None},
        ],
        "unit": "fraction",
        "references": [{"label": "teacher", "value": 0.97}],
    },
    "matrix": {
        "rows": NAMES,
        "columns": NAMES,
        "values": [[9, 1, 0], [2, 8, 0], [0, 0, 10]],
        "x_label": "predicted",
    },
    "scatter": {"points": [{"x": 1e3, "y": 0.5, "label": "a"}, {"x": 1e6, "y": 0.9, "label": "b"}], "x_log": True},
}


def drawn(kind: str, **changes: object) -> ET.Element:
    drawing = draw({"kind": kind, "title": "T", **FIGURES[kind], **changes})
    assert drawing.problem == ""
    if drawing.narrow is not None:
        ET.fromstring(str(drawing.narrow))
    return ET.fromstring(str(drawing.wide))


def texts(svg: ET.Element) -> list[str]:
    return [node.text or "" for node in svg.iter("text")]


def test_the_table_of_this_file_covers_every_kind():
    assert set(FIGURES) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("small", [False, True])
def test_every_kind_is_whole_svg_inside_its_view(kind, small):
    drawing = draw({"kind": kind, "title": "T", **FIGURES[kind]}, small=small)
    for text in filter(None, (drawing.wide, drawing.narrow)):
        svg = ET.fromstring(str(text))
        assert svg.get("aria-label", "").startswith("T: ")
        width, height = map(float, svg.get("viewBox", "").split()[2:])
        for node in svg.iter():
            x, y = (
                node.get("cx") or node.get("x1") or node.get("x"),
                node.get("cy") or node.get("y1") or node.get("y"),
            )
            if x is not None and y is not None:
                assert -1 <= float(x) <= width + 1
                assert -1 <= float(y) <= height + 1
        assert "nan" not in str(text)


def test_a_gap_in_a_curve_stays_a_gap():
    path = next(p for p in drawn("lines").iter("path") if "line" in (p.get("class") or ""))
    assert path.get("d", "").count("M") == 2


def test_bars_from_zero_and_dots_where_zero_is_far():
    zoomed = drawn("bars")
    assert not [r for r in zoomed.iter("rect") if "bar" in (r.get("class") or "").split()]
    far = drawn("bars", bars=[{"label": "a", "value": 0.1}, {"label": "b", "value": 0.9}], references=[])
    assert len([r for r in far.iter("rect") if "bar" in (r.get("class") or "").split()]) == 2
    assert "0 %" in texts(far)
    assert {"84.0 ± 1.0 %", "88.0 %", "–", "teacher"} <= set(texts(zoomed))


def test_negative_bars_start_at_zero():
    svg = drawn("bars", unit=None, references=[], bars=[{"label": "a", "value": -2}, {"label": "b", "value": 4}])
    a, b = (r for r in svg.iter("rect") if "bar" in (r.get("class") or "").split())
    assert float(a.get("x", 0)) + float(a.get("width", 0)) == pytest.approx(float(b.get("x", 0)), abs=0.02)


def test_a_matrix_leaves_zeros_blank_and_colours_by_place():
    svg = drawn("matrix")
    kinds = [r.get("class") for r in svg.iter("rect")]
    assert kinds.count("same") == 3
    assert kinds.count("other") == 2
    assert "27 of 30 on the diagonal; most frequent differences: dog as cat 2" in svg.get("aria-label", "")


def test_a_matrix_of_shares_is_shaded_by_the_share_and_not_by_the_row():
    def shades(**more):
        svg = drawn("matrix", rows=["a", "b"], columns=["c", "d"], **more)
        return [float(cell.get("fill-opacity")) for cell in svg.iter("rect") if cell.get("fill-opacity")]

    absolute = shades(values=[[0.2, 0.1], [0.8, 0.4]], full=1.0)
    by_row = shades(values=[[0.2, 0.1], [0.8, 0.4]])
    assert absolute != by_row
    assert by_row[:2] == by_row[2:]  # the same shares of their rows
    assert absolute == sorted(absolute[:2], reverse=True) + sorted(absolute[2:], reverse=True)
    assert absolute[2] > absolute[0]
    # A share of nought is drawn, and said; of counts it would be left out.
    assert len(shades(values=[[0.0, 0.5], [1.0, math.nan]], full=1.0)) == 3
    spoken = drawn("matrix", values=[[0.0] * 3, [0.5] * 3, [0.75] * 3], full=1.0, unit="fraction").get(
        "aria-label"
    )
    assert "values from 0 % to 75 %" in spoken.replace("0.0 %", "0 %").replace("75.0 %", "75 %")
    # More than all is all.
    assert (
        shades(values=[[3.0, 0.5], [1.0, 0.5]], full=1.0)[0]
        == shades(values=[[1.0, 0.5], [1.0, 0.5]], full=1.0)[0]
    )


def test_a_large_matrix_has_no_numbers_in_it():
    names = [f"c{i}" for i in range(40)]
    svg = drawn("matrix", rows=names, columns=names, values=[[1] * 40 for _ in names])
    assert "1" not in texts(svg)


def test_logarithmic_axes():
    svg = drawn("scatter")
    assert {"1,000", "10,000", "100,000"} & set(texts(svg))
    lines = drawn("lines", series=[{"label": "a", "x": [0, 1, 2], "y": [100, 1, 0]}], unit=None, log=True)
    assert "log scale" in texts(lines)


@pytest.mark.parametrize("kind", KINDS)
def test_empty_figures_do_not_break(kind):
    key = {"lines": "series", "bars": "bars", "matrix": "values", "scatter": "points"}[kind]
    empty = {"rows": [], "columns": []} if kind == "matrix" else {}
    draw({"kind": kind, "title": "T", **FIGURES[kind], key: [], **empty})
    assert draw({"kind": kind, "title": "T"}).problem


def test_an_unknown_kind_says_which_are_known():
    assert "none of lines, bars, matrix, scatter" in draw({"kind": "pie"}).problem


def test_names_of_curves_keep_apart():
    curves = [{"label": f"m{i}", "x": [0, 1], "y": [0, 1 + i / 1000]} for i in range(8)]
    svg = drawn("lines", series=curves)
    places = sorted(float(t.get("y", 0)) for t in svg.iter("text") if "name" in (t.get("class") or ""))
    assert len(places) == 8
    assert min(b - a for a, b in pairwise(places)) > 12.9


def test_many_curves_have_no_names_at_their_ends():
    svg = drawn("lines", series=[{"label": f"m{i}", "x": [0, 1], "y": [0, i]} for i in range(9)])
    assert not [t for t in svg.iter("text") if "name" in (t.get("class") or "")]


def test_a_long_curve_keeps_its_peaks_and_ends():
    points = [(i, 0.0) for i in range(100_000)]
    points[54_321] = (54_321, 9.0)
    points[77] = (77, math.nan)
    few = thinned(points, 200)
    assert len(few) <= 200
    assert (54_321, 9.0) in few
    assert few[0] == points[0]
    assert few[-1] == points[-1]
    assert [x for x, _ in few] == sorted(x for x, _ in few)
    assert few == thinned(few, 200)


def test_spread_keeps_order_and_bounds():
    places = spread([5, 5, 5, 90, 99, 100], 0, 100, 10)
    assert places == sorted(places)
    assert all(b - a > 9.99 for a, b in pairwise(places))
    assert places[0] >= 0
    assert places[-1] <= 100


@pytest.mark.parametrize(("low", "high"), [(0, 1), (83.1, 98.4), (-5, 5), (0, 1e9), (1e-7, 3e-7), (0.5, 0.500001)])
def test_ticks_are_round_inside_and_distinct(low, high):
    ticks = linear_ticks(low, high)
    assert 2 <= len(ticks) <= 12
    step = ticks[1][0] - ticks[0][0]
    assert re.match(r"[125](\.0+)?e", f"{step:.3e}"), step
    assert all(low - 1e-9 * abs(low) <= v <= high + 1e-9 * abs(high) for v, _ in ticks)
    if high - low > 1e-5:
        assert len({label for _, label in ticks}) == len(ticks)


@pytest.mark.parametrize(("low", "high"), [(1, 2), (1e-6, 1e6), (0.3, 40), (1, 1e30)])
def test_log_ticks_are_few_and_inside(low, high):
    ticks = log_ticks(low, high)
    assert 1 <= len(ticks) <= 6
    assert all(low <= v <= high for v, _ in ticks)


def test_scales_and_ranges():
    assert span([]) == (0.5, 1.5)
    assert span([math.nan, 3.0, 3.0]) == (1.5, 4.5)
    assert span([0.0, -1.0], log=True) == (0.5, 2.0)
    assert Scale(1, 100, 0, 10, log=True)(0) == 0


def test_colours_keep_what_others_are_compared_with_grey():
    found = colours_of(["kd", "teacher", *(f"m{i}" for i in range(9)), "kd"])
    assert found["teacher"] == "own"
    assert colours_of(["control"])["control"] == "c0"
    assert found["kd"] == "c1"
    assert found["m7"] == "c1"
