"""POST /submit: a file for the inbox, which the next run reads."""

import asyncio
import hashlib
from tempfile import TemporaryFile

import orjson
from fastapi import APIRouter, Request, Response

from readmit.client.answer_types import SubmittedFile
from serving import answer_examples, inbox_store, responses
from serving.app_state import Parts
from serving.problems import wrong_media_type
from serving.uploads import FILE_TYPES

router = APIRouter(tags=["data"])


@router.post(
    "/submit",
    status_code=202,
    summary="Put a file into the inbox",
    responses=responses.answer(SubmittedFile, answer_examples.SUBMITTED, status=202)
    | responses.refusals(responses.SUBMITTED),
)
async def submit(request: Request, state: Parts, name: str = "") -> Response:
    """The next run reads the file; GET /data/inbox then has its result.

    The body is the file: a CSV, or a zip or gzip of one as `application/octet-stream`. `name` is
    what the result calls it. The same file may be sent again: its rows are loaded once.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in FILE_TYPES:
        raise wrong_media_type(request, FILE_TYPES)
    # On disk, and without a name: nothing of it is left when the caller hangs up.
    with TemporaryFile(dir=state.settings.readmit_home) as file:
        digest = hashlib.sha256()
        async for chunk in request.stream():
            digest.update(chunk)
            file.write(chunk)
        submitted: SubmittedFile = {
            "name": inbox_store.usable_name(name),
            "file_sha256": digest.hexdigest(),
            "n_bytes": file.tell(),
        }
        await asyncio.to_thread(inbox_store.create, file, submitted, state.settings)
    return Response(orjson.dumps(submitted), 202, media_type="application/json")
