"""The answer of `/explain` in the contract's words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from readmit.client.answer_types import Explanation, FieldContribution
from ui.form import Field
from ui.language import Language, in_words

MAX_SHOWN = 10


@dataclass(frozen=True)
class Contribution:
    """How much one value moves the score, in log-odds."""

    label: str
    value: str
    effect: float


def contributions(
    explained: Explanation, fields: Sequence[Field], language: Language
) -> list[Contribution]:
    """Return the strongest contributions first, without those that move nothing."""
    by_name = {field.name: field for field in fields}
    moving = []
    for contribution in explained["contributions"]:
        if abs(contribution["contribution"]) > 1e-9:
            moving.append(_in_contract_words(contribution, by_name, language))
    moving.sort(key=lambda contribution: abs(contribution.effect), reverse=True)
    return moving[:MAX_SHOWN]


def _in_contract_words(
    contribution: FieldContribution, fields: Mapping[str, Field], language: Language
) -> Contribution:
    effect = contribution["contribution"]
    if contribution["value"] is None:  # a history that the form's key may not see
        return Contribution(language.column(contribution["feature"]), "-", effect)
    value = language.value(contribution["value"])
    field = fields.get(contribution["feature"])
    if field is None:
        return Contribution(in_words(contribution["feature"]), value, effect)
    if field.options:
        value = field.caption(contribution["value"])
    return Contribution(field.label, value, effect)
