"""The request schema, generated from the contract of the served model."""

import json
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import repeat
from operator import is_not
from typing import NamedTuple

import orjson
from pydantic import BaseModel
from pydantic_core import ValidationError

from readmit.client.answer_types import History, ProblemCode, Value
from readmit.contract.definition import Contract, Feature
from readmit.contract.derivation import tuple_getter
from serving.problems import Problem, field_errors
from serving.request_fields import PYTHON_TYPES, column_model, request_model

# Sent beside the features; never features themselves.
ID_FIELDS = ("patient_nbr", "encounter_id", "contract_hash")
# Unknown fields are listed one by one, up to these; a row with more is refused as a whole.
SPARE_FIELDS = 32
SPARE_COLONS = 500  # that may stand in texts
MAX_IGNORED = 100  # names of dropped fields in an answer
MAX_EXACT = 2**53  # a larger float may have lost digits


class PredictionRequest(NamedTuple):
    """A valid request.

    `values` are in the order of `RequestSchema.names`; history that was not sent is that of a
    first stay. `defaulted` and `ignored` say how a request for another contract was mapped.
    """

    values: tuple[Value, ...]
    history: History
    patient_nbr: int | None = None
    encounter_id: int | None = None
    defaulted: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


@dataclass(frozen=True)
class RequestSchema:
    """Reads requests for one contract."""

    model: type[BaseModel]
    columns: type[BaseModel]  # the same fields, each with the values of many requests
    contract_hash: str
    inputs: tuple[str, ...]
    history: tuple[str, ...]
    names: tuple[str, ...]  # inputs, then history
    defaults: Mapping[str, Value]
    allowed: Mapping[str, Sequence[Value]]
    types: Mapping[str, type]
    features: tuple[Feature, ...]  # inputs, then history
    features_by_name: Mapping[str, Feature]
    values_of: Callable[[Mapping[str, Value]], tuple[Value, ...]]  # in the order of `names`

    @property
    def fields(self) -> Set[str]:
        """Return the names that a request may have."""
        return self.model.model_fields.keys()

    @property
    def max_fields(self) -> int:
        """Return how many fields a request may have before its errors are not even counted."""
        return len(self.model.model_fields) + SPARE_FIELDS

    def from_json(self, body: bytes) -> PredictionRequest:
        """Return the request in a JSON body.

        Raises:
            Problem: 422 with each wrong field; 409 when it is for a contract that cannot be mapped.
        """
        # Each unknown field costs an error: their number is estimated before anything is read.
        if body.count(b":") > self.max_fields + SPARE_COLONS:
            raise Problem(ProblemCode.TOO_MANY_FIELDS, max_fields=self.max_fields)
        try:
            return self._request(self.model.__pydantic_validator__.validate_json(body))
        except ValidationError as error:
            text = utf8_json(body)
            try:
                row = orjson.loads(text)
            except orjson.JSONDecodeError:
                return self._mapped(None, error)
            if text is not body:
                return self.from_row(row)
            return self._reread(row, error)

    def from_row(self, row: object) -> PredictionRequest:
        """Return the request in a row.

        Raises:
            Problem: as `from_json`.
        """
        if isinstance(row, dict) and len(row) > self.max_fields:
            raise Problem(ProblemCode.TOO_MANY_FIELDS, max_fields=self.max_fields)
        try:
            return self._request(self.model.__pydantic_validator__.validate_python(row))
        except ValidationError as error:
            return self._reread(row, error)

    def from_rows(self, rows: Sequence[object]) -> list[PredictionRequest | Problem]:
        """Return the request in each row of a batch, or what is wrong with it.

        A problem stands for a row that could not be read; it is returned.
        """
        together = self._by_column(rows)
        if together is None:
            whole_rows = [self._with_whole_numbers(row) for row in rows]
            if any(map(is_not, whole_rows, rows)):
                rows = whole_rows
                together = self._by_column(rows)
        if together is not None:
            return [*together]
        requests: list[PredictionRequest | Problem] = []
        for row in rows:
            if isinstance(row, Problem):
                requests.append(row)
                continue
            try:
                requests.append(self.from_row(row))
            except Problem as problem:
                # Both lead to frames with all rows in them: a circle, and work for the collector.
                problem.__context__ = None
                requests.append(problem.with_traceback(None))
        return requests

    def with_history(
        self, request: PredictionRequest, history: Mapping[str, Value | None]
    ) -> PredictionRequest:
        """Return the request with a history that was looked up; gaps are those of a first stay."""
        values = list(request.values[: len(self.inputs)])
        for name in self.history:
            value = history.get(name)
            values.append(self.defaults[name] if value is None else value)
        return request._replace(values=tuple(values), history="looked_up")

    def translated(self, request: PredictionRequest, sender: "RequestSchema") -> PredictionRequest:
        """Return a request of another contract in this one, mapped as an older form would be.

        Raises:
            Problem: 409 when it cannot be mapped.
        """
        if sender.contract_hash == self.contract_hash:
            return request
        names = sender.names
        if request.history in ("assumed_first_stay", "unavailable"):
            names = sender.inputs
        row: dict[str, object] = dict(zip(names, request.values, strict=False))
        row["patient_nbr"] = request.patient_nbr
        row["encounter_id"] = request.encounter_id
        row["contract_hash"] = sender.contract_hash
        return self.from_row(row)

    def _reread(self, row: object, error: ValidationError) -> PredictionRequest:
        """Read a row again with 5 for 5.0, which is an integer in JSON Schema.

        Raises:
            Problem: as `from_json`.
        """
        whole = self._with_whole_numbers(row)
        if whole is row:
            return self._mapped(row, error)
        try:
            return self._request(self.model.__pydantic_validator__.validate_python(whole))
        except ValidationError as remaining:
            return self._mapped(whole, remaining)

    def _with_whole_numbers(self, row: object) -> object:
        """Return the row with integers for floats without a fraction in fields of integers.

        A row without such floats is returned itself.
        """
        if not isinstance(row, dict):
            return row
        integers = {}
        for name, value in row.items():
            is_integer = type(value) is float and value.is_integer() and abs(value) <= MAX_EXACT
            if is_integer and self.types.get(name) is int:
                integers[name] = int(value)
        return {**row, **integers} if integers else row

    def _by_column(self, rows: Sequence[object]) -> list[PredictionRequest] | None:
        """Return the requests if all rows have the same fields and no error, else None.

        One call for all rows checks a value in a fifth of the time of a call per row.
        """
        first = rows[0]
        if type(first) is not dict:
            return None
        for row in rows:
            if type(row) is not dict or len(row) != len(first):
                return None
        names = tuple(first)
        try:
            values = zip(*map(tuple_getter(names), rows), strict=True)
            sent = dict(zip(names, values, strict=True))
        except KeyError:
            return None
        try:
            checked = self.columns.__pydantic_validator__.validate_python(sent).__dict__
        except ValidationError:
            return None
        columns = []
        for name in (*self.names, "patient_nbr", "encounter_id"):
            # A field that no row has is None here.
            columns.append(checked[name] or repeat(self.defaults.get(name), len(rows)))
        *features, patients, encounters = columns
        stays = zip(*features, strict=True)
        history = self._history(sent.keys())
        return list(map(PredictionRequest, stays, repeat(history), patients, encounters))

    def _request(
        self,
        checked: BaseModel,
        defaulted: tuple[str, ...] = (),
        ignored: tuple[str, ...] = (),
    ) -> PredictionRequest:
        values = checked.__dict__
        return PredictionRequest(
            self.values_of(values),
            self._history(checked.__pydantic_fields_set__),
            values["patient_nbr"],
            values["encounter_id"],
            defaulted,
            ignored,
        )

    def _history(self, sent: Set[str]) -> History:
        return "assumed_first_stay" if sent.isdisjoint(self.history) else "given"

    def _mapped(self, row: object, error: ValidationError) -> PredictionRequest:
        """Map a request of another contract: known fields stay, missing inputs get defaults.

        Raises:
            Problem: 422 when it is for this contract, 409 when it cannot be mapped.
        """
        sent_hash = row.get("contract_hash") if isinstance(row, dict) else None
        is_of_other_contract = isinstance(sent_hash, str) and sent_hash != self.contract_hash
        if not isinstance(row, dict) or not is_of_other_contract:
            errors = field_errors(error, self.allowed)
            raise Problem(ProblemCode.INVALID_FIELDS, errors=errors)
        if len(row) > self.max_fields:
            raise Problem(ProblemCode.TOO_MANY_FIELDS, max_fields=self.max_fields)
        mapped = {}
        ignored = []
        for name, value in row.items():
            if name in self.names or name in ID_FIELDS:
                mapped[name] = value
            else:
                ignored.append(str(name))
        defaulted = tuple(name for name in self.inputs if name not in mapped)
        for name in defaulted:
            mapped[name] = self.defaults[name]
        try:
            checked = self.model.__pydantic_validator__.validate_python(mapped)
        except ValidationError as remaining:
            errors = field_errors(remaining, self.allowed)
            raise Problem(ProblemCode.OUTDATED_FORM, errors=errors) from None
        return self._request(checked, defaulted, tuple(ignored[:MAX_IGNORED]))


