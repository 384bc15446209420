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
from serving import code_samples, request_bodies
from serving.api_keys import SCOPE_TEXTS, UNKEYED_PATHS, required_scope
from serving.api_settings import ServingSettings
from serving.bundle_loader import ServedModel
from serving.code_samples import BASE_URL, KEY_HEADER

ASSETS = "/docs/assets"
# These pages need no key: they hold no data of patients and no scores, and a browser cannot send a
# key for a page.
OPEN_PATHS = (
    "/docs",
    "/openapi.json",
    f"{ASSETS}/swagger-ui-bundle.js",
    f"{ASSETS}/swagger-ui.css",
    f"{ASSETS}/favicon.png",
)
STAY_PARAMETERS = {
    "/predict": (request_bodies.PREFER, request_bodies.CALLS),
    "/explain": (request_bodies.PREFER,),
    "/compare": (request_bodies.PREFER, request_bodies.CALLS),
}
KEY_SCHEME = "ApiKey"


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
        address = str(request.base_url).rstrip("/")
        content = content.replace(BASE_URL.encode(), address.encode())
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
    settings: ServingSettings = app.state.parts.settings
    openapi = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = openapi["components"]["schemas"]
    problem = TypeAdapter(ProblemDocument).json_schema(ref_template=request_bodies.REFERENCE)
    schemas |= problem.pop("$defs")
    schemas["ProblemDocument"] = problem
    requests = model.requests if model is not None else None
    schemas |= request_bodies.schemas(requests)
    paths = openapi["paths"]
    for path, parameters in STAY_PARAMETERS.items():
        operation = paths[path]["post"]
        operation["requestBody"] = request_bodies.stay(requests)
        operation.setdefault("parameters", []).extend(parameters)
    batch = paths["/predict/batch"]["post"]
    batch["requestBody"] = request_bodies.batch(requests, settings.api_max_batch_rows)
    batch["parameters"] = [
        request_bodies.TRIAL,
        request_bodies.CERTAINTY,
        request_bodies.CALLS,
        request_bodies.PREFER,
    ]
    paths["/submit"]["post"]["requestBody"] = request_bodies.upload()
    _restore_nulls(app, openapi)
    # FastAPI adds a 422 of its own to routes with parameters. Ours never send it.
    for operations in openapi["paths"].values():
        for operation in operations.values():
            if "application/json" in operation["responses"].get("422", {}).get("content", {}):
                del operation["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    has_keys = bool(settings.accepted_keys())
    _add_keys(openapi, has_keys=has_keys)
    for path, operations in paths.items():
        if "get" in operations:
            # HEAD is described as GET is, but its answers have no body.
            head = {**operations["get"], "responses": {}}
            head["operationId"] += "_head"
            for status, response in operations["get"]["responses"].items():
                head["responses"][status] = {"description": response["description"]}
            operations["head"] = head
        for method, operation in operations.items():
            _add_samples(operation, method.upper(), path, has_keys=has_keys)
    return openapi


def _add_keys(openapi: dict[str, Any], *, has_keys: bool) -> None:
    """Describe API keys, and name the scope that each route needs when keys are on."""
    scopes = [f"- `{scope}`: {text}" for scope, text in SCOPE_TEXTS.items()]
    off = "" if has_keys else "Keys are off: nobody needs one.\n\n"
    openapi["components"]["securitySchemes"] = {
        KEY_SCHEME: {
            "type": "apiKey",
            "in": "header",
            "name": KEY_HEADER,
            "description": f"{off}A key has scopes:\n" + "\n".join(scopes),
        }
    }
    if not has_keys:
        return
    for path, operations in openapi["paths"].items():
        if path in UNKEYED_PATHS:
            continue
        scope = required_scope(path)
        for operation in operations.values():
            operation["security"] = [{KEY_SCHEME: [scope.value] if scope else []}]


def _add_samples(operation: dict[str, Any], method: str, path: str, *, has_keys: bool) -> None:
    """Add a curl line and a Python snippet for each example; Swagger UI shows the description."""
    body = operation.get("requestBody")
    examples = request_bodies.examples(body) if body else []
    samples = code_samples.samples(method, path, examples, has_keys=has_keys)
    operation["x-codeSamples"] = samples
    description = operation.get("description", "")
    operation["description"] = f"{description}\n\n{code_samples.as_markdown(samples)}"


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
