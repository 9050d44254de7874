"""Formulas, citations and examples of docstrings, for Python-Markdown.

`.. math::` blocks and `:math:` roles become MathML when the site is built: browsers set it themselves, so there is
no script and no font to load. A citation key in brackets becomes a link to the page of papers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor

CITATION = re.compile(r"\[([a-z]+\d{4}[a-z0-9]*)(, [^\]\n]*)?\](?!\[|\()")
# What latex2mathml sets too small or not at all.
_REPLACED = ((r"\tfrac", r"\frac"), (r"\Big[", "["), (r"\Big]", "]"), (r"\|", r"\Vert "))


# Words that docstrings write into formulas as they are; set upright, not as products of letters.
_WORDS = re.compile(r"(?<![\\A-Za-z{])(KL|length|mean|of|one|rows|scaled|softmax|to|top)(?![A-Za-z])")


def mathml(latex: str, *, block: bool) -> str:
    """A formula as MathML, with its source for those who copy it."""
    for name, other in _REPLACED:
        latex = latex.replace(name, other)
    latex = _WORDS.sub(r"\\mathrm{\1}", latex)
    return convert(latex, display="block" if block else "inline")


class Doctests(Preprocessor):
    """Interactive examples as code: lines that begin with `>>>`, up to the next empty one."""

    def run(self, lines: list[str]) -> list[str]:
        """Put a fence around each."""
        result: list[str] = []
        fenced = inside = False
        for line in lines:
            fenced ^= line.lstrip().startswith("```")
            if not (fenced or inside) and line.startswith(">>> "):
                inside = True
                result += ["", "```pycon"]
            elif inside and not line.strip():
                inside = False
                result.append("```")
            result.append(line)
        return [*result, "```"] if inside else result


class FormulaBlocks(Preprocessor):
    """`.. math::` with what follows on its line and the indented lines below."""

    def run(self, lines: list[str]) -> list[str]:
        """Replace each block by a placeholder of Python-Markdown."""
        result: list[str] = []
        rest = iter([*lines, ""])
        line = next(rest, None)
        while line is not None:
            start = re.match(r"(\s*)\.\. math::(.*)", line)
            if start is None:
                result.append(line)
                line = next(rest, None)
                continue
            latex = [start.group(2)]
            while (line := next(rest, None)) is not None and (
                line.strip() and len(line) - len(line.lstrip()) > len(start.group(1))
            ):
                latex.append(line)
            html = f'<div class="formula">{mathml(" ".join(latex).strip(), block=True)}</div>'
            result += ["", start.group(1) + self.md.htmlStash.store(html), ""]
        return result[:-1] if lines else result


class InlineFormula(InlineProcessor):
    """`:math:` with a formula in backquotes."""

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[Any, int, int]:
        """The formula's place in the text."""
        return self.md.htmlStash.store(mathml(m.group(1), block=False)), m.start(0), m.end(0)


class Citation(InlineProcessor):
    """A key of the bibliography in brackets."""

    def __init__(self, keys: Iterable[str], md: Markdown) -> None:
        """Know the keys."""
        super().__init__(CITATION.pattern, md)
        self.keys = set(keys)

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[Any, int | None, int | None]:
        """A reference that autorefs resolves from any page."""
        if m.group(1) not in self.keys:
            return None, None, None
        link = Element("autoref")
        link.set("identifier", m.group(1))
        link.text = m.group(1)
        span = Element("span")
        span.text, link.tail = "[", f"{m.group(2) or ''}]"
        span.append(link)
        return span, m.start(0), m.end(0)


class Formulas(Extension):
    """Formulas, citations and examples.

    Args:
        keys: of the bibliography.
    """

    def __init__(self, keys: Iterable[str]) -> None:
        super().__init__()
        self.keys = tuple(keys)

    def extendMarkdown(self, md: Markdown) -> None:
        """Add them: examples before code is taken out, formulas after, the rest before Markdown's brackets."""
        md.preprocessors.register(Doctests(md), "doctests", 26)
        md.preprocessors.register(FormulaBlocks(md), "formula blocks", 22)
        md.inlinePatterns.register(InlineFormula(r":math:`([^`]+)`", md), "formula", 195)
        md.inlinePatterns.register(Citation(self.keys, md), "citation", 171)