def utf8_json(body: bytes) -> bytes:
    """Return JSON as UTF-8 without a byte order mark; the body itself if it is that already.

    Windows PowerShell writes files in UTF-16, and many programs for Windows with a mark.
    """
    encoding = json.detect_encoding(body)
    if encoding == "utf-8":
        return body
    return body.decode(encoding, "replace").encode()


def build(contract: Contract) -> RequestSchema:
    """Return the schema of a contract's inputs (required) and history (optional)."""
    features = [*contract.inputs, *contract.history]
    allowed = {feature.name: feature.allowed_values(contract) for feature in features}
    types: dict[str, type] = {"patient_nbr": int, "encounter_id": int}
    defaults: dict[str, Value] = {}
    for feature in features:
        types[feature.name] = PYTHON_TYPES[feature.data_type]
        if feature.default is not None:
            defaults[feature.name] = feature.default
    model = request_model(contract, features, allowed)
    return RequestSchema(
        model=model,
        columns=column_model(model),
        contract_hash=contract.hash,
        inputs=tuple(feature.name for feature in contract.inputs),
        history=tuple(feature.name for feature in contract.history),
        names=contract.base_names,
        defaults=defaults,
        allowed={name: values for name, values in allowed.items() if values},
        types=types,
        features=tuple(features),
        features_by_name=contract.by_name,
        values_of=tuple_getter(contract.base_names),
    )
