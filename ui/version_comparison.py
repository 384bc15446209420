"""The answers of two versions for one stay, as the page shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

from ui import wording
from ui.messages import Messages


def side_by_side(answers: Sequence[Mapping[str, Any]], text: Messages) -> dict[str, str]:
    """Return score and band by version, production's first."""
    return {
        f"{_role(each, text)}, {text.version} {each['model']['version']}": _said(each, text)
        for each in answers
    }


def in_words(answers: Sequence[Mapping[str, Any]], text: Messages) -> str:
    """Say how far the versions are apart, and whether they agree on the risk band."""
    now, other = answers
    if "probability" not in other:
        return text.compare_unmapped.format(version=other["model"]["version"])
    points = f"{100 * (now['probability'] - other['probability']):+.1f}"
    changed = text.compare_same if float(points) == 0 else text.compare_change.format(points=points)
    agreed = text.compare_agree if now["risk"] == other["risk"] else text.compare_disagree
    return f"{changed} {agreed}"


def _role(answer: Mapping[str, Any], text: Messages) -> str:
    return text.compare_now if answer["alias"] == "production" else text.compare_before


def _said(answer: Mapping[str, Any], text: Messages) -> str:
    if "probability" not in answer:
        return "-"
    return f"{wording.percent(answer['probability'])} · {wording.band(str(answer['risk']), text)}"
