"""The model card, as training wrote it in English, in the language of the page."""

import re
from collections.abc import Iterator
from itertools import groupby

from ui import vocabulary
from ui.messages import Language, Messages

THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}\b)")


def shown(card: str, text: Messages) -> str:
    """Return a card as Markdown: plain names in its tables, its headings below those of the page."""
    blocks = groupby(card.splitlines(), _kind)
    parts = (part for kind, lines in blocks for part in _blocks(kind, list(lines), text.code))
    return THOUSANDS.sub(text.thousands, "\n\n".join(parts))


def _kind(line: str) -> str:
    return {"#": "heading", "|": "table", "": "gap"}.get(line.strip()[:1], "text")


def _blocks(kind: str, lines: list[str], language: Language) -> Iterator[str]:
    if kind == "heading":
        yield from (f"###{line.partition(' ')[0]} {_heading(line, language)}" for line in lines)
    elif kind == "table":
        yield "\n".join(_row(line, language) for line in lines)
    elif kind == "text":
        yield vocabulary.said(" ".join(line.strip() for line in lines), language)


def _heading(line: str, language: Language) -> str:
    return vocabulary.said(line.lstrip("# ").strip(), language)


def _row(line: str, language: Language) -> str:
    cells = (cell.strip() for cell in line.strip().strip("|").split("|"))
    return "| " + " | ".join(_cell(cell, language) for cell in cells) + " |"


def _cell(cell: str, language: Language) -> str:
    known = vocabulary.words(language)
    if cell in known.metrics:
        return known.metrics[cell][0]
    if cell in known.columns:
        return known.columns[cell]
    return cell if set(cell) <= set("-: ") else vocabulary.value(cell, language)
