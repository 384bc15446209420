"""/openapi.json follows the served model; /docs works without network."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from fastapi.staticfiles import StaticFiles
from pydantic import TypeAdapter

from readmit.client.answer_types import ProblemDocument
from serving.bundle_loader import ServedModel

ASSETS = "/docs/assets"
REFERENCE = "#/components/schemas/{model}"
STAY = {"$ref": "#/components/schemas/Encounter"}
ROWS = {
    "type": "object",
    "required": ["rows"],
    "properties": {"rows": {"type": "array", "items": STAY}},
}


def install(app: FastAPI) -> None:
    """Add /docs with its own copy of Swagger UI."""
    folder = Path(str(files("fastapi_offline"))) / "static"
    app.mount(ASSETS, StaticFiles(directory=folder), name="assets")

    # Built once for each model: it takes a tenth of a second.
    built: dict[str, bytes] = {}

    @app.get("/openapi.json", include_in_schema=False)
    def openapi(request: Request) -> Response:
        model = request.app.state.parts.watcher.served
        contract = model.contract.hash if model is not None else ""
        content = built.get(contract)
        if content is None:
            content = orjson.dumps(document(request.app, model))
            built.clear()
            built[contract] = content
        return Response(content, media_type="application/json")

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Readmission API",
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS}/favicon.png",
        )


def document(app: FastAPI, model: ServedModel | None) -> dict[str, Any]:
    """Return the OpenAPI document; without a model a request is any object."""
    openapi = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = openapi["components"]["schemas"]
    problem = TypeAdapter(ProblemDocument).json_schema(ref_template=REFERENCE)
    schemas |= problem.pop("$defs")
    schemas["ProblemDocument"] = problem
    schemas["Encounter"] = {"type": "object"}
    if model is not None:
        schemas["Encounter"] = model.requests.model.model_json_schema(ref_template=REFERENCE)
    for path in ("/predict", "/explain", "/compare"):
        content = {"application/json": {"schema": STAY}}
        openapi["paths"][path]["post"]["requestBody"] = {"required": True, "content": content}
    openapi["paths"]["/predict/batch"]["post"]["requestBody"] = {
        "required": True,
        "content": {
            "application/json": {"schema": ROWS},
            "text/csv": {"schema": {"type": "string"}},
        },
    }
    _restore_nulls(app, openapi)
    # FastAPI adds a 422 of its own to routes with parameters. Ours never send it.
    for operations in openapi["paths"].values():
        for operation in operations.values():
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return openapi


def _restore_nulls(app: FastAPI, openapi: dict[str, Any]) -> None:
    """Write the examples of answers again: FastAPI leaves out their fields that are null."""
    for route in app.routes:
        if not isinstance(route, APIRoute) or not route.include_in_schema:
            continue
        (method,) = route.methods
        documented = openapi["paths"][route.path][method.lower()]["responses"]
        for status, response in route.responses.items():
            for media_type, content in response["content"].items():
                if "example" in content:
                    target = documented[str(status)]["content"][media_type]
                    target["example"] = content["example"]
