"""The contract: what each feature of the model is, read from dbt's manifest (the only place that defines it).

`python -m readmit.contract.definition > contract.json` writes it; `Contract.from_json` reads it back, hash checked.
"""

import csv
import hashlib
import json
import sys
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

PROJECT = Path(__file__).resolve().parents[2] / "dbt_project"
MART = "fct_encounter_features"
VERSION = 1

Value = str | int | float | bool
Role = Literal["input", "history", "derived"]
Kind = Literal["category", "number", "flag"]
DataType = Literal["text", "integer", "bigint", "boolean", "double precision"]
WHOLE_NUMBERS = ("integer", "bigint")
ContractT = TypeVar("ContractT", bound="Contract")


class ContractError(Exception):
    """The contract cannot be used; the message names the column and what is wrong with it."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Form(_Frozen):
    """How the web form asks for an input."""

    group: str | dict[Literal["en", "es"], str]
    label: dict[Literal["en", "es"], str]
    help: dict[Literal["en", "es"], str]


class Derive(_Frozen):
    """One rule of the closed vocabulary: `lookup` in a seed, `sum`, `count` and `any` over inputs."""

    op: Literal["lookup", "sum", "count", "any"]
    of: str | tuple[str, ...]
    seed: str | None = None
    get: str | None = None
    otherwise: Value | None = None
    equals: Value | None = None
    is_in: tuple[Value, ...] | None = Field(default=None, alias="in")
    not_in: tuple[Value, ...] | None = None

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the columns that the rule reads."""
        return (self.of,) if isinstance(self.of, str) else self.of

    @model_validator(mode="after")
    def _complete(self) -> Self:
        conditions = [
            given for given in (self.equals, self.is_in, self.not_in) if given is not None
        ]
        if self.op == "lookup" and (
            not isinstance(self.of, str) or None in (self.seed, self.get, self.otherwise)
        ):
            raise ValueError("lookup needs one column in `of`, and `seed`, `get` and `otherwise`")
        if self.op in ("count", "any") and len(conditions) != 1:
            raise ValueError(f"{self.op} needs exactly one of `equals`, `in`, `not_in`")
        if self.op != "lookup" and isinstance(self.of, str):
            raise ValueError(f"{self.op} needs a list in `of`")
        return self


class Feature(_Frozen):
    """One feature: a column of the mart that is neither a key nor the label."""

    name: str
    role: Role
    kind: Kind
    data_type: DataType
    description: str = Field(min_length=1)
    label: dict[Literal["en", "es"], str] | None = Field(
        default=None, exclude_if=lambda label: label is None
    )
    values: tuple[Value, ...] | None = None
    seed: str | None = None
    min: float | None = None
    max: float | None = None
    unit: str | None = None
    default: Value | None = None
    form: Form | None = None
    derive: Derive | None = None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.role == "derived") != (self.derive is not None):
            raise ValueError("`derive` belongs to role derived, and only there")
        if self.role != "derived" and self.default is None:
            raise ValueError("`default` is missing")
        if self.role == "input" and self.form is None:
            raise ValueError("`form` is missing")
        if (
            self.kind == "category"
            and self.role != "derived"
            and (self.values is None) == (self.seed is None)
        ):
            raise ValueError("a category needs either `values` or `seed`")
        if (
            self.kind == "number"
            and self.role != "derived"
            and (self.min is None or self.max is None)
        ):
            raise ValueError("a number needs `min` and `max`")
        return self

    def allowed_values(self, contract: "Contract") -> tuple[Value, ...]:
        """Return the legal values of a category or flag; empty for a number."""
        if self.kind == "number":
            return ()
        if self.kind == "flag":
            return (False, True)
        if self.values is not None:
            found = list(self.values)
        elif self.seed is not None:
            found = [row["code"] for row in contract.seeds[self.seed]]
        else:
            found = self._looked_up(contract)
        if self.default is not None and self.default not in found:
            found.insert(0, self.default)
        return (
            tuple(int(value) for value in found)
            if self.data_type in WHOLE_NUMBERS
            else tuple(found)
        )

    def _looked_up(self, contract: "Contract") -> list[Value]:
        rule = self.derive
        if rule is None or rule.seed is None or rule.get is None or rule.otherwise is None:
            return []
        return list(
            dict.fromkeys([*(row[rule.get] for row in contract.seeds[rule.seed]), rule.otherwise])
        )


class Label(_Frozen):
    """What the model predicts."""

    name: str
    data_type: DataType
    description: str = Field(min_length=1)


