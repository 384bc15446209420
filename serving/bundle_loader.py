"""A model as it is served: read from its folder, checked, and never changed afterwards."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Protocol

import orjson

from readmit.client.answer_types import (
    CapacityBand,
    CapacityPoint,
    Certainty,
    LearningPoint,
    ModelIdentity,
    Risk,
    Value,
)
from readmit.contract.definition import Contract
from readmit.contract.derivation import tuple_getter
from serving import certainty, schema
from serving.certainty import CertaintyTable

TOLERANCE = 1e-6
ODD_CHARACTERS = re.compile(r"[^\w-]")
MOST_LEARNING_POINTS = 20
Json = Mapping[str, object]


class ModelRefused(Exception):
    """A model cannot be served; the message says which check it failed."""


class ModelUnavailable(Exception):
    """A model cannot be loaded now, as memory or open files are short; a later try may succeed."""


# What damaged content raises, whenever it is read. Other faults are those of the machine.
CONTENT_FAULTS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)


class Compiled(Protocol):
    """The part of `readmit.inference.compiled_model.CompiledModel` that serving uses."""

    def score(self, rows: Sequence[tuple[Value, ...]], /) -> Sequence[float]:
        """Return the probability of each row; a row has the values of `contract.base_names`."""
        ...


BundleReader = Callable[[Path], tuple[Contract, Compiled]]


@dataclass(frozen=True)
class Version:
    """A version of the registered model, as the registry names it."""

    name: str
    version: str
    run_id: str
    promoted_at: str | None = None
    experiment_id: str | None = None
    learning_curve: str = ""  # JSON; training adds it minutes after the promotion

    @property
    def identity(self) -> ModelIdentity:
        """Return how answers name the version."""
        return {"name": self.name, "version": self.version, "run_id": self.run_id}

    @property
    def key(self) -> str:
        """Return the name of the version's folder; odd characters of names and ids are left out."""
        name = ODD_CHARACTERS.sub("", self.name)
        number = ODD_CHARACTERS.sub("", self.version)
        run_id = ODD_CHARACTERS.sub("", self.run_id)
        return f"{name}-{number}-{run_id[:12]}"

    @property
    def promoted_timestamp(self) -> float:
        """Return when it was promoted, in seconds since 1970; 0 when the registry does not say."""
        try:
            return datetime.fromisoformat(self.promoted_at or "").timestamp()
        except ValueError:
            return 0.0


@dataclass(frozen=True)
class ServedModel:
    """Everything that an answer needs of a model, swapped as one object."""

    version: Version
    identity: ModelIdentity
    contract: Contract
    compiled: Compiled
    requests: schema.RequestSchema
    threshold: float
    threshold_by_calls: Mapping[int, float]  # empty: registered before release 0.2
    certainty: CertaintyTable | None  # None: registered before release 0.2
    description: bytes  # the answer of GET /model

    def risk_of(self, probability: float) -> Risk:
        """Return whether a probability calls for an alert."""
        return "high" if probability >= self.threshold else "low"

    def capacity_of(self, probability: float, calls_per_100: int) -> CapacityBand | None:
        """Return whether a ward that can make so many calls calls a patient of this risk."""
        threshold = self.threshold_by_calls.get(calls_per_100)
        if threshold is None:
            return None
        return {
            "calls_per_100": calls_per_100,
            "threshold": threshold,
            "risk": "high" if probability >= threshold else "low",
        }

    def certainty_of(self, probability: float, values: tuple[Value, ...]) -> Certainty | None:
        """Return how sure a score is; `values` are inputs and history in the contract's order."""
        if self.certainty is None:
            return None
        return self.certainty.of(probability, values)


def read_bundle(folder: Path) -> tuple[Contract, Compiled]:
    """Read the contract and the compiled model of a bundle."""
    from readmit.inference.compiled_model import CompiledModel

    contract = Contract.from_json((folder / "contract.json").read_text())
    return contract, CompiledModel.load(folder)


