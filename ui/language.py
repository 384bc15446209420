"""The words of the web form in one language, read from `words/<code>.toml`.

Both files have the same keys and placeholders; a test compares them. A value that has no words here
is shown as it is, so a new code is never lost. Labels, help and groups of features come from the
contract. Reasons in the ledger and the model card are English in every language.
"""

import re
import tomllib
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from pydantic import BaseModel, ConfigDict

from readmit.client.answer_types import ParamValue

Code = Literal["en", "es"]
CODES: tuple[Code, ...] = get_args(Code)
WORDS = Path(__file__).with_name("words")
INTERVAL = re.compile(r"\[(\d+)-(\d+)\)")  # `[70-80)`
GLUED = re.compile(r"(?<=[a-z])(and|within)(?=[A-Z])")  # `AllergyandImmunology`, as the file has it
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


class MetricWords(NamedTuple):
    """The name of a metric and what it says, in one sentence."""

    label: str
    meaning: str


class Language(BaseModel):
    """The words of one language."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: Code
    name: str
    thousands: str
    texts: dict[str, str]
    problems: dict[str, str]
    field_errors: dict[str, str]
    metrics: dict[str, MetricWords]
    columns: dict[str, str]
    units: dict[str, str]
    values: dict[str, str]

    def text(self, key: str, **parameters: object) -> str:
        """Return a text of the pages with its placeholders filled."""
        return self.texts[key].format(**parameters)

    def problem(self, code: str, params: Mapping[str, ParamValue]) -> str | None:
        """Return why the API refused a request; None for a code that is newer than this form."""
        if code not in self.problems:
            return None
        return self.problems[code].format(**params)

    def field_error(self, code: str, params: Mapping[str, ParamValue]) -> str | None:
        """Return what is wrong with a field; None for a code that is newer than this form."""
        if code not in self.field_errors:
            return None
        return self.field_errors[code].format(**params)

    def metric(self, name: str) -> str:
        """Return the name of a metric; an unknown one in words."""
        if name not in self.metrics:
            return in_words(name)
        return self.metrics[name].label

    def metric_meaning(self, name: str) -> str:
        """Return what a metric says, in one sentence; empty for an unknown one."""
        if name not in self.metrics:
            return ""
        return self.metrics[name].meaning

    def column(self, name: str) -> str:
        """Return the heading of a column; an unknown one in words."""
        return self.columns.get(name) or self.metric(name)

    def unit(self, name: str | None) -> str:
        """Return the unit to show behind a label; empty for one that counts, such as visits."""
        return self.units.get(name or "", "")

    def value(self, raw: object) -> str:
        """Return how a value is shown: `[70-80)` as 70-79, words that were glued together apart."""
        return _value(str(raw), self.code)


@cache
def load(code: Code) -> Language:
    """Return a language; its file is read once."""
    content = tomllib.loads((WORDS / f"{code}.toml").read_text("utf-8"))
    return Language.model_validate({"code": code, **content})


@lru_cache(maxsize=16_384)  # a form shows some 4,000 codes at each run of the page
def _value(raw: str, code: Code) -> str:
    values = load(code).values
    if raw in values:
        return values[raw]
    interval = INTERVAL.fullmatch(raw)
    if interval:
        low, end = interval.groups()
        return f"{low}-{int(end) - 1}"
    parts = raw.split(", ")
    if len(parts) > 1:  # `Diabetes with ketoacidosis, type I, uncontrolled`
        return ", ".join(values.get(part, part) for part in parts)
    return CAMEL.sub(" ", GLUED.sub(r" \1 ", raw))


def in_words(identifier: str) -> str:
    """Return an identifier as words."""
    return identifier.strip("_").replace("_", " ").capitalize()
