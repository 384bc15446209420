"""Numbers in plain words."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ui.messages import Messages

RARE = 0.005
FREQUENT = 0.95


def in_plain_words(probability: float, text: Messages) -> str:
    """Say a probability as a natural frequency (Gigerenzer & Hoffrage 1995: read more reliably than percentages)."""
    if probability < RARE:
        return text.fewer_than.format(n=round(1 / RARE))
    if probability > FREQUENT:
        return text.more_than.format(k=19, n=20)
    if probability <= 0.3:
        return text.one_in.format(n=round(1 / probability))
    return text.of_ten.format(k=min(9, round(probability * 10)))


def percent(share: float, digits: int = 1) -> str:
    """Return a share as a percentage, with a space that does not break."""
    return f"{100 * share:.{digits}f} %"


def whole(number: int, text: Messages) -> str:
    """Return a whole number with its thousands apart, as the language has it."""
    return f"{number:,}".replace(",", text.thousands)


def interval(low: float, high: float, text: Messages) -> str:
    """Return a range of figures."""
    return text.from_to.format(low=f"{low:.3f}", high=f"{high:.3f}")


def band(risk: str, text: Messages) -> str:
    """Return the name of a risk band; an unknown one is shown as the API calls it."""
    known = {"low": text.band_low, "medium": text.band_medium, "high": text.band_high}
    return known.get(risk, risk)


def against_threshold(answer: Mapping[str, Any], text: Messages) -> str:
    """Say on which side of the threshold an answer lies."""
    is_above = answer["probability"] >= answer["threshold"]
    sentence = text.above_threshold if is_above else text.below_threshold
    return sentence.format(threshold=percent(answer["threshold"]))


def history(status: str, text: Messages) -> str:
    """Say where the patient's earlier stays came from."""
    known = {"given": text.history_given, "looked_up": text.history_looked_up}
    return known.get(status, text.history_first_stay)


def age(moment: str | None, text: Messages, now: datetime | None = None) -> str:
    """Say how long ago an ISO moment was; `-` when there is none."""
    if not moment:
        return "-"
    then = datetime.fromisoformat(moment)
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    minutes = max(0, int(((now or datetime.now(UTC)) - then).total_seconds() // 60))
    if minutes < 60:
        return text.ago_minutes.format(n=minutes)
    if minutes < 48 * 60:
        return text.ago_hours.format(n=minutes // 60)
    return text.ago_days.format(n=minutes // (24 * 60))
