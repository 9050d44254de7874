from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from limbeck.errors import RunFolderError
from limbeck.report.page import build, write

VOID = {"meta", "link", "img", "br", "path", "rect", "line", "circle"}
KINDS = ["begun", "with_teacher", "complete", "audited", "unfinished", "failed", "hostile"]


class WellFormed(HTMLParser):
    """Every element is closed in order; collects names, attributes and text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1] == tag, f"</{tag}> closes <{self.open[-1]}>"
        self.open.pop()

    def handle_data(self, data):
        self.text.append(data)


def parsed(html: str) -> WellFormed:
    parser = WellFormed()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize("kind", KINDS)
def test_every_page_is_well_formed_and_loads_nothing(examples, tmp_path, kind):
    html = build(getattr(examples, kind)(tmp_path / kind).path)
    page = parsed(html)
    assert not {"script", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in page.found}
    for tag, attributes in page.found:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "srcset", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in html


@pytest.mark.parametrize("kind", KINDS)
def test_every_picture_table_and_box_says_what_it_is(examples, tmp_path, kind):
    page = parsed(build(getattr(examples, kind)(tmp_path / kind).path))
    for tag, attributes in page.found:
        if tag == "svg":
            assert attributes.get("aria-hidden") == "true" or (attributes["role"], attributes["aria-label"]) > (
                "",
                "",
            )
        if tag == "img":
            assert attributes["alt"]
    names = [tag for tag, _ in page.found]
    assert names.count("caption") == names.count("table")
    assert names.count("h1") == 1
    anchors = [attributes["href"][1:] for tag, attributes in page.found if tag == "a"]
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert anchors == ids


def test_what_a_finished_comparison_shows(complete_run):
    html = build(complete_run)
    text = " ".join("".join(parsed(html).text).split())
    order = ["Results", "Learning curves", "Comparison", "Pictures and matrices", "Cost", "What was asked"]
    places = [html.index(f"<h2>{title}</h2>") for title in [*order, "Environment", "Load the model", "Files"]]
    assert places == sorted(places)
    assert "wkd is best: 90.50%" in text
    assert "2.2× fewer77.8k instead of the teacher's 175k" in text
    assert "90.5 ± 0.5 %" in text
    assert "+6.3 points" in text
    assert "Loss term wkd_transport" in text
    assert f'limbeck.load("{complete_run}/students/trials/wkd-s0/model.safetensors")' in text
    assert "students: wkd, seed 0" in text
    assert "commit 586e17e5f7e2, with uncommitted changes" in text
    assert "limbeck run demo/digits --out 'runs/demo digits'" in text
    assert 'class="states"' not in html


def test_the_page_is_a_function_of_the_folder(complete_run):
    assert build(complete_run) == build(complete_run)


def test_an_audit_leads_with_its_verdicts_and_has_a_chapter_for_each_question(examples, tmp_path):
    html = build(examples.audited(tmp_path / "run").path)
    text = " ".join("".join(parsed(html).text).split())
    places = [
        *(html.index(f"<h2>{title}</h2>") for title in ("Results", "Findings", "Learning curves")),
        html.index("<h2>Cost</h2>"),
    ]
    assert places == sorted(places)
    results, findings = html[places[0] : places[1]], html[places[1] : places[2]]
    assert "Looks where the teacher looks" in results
    for mark, word in (
        ("yes", "✓ transferred +12.1"),
        ("unsure", "? cannot tell"),
        ("no", "✗ not transferred −0.3"),
    ):
        assert re.search(rf'class="[^"]*\b{mark}\b[^"]*"[^>]*>\s*{re.escape(word)}', results), word
    # Chapters stand in the order of their names, and what belongs to one is shown there alone.
    titles = re.findall(r"<h3>(.*?)</h3>", findings)
    assert titles[1:] == ["Adversarial", "Bare"]
    assert titles[0].startswith("&lt;script&gt;")
    assert examples.HOSTILE in "".join(parsed(html).text)
    assert re.search(r'<dt class="yes">✓ transferred · kd · Fooled</dt><dd>The students are more', findings)
    for shown in (
        "Who is fooled by whose images",
        "Fooled by the teacher&#39;s adversarial",
        "ifgsm with eps 8.00/255",
    ):
        assert html.count(f">{shown}") == 1 or shown in findings
        assert shown not in html[: places[1]] + html[places[2] :]
    assert findings.count("data:image/png;base64,") == 1
    assert "All numbers" in findings
    assert "Of 2 properties these came: kd 1, at 1." in text


def test_a_damaged_lead_or_chapter_is_no_reason_to_lose_the_page(examples, tmp_path):
    run = examples.audited(tmp_path / "run")
    run.stage("students").write_table("verdicts", {"title": "Verdicts", "lead": True})
    (run.path / "students/chapters/01-adversarial.json").write_text('{"title": "Adv')
    text = "".join(parsed(build(run.path)).text)
    assert "This table cannot be shown: KeyError: 'columns'" in text
    assert "Bare" in text
    assert "Who is fooled by whose images" in text  # in no chapter any more: shown among the loose ones


def test_an_unfinished_run_says_how_far_it_got(examples, tmp_path):
    html = build(examples.unfinished(tmp_path / "run").path)
    text = "".join(parsed(html).text)
    assert "Not finished: 1 of 2 stages done." in text
    assert "7 of the 8 trials begun so far are finished. The command that began it continues it." in text
    assert "Test accuracy so far" in text
    assert "students/trials/" in text
    assert not re.search(r"\bnan\b", html)


def test_a_failed_run_says_why(examples, tmp_path):
    text = "".join(parsed(build(examples.failed(tmp_path / "run").path)).text)
    assert "Stage teacher failed." in text
    assert "became infinite at step 126" in text
    assert "It got to step 125, epoch 13." in text
    assert "Load the model" not in text


def test_a_failure_that_was_mended_is_no_longer_told(examples, tmp_path):
    run = examples.failed(tmp_path / "run")
    run.event("resumed", stage="teacher")
    text = "".join(parsed(build(run.path)).text)
    assert "became infinite" not in text
    assert "Not finished: 0 of 2 stages done." in text


def test_an_interruption_is_no_failure(examples, tmp_path):
    run = examples.unfinished(tmp_path / "run")
    run.event("interrupted", stage="students", reason="SIGTERM")
    assert "Interrupted. 7 of the 8 trials begun" in "".join(parsed(build(run.path)).text)


def test_hostile_text_is_shown_and_not_obeyed(examples, tmp_path):
    html = build(examples.hostile(tmp_path / "run").path)
    page = parsed(html)
    assert examples.HOSTILE in "".join(page.text)
    assert "<script" not in html
    assert not [a for tag, a in page.found if tag == "img" and not a["src"].startswith("data:image/png;base64,")]


def test_damaged_figures_and_tables_become_notes(examples, tmp_path):
    run = examples.with_teacher(tmp_path / "run")
    stage = run.stage("teacher")
    stage.write_figure(
        "bad", {"title": "Bad", "kind": "matrix", "rows": ["a"], "columns": ["b"], "values": [[1], [2]]}
    )
    stage.write_table("bad", {"title": "Bad"})
    text = "".join(parsed(build(run.path)).text)
    assert "This figure cannot be drawn: ValueError: 1 rows and 1 columns" in text
    assert "This table cannot be shown: KeyError: 'columns'" in text


def test_written_into_the_run_or_elsewhere(examples, tmp_path):
    run = examples.with_teacher(tmp_path / "run")
    assert write(run.path) == run.path / "report.html"
    elsewhere = tmp_path / "elsewhere.html"
    assert write(run.path, elsewhere) == elsewhere
    assert elsewhere.read_text() == (run.path / "report.html").read_text()
    with pytest.raises(RunFolderError, match="cannot write"):
        write(run.path, tmp_path / "nowhere" / "report.html")
    with pytest.raises(RunFolderError, match="not a run folder"):
        build(tmp_path)


def test_a_run_of_two_single_stages_is_compared_by_stage(examples, tmp_path):
    run = examples.begun(tmp_path / "run")
    for name, accuracy in (("teacher", 0.97), ("students", 0.91)):
        stage = examples.begin(run, name)
        examples.finish(stage, accuracy=accuracy, parameters=1000, flops=2000.0, seconds=3.0, seed=0)
    text = "".join(parsed(build(run.path)).text)
    assert "91.00% of 500 test images are classified correctly." in text
    assert "Test accuracy" in text
    assert "97.0 %" in text


def test_neither_runs_nor_report_imports_anything_heavy(complete_run):
    code = (
        "import sys; import limbeck.runs.provenance as p, limbeck.report.page as page;"
        f"p.provenance([]); page.build({str(complete_run)!r});"
        "sys.exit(', '.join({'torch', 'pydantic', 'matplotlib', 'numpy', 'yaml'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
