"""A model as it is served: read from its folder, checked, and never changed afterwards."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from readmit.contract.definition import Contract
from readmit.contract.derivation import tuple_getter
from serving import schema

TOLERANCE = 1e-6


class ModelRefused(Exception):
    """A model cannot be served; the message says which check it failed."""


class Compiled(Protocol):
    """What is used of `readmit.inference.compiled_model.CompiledModel`."""

    def score(self, rows: Sequence[tuple[Any, ...]], /) -> Sequence[float]:
        """Return the probability of each row; a row has the values of `contract.base_names`."""
        ...


Loader = Callable[[Path], tuple[Contract, Compiled]]


@dataclass(frozen=True)
class Version:
    """A version of the registered model, as the registry names it."""

    name: str
    version: str
    run_id: str
    promoted_at: str | None = None
    experiment_id: str | None = None


@dataclass(frozen=True)
class ServedModel:
    """Everything that answering needs, swapped as one object."""

    version: Version
    contract: Contract
    compiled: Compiled
    requests: schema.RequestSchema
    report: Mapping[str, Any]
    card: str
    threshold: float
    described: bytes  # GET /model

    @property
    def identity(self) -> dict[str, str]:
        """Return how each answer names the model."""
        return {
            "name": self.version.name,
            "version": self.version.version,
            "run_id": self.version.run_id,
        }


def from_project(folder: Path) -> tuple[Contract, Compiled]:
    """Read the contract and the compiled model of a bundle."""
    from readmit.contract.definition import Contract
    from readmit.inference.compiled_model import CompiledModel

    return Contract.from_json((folder / "contract.json").read_text()), CompiledModel.load(folder)


def load(folder: Path, version: Version, read: Loader = from_project) -> ServedModel:
    """Read a bundle and check it: contract hash, stored examples, one prediction.

    Raises:
        ModelRefused: a file is missing or unreadable, or a check failed.
    """
    try:
        contract, compiled = read(folder)
        stored = orjson.loads((folder / "contract.json").read_bytes())
        report = orjson.loads((folder / "report.json").read_bytes())
        examples = orjson.loads((folder / "examples.json").read_bytes())
        _check_hash(stored, contract)
        _check_examples(examples, contract, compiled)
        card = folder / "model_card.md"
        text = card.read_text() if card.exists() else ""
        requests = schema.build(contract)
        described = _describe(version, stored, report, text)
        return ServedModel(
            version,
            contract,
            compiled,
            requests,
            report,
            text,
            float(report["threshold"]),
            described,
        )
    except ModelRefused:
        raise
    except Exception as error:  # whatever a bad bundle raises, the last good model keeps serving
        raise ModelRefused(f"version {version.version}: {type(error).__name__}: {error}") from error


def _check_hash(stored: Mapping[str, Any], contract: Contract) -> None:
    if stored.get("hash") != contract.hash:
        raise ModelRefused(
            f"contract.json says hash {stored.get('hash')}, its content has {contract.hash}"
        )


def _check_examples(examples: Mapping[str, Any], contract: Contract, compiled: Compiled) -> None:
    rows, expected = (
        list(map(tuple_getter(contract.base_names), examples["rows"])),
        examples["probabilities"],
    )
    if not rows or len(rows) != len(expected):
        raise ModelRefused(f"examples.json has {len(rows)} rows and {len(expected)} probabilities")
    worst = max(
        abs(float(a) - float(b)) for a, b in zip(compiled.score(rows), expected, strict=True)
    )
    single = abs(float(compiled.score(rows[:1])[0]) - float(expected[0]))
    if not max(worst, single) <= TOLERANCE:  # NaN fails too
        raise ModelRefused(
            f"stored examples differ by {max(worst, single):.2e}, allowed is {TOLERANCE:.0e}"
        )


def _describe(
    version: Version, stored: Mapping[str, Any], report: Mapping[str, Any], card: str
) -> bytes:
    contract = {key: value for key, value in stored.items() if key != "seeds"}
    said: dict[str, str | None] = {
        "name": version.name,
        "version": version.version,
        "run_id": version.run_id,
    }
    said |= {"experiment_id": version.experiment_id, "promoted_at": version.promoted_at}
    extra = {"contract": contract, "model_card": card}
    return orjson.dumps(dict(report) | said | extra)
