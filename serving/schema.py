"""The request model, generated from the contract of the served model."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cache
from itertools import repeat
from typing import Annotated, Any, Literal, NamedTuple

import orjson
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model
from pydantic.fields import FieldInfo
from pydantic_core import ValidationError

from readmit.contract.definition import Contract, Feature
from readmit.contract.derivation import tuple_getter
from serving.problems import MOST_ALLOWED, Problem, field_errors

TYPES: Mapping[str, type] = {
    "text": str,
    "integer": int,
    "bigint": int,
    "boolean": bool,
    "double precision": float,
}
LARGEST = 2**63 - 1
SENT = (
    "patient_nbr",
    "encounter_id",
    "contract_hash",
)  # beside the features; never features themselves


class PredictionRequest(NamedTuple):
    """A valid request: what is scored, what came beside it, and how an older form was mapped."""

    values: tuple[
        Any, ...
    ]  # in the order of `RequestSchema.names`; history that nobody sent is that of a first stay
    history: Literal["given", "looked_up", "assumed_first_stay"]
    patient_nbr: int | None = None
    encounter_id: int | None = None
    defaulted: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class RequestSchema:
    """Reads requests as one contract demands."""

    model: type[BaseModel]
    columns: type[BaseModel]  # the same fields, each with the values of many requests
    contract_hash: str
    inputs: tuple[str, ...]
    history: tuple[str, ...]
    defaults: Mapping[str, Any]
    allowed: Mapping[str, Sequence[Any]]
    types: Mapping[str, type]
    names: tuple[str, ...]  # inputs, then history
    values: Callable[[Mapping[str, Any]], tuple[Any, ...]]  # of a row, in the order of `names`

    @property
    def fields(self) -> Set[str]:
        """Return the names that a request may have."""
        return self.model.model_fields.keys()

    def from_json(self, body: bytes) -> PredictionRequest:
        """Return the request in a JSON body.

        Raises:
            Problem: 422 with each wrong field; 409 when it was made for a contract that cannot be mapped.
        """
        try:
            return self._asked(self.model.__pydantic_validator__.validate_json(body))
        except ValidationError as error:
            return self._mapped(_loads(body), error)

    def from_row(self, row: object) -> PredictionRequest:
        """Return the request in a row.

        Raises:
            Problem: as `from_json`.
        """
        try:
            return self._asked(self.model.__pydantic_validator__.validate_python(row))
        except ValidationError as error:
            return self._mapped(row, error)

    def from_rows(self, rows: Sequence[object]) -> list[PredictionRequest | Problem]:
        """Return the request in each row of a batch, or what is wrong with it."""
        return [*self._by_column(rows)] or [self._or_problem(row) for row in rows]

    def reader(self, name: str) -> Callable[[str], object]:
        """Return the function from a CSV column's cells to values; what cannot be read stays text, to be refused."""
        kind = self.types.get(name, str)
        return str if kind is str else cache(lambda cell: _read(cell, kind))

    def with_history(self, asked: PredictionRequest, found: Mapping[str, Any]) -> PredictionRequest:
        """Return the request with a history that was looked up; what it lacks is that of a first stay."""
        past = (
            self.defaults[name] if found.get(name) is None else found[name] for name in self.history
        )
        return asked._replace(
            values=(*asked.values[: len(self.inputs)], *past), history="looked_up"
        )

    def translated(self, asked: PredictionRequest, sender: "RequestSchema") -> PredictionRequest:
        """Return a request of another contract in this one, as a form of that contract would be mapped.

        Raises:
            Problem: 409 when it cannot be mapped.
        """
        if sender.contract_hash == self.contract_hash:
            return asked
        names = sender.inputs if asked.history == "assumed_first_stay" else sender.names
        beside = dict(
            zip(SENT, (asked.patient_nbr, asked.encounter_id, sender.contract_hash), strict=True)
        )
        return self.from_row(dict(zip(names, asked.values, strict=False)) | beside)

    def _by_column(self, rows: Sequence[object]) -> Iterable[PredictionRequest]:
        """Return the requests if all have the same fields and nothing is wrong, else nothing.

        In one call for all rows, checking a value takes a fifth of what it takes in a call per row.
        """
        try:
            columns = _columns(rows)
            found = self.columns.__pydantic_validator__.validate_python(columns)
        except (KeyError, ValidationError):
            return ()
        values = [
            found.__dict__[name] or repeat(self.defaults.get(name), len(rows))
            for name in (*self.names, *SENT)
        ]
        stays = zip(*values[: len(self.names)], strict=True)
        return map(
            PredictionRequest,
            stays,
            repeat(self._history(columns.keys())),
            *values[len(self.names) : -1],
        )

    def _or_problem(self, row: object) -> PredictionRequest | Problem:
        try:
            return self.from_row(row)
        except Problem as problem:
            return problem.with_traceback(None)  # which holds on to the row

    def _asked(self, found: Any, **mapped: tuple[str, ...]) -> PredictionRequest:  # noqa: ANN401 (an instance of `model`)
        values, history = found.__dict__, self._history(found.__pydantic_fields_set__)
        return PredictionRequest(
            self.values(values), history, values["patient_nbr"], values["encounter_id"], **mapped
        )

    def _history(self, sent: Set[str]) -> Literal["given", "assumed_first_stay"]:
        return "assumed_first_stay" if sent.isdisjoint(self.history) else "given"

    def _mapped(self, row: object, error: ValidationError) -> PredictionRequest:
        """Map a request of another contract: inputs that still exist are taken, new ones get their defaults."""
        said = row.get("contract_hash") if isinstance(row, dict) else None
        if not isinstance(row, dict) or not isinstance(said, str) or said == self.contract_hash:
            raise Problem(
                422,
                "the request does not fit the model's contract",
                field_errors(error, self.allowed),
            )
        names = {*self.inputs, *self.history}
        kept = {name: value for name, value in row.items() if name in names or name in SENT}
        absent = tuple(
            name for name in self.inputs if name not in kept and self.defaults.get(name) is not None
        )
        filled = kept | {name: self.defaults[name] for name in absent}
        try:
            found = self.model.__pydantic_validator__.validate_python(filled)
        except ValidationError as again:
            detail = "the form was made for another contract and cannot be mapped: reload the form"
            raise Problem(409, detail, field_errors(again, self.allowed)) from None
        return self._asked(
            found,
            defaulted=absent,
            ignored=tuple(str(name) for name in row if name not in kept)[:100],
        )


