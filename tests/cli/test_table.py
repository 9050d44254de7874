"""`limbeck table`: published numbers with ours beside them. Run folders are constructed, nothing trains."""

from __future__ import annotations

import csv
import io
import json

import pytest

NAME = "cifar100/resnet32x4-resnet8x4"
COLUMN = "R32x4 → R8x4"


@pytest.fixture
def runs(cli, tmp_path):
    """Three seeds of one method, and one run of another that was cut short."""
    from limbeck.recipes import catalogue
    from limbeck.recipes.schema import load_recipe
    from limbeck.runs import RunFolder

    text = catalogue.read(NAME)[1]

    def write(place, variant, accuracy, *overrides, smoke=False):
        recipe = load_recipe(text, name=NAME, variant=variant, overrides=overrides, smoke=smoke)
        run = RunFolder.create(tmp_path / place, recipe_text=text, resolved=recipe.resolved, provenance={})
        for name, value in zip(recipe.stages, (0.7942, accuracy), strict=True):
            run.stage(name).begin(recipe.stage_config(name))
            run.stage(name).write_result({"numbers": {"accuracy": {"value": value}}})

    for seed, accuracy in enumerate((0.7310, 0.7330, 0.7350)):
        write(f"runs/{NAME}/kd/s{seed}", "kd", accuracy, f"seed={seed}")
    write("other/cut-short", "hint", 0.50, "student.train.epochs=3")
    return tmp_path


def row(text, name):
    """The words of a method's line in the block that has ours."""
    start = text.index(COLUMN)
    block = text[text.rindex("\n\n", 0, start) : text.index("\n\n", start)]
    return next(line for line in block.splitlines() if line.startswith(f"{name} "))


def test_without_a_name_all_tables_are_listed(cli):
    done = cli("table")
    assert done.code == 0
    for name in ("cifar100/homogeneous", "cifar100/heterogeneous", "imagenet/main"):
        assert name in done.out


def test_ours_stand_beside_theirs_and_fit_a_terminal(cli, runs):
    done = cli("table", "cifar100/homogeneous")
    assert (done.code, done.err) == (0, "")
    assert max(map(len, done.out.splitlines()[3:])) <= 120
    assert "73.33  73.30 ±0.20 (3)  −0.03" in row(done.out, "KD")
    assert " ".join(row(done.out, "teacher").split()).startswith("teacher 79.42 79.42 (1) +0.00")
    assert "–" in row(done.out, "FitNet")
    for column in ("WRN-40-2 → WRN-16-2", "VGG13 → VGG8"):
        assert column in done.out
    body = done.out.split("\n\n")[1:-1]
    assert max(len(line) for block in body for line in block.splitlines()) <= 80


def test_where_the_runs_are_may_be_said(cli, runs):
    assert "(3)" not in cli("table", "cifar100/homogeneous", "other").out
    done = cli("table", "cifar100/homogeneous", "other", "runs", "runs")
    assert "73.30 ±0.20 (3)" in done.out


def test_a_run_that_was_changed_is_marked_and_counts_when_asked(cli, runs):
    done = cli("table", "cifar100/homogeneous", "other")
    assert "–*" in row(done.out, "FitNet")
    assert "cut-short: student.train.epochs: 240 -> 3" in done.out
    done = cli("table", "cifar100/homogeneous", "other", "--any")
    assert "50.00 (1)*  −23.50" in row(done.out, "FitNet")


def test_without_runs_the_published_numbers_are_shown(cli):
    done = cli("table", "cifar100/homogeneous")
    assert done.code == 0
    assert "75.51" in row(done.out, "CRD")


def test_a_published_spread_and_a_number_that_was_not_verified_say_so(cli):
    assert "76.31 ±0.19" in row(cli("table", "cifar100/homogeneous").out, "DIST")
    done = cli("table", "imagenet/main")
    assert "72.51?" in done.out
    assert "?: not looked up" in done.out


def test_json_has_everything(cli, runs):
    data = json.loads(cli("table", "cifar100/homogeneous", "--format", "json").out)
    cell = next(c for c in data["cells"] if (c["row"], c["column"]) == ("KD", COLUMN))
    assert (cell["n"], cell["reported"], cell["faithful"]) == (3, 73.33, True)
    assert cell["ours"] == pytest.approx(73.30)
    assert cell["sd"] == pytest.approx(0.20)
    assert [trial["seed"] for trial in cell["trials"]] == [0, 1, 2]


def test_csv_has_a_line_a_cell(cli, runs):
    lines = list(csv.DictReader(io.StringIO(cli("table", "cifar100/homogeneous", "--format", "csv").out)))
    cell = next(line for line in lines if (line["row"], line["column"]) == ("KD", COLUMN))
    assert (cell["n"], cell["source"]) == ("3", "RepDistiller README")
    assert float(cell["difference"]) == pytest.approx(-0.03)
    assert next(line for line in lines if line["row"] == "AB")["reason"]


def test_markdown_goes_to_a_file(cli, runs, tmp_path):
    done = cli("table", "cifar100/homogeneous", "--format", "markdown", "--out", "table.md")
    assert (done.code, done.out) == (0, "")
    text = (tmp_path / "table.md").read_text()
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count(" |") for line in lines if not line.startswith("|---")}) == 1
    kd = next(line for line in lines if line.startswith("| KD |"))
    assert "| 73.33 | 73.30 ±0.20 (3) | −0.03 |" in kd


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["cifar100/homogenous"], "Did you mean 'cifar100/homogeneous'"),
        (["homogeneous"], "no table is named 'homogeneous'"),
        (["cifar100/homogeneous", "nowhere"], "nowhere does not exist"),
        (["cifar100/homogeneous", "--out", "no/such/table.md"], "there is no folder no/such"),
    ],
)
def test_a_mistake_is_explained(cli, arguments, said):
    done = cli("table", *arguments)
    assert done.code == 2
    assert said in " ".join(done.err.split())


def test_it_needs_no_torch(cli):
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['limbeck', 'table', 'imagenet/main']; "
        "from limbeck.cli.main import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "72.76" in done.stdout
