"""Plain names for what the API and the pipeline say: identifiers, values of the contract, sentences.

The words of a language stand in `words/<language>.toml`. What is not there is shown as it came, so that a new code or
message is never lost; a test names what has no Spanish yet. Labels, help and groups of features come from the contract.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from ui.messages import Language

WORDS = Path(__file__).with_name("words")
INTERVAL = re.compile(r"\[(\d+)-(\d+)\)")
GLUED = re.compile(r"(?<=[a-z])(and|within)(?=[A-Z])")  # `AllergyandImmunology`, as the file has it
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
BLANK = re.compile(
    r"\\\{(\w+)\\\}"
)  # `{name}` in an escaped sentence; only `{rest}` may hold several sentences


@dataclass(frozen=True)
class Words:
    """The words of one language, by what the API calls them."""

    metrics: Mapping[str, tuple[str, str]]
    columns: Mapping[str, str]
    units: Mapping[
        str, str
    ]  # those that measure; one that counts ("visits") would only repeat the label
    values: Mapping[str, str]
    sentences: Mapping[str, str]
    templates: tuple[tuple[re.Pattern[str], str], ...]


@cache
def words(language: Language) -> Words:
    """Return the words of a language, read once."""
    found = tomllib.loads((WORDS / f"{language}.toml").read_text("utf-8"))
    sentences: dict[str, str] = found["sentences"]
    return Words(
        metrics={name: (label, meaning) for name, (label, meaning) in found["metrics"].items()},
        columns=found["columns"],
        units=found["units"],
        values=found["values"],
        sentences=sentences,
        templates=tuple(_templates(sentences)),
    )


def _templates(sentences: Mapping[str, str]) -> Iterator[tuple[re.Pattern[str], str]]:
    for sentence, said_so in sentences.items():
        pattern, n_blanks = BLANK.subn(_blank, re.escape(sentence))
        if n_blanks:
            yield re.compile(pattern, re.DOTALL), said_so


def _blank(found: re.Match[str]) -> str:
    return "(?P<rest>.+)" if found[1] == "rest" else rf"(?P<{found[1]}>(?:(?!; ).)+?)"


def metric(name: str, language: Language) -> str:
    """Return the name of a metric; an unknown one in words."""
    return words(language).metrics.get(name, (in_words(name), ""))[0]


def meaning(name: str, language: Language) -> str:
    """Return what a metric says, in a sentence; empty for an unknown one."""
    return words(language).metrics.get(name, ("", ""))[1]


def column(name: str, language: Language) -> str:
    """Return the heading of a column; an unknown one in words."""
    return words(language).columns.get(name) or metric(name, language)


def unit(name: object, language: Language) -> str:
    """Return a unit that stands behind a label; empty for one that does not."""
    return words(language).units.get(str(name), "")


def value(raw: object, language: Language) -> str:
    """Return how a value is shown: `[70-80)` as whole numbers from 70 to 79, glued words apart."""
    return _value(str(raw), language)


@lru_cache(maxsize=16_384)  # a form shows some 4,000 codes, at each run of the page
def _value(text: str, language: Language) -> str:
    if known := words(language).values.get(text):
        return known
    if found := INTERVAL.fullmatch(text):
        return f"{found[1]}-{int(found[2]) - 1}"
    sentence = said(text, language)
    return sentence if sentence != text else CAMEL.sub(" ", GLUED.sub(r" \1 ", text))


@lru_cache(maxsize=4_096)
def said(text: str, language: Language) -> str:
    """Return a sentence of the API or the pipeline in a language; a part of it that is not known stays as it is."""
    known = words(language)
    if exact := known.sentences.get(text) or known.sentences.get(
        text.capitalize()
    ):  # `Bad Gateway` of a proxy
        return exact
    for pattern, sentence in known.templates:
        if found := pattern.fullmatch(text):
            return sentence.format(
                **{name: said(part, language) for name, part in found.groupdict().items()}
            )
    for mark in ("; ", ": "):
        head, between, tail = text.partition(mark)
        if between:
            return said(head, language) + between + said(tail, language)
    return text


def in_words(name: str) -> str:
    """Return an identifier as words."""
    return name.strip("_").replace("_", " ").capitalize()