def build(contract: Contract) -> RequestSchema:
    """Return the schema of a contract's inputs (required) and history (optional)."""
    asked = [feature for feature in contract.features if feature.role in ("input", "history")]
    allowed = {feature.name: tuple(feature.allowed_values(contract) or ()) for feature in asked}
    fields: dict[str, Any] = {
        feature.name: _field(feature, allowed[feature.name]) for feature in asked
    }
    number = Annotated[int, Field(ge=0, le=LARGEST)] | None
    fields["patient_nbr"] = (
        number,
        Field(default=None, description="look the patient's history up; not a feature"),
    )
    fields["encounter_id"] = (
        number,
        Field(default=None, description="logged for late labels; not a feature"),
    )
    fields["contract_hash"] = (
        Annotated[str, Field(max_length=128)] | None,
        Field(default=None, description="hash of the contract that the form was made for"),
    )
    inputs, history = (
        tuple(f.name for f in found) for found in (contract.inputs, contract.history)
    )
    example: dict[str, Any] = {
        feature.name: feature.default for feature in asked if feature.role == "input"
    }
    config = ConfigDict(
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        json_schema_extra={"example": example},
    )
    model = create_model("Encounter", __config__=config, **fields)
    many: dict[str, Any] = {name: _many(field) for name, field in model.model_fields.items()}
    return RequestSchema(
        model=model,
        columns=create_model("Encounters", __config__=config, **many),
        contract_hash=contract.hash,
        inputs=inputs,
        history=history,
        defaults={feature.name: feature.default for feature in asked},
        names=contract.base_names,
        values=tuple_getter(contract.base_names),
        types={feature.name: TYPES[feature.data_type] for feature in asked}
        | {"patient_nbr": int, "encounter_id": int},
        allowed={name: values for name, values in allowed.items() if values},
    )


def _many(field: FieldInfo) -> tuple[Any, Any]:
    """Return a field of a request as a field with the values of many requests."""
    kind: Any = field.annotation
    return tuple[Annotated[kind, *field.metadata, None], ...], ... if field.is_required() else None


def _field(feature: Feature, allowed: Sequence[Any]) -> tuple[Any, Any]:
    kind: Any = TYPES[feature.data_type]
    limits: dict[str, Any] = {}
    if feature.kind == "category" and allowed:
        kind = _category(feature, tuple(allowed))
    elif feature.kind == "number":
        as_kind = int if kind is int else float
        limits = {
            "ge": as_kind(feature.min or 0),
            "le": as_kind(LARGEST if feature.max is None else feature.max),
        }
    shown = Field(description=feature.description, examples=[feature.default], **limits)
    if feature.role == "history":
        shown = Field(
            default=feature.default,
            description=feature.description,
            examples=[feature.default],
            **limits,
        )
    return kind, shown


def _category(feature: Feature, allowed: tuple[Any, ...]) -> Any:  # noqa: ANN401 (a type)
    legal: Any = Literal.__getitem__(allowed)
    if feature.seed is None and len(allowed) <= MOST_ALLOWED:
        return legal
    plain = {"string": str, "integer": int}["integer" if isinstance(allowed[0], int) else "string"]
    said = {
        "type": "integer" if plain is int else "string",
        "x-codes": f"/model/seeds/{feature.seed}",
    }
    return Annotated[legal, WithJsonSchema(said)]


def _columns(rows: Sequence[Any]) -> dict[str, tuple[Any, ...]]:
    """Return the values of each field; a KeyError if the rows are no objects with the same fields."""
    first = rows[0]
    if any(type(row) is not dict or len(row) != len(first) for row in rows):
        raise KeyError
    return dict(zip(first, zip(*map(tuple_getter(tuple(first)), rows), strict=True), strict=True))


def _loads(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _read(cell: str, kind: type) -> object:
    if kind is bool:
        return {"true": True, "false": False, "1": True, "0": False}.get(cell.strip().lower(), cell)
    try:
        return (
            kind(cell) if cell.isascii() and "_" not in cell else cell
        )  # Python would read 1_0, and digits of any script
    except ValueError:
        return cell
