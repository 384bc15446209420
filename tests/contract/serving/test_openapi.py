"""The OpenAPI document against the running app: whatever it allows, and what it does not, is never a server error."""

import hypothesis
import schemathesis
from hypothesis import HealthCheck
from schemathesis.checks import not_a_server_error

from serving.app import create_app
from tests.support.serving import FolderSource, read, settings

LIMITS = hypothesis.settings(
    max_examples=25, deadline=None, suppress_health_check=list(HealthCheck)
)
AWAY_WITHOUT_DATABASE = (
    "/data/",
    "/model/history",
)  # 503 with a reason here; tests of the data routes hold it


def test_no_server_error(tmp_path):
    source = FolderSource()
    source.promote(1)
    app = create_app(settings(tmp_path), source=source, read=read)
    app.state.parts.watcher.check()
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.startswith(AWAY_WITHOUT_DATABASE):
            continue
        _try(operation)
        tried += 1
    assert tried >= 8


def _try(operation):
    @LIMITS
    @hypothesis.given(case=operation.as_strategy())
    def check(case):
        case.call_and_validate(checks=[not_a_server_error])

    check()
