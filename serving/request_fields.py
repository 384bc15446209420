"""pydantic models of requests, generated from a contract."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetPydanticSchema,
    WithJsonSchema,
    create_model,
)
from pydantic_core import core_schema

from readmit.client.answer_types import Value
from readmit.contract.definition import Contract, Feature
from serving.problems import MAX_ALLOWED

PYTHON_TYPES: Mapping[str, type] = {
    "text": str,
    "integer": int,
    "bigint": int,
    "boolean": bool,
    "double precision": float,
}
MAX_INTEGER = 2**63 - 1  # Postgres' bigint
MAX_HASH_CHARACTERS = 128
Definition = tuple[Any, Any]  # a type and its Field, as pydantic's create_model takes them


def request_model(
    contract: Contract, features: Sequence[Feature], allowed: Mapping[str, Sequence[Value]]
) -> type[BaseModel]:
    """Return the model of one request: inputs are required, history and ids are optional."""
    fields: dict[str, Any] = {}
    for feature in features:
        fields[feature.name] = _definition(feature, tuple(allowed[feature.name]))
    fields["patient_nbr"] = _id_definition("look the patient's history up; not a feature")
    fields["encounter_id"] = _id_definition("logged for late labels; not a feature")
    fields["contract_hash"] = (
        Annotated[str, Field(max_length=MAX_HASH_CHARACTERS)] | None,
        Field(default=None, description="hash of the contract that the form was made for"),
    )
    example = {feature.name: feature.default for feature in contract.inputs}
    config = _config({"example": example})
    return create_model("Encounter", __config__=config, **fields)


def column_model(model: type[BaseModel]) -> type[BaseModel]:
    """Return the model of many requests: each field has a tuple of values."""
    fields: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        kind: Any = field.annotation
        values = tuple[Annotated[kind, *field.metadata, None], ...]
        fields[name] = (values, ... if field.is_required() else None)
    return create_model("Encounters", __config__=_config({}), **fields)


def _config(json_schema: dict[str, Any]) -> ConfigDict:
    return ConfigDict(
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        json_schema_extra=json_schema,
    )


def _id_definition(description: str) -> Definition:
    kind = Annotated[int, Field(ge=0, le=MAX_INTEGER)] | None
    return kind, Field(default=None, description=description)


def _definition(feature: Feature, allowed: tuple[Value, ...]) -> Definition:
    """Return the type and the field of a feature."""
    kind: Any = PYTHON_TYPES[feature.data_type]
    default: Any = feature.default if feature.role == "history" else ...
    if feature.kind == "category" and allowed:
        kind = _category(feature, allowed)
    elif feature.kind == "number":
        to_kind = int if kind is int else float
        minimum = to_kind(feature.min or 0)
        maximum = to_kind(MAX_INTEGER if feature.max is None else feature.max)
        kind = Annotated[kind, Field(ge=minimum, le=maximum)]
    field = Field(default=default, description=feature.description, examples=[feature.default])
    return kind, field


def _category(feature: Feature, allowed: tuple[Value, ...]) -> Any:  # noqa: ANN401 (a type)
    """Return a type that takes the allowed values only; its schema lists them if they are few.

    A literal of pydantic takes false for 0 and true for 1, so codes are checked to be whole numbers
    first.
    """
    is_code = isinstance(allowed[0], int)
    schema: dict[str, Any] = {"type": "integer" if is_code else "string"}
    if len(allowed) <= MAX_ALLOWED:
        schema["enum"] = list(allowed)
    if feature.seed is not None:
        schema["x-codes"] = f"/model/seeds/{feature.seed}"
    if not is_code:
        return Annotated[Literal.__getitem__(allowed), WithJsonSchema(schema)]
    steps: list[core_schema.CoreSchema] = [
        core_schema.int_schema(strict=True),
        core_schema.literal_schema(list(allowed)),
    ]
    whole_number = GetPydanticSchema(lambda _source, _handler: core_schema.chain_schema(steps))
    return Annotated[int, whole_number, WithJsonSchema(schema)]
