"""The request model, generated from the contract of the served model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model
from pydantic_core import ValidationError

from readmit.contract import Contract, Feature
from readmit.derive import values_of
from serving.problems import MOST_ALLOWED, Problem, field_errors

TYPES: Mapping[str, type] = {"text": str, "integer": int, "bigint": int, "boolean": bool, "double precision": float}
LARGEST = 2**63 - 1
SENT = ("patient_nbr", "encounter_id", "contract_hash")  # beside the features; never features themselves


@dataclass(frozen=True)
class Asked:
    """A valid request: features as sent, what came beside them, and how an older form was mapped."""

    features: dict[str, Any]
    patient_nbr: int | None = None
    encounter_id: int | None = None
    defaulted: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class RequestSchema:
    """Reads requests as one contract demands."""

    model: type[BaseModel]
    contract_hash: str
    inputs: tuple[str, ...]
    history: tuple[str, ...]
    defaults: Mapping[str, Any]
    allowed: Mapping[str, Sequence[Any]]
    types: Mapping[str, type]
    names: tuple[str, ...]  # inputs, then history
    values: Callable[[Mapping[str, Any]], tuple[Any, ...]]  # of a row, in the order of `names`

    def from_json(self, body: bytes) -> Asked:
        """Return the request in a JSON body.

        Raises:
            Problem: 422 with each wrong field; 409 when it was made for a contract that cannot be mapped.
        """
        try:
            return self._asked(self.model.__pydantic_validator__.validate_json(body))
        except ValidationError as error:
            return self._mapped(_loads(body), error)

    def from_row(self, row: object, *, text: bool = False) -> Asked:
        """Return the request in one row of a batch; `text`: all values are strings, as CSV has them."""
        said = self._typed(row) if text and isinstance(row, dict) else row
        try:
            return self._asked(self.model.__pydantic_validator__.validate_python(said))
        except ValidationError as error:
            return self._mapped(said, error)

    def _typed(self, row: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return the values of a CSV row in the contract's types; what cannot be read stays text and is refused."""
        return {name: _read(value, self.types.get(name, str)) for name, value in row.items()}

    def _asked(self, found: Any, **mapped: tuple[str, ...]) -> Asked:  # noqa: ANN401 (an instance of `model`)
        values = found.__dict__
        given = found.__pydantic_fields_set__
        features = {name: values[name] for name in self.inputs}
        features |= {name: values[name] for name in self.history if name in given}
        return Asked(features, values["patient_nbr"], values["encounter_id"], **mapped)

    def _mapped(self, row: object, error: ValidationError) -> Asked:
        """Map a request of another contract: inputs that still exist are taken, new ones get their defaults."""
        said = row.get("contract_hash") if isinstance(row, dict) else None
        if not isinstance(row, dict) or not isinstance(said, str) or said == self.contract_hash:
            raise Problem(422, "the request does not fit the model's contract", field_errors(error, self.allowed))
        names = {*self.inputs, *self.history}
        kept = {name: value for name, value in row.items() if name in names or name in SENT}
        absent = tuple(name for name in self.inputs if name not in kept and self.defaults.get(name) is not None)
        filled = kept | {name: self.defaults[name] for name in absent}
        try:
            found = self.model.__pydantic_validator__.validate_python(filled)
        except ValidationError as again:
            detail = "the form was made for another contract and cannot be mapped: reload the form"
            raise Problem(409, detail, field_errors(again, self.allowed)) from None
        return self._asked(found, defaulted=absent, ignored=tuple(str(name) for name in row if name not in kept)[:100])


def build(contract: Contract) -> RequestSchema:
    """Return the schema of a contract's inputs (required) and history (optional)."""
    asked = [feature for feature in contract.features if feature.role in ("input", "history")]
    allowed = {feature.name: tuple(feature.allowed_values(contract) or ()) for feature in asked}
    fields: dict[str, Any] = {feature.name: _field(feature, allowed[feature.name]) for feature in asked}
    number = Annotated[int, Field(ge=0, le=LARGEST)] | None
    fields["patient_nbr"] = (number, Field(default=None, description="look the patient's history up; not a feature"))
    fields["encounter_id"] = (number, Field(default=None, description="logged for late labels; not a feature"))
    fields["contract_hash"] = (
        Annotated[str, Field(max_length=128)] | None,
        Field(default=None, description="hash of the contract that the form was made for"),
    )
    inputs, history = (tuple(f.name for f in asked if f.role == role) for role in ("input", "history"))
    example: dict[str, Any] = {feature.name: feature.default for feature in asked if feature.role == "input"}
    config = ConfigDict(
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        json_schema_extra={"example": example},
    )
    return RequestSchema(
        model=create_model("Encounter", __config__=config, **fields),
        contract_hash=contract.hash,
        inputs=inputs,
        history=history,
        defaults={feature.name: feature.default for feature in asked},
        names=inputs + history,
        values=values_of(inputs + history),
        types={feature.name: TYPES[feature.data_type] for feature in asked} | {"patient_nbr": int, "encounter_id": int},
        allowed={name: values for name, values in allowed.items() if values},
    )


def _field(feature: Feature, allowed: Sequence[Any]) -> tuple[Any, Any]:
    kind: Any = TYPES[feature.data_type]
    limits: dict[str, Any] = {}
    if feature.kind == "category" and allowed:
        kind = _category(feature, tuple(allowed))
    elif feature.kind == "number":
        as_kind = int if kind is int else float
        limits = {"ge": as_kind(feature.min or 0), "le": as_kind(LARGEST if feature.max is None else feature.max)}
    shown = Field(description=feature.description, examples=[feature.default], **limits)
    if feature.role == "history":
        shown = Field(default=feature.default, description=feature.description, examples=[feature.default], **limits)
    return kind, shown


def _category(feature: Feature, allowed: tuple[Any, ...]) -> Any:  # noqa: ANN401 (a type)
    legal: Any = Literal.__getitem__(allowed)
    if feature.seed is None and len(allowed) <= MOST_ALLOWED:
        return legal
    plain = {"string": str, "integer": int}["integer" if isinstance(allowed[0], int) else "string"]
    said = {"type": "integer" if plain is int else "string", "x-codes": f"/model/seeds/{feature.seed}"}
    return Annotated[legal, WithJsonSchema(said)]


def _loads(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _read(value: object, kind: type) -> object:
    if kind is bool:
        return {"true": True, "false": False, "1": True, "0": False}.get(str(value).strip().lower(), value)
    try:
        return kind(value)
    except (ValueError, TypeError):
        return value
