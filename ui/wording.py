"""Numbers in plain words."""

from collections.abc import Iterable
from datetime import UTC, datetime

from readmit.client.answer_types import CapacityBand, Certainty, Interval, ScoredStay
from ui.language import Language

RARE = 0.005
FREQUENT = 0.95
MAX_DECIMALS = 9
THRESHOLD_DECIMALS = 2  # of a threshold that stands alone: scores are compared with it by eye


def in_plain_words(probability: float, language: Language) -> str:
    """Return a probability as a natural frequency.

    Natural frequencies are read more reliably than percentages (Gigerenzer & Hoffrage 1995).
    """
    if probability < RARE:
        return language.text("fewer_than", n=round(1 / RARE))
    if probability > FREQUENT:
        return language.text("more_than", k=19, n=20)
    if probability <= 0.3:
        return language.text("one_in", n=round(1 / probability))
    return language.text("of_ten", k=min(9, round(probability * 10)))


def percent(share: float, decimals: int = 1) -> str:
    """Return a share as a percentage."""
    return f"{100 * share:.{decimals}f} %"


def decimals_apart(share: float, others: Iterable[float]) -> int:
    """Return the fewest decimals with which a percentage looks like none of the others.

    One that is equal is left out.
    """
    different = [other for other in others if other != share]
    for decimals in range(1, MAX_DECIMALS):
        shown = percent(share, decimals)
        if all(percent(other, decimals) != shown for other in different):
            return decimals
    return MAX_DECIMALS


def percent_apart(share: float, threshold: float) -> str:
    """Return a share as a percentage that does not look like a threshold that it is not."""
    return percent(share, decimals_apart(share, [threshold]))


def decimals_of(stay: ScoredStay) -> int:
    """Return the decimals with which a score and the thresholds beside it look different."""
    thresholds = [stay["threshold"]]
    # An older API has no such field.
    capacity = stay.get("capacity")
    if capacity:
        thresholds.append(capacity["threshold"])
    return decimals_apart(stay["probability"], thresholds)


def whole(number: int, language: Language) -> str:
    """Return a whole number with its thousands apart."""
    return f"{number:,}".replace(",", language.thousands)


def interval(low: float, high: float, language: Language) -> str:
    """Return the bounds of an interval."""
    return language.text("from_to", low=f"{low:.3f}", high=f"{high:.3f}")


def share_interval(share: Interval, language: Language) -> str:
    """Return a share with its interval, as percentages."""
    bounds = language.text("from_to", low=percent(share["low"]), high=percent(share["high"]))
    return f"{percent(share['figure'])} ({bounds})"


def band(risk: str, language: Language) -> str:
    """Return the name of a risk band; an unknown one as the API calls it."""
    names = {
        "low": language.text("band_low"),
        "medium": language.text("band_medium"),
        "high": language.text("band_high"),
    }
    return names.get(risk, risk)


def band_and_threshold(stay: ScoredStay, language: Language) -> str:
    """Return the risk band with the threshold that it comes from, for a table."""
    threshold = percent(stay["threshold"], decimals_of(stay))
    sign = "≥" if stay["probability"] >= stay["threshold"] else "<"
    return f"{band(stay['risk'], language)} ({sign} {threshold})"


def against_threshold(answer: ScoredStay, language: Language) -> str:
    """Return on which side of the threshold an answer lies."""
    threshold = percent(answer["threshold"], decimals_of(answer))
    if answer["probability"] >= answer["threshold"]:
        return language.text("above_threshold", threshold=threshold)
    return language.text("below_threshold", threshold=threshold)


def by_capacity(answer: ScoredStay, language: Language) -> str:
    """Return whether a ward calls the patient that can make so many calls; empty without a band."""
    band = answer.get("capacity")
    if band is None:
        return ""
    calls = band["calls_per_100"]
    threshold = percent(band["threshold"], decimals_of(answer))
    if band["risk"] == "high":
        return language.text("is_called", n=calls, threshold=threshold)
    return language.text("is_not_called", n=calls, threshold=threshold)


def is_called(band: CapacityBand | None, language: Language) -> str:
    """Return the same for the cell of a table."""
    if band is None:
        return ""
    if band["risk"] == "high":
        return language.text("called", n=band["calls_per_100"])
    return language.text("not_called", n=band["calls_per_100"])


def how_sure(certainty: Certainty, language: Language) -> str:
    """Return how many patients with such a score were readmitted."""
    return language.text(
        "how_sure",
        n=whole(certainty["n_stays"], language),
        rate=share_interval(certainty["observed"], language),
    )


def observed_rate(certainty: Certainty | None, language: Language) -> str:
    """Return the share of readmissions after such scores, with its interval, for a table."""
    if certainty is None:
        return ""
    return share_interval(certainty["observed"], language)


def is_unlike(certainty: Certainty | None, language: Language) -> str:
    """Return whether a patient is unlike the training data, for a table."""
    if certainty is None or not certainty["is_unlike_training"]:
        return ""
    return language.value("True")


def against_average(probability: float, average: float, language: Language) -> str:
    """Return how a risk compares with that of the average patient."""
    times = round(probability / average, 1)
    if times == 1:
        return language.text("as_average", average=percent(average))
    return language.text("times_average", average=percent(average), times=f"{times:.1f}")


def history(status: str, language: Language) -> str:
    """Return where the patient's earlier stays came from."""
    texts = {
        "given": language.text("history_given"),
        "looked_up": language.text("history_looked_up"),
        "unavailable": language.text("history_unavailable"),
    }
    return texts.get(status, language.text("history_first_stay"))


def age(moment: str | None, language: Language, now: datetime | None = None) -> str:
    """Return how long ago an ISO moment was; `-` when there is none."""
    if not moment:
        return "-"
    then = datetime.fromisoformat(moment)
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    elapsed = (now or datetime.now(UTC)) - then
    minutes = max(0, int(elapsed.total_seconds() // 60))
    if minutes < 60:
        return language.text("ago_minutes", n=minutes)
    if minutes < 48 * 60:
        return language.text("ago_hours", n=minutes // 60)
    return language.text("ago_days", n=minutes // (24 * 60))
