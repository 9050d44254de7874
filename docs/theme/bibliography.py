"""The page of papers, made from the library's BibTeX file. Citation keys in docstrings link to it."""

from __future__ import annotations

import re
from pathlib import Path

BIB = Path(__file__).resolve().parents[2] / "src" / "limbeck" / "references.bib"
_ACCENTS = {
    r"\"a": "ä",
    r"\"o": "ö",
    r"\"u": "ü",
    r"\'e": "é",
    r"\'a": "á",
    r"\'c": "ć",
    r"\v{c}": "č",
    r"\ss": "ß",
}


def entries() -> dict[str, str]:
    """BibTeX entries by key."""
    parts = re.split(r"^(?=@)", BIB.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {found.group(1): part.strip() for part in parts if (found := re.match(r"@\w+\{([^,\s]+),", part))}


def page() -> str:
    """The page, one heading for each paper, by author and year."""
    lines = ["# Papers", "", "What the library implements, compares with or builds on. `limbeck cite` prints the"]
    lines += ["entries that belong to a run.", ""]
    for key, entry in sorted(entries().items()):
        authors = _field(entry, "author").split(" and ")
        names = [name.partition(",")[0] for name in authors]
        who = (
            names[0]
            if len(names) == 1
            else f"{names[0]} and {names[1]}"
            if len(names) == 2
            else f"{names[0]} et al."
        )
        place = _field(entry, "booktitle") or _field(entry, "journal") or _field(entry, "howpublished")
        lines += [f"## {who} {_field(entry, 'year')} {{ #{key} }}", ""]
        lines += [f"*{_field(entry, 'title')}*{f', {place}' if place else ''}.", ""]
        lines += ["```bibtex", *entry.splitlines(), "```", ""]
    return "\n".join(lines)


def _field(entry: str, name: str) -> str:
    """The value of a field as plain text."""
    found = re.search(rf"^\s*{name}\s*=\s*(.*?),?\s*$", entry, flags=re.MULTILINE | re.IGNORECASE)
    text = found.group(1) if found else ""
    for accent, letter in _ACCENTS.items():
        text = text.replace(accent, letter)
    return re.sub(r"[{}]", "", text).strip()
