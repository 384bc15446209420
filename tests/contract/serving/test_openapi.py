"""The OpenAPI document against the running app: every answer has a documented status, type and
shape.
"""

import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck
from jsonschema import Draft202012Validator
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from readmit.client.answer_types import ProblemCode
from serving.app import create_app
from tests.support.serving import FolderSource, read, settings

LIMITS = hypothesis.settings(
    max_examples=25, deadline=None, suppress_health_check=list(HealthCheck)
)
# 503 with a reason here; tests of the data routes hold what they answer with a database.
AWAY_WITHOUT_DATABASE = ("/data/", "/model/history")
NEVER_OF_A_ROUTE = {
    ProblemCode.INVALID_HTTP,
    ProblemCode.HEAD_TOO_LARGE,
    ProblemCode.BAD_REQUEST,
    ProblemCode.METHOD_NOT_ALLOWED,
    ProblemCode.VERSION_UNAVAILABLE,
}


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    source = FolderSource()
    source.promote(1)
    source.promote(2, "previous")
    app = create_app(settings(tmp_path_factory.mktemp("api")), source=source, read=read)
    app.state.parts.watcher.check()
    return app


@pytest.fixture(scope="module")
def schema(app):
    return schemathesis.openapi.from_asgi("/openapi.json", app)


@pytest.fixture(scope="module")
def document(schema):
    return schema.raw_schema


def responses(document):
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for status, response in operation["responses"].items():
                yield path, method, status, response


def test_every_answer_is_as_documented(schema):
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) >= 14
    for operation in operations:
        checks = [status_code_conformance, content_type_conformance, response_schema_conformance]
        if not operation.path.startswith(AWAY_WITHOUT_DATABASE):
            checks.append(not_a_server_error)
        _try(operation, checks)


def _try(operation, checks):
    @LIMITS
    @hypothesis.given(case=operation.as_strategy())
    def check(case):
        case.call_and_validate(checks=checks)

    check()


def examples(content):
    found = [example["value"] for example in content.get("examples", {}).values()]
    return found + ([content["example"]] if "example" in content else [])


def test_every_status_has_a_schema_and_examples_that_fit_it(document):
    n_examples = 0
    for path, method, status, response in responses(document):
        is_refusal = int(status) >= 400 and path != "/readyz"
        assert response["content"], (path, method, status)
        for media_type, content in response["content"].items():
            assert examples(content), (path, method, status, media_type)
            assert media_type == "application/problem+json" or not is_refusal
            schema = {**content["schema"], "components": document["components"]}
            for example in examples(content):
                Draft202012Validator(schema).validate(example)
                n_examples += 1
                if media_type == "application/problem+json":
                    assert example["status"] == int(status)
    assert n_examples > 100


def test_every_code_is_documented_at_a_route(document):
    codes = set()
    for *_, response in responses(document):
        for content in response["content"].values():
            codes |= set(content.get("examples", {}))
    assert codes == set(ProblemCode) - NEVER_OF_A_ROUTE
