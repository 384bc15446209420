"""/openapi.json follows the served model; /docs works without network."""

from importlib.resources import files
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.openapi.utils import get_openapi
from fastapi.staticfiles import StaticFiles

from serving.bundle_loader import ServedModel
from serving.problems import MEDIA_TYPE

ASSETS = "/docs/assets"
PROBLEM = {"type": "object", "required": ["type", "title", "status", "detail"], "properties": {
    "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
    "detail": {"type": "string"}, "errors": {"type": "array", "items": {"type": "object"}}}}  # fmt: skip


def install(app: FastAPI) -> None:
    """Add /docs with its own copy of Swagger UI."""
    folder = Path(str(files("fastapi_offline"))) / "static"
    app.mount(ASSETS, StaticFiles(directory=folder), name="assets")

    @app.get("/openapi.json", include_in_schema=False)
    def openapi(request: Request) -> dict[str, Any]:
        return document(request.app, request.app.state.parts.watcher.served)

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Readmission API",
            swagger_js_url=f"{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{ASSETS}/favicon.png",
        )


def document(app: FastAPI, served: ServedModel | None) -> dict[str, Any]:
    """Return the OpenAPI document of the routes with the request model of the served contract."""
    said = get_openapi(title=app.title, version=app.version, routes=app.routes)
    components = said.setdefault("components", {}).setdefault("schemas", {})
    components["Problem"] = PROBLEM
    encounter: dict[str, Any] = {"type": "object"}
    if served is not None:
        encounter = served.requests.model.model_json_schema(
            ref_template="#/components/schemas/{model}"
        )
    components["Encounter"] = encounter
    one = {"$ref": "#/components/schemas/Encounter"}
    many = {
        "type": "object",
        "required": ["rows"],
        "properties": {"rows": {"type": "array", "items": one}},
    }
    for path, schema in (
        ("/predict", one),
        ("/explain", one),
        ("/compare", one),
        ("/predict/batch", many),
    ):
        content: dict[str, Any] = {"application/json": {"schema": schema}}
        if path.endswith("batch"):
            content["text/csv"] = {"schema": {"type": "string"}}
        said["paths"][path]["post"]["requestBody"] = {"required": True, "content": content}
    refusal = {
        "description": "Problem",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    for operations in said["paths"].values():
        for operation in operations.values():
            operation["responses"].pop("422", None)
            operation["responses"]["default"] = refusal
    return said
