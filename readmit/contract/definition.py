"""The contract: what each feature of the model is. dbt's manifest defines it.

`python -m readmit.contract.definition > contract.json` writes it.
`Contract.from_json` reads it and checks its hash.
"""

import ast
import csv
import hashlib
import json
import re
import sys
from collections.abc import Sequence
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
ROLES_OF_FEATURES = ("input", "history", "derived")
ROLES = ("key", "label", *ROLES_OF_FEATURES)

RETURNED = re.compile(r"return\((.*)\)\s*\}\}", re.DOTALL)  # in a macro

ContractT = TypeVar("ContractT", bound="Contract")
JsonObject = dict[str, Any]
Seed = list[dict[str, str]]  # the rows of a code table


class ContractError(Exception):
    """The contract is not valid. The message names the column and the mistake."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Form(_Frozen):
    """How the web form shows an input."""

    group: str | dict[Literal["en", "es"], str]
    label: dict[Literal["en", "es"], str]
    help: dict[Literal["en", "es"], str]


class Derive(_Frozen):
    """The rule of a derived feature: `lookup` in a seed, or `sum`, `count` or `any` over inputs."""

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
        if isinstance(self.of, str):
            return (self.of,)
        return self.of

    @model_validator(mode="after")
    def _complete(self) -> Self:
        n_conditions = 3 - (self.equals, self.is_in, self.not_in).count(None)
        if self.op in ("count", "any") and n_conditions != 1:
            raise ValueError(f"{self.op} needs exactly one of `equals`, `in`, `not_in`")
        has_one_column = isinstance(self.of, str)
        if self.op != "lookup":
            if has_one_column:
                raise ValueError(f"{self.op} needs a list in `of`")
        elif not has_one_column or None in (self.seed, self.get, self.otherwise):
            raise ValueError("lookup needs one column in `of`, and `seed`, `get` and `otherwise`")
        return self


class Source(_Frozen):
    """The column of the source file that dbt types an input from.

    `reads` is how: a text as it stands, a whole number, an ICD-9 code, or a flag that is true for
    `yes` and false for `no`.
    """

    column: str
    reads: Literal["text", "whole_number", "icd9", "flag"]
    yes: str | None = None
    no: str | None = None


class Feature(_Frozen):
    """A feature: a column of the mart that is neither a key nor the label."""

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
    source: Source | None = Field(default=None, exclude_if=lambda source: source is None)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        is_derived = self.role == "derived"
        if is_derived != (self.derive is not None):
            raise ValueError("`derive` belongs to role derived, and only there")
        if is_derived:
            return self
        if self.default is None:
            raise ValueError("`default` is missing")
        if self.role == "input" and self.form is None:
            raise ValueError("`form` is missing")
        if self.kind == "category" and (self.values is None) == (self.seed is None):
            raise ValueError("a category needs either `values` or `seed`")
        if self.kind == "number" and (self.min is None or self.max is None):
            raise ValueError("a number needs `min` and `max`")
        return self

    @classmethod
    def from_column(cls, column: JsonObject) -> Self:
        """Return the feature that a column of dbt's manifest defines.

        Raises:
            ContractError: the column's `config.meta` is incomplete or wrong.
        """
        fields = {key: column.get(key) for key in ("name", "data_type", "description")}
        fields |= _meta(column)
        try:
            return cls.model_validate(fields)
        except ValidationError as error:
            mistakes = []
            for mistake in error.errors():
                field = ".".join(map(str, mistake["loc"]))
                mistakes.append(f"{field} {mistake['msg']}".strip())
            raise ContractError(f"{column['name']}: {'; '.join(mistakes)}") from None

    def allowed_values(self, contract: "Contract") -> tuple[Value, ...]:
        """Return the legal values of a category or flag; empty for a number."""
        if self.kind == "number":
            return ()
        if self.kind == "flag":
            return (False, True)
        rule = self.derive
        if self.values is not None:
            values = list(self.values)
        elif self.seed is not None:
            values = [row["code"] for row in contract.seeds[self.seed]]
        elif rule is not None and rule.seed and rule.get and rule.otherwise is not None:
            results: list[Value] = [row[rule.get] for row in contract.seeds[rule.seed]]
            values = list(dict.fromkeys([*results, rule.otherwise]))  # in the order of the seed
        else:
            values = []
        if self.default is not None and self.default not in values:
            values.insert(0, self.default)
        if self.data_type in WHOLE_NUMBERS:
            return tuple(int(value) for value in values)
        return tuple(values)


class Label(_Frozen):
    """The column that the model predicts."""

    name: str
    data_type: DataType
    description: str = Field(min_length=1)


class Contract(BaseModel):
    """All features in the order of the mart, the label, and the seeds that features refer to.

    A seed is a code table of dbt.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    version: int = VERSION
    features: tuple[Feature, ...]
    label: Label
    seeds: dict[str, Seed]

    @model_validator(mode="after")
    def _check_references(self) -> Self:
        for feature in self.features:
            if feature.seed is not None:
                self._check_seed(feature, feature.seed)
            if feature.derive is not None:
                self._check_rule(feature, feature.derive)
            if feature.kind != "category" or feature.values is None:
                continue
            if feature.default not in (None, *feature.values):
                raise ContractError(
                    f"{feature.name}: default {feature.default!r} is not one of its values"
                )
        return self

    def _check_seed(self, feature: Feature, seed: str) -> None:
        if seed not in self.seeds:
            raise ContractError(f"{feature.name}: there is no seed {seed!r}")

    def _check_rule(self, feature: Feature, rule: Derive) -> None:
        if rule.seed is not None:
            self._check_seed(feature, rule.seed)
            if rule.get not in self.seeds[rule.seed][0]:
                raise ContractError(
                    f"{feature.name}: seed {rule.seed!r} has no column {rule.get!r}"
                )
        for source in rule.sources:
            if source not in self.by_name or self.by_name[source].role == "derived":
                raise ContractError(
                    f"{feature.name}: `derive` reads {source!r}, which is not an input or history"
                )

    def with_features(self, features: tuple[Feature, ...]) -> Self:
        """Return the contract of these features only.

        `model_copy` would also copy the cached properties, which belong to all features.
        """
        return type(self).model_construct(
            version=self.version, features=features, label=self.label, seeds=self.seeds
        )

    @cached_property
    def by_name(self) -> dict[str, Feature]:
        """The features by their names."""
        return {feature.name: feature for feature in self.features}

    @property
    def inputs(self) -> tuple[Feature, ...]:
        """The features that a person or a hospital system enters."""
        return self._with_role("input")

    @property
    def history(self) -> tuple[Feature, ...]:
        """The features that follow from the patient's earlier stays."""
        return self._with_role("history")

    @property
    def derived(self) -> tuple[Feature, ...]:
        """The features that are computed from the others."""
        return self._with_role("derived")

    @property
    def base_names(self) -> tuple[str, ...]:
        """Names of the features that are not derived: inputs, then history."""
        return tuple(feature.name for feature in (*self.inputs, *self.history))

    def _with_role(self, role: Role) -> tuple[Feature, ...]:
        return tuple(feature for feature in self.features if feature.role == role)

    @cached_property
    def hash(self) -> str:
        """sha256 of the canonical JSON, without the hash itself.

        Nor does it cover the columns of the source file: they say how a file is read, not what a
        request is.
        """
        document = self._document()
        for feature in document["features"]:
            feature.pop("source", None)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def _document(self) -> JsonObject:
        document: JsonObject = self.model_dump(mode="json", by_alias=True)
        for feature in document["features"]:
            rule = feature["derive"]
            if rule is not None:
                feature["derive"] = {key: rule[key] for key in rule if rule[key] is not None}
        return document

    def to_json(self) -> str:
        """Return the contract as JSON, with its hash."""
        return json.dumps({"hash": self.hash, **self._document()}, indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the JSON that `to_json` writes.

        Raises:
            ContractError: the JSON is not a contract, or its hash does not fit its content.
        """
        document = json.loads(text)
        expected = document.pop("hash", None)
        contract = _validated(cls, document)
        if expected is not None and expected != contract.hash:
            raise ContractError(
                f"the contract was changed: its hash is {contract.hash}, not {expected}"
            )
        return contract

    @classmethod
    def from_manifest(cls, path: Path | None = None, seeds_dir: Path | None = None) -> Self:
        """Read the contract from the manifest that `dbt parse` writes, and the seeds that it names.

        Args:
            path: the manifest; the one in dbt's target folder by default.
            seeds_dir: the folder of the seeds' CSV files; that of the dbt project by default.

        Raises:
            ContractError: the manifest or a seed is missing, or a column's meta is incomplete.
        """
        source = path or PROJECT / "target" / "manifest.json"
        if not source.is_file():
            raise ContractError(f"{source} is missing: run `dbt parse` in dbt_project")
        manifest = json.loads(source.read_text(encoding="utf-8"))
        nodes = manifest["nodes"].values()
        marts = [node for node in nodes if (node["resource_type"], node["name"]) == ("model", MART)]
        if not marts:
            raise ContractError(f"the manifest has no model {MART}")
        features = []
        labels = []
        source_columns = _source_columns(manifest)
        for column in marts[0]["columns"].values():
            role = _meta(column)["role"]
            if role in ROLES_OF_FEATURES:
                feature = Feature.from_column(column)
                source_column = source_columns.get(feature.name)
                features.append(feature.model_copy(update={"source": source_column}))
            elif role == "label":
                labels.append({key: column[key] for key in ("name", "data_type", "description")})
        if len(labels) != 1:
            raise ContractError(
                f"{MART}: exactly one column must have the role label, not {len(labels)}"
            )
        document = {
            "version": VERSION,
            "features": features,
            "label": labels[0],
            "seeds": _seeds(features, seeds_dir or PROJECT / "seeds"),
        }
        return _validated(cls, document)


def _validated(cls: type[ContractT], document: JsonObject) -> ContractT:
    try:
        return cls.model_validate(document)
    except ValidationError as error:
        raise ContractError(str(error)) from None


def _source_columns(manifest: JsonObject) -> dict[str, Source]:
    """Return the column of the file for each input, as the macros of dbt's staging type it."""
    sources = {}
    for name, column in _literal(manifest, "text_columns").items():
        sources[name] = Source(column=column, reads="text")
    for name in _literal(manifest, "drug_columns"):
        sources[name] = Source(column=name, reads="text")
    for name, column in _literal(manifest, "number_columns").items():
        sources[name] = Source(column=column, reads="whole_number")
    for name in _literal(manifest, "code_columns"):
        sources[name] = Source(column=name, reads="whole_number")
    for name, column in _literal(manifest, "diagnosis_columns").items():
        sources[name] = Source(column=column, reads="icd9")
    for name, (column, yes, no) in _literal(manifest, "flag_columns").items():
        sources[name] = Source(column=column, reads="flag", yes=yes, no=no)
    return sources


def _literal(manifest: JsonObject, macro: str) -> Any:  # noqa: ANN401 (what the macro returns)
    """Return the literal that a macro of the project returns; nothing without the macro."""
    text = manifest.get("macros", {}).get(f"macro.readmit.{macro}", {}).get("macro_sql", "")
    returned = RETURNED.search(text)
    return ast.literal_eval(returned[1]) if returned else {}


def _meta(column: JsonObject) -> JsonObject:
    meta: JsonObject = column.get("config", {}).get("meta") or column.get("meta") or {}
    if meta.get("role") not in ROLES:
        raise ContractError(
            f"{column['name']}: `config.meta.role` is missing or unknown: {meta.get('role')!r}"
        )
    return meta


def _seeds(features: Sequence[Feature], folder: Path) -> dict[str, Seed]:
    """Return the rows of every seed that a feature or its rule names."""
    names = set()
    for feature in features:
        if feature.seed:
            names.add(feature.seed)
        if feature.derive and feature.derive.seed:
            names.add(feature.derive.seed)
    seeds = {}
    for name in sorted(names):
        path = folder / f"{name}.csv"
        if not path.is_file():
            raise ContractError(f"seed {name!r}: {path} is missing")
        with path.open(encoding="utf-8", newline="") as file:
            seeds[name] = list(csv.DictReader(file))
    return seeds


if __name__ == "__main__":
    sys.stdout.write(Contract.from_manifest().to_json() + "\n")
