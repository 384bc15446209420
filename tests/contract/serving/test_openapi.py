"""The OpenAPI document against the running app: status, type and shape of every answer are documented."""

import re
import shlex

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
from starlette.testclient import TestClient

from readmit.client.answer_types import ProblemCode
from serving import request_bodies
from serving import schema as request_schema
from serving.app import create_app
from tests.support.serving import FolderSource, read, settings

LIMITS = hypothesis.settings(
    max_examples=25, deadline=None, suppress_health_check=list(HealthCheck)
)
# 503 with a reason here; tests of the data routes hold what they answer with a database.
AWAY_WITHOUT_DATABASE = ("/data/", "/model/history", "/submit")  # the last without a store
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
            if method == "head":
                continue
            for status, response in operation["responses"].items():
                yield path, method, status, response


def test_every_answer_is_as_documented(schema):
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) >= 14
    for operation in operations:
        checks = [status_code_conformance, content_type_conformance, response_schema_conformance]
        if not operation.path.startswith(AWAY_WITHOUT_DATABASE):
            checks.append(not_a_server_error)
        try_examples(operation, checks)


def try_examples(operation, checks):
    @LIMITS
    @hypothesis.given(case=operation.as_strategy())
    def check(case):
        case.call_and_validate(checks=checks)

    check()


def examples(content):
    values = [example["value"] for example in content.get("examples", {}).values()]
    if "example" in content:
        values.append(content["example"])
    return values


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


def test_head_is_documented_where_get_is_without_content(document):
    n_heads = 0
    for path, operations in document["paths"].items():
        assert ("head" in operations) == ("get" in operations), path
        if "get" in operations:
            get = operations["get"]
            head = operations["head"]
            assert get["responses"].keys() == head["responses"].keys()
            for response in head["responses"].values():
                assert "content" not in response
            assert get["operationId"] != head["operationId"]
            n_heads += 1
    assert n_heads > 8


def test_every_route_has_a_line_and_a_snippet_for_each_example(document):
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            samples = operation["x-codeSamples"]
            assert {sample["lang"] for sample in samples} == {"Shell", "Python"}
            for sample in samples:
                assert sample["source"] in operation["description"], (path, method)
                if sample["lang"] == "Python":
                    compile(sample["source"], path, "exec")


def test_the_snippets_of_json_are_accepted_as_they_stand(app, document):
    """A snippet that a caller copies from /docs gets an answer."""
    n_tried = 0
    client = TestClient(app)
    for path in ("/predict", "/explain", "/compare", "/predict/batch"):
        for sample in document["paths"][path]["post"]["x-codeSamples"]:
            if "application/json" not in sample["source"] or sample["lang"] != "Shell":
                continue
            words = shlex.split(sample["source"])
            body = words[words.index("--data-binary") + 1]
            headers = {"content-type": "application/json"}
            assert client.post(path, content=body, headers=headers).status_code == 200
            n_tried += 1
    assert n_tried == 4


def test_the_document_names_the_address_of_the_request(app):
    text = TestClient(app, base_url="http://localhost:8123").get("/openapi.json").text
    assert "curl -H 'Content-Type: application/json'" in text
    assert "'http://localhost:8123/predict'" in text
    assert "127.0.0.1:8000" not in text


def test_the_schema_lists_the_values_of_every_category(contract):
    """The real contract: also code tables, and lists too long to stand in each place."""
    requests = request_schema.build(contract)
    components = request_bodies.schemas(requests)
    properties = components["Encounter"]["properties"]
    for name, values in requests.allowed.items():
        schema = properties[name]
        if "$ref" in schema:
            schema = components[schema["$ref"].rpartition("/")[2]]
        if requests.types[name] is not bool:
            assert schema["enum"] == list(values), name
    assert properties["diagnosis_1"]["$ref"] == properties["diagnosis_3"]["$ref"]
    assert properties["admission_type_id"]["x-codes"] == "/model/seeds/admission_types"


def test_the_pattern_of_a_csv_accepts_the_same_texts_as_the_reader(app, document):
    content = document["paths"]["/predict/batch"]["post"]["requestBody"]["content"]
    pattern = re.compile(content["text/csv"]["schema"]["pattern"])
    client = TestClient(app)
    texts = ["gender\nMale", '"gender",x\r\n"a,b",1\r\n', "x", "", "genders\n1", 'gender\n"open']
    for text in texts:
        answer = client.post("/predict/batch", content=text, headers={"content-type": "text/csv"})
        assert (pattern.search(text) is not None) == (answer.status_code == 200), text
