"""Every Python block of the documentation runs, and what the README promises exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")], key=lambda path: path.relative_to(ROOT).as_posix()
)


def blocks(page: Path) -> str:
    return "\n\n".join(re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL))


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(p)], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_the_code_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": f"page_{page.stem}"}
    exec(compile(blocks(page), str(page), "exec", dont_inherit=True), namespace)


def test_enough_pages_have_code():
    assert sum(bool(blocks(page)) for page in PAGES) >= 6


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}, which does not exist"


def recipes(page: Path) -> list[str]:
    found = re.findall(r"^```yaml\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [text for text in found if re.search(r"^stages:", text, flags=re.MULTILINE)]


@pytest.mark.parametrize("page", [p for p in PAGES if recipes(p)], ids=lambda p: p.relative_to(ROOT).as_posix())
def test_recipes_shown_are_valid(page):
    from limbeck.recipes.schema import load_recipe

    for recipe in recipes(page):
        assert load_recipe(recipe, name=page.name).stages


def test_enough_pages_show_a_recipe():
    assert sum(bool(recipes(page)) for page in PAGES) >= 5