class Contract(BaseModel):
    """All features in the order of the mart, the label, and the code tables that features refer to."""

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    version: int = VERSION
    features: tuple[Feature, ...]
    label: Label
    seeds: dict[str, list[dict[str, str]]]

    @model_validator(mode="after")
    def _references(self) -> Self:
        for feature in self.features:
            self._check_references(feature)
        return self

    def _check_references(self, feature: Feature) -> None:
        rule = feature.derive
        seed = feature.seed or (rule.seed if rule else None)
        if seed is not None and seed not in self.seeds:
            raise ContractError(f"{feature.name}: there is no seed {seed!r}")
        if rule is not None and rule.seed is not None and rule.get not in self.seeds[rule.seed][0]:
            raise ContractError(f"{feature.name}: seed {rule.seed!r} has no column {rule.get!r}")
        for source in rule.sources if rule else ():
            if source not in self.by_name or self.by_name[source].role == "derived":
                raise ContractError(
                    f"{feature.name}: `derive` reads {source!r}, which is not an input or history"
                )
        if feature.kind == "category" and feature.default is not None:
            self._check_default(feature)

    def _check_default(self, feature: Feature) -> None:
        if feature.values is not None and feature.default not in feature.values:
            raise ContractError(
                f"{feature.name}: default {feature.default!r} is not one of its values"
            )

    def with_features(self, features: tuple[Feature, ...]) -> Self:
        """Return the contract of these features only.

        `model_copy` would also copy the cached properties, which belong to all features.
        """
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self).model_construct(**{**fields, "features": features})

    @cached_property
    def by_name(self) -> dict[str, Feature]:
        """Features by their name."""
        return {feature.name: feature for feature in self.features}

    @cached_property
    def _tables(self) -> dict[tuple[str, str], dict[str, str]]:
        return {
            (name, column): {row["code"]: row[column] for row in rows}
            for name, rows in self.seeds.items()
            for column in rows[0]
        }

    def table(self, seed: str, column: str) -> dict[str, str]:
        """Return code -> attribute of a code table; built once."""
        return self._tables[seed, column]

    @property
    def inputs(self) -> tuple[Feature, ...]:
        """What a person or a hospital system enters."""
        return self._of("input")

    @property
    def history(self) -> tuple[Feature, ...]:
        """What follows from the patient's earlier stays."""
        return self._of("history")

    @property
    def derived(self) -> tuple[Feature, ...]:
        """What is computed from the others."""
        return self._of("derived")

    @property
    def base_names(self) -> tuple[str, ...]:
        """Names of the features that are not derived: inputs, then history."""
        return tuple(feature.name for feature in (*self.inputs, *self.history))

    def _of(self, role: Role) -> tuple[Feature, ...]:
        return tuple(feature for feature in self.features if feature.role == role)

    @cached_property
    def hash(self) -> str:
        """sha256 of the canonical JSON, without the hash itself."""
        text = json.dumps(self._plain(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def _plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        for feature in plain["features"]:
            if feature["derive"] is not None:
                feature["derive"] = {
                    key: value for key, value in feature["derive"].items() if value is not None
                }
        return plain

    def to_json(self) -> str:
        """Return the contract as JSON, with its hash."""
        return json.dumps({"hash": self.hash, **self._plain()}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ContractError: it is not a contract, or its hash is another.
        """
        plain = json.loads(text)
        expected = plain.pop("hash", None)
        contract = _validated(cls, plain)
        if expected is not None and expected != contract.hash:
            raise ContractError(
                f"the contract was changed: its hash is {contract.hash}, not {expected}"
            )
        return contract

    @classmethod
    def from_manifest(cls, path: Path | None = None, seeds_dir: Path | None = None) -> Self:
        """Read the contract from the manifest that `dbt parse` writes, and the seeds that it names.

        Raises:
            ContractError: there is no manifest, or a column's meta is incomplete; names the column.
        """
        source = path or PROJECT / "target" / "manifest.json"
        if not source.is_file():
            raise ContractError(f"{source} is missing: run `dbt parse` in dbt_project")
        columns = _mart_columns(json.loads(source.read_text(encoding="utf-8")))
        features = tuple(
            _feature(column)
            for column in columns
            if _meta(column)["role"] in ("input", "history", "derived")
        )
        labels = [column for column in columns if _meta(column)["role"] == "label"]
        if len(labels) != 1:
            raise ContractError(
                f"{MART}: exactly one column must have the role label, not {len(labels)}"
            )
        label = {key: labels[0][key] for key in ("name", "data_type", "description")}
        seeds = _seeds(features, seeds_dir or PROJECT / "seeds")
        return _validated(
            cls, {"version": VERSION, "features": features, "label": label, "seeds": seeds}
        )


def _validated(cls: type[ContractT], plain: dict[str, Any]) -> ContractT:
    try:
        return cls.model_validate(plain)
    except ValidationError as error:
        raise ContractError(str(error)) from None


def _mart_columns(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    for node in manifest["nodes"].values():
        if node["resource_type"] == "model" and node["name"] == MART:
            return list(node["columns"].values())
    raise ContractError(f"the manifest has no model {MART}")


def _meta(column: dict[str, Any]) -> dict[str, Any]:
    meta: dict[str, Any] = column.get("config", {}).get("meta") or column.get("meta") or {}
    if meta.get("role") not in ("key", "label", "input", "history", "derived"):
        raise ContractError(
            f"{column['name']}: `config.meta.role` is missing or unknown: {meta.get('role')!r}"
        )
    return meta


def _feature(column: dict[str, Any]) -> Feature:
    stated = {key: column.get(key) for key in ("name", "data_type", "description")}
    try:
        return Feature.model_validate({**stated, **_meta(column)})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, p['loc']))} {p['msg']}".strip() for p in error.errors()
        )
        raise ContractError(f"{column['name']}: {problems}") from None


def _seeds(features: tuple[Feature, ...], folder: Path) -> dict[str, list[dict[str, str]]]:
    named = {f.seed for f in features if f.seed} | {
        f.derive.seed for f in features if f.derive and f.derive.seed
    }
    found = {}
    for name in sorted(named):
        path = folder / f"{name}.csv"
        if not path.is_file():
            raise ContractError(f"seed {name!r}: {path} is missing")
        with path.open(encoding="utf-8", newline="") as file:
            found[name] = list(csv.DictReader(file))
    return found


if __name__ == "__main__":
    sys.stdout.write(Contract.from_manifest().to_json() + "\n")
