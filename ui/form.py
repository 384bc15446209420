"""The form as data: groups of fields made from the contract that `GET /model` carries. No Streamlit here.

A feature of the role `input` becomes a field; nothing else is asked. The order is the contract's.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ui import vocabulary
from ui.messages import Language, Messages

Value = str | int | float | bool
Seeds = Callable[[str], Sequence[Mapping[str, Any]]]


@dataclass(frozen=True)
class Field:
    """One question of the form, in one language."""

    name: str
    kind: str
    label: str
    help: str
    group: str
    default: Value
    options: tuple[Value, ...] = ()
    captions: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    unit: str = ""
    is_whole: bool = True

    def caption(self, value: Value) -> str:
        """Return how a value is shown."""
        if value in self.options:
            return self.captions[self.options.index(value)]
        return str(value)


def fields(
    contract: Mapping[str, Any], seeds: Seeds, text: Messages, roles: tuple[str, ...] = ("input",)
) -> tuple[Field, ...]:
    """Return a field for each feature with one of the roles; `seeds(name)` gives the rows of a code table."""
    return tuple(
        _field(feature, seeds, text) for feature in contract["features"] if feature["role"] in roles
    )


def groups(of: Sequence[Field]) -> dict[str, list[Field]]:
    """Return fields by group, groups and fields in the order of the contract."""
    found: dict[str, list[Field]] = {}
    for field in of:
        found.setdefault(field.group, []).append(field)
    return found


def label_of(feature: Mapping[str, Any], language: Language) -> str:
    """Return a feature's label; without one, its name in words."""
    written: Any = (feature.get("form") or {}).get("label") or feature.get("label")
    return _in(written, language) or vocabulary.in_words(str(feature["name"]))


def labels(contract: Mapping[str, Any], language: Language) -> dict[str, str]:
    """Return the label of every feature, also of derived and history ones."""
    return {feature["name"]: label_of(feature, language) for feature in contract["features"]}


def _field(feature: Mapping[str, Any], seeds: Seeds, text: Messages) -> Field:
    form, language = feature.get("form") or {}, text.code
    options, captions = _options(feature, seeds, language)
    return Field(
        name=feature["name"],
        kind=feature["kind"],
        label=label_of(feature, language),
        help=_in(form.get("help"), language) or str(feature.get("description") or ""),
        group=_in(form.get("group"), language) or text.other_group,
        default=_default(feature, options),
        options=options,
        captions=captions,
        low=feature.get("min"),
        high=feature.get("max"),
        unit=vocabulary.unit(feature.get("unit"), language),
        is_whole=feature.get("data_type") in ("integer", "bigint"),
    )


def _in(written: object, language: Language) -> str:
    """Return a text that is either one string or one per language."""
    if isinstance(written, Mapping):
        return str(written.get(language) or written.get("en") or "")
    return str(written or "")


def _options(
    feature: Mapping[str, Any], seeds: Seeds, language: Language
) -> tuple[tuple[Value, ...], tuple[str, ...]]:
    if feature["kind"] != "category":
        return (), ()
    if feature.get("values"):
        values = tuple(feature["values"])
        return values, tuple(vocabulary.value(value, language) for value in values)
    rows = (
        [row for row in seeds(feature["seed"]) if not _is_excluded(row)]
        if feature.get("seed")
        else []
    )
    codes = tuple(_code(row["code"], feature["data_type"]) for row in rows)
    return codes, tuple(_seed_caption(row, language) for row in rows)


def _is_excluded(row: Mapping[str, Any]) -> bool:
    """Say whether a code table marks a code as outside the question: nobody asks whether the dead will be back."""
    return str(row.get("is_excluded")).lower() == "true"


def _code(code: str | int, data_type: str) -> Value:
    return int(code) if data_type in ("integer", "bigint") else str(code)


def _seed_caption(row: Mapping[str, Any], language: Language) -> str:
    code = str(row["code"])
    description = str(row.get("description") or "").removesuffix(f" ({code})")
    named = vocabulary.value(code, language)
    if named != code or description in ("", code):
        return named
    return f"{code} · {vocabulary.value(description, language)}"


def _default(feature: Mapping[str, Any], options: tuple[Value, ...]) -> Value:
    default = feature.get("default")
    if feature["kind"] == "flag":
        return bool(default)
    if feature["kind"] == "number":
        return default if default is not None else (feature.get("min") or 0)
    if default in options or not options:
        return default if default is not None else "unknown"
    return options[0]
