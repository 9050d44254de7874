"""What the documentation site needs beyond MkDocs: pages from outside docs/, links, the navigation, formulas.

README, changelog, contributing and results are pages of the site as well. Their place in the repository stays the
one truth: links are written for the repository and rewritten here.
"""

from __future__ import annotations

import ast
import os
import posixpath
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parent))
import bibliography
from formulas import Formulas

sys.path.pop(0)

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = {"README.md": "overview.md", "CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
SECTIONS = {"guides": "Guides", "methods": "Methods", "results": "Results"}
FILES = ("src/limbeck/references.bib", "results/*.yaml", "results/*.json", "examples/*.py", "LICENSE")
PUBLIC = re.compile(r"^%% (limbeck[\w.]*)$", flags=re.MULTILINE)
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:|#)([^)\s#]+)")


def pages() -> dict[str, str]:
    """Path in the repository -> path in the site, of every page."""
    found = {f"docs/{path.relative_to(ROOT / 'docs').as_posix()}" for path in (ROOT / "docs").rglob("*.md")}
    results = {path.relative_to(ROOT).as_posix() for path in (ROOT / "results").glob("*.md")}
    return {
        **{path: path.removeprefix("docs/") for path in found},
        **{path: path.replace("README.md", "index.md") for path in results},
        **OUTSIDE,
    }


def on_config(config: Any) -> Any:
    """Formulas and citations in pages and docstrings; every page in the navigation."""
    config.markdown_extensions.append(Formulas(bibliography.entries().keys()))
    named = set(_named(config.nav))
    for folder, title in SECTIONS.items():
        section = next(entry[title] for entry in config.nav if title in entry)
        inside = sorted(path for path in pages().values() if path.startswith(f"{folder}/") and path not in named)
        section += inside
    config.nav = [_with_short_titles(entry) for entry in config.nav]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Pages and files from outside docs/."""
    for path, place in pages().items():
        if not path.startswith("docs/"):
            files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    for pattern in FILES:
        for path in ROOT.glob(pattern):
            place = f"files/{path.relative_to(ROOT).as_posix()}"
            files.append(File.generated(config, place, abs_src_path=str(path)))
    files.append(File.generated(config, "bibliography.md", content=bibliography.page()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links as the site has them: written relative to the repository's file, they become relative to the page.

    A line `%% limbeck.losses` becomes the public names of that package.
    """
    markdown = PUBLIC.sub(lambda found: _public(found.group(1)), markdown)
    here = {place: path for path, place in pages().items()}.get(page.file.src_uri)
    if here is None:
        return markdown
    places = pages()

    def rewritten(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(posixpath.dirname(here), match.group(1)))
        if (ROOT / path).is_dir() and f"{path}/README.md" in places:
            path = f"{path}/README.md"
        place = places.get(path)
        if place is None:
            place = path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}"
        return os.path.relpath(place, posixpath.dirname(page.file.src_uri) or ".")

    return LINK.sub(rewritten, markdown)


def _public(package: str) -> str:
    """What a package exports, from the file where each name is defined.

    Asked of the package itself, the documentation of `limbeck.losses.kd` would be that of the file kd.py.
    """
    source = (ROOT / "src" / package.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    tree = ast.parse(source)
    exported = {
        name
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        for name in ast.literal_eval(node.value)
    }
    places = {
        alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in exported
    }
    return "\n\n".join(f"::: {places[name]}" for name in sorted(places, key=str.lower))


def _named(entry: Any) -> Iterator[str]:
    """Every page in a navigation."""
    if isinstance(entry, str):
        yield entry
    for child in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from _named(child)


def _with_short_titles(entry: Any) -> Any:
    """The navigation with a method's short name: what stands before the colon in its heading."""
    if isinstance(entry, list):
        return [_with_short_titles(child) for child in entry]
    if isinstance(entry, dict):
        return {title: _with_short_titles(child) for title, child in entry.items()}
    if entry.startswith("methods/"):
        heading = (ROOT / "docs" / entry).read_text(encoding="utf-8").partition("\n")[0]
        return {heading.removeprefix("# ").partition(":")[0]: entry}
    return entry
