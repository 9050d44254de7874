"""The documentation site builds without a warning and without a network, and what it shows is complete."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from limbeck import losses

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("mkdocs", reason="the site needs the dependency group `docs`")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    out = tmp_path_factory.mktemp("site")
    nowhere = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **nowhere, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def test_every_page_is_there(site):
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs").with_suffix(".html")).exists(), page
    for page in ("overview", "changelog", "contributing", "results/index", "bibliography"):
        assert (site / f"{page}.html").exists()


def test_pages_load_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        for tag in re.findall(r"<(?:script|link|img|iframe|source)\b[^>]*>", page.read_text()):
            assert "//" not in re.sub(r"data:[^\"]*", "", tag), f"{page.name}: {tag}"


def test_every_public_loss_is_explained_with_its_papers(site):
    page = (site / "api" / "losses.html").read_text()
    headings = set(re.findall(r'<h2 id="limbeck\.losses\.[\w.]*?(\w+)" class="doc', page))
    assert headings >= set(losses.__all__)
    assert 'href="../bibliography.html#hinton2015distilling"' in page


def test_formulas_are_mathml(site):
    page = (site / "api" / "losses.html").read_text()
    assert page.count("<math") > 20
    assert not [
        name for name in (".. math::", ":math:") for path in site.rglob("*.html") if name in path.read_text()
    ]
    for formula in re.findall(r"<math.*?</math>", page, flags=re.DOTALL):
        assert "\\" not in html.unescape(re.sub(r"<[^>]*>", "", formula)), formula


def test_guides_show_the_code_of_the_examples(site):
    for guide, words in {
        "plain-pytorch": "direction_alignment",
        "timm": "create_optimizer_v2",
        "lightning": "training_step",
        "hugging-face-trainer": "compute_loss",
    }.items():
        page = (site / "guides" / f"{guide}.html").read_text()
        assert words in page
        assert "--8&lt;--" not in page
