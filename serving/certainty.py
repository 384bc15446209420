"""How sure an answer is: what happened to such scores, and whether the patient is unlike others."""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from readmit.client.answer_types import Certainty, Interval, ScoreBin, Value
from readmit.contract.definition import Contract
from readmit.inference.typicality import Typicality


@dataclass(frozen=True)
class CertaintyTable:
    """What a bundle knows of its scores and of the stays that it was trained on.

    `lowest` is sorted; `usual` has the answers for the scores from there up to the next one, when
    the patient is like the training data. All such patients share them.
    """

    lowest: Sequence[float]
    usual: Sequence[Certainty]
    typicality: Typicality
    inputs: Collection[str]

    def of(self, probability: float, values: tuple[Value, ...]) -> Certainty:
        """Return how sure a score is; `values` are inputs and history in the contract's order.

        Only inputs are named: the history may be one that the caller may not see.
        """
        usual = self.usual[max(0, bisect_right(self.lowest, probability) - 1)]
        if self.typicality.distance(values) <= self.typicality.limit:
            return usual
        return {
            "observed": usual["observed"],
            "n_stays": usual["n_stays"],
            "is_unlike_training": True,
            "unusual_fields": self.typicality.rarest(values, self.inputs),
        }


def load(folder: Path, bins: Sequence[ScoreBin], contract: Contract) -> CertaintyTable | None:
    """Read a bundle; None when it was registered without it.

    Raises:
        ValueError, LookupError, TypeError: the content is damaged.
    """
    typicality = Typicality.load(folder)
    if typicality is None or not bins:
        return None
    if typicality.names != list(contract.base_names):
        raise ValueError("the typical values are of other fields than the contract")
    usual: list[Certainty] = []
    for row in bins:
        rate: Interval = {"figure": row["figure"], "low": row["low"], "high": row["high"]}
        usual.append(
            {
                "observed": rate,
                "n_stays": int(row["n"]),
                "is_unlike_training": False,
                "unusual_fields": (),
            }
        )
    return CertaintyTable(
        lowest=[float(row["lowest"]) for row in bins],
        usual=usual,
        typicality=typicality,
        inputs=frozenset(feature.name for feature in contract.inputs),
    )
