"""GET /peers/bundle: the served model, for other processes of the API that have none."""

import hmac

from fastapi import APIRouter, Request, Response

from readmit.client.answer_types import ProblemCode
from serving import peer_bundles
from serving.app_state import Parts
from serving.problems import Problem

router = APIRouter()


@router.get(peer_bundles.PATH, include_in_schema=False)
def bundle(request: Request, state: Parts) -> Response:
    """Hand the bundle to a process that shows the token of a peer; nobody else sees the route."""
    shown = request.headers.get(peer_bundles.TOKEN_HEADER, "")
    expected = peer_bundles.token(state.settings)
    if not state.settings.api_peers or expected is None:
        raise Problem(ProblemCode.NOT_FOUND)
    if not hmac.compare_digest(shown.encode(), expected.encode()):
        raise Problem(ProblemCode.NOT_FOUND)
    archive = state.watcher.served_bundle()
    if archive is None:
        raise Problem(ProblemCode.NO_MODEL, headers={"Retry-After": "10"})
    return Response(archive, media_type="application/x-tar")
