"""What each route takes, for the OpenAPI document: exactly what the API accepts, and examples."""

import re
from typing import Any

from readmit.client.access_keys import MOST_CALLS, USUAL_CALLS
from serving.code_samples import CSV, JSON, MULTIPART, RequestExample
from serving.problems import MAX_ALLOWED
from serving.request_fields import MAX_HASH_CHARACTERS
from serving.schema import RequestSchema
from serving.uploads import BINARY, CHARSETS, CSV_TYPES

JsonSchema = dict[str, Any]
REFERENCE = "#/components/schemas/{model}"
STAY = {"anyOf": [{"$ref": "#/components/schemas/Encounter"}]}
STAY_OF_OLDER_FORM = {"$ref": "#/components/schemas/EncounterOfOlderForm"}
ROW = {
    "description": "A stay. A row that is none gets its errors; the other rows get their scores.",
    "anyOf": [*STAY["anyOf"], {}],
}
CELL = '(?:"(?:[^"]|"")*"|[^",\\r\\n][^,\\r\\n]*|)'  # of a CSV
TRIAL = {
    "name": "trial",
    "in": "query",
    "description": "`true`: the rows are about nobody, so they are neither logged nor counted",
    "schema": {"type": "string", "enum": ["true", "false"], "default": "false"},
}
CALLS = {
    "name": "calls_per_100",
    "in": "query",
    "description": "How many of 100 patients the ward can call: `capacity` says whether this one is"
    f" among them. Without it, the number of the key, else {USUAL_CALLS}.",
    "schema": {"type": "integer", "minimum": 1, "maximum": MOST_CALLS},
}
CERTAINTY = {
    "name": "certainty",
    "in": "query",
    "description": "`true`: each row says how sure it is, as an answer of /predict does",
    "schema": {"type": "string", "enum": ["true", "false"], "default": "false"},
}
PREFER = {
    "name": "Prefer",
    "in": "header",
    "description": "`handling=strict`: 503 instead of an answer without the patient's history",
    "schema": {"type": "string"},
}


def schemas(requests: RequestSchema | None) -> dict[str, JsonSchema]:
    """Return the components: a stay, a stay of an older form, and each long list of values."""
    if requests is None:
        return {"Encounter": {"type": "object"}}
    encounter = requests.model.model_json_schema(ref_template=REFERENCE)
    components: dict[str, JsonSchema] = {"Encounter": encounter}
    properties = encounter["properties"]
    tables: dict[tuple[object, ...], str] = {}
    for name, values in requests.allowed.items():
        if len(values) <= MAX_ALLOWED:
            continue
        table = tables.setdefault(tuple(values), f"codes_of_{name}")
        kind = properties[name].pop("type")
        components[table] = {"type": kind, "enum": list(values)}
        properties[name]["$ref"] = REFERENCE.format(model=table)
    served_hash = requests.contract_hash
    properties["contract_hash"]["anyOf"] = [{"const": served_hash}, {"type": "null"}]
    components["EncounterOfOlderForm"] = {
        "type": "object",
        "description": "A stay for another contract: known fields are taken, missing ones get their"
        " defaults, others are dropped. What cannot be mapped is answered with 409.",
        "required": ["contract_hash"],
        "maxProperties": requests.max_fields,
        "properties": {
            "contract_hash": {
                "type": "string",
                "maxLength": MAX_HASH_CHARACTERS,
                "not": {"const": served_hash},
            }
        },
    }
    return components


def stay(requests: RequestSchema | None) -> JsonSchema:
    """Return the body of a route that takes one stay."""
    if requests is None:
        return {"required": True, "content": {JSON: {"schema": STAY}}}
    schema = {"anyOf": [*STAY["anyOf"], STAY_OF_OLDER_FORM]}
    return {"required": True, "content": {JSON: {"schema": schema, "example": _typical(requests)}}}


def batch(requests: RequestSchema | None, max_rows: int) -> JsonSchema:
    """Return the body of the route that takes many stays."""
    rows = {"type": "array", "items": ROW, "maxItems": max_rows}
    document = {"type": "object", "required": ["rows"], "properties": {"rows": rows}}
    json_content: JsonSchema = {"schema": {"anyOf": [document, rows]}}
    text = _csv_schema(requests)
    # A form has one part of any name, which is the CSV.
    form = {
        "type": "object",
        "description": "Without a key in X-API-Key, the header Origin must be that of the API: a"
        " browser sends forms for any page.",
        "minProperties": 1,
        "maxProperties": 1,
        "properties": {"file": {**text, "contentMediaType": CSV}},
        "additionalProperties": text,
    }
    if requests is not None:
        json_content["example"] = {"rows": [_typical(requests)]}
    return {
        "required": True,
        "description": f"CSV is also taken as {' or '.join(CSV_TYPES[1:])}, and in the character"
        f" sets {', '.join(CHARSETS)} when Content-Type names them (`{CSV}; charset=utf-16`).",
        "content": {
            JSON: json_content,
            CSV: {"schema": text},
            MULTIPART: {"schema": form},
        },
    }


def upload() -> JsonSchema:
    """Return the body of the route that takes a file for the inbox."""
    # Without a type: every text is taken, and the next run says what it is.
    text = {"schema": {"description": "A CSV of source rows, in any dialect."}}
    packed = {"type": "string", "format": "binary", "description": "The same as zip or gzip."}
    return {"required": True, "content": {CSV: text, BINARY: {"schema": packed}}}


def examples(body: JsonSchema) -> list[RequestExample]:
    """Return the examples of a body."""
    listed = []
    for media_type, content in body["content"].items():
        title = media_type if len(body["content"]) > 1 else ""
        listed.append(RequestExample(title, media_type, content.get("example")))
    return listed


def _typical(requests: RequestSchema) -> dict[str, object]:
    return {name: requests.defaults[name] for name in requests.inputs}


def _csv_schema(requests: RequestSchema | None) -> JsonSchema:
    """Return the plain form of a CSV; the reader takes more, which the description tells."""
    schema: JsonSchema = {
        "type": "string",
        "description": "The first line names fields, in any order; a line for each stay. A row"
        " with a wrong cell gets its errors; the other rows get their scores.",
    }
    if requests is not None:
        names = "|".join(map(re.escape, sorted(requests.fields)))
        row = f"(?:{CELL},)*{CELL}"
        known = f'(?:"(?:{names})"|{names})'
        schema["pattern"] = f"^(?:{CELL},)*{known}(?:,{CELL})*(?:(?:\\r\\n|\\r|\\n){row})*$"
        typical = _typical(requests)
        cells = []
        for value in typical.values():
            cells.append(str(value).lower() if isinstance(value, bool) else str(value))
        lines = f"{','.join(typical)}\r\n{','.join(cells)}\r\n"
        schema["description"] += f" Example:\n```\n{lines}```"
    return schema