def load(folder: Path, version: Version, read: BundleReader = read_bundle) -> ServedModel:
    """Read a bundle and check it: contract hash, stored examples, one prediction.

    Raises:
        ModelRefused: the content of a file is damaged, or a check failed.
        ModelUnavailable: the files cannot be read now, or memory is short.
    """
    try:
        contract, compiled = read(folder)
        stored = orjson.loads((folder / "contract.json").read_bytes())
        report = orjson.loads((folder / "report.json").read_bytes())
        examples = orjson.loads((folder / "examples.json").read_bytes())
        if stored.get("hash") != contract.hash:
            raise ModelRefused(
                f"contract.json says hash {stored.get('hash')}, its content has {contract.hash}"
            )
        _check_examples(examples["rows"], examples["probabilities"], contract, compiled)
        card = folder / "model_card.md"
        card_text = card.read_text() if card.exists() else ""
        return ServedModel(
            version=version,
            identity=version.identity,
            contract=contract,
            compiled=compiled,
            requests=schema.build(contract),
            threshold=float(report["threshold"]),
            threshold_by_calls=_threshold_by_calls(report),
            certainty=certainty.load(folder, report.get("score_bins", []), contract),
            description=_describe(version, stored, report, card_text),
        )
    except ModelRefused:
        raise
    # Whatever a bundle raises, the last good model keeps serving.
    except CONTENT_FAULTS as error:
        raise ModelRefused(f"version {version.version}: {type(error).__name__}: {error}") from error
    except Exception as error:
        reason = f"version {version.version}: {type(error).__name__}: {error}"
        raise ModelUnavailable(reason) from error


def with_learning_curve(model: ServedModel, version: Version) -> ServedModel:
    """Return the model with the learning curve that its version has by now."""
    description = orjson.loads(model.description)
    description["learning_curve"] = _learning_points(version.learning_curve)
    return replace(model, version=version, description=orjson.dumps(description))


def _learning_points(text: str) -> list[LearningPoint]:
    """Return the points of a learning curve; none when the text is something else.

    The curve is not part of the signed bundle, so only numbers are taken from it.
    """
    points: list[LearningPoint] = []
    try:
        for point in orjson.loads(text or "[]")[:MOST_LEARNING_POINTS]:
            points.append(
                {
                    "n_batches": int(point["n_batches"]),
                    "n_rows": int(point["n_rows"]),
                    "auroc": float(point["auroc"]),
                    "low": float(point["low"]),
                    "high": float(point["high"]),
                    "average_precision": float(point["average_precision"]),
                }
            )
    except (ValueError, TypeError, KeyError):
        return []
    return points


def _threshold_by_calls(report: Mapping[str, list[CapacityPoint]]) -> dict[int, float]:
    return {
        int(point["calls_per_100"]): float(point["threshold"])
        for point in report.get("capacity", [])
    }


def _check_examples(
    examples: Sequence[Mapping[str, Value]],
    expected: Sequence[float],
    contract: Contract,
    compiled: Compiled,
) -> None:
    """Score the stored examples, together and the first one alone."""
    row_of = tuple_getter(contract.base_names)
    rows = [row_of(example) for example in examples]
    if not rows or len(rows) != len(expected):
        raise ModelRefused(f"examples.json has {len(rows)} rows and {len(expected)} probabilities")
    differences = [abs(float(compiled.score(rows[:1])[0]) - float(expected[0]))]
    for score, probability in zip(compiled.score(rows), expected, strict=True):
        differences.append(abs(float(score) - float(probability)))
    if not all(difference <= TOLERANCE for difference in differences):  # NaN fails too
        raise ModelRefused(
            f"stored examples differ by {max(differences):.2e}, allowed is {TOLERANCE:.0e}"
        )


def _describe(version: Version, stored: Json, report: Json, card: str) -> bytes:
    contract = {key: value for key, value in stored.items() if key != "seeds"}
    return orjson.dumps(
        {
            **report,
            **version.identity,
            "experiment_id": version.experiment_id,
            "promoted_at": version.promoted_at,
            "learning_curve": _learning_points(version.learning_curve)
            or report.get("learning_curve", []),  # bundles of release 0.1 hold it themselves
            "contract": contract,
            "model_card": card,
        }
    )
