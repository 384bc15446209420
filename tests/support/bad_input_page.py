"""Sections of docs/bad-input.md, which tests write and compare."""

import os
import re
from collections.abc import Sequence

from readmit.settings import ROOT

PAGE = ROOT / "docs" / "bad-input.md"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    text = ""
    for cells in lines:
        shown = [re.sub(r"[|\n]", " ", cell) for cell in cells]
        text += f"| {' | '.join(shown)} |\n"
    return text.replace("| --- ", "|---").replace("---|---", "---|---").replace("--- |", "---|")


def check_section(title: str, text: str) -> None:
    """Compare a section with the page; with READMIT_WRITE_DOCS=1, write it there instead."""
    section = f"## {title}\n{text}"
    parts = re.split(r"(?m)^(?=## )", PAGE.read_text())
    sections = [part.rstrip("\n") + "\n" for part in parts]
    if os.environ.get("READMIT_WRITE_DOCS"):
        others = [part for part in sections if not part.startswith(f"## {title}\n")]
        # The order of the tests is not known.
        intro, *rest = others
        PAGE.write_text("\n".join([intro, *sorted([*rest, section])]))
        return
    assert section in sections, f"{PAGE.name}: run this test again with READMIT_WRITE_DOCS=1"
