"""The answers of two versions for one stay, as the page shows them."""

from collections.abc import Sequence
from typing import cast

from readmit.client.answer_types import ComparedAnswer, ScoredStay
from ui import wording
from ui.language import Language


def side_by_side(answers: Sequence[ComparedAnswer], language: Language) -> dict[str, str]:
    """Return score and band by version, production's first."""
    return {_version(answer, language): _score(answer, language) for answer in answers}


def difference(answers: Sequence[ComparedAnswer], language: Language) -> str:
    """Return how far the versions are apart, and whether they agree on the risk band."""
    production, other = answers
    if "probability" not in other or "probability" not in production:
        return language.text("compare_unmapped", version=_number(other))
    points = f"{100 * (production['probability'] - other['probability']):+.1f}"
    change = language.text("compare_change", points=points)
    if float(points) == 0:
        change = language.text("compare_same")
    agreement = language.text("compare_disagree")
    if production["risk"] == other["risk"]:
        agreement = language.text("compare_agree")
    return f"{change} {agreement}"


def _version(answer: ComparedAnswer, language: Language) -> str:
    role = language.text("compare_before")
    if answer["alias"] == "production":
        role = language.text("compare_now")
    return f"{role}, {language.text('version')} {_number(answer)}"


def _number(answer: ComparedAnswer) -> str:
    return answer["model"]["version"] if answer["model"] else "-"


def _score(answer: ComparedAnswer, language: Language) -> str:
    if "probability" not in answer:
        return "-"
    stay = cast(ScoredStay, answer)  # with a probability, it has all fields of one
    probability = wording.percent(stay["probability"], wording.decimals_of(stay))
    return f"{probability} · {wording.band_and_threshold(stay, language)}"
