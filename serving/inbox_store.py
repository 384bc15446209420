"""The inbox of the object store, in which the API may create objects and do nothing else."""

import re
from typing import BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from readmit import storage
from readmit.client.answer_types import ProblemCode, SubmittedFile
from readmit.intake.inbox_names import PREFIX, is_ignored
from serving.api_settings import ServingSettings
from serving.problems import Problem

MAX_NAME_CHARACTERS = 100


def usable_name(name: str) -> str:
    """Return a name without its folders and without characters that a key should not have.

    One that the inbox would ignore becomes `upload`.
    """
    base = name.replace("\\", "/").rpartition("/")[2]
    base = re.sub(r"[^\w .()-]", "_", base).strip()[-MAX_NAME_CHARACTERS:]
    if is_ignored(base):
        return "upload"
    return base


def create(file: BinaryIO, submitted: SubmittedFile, settings: ServingSettings) -> None:
    """Store a file below the hash of its content; the store lets no other content stand there.

    Raises:
        Problem: 503, the store does not take it.
    """
    file.seek(0)
    try:
        storage.client("api", settings).put_object(
            Bucket=settings.s3_pipeline_bucket,
            Key=f"{PREFIX}{submitted['file_sha256']}/{submitted['name']}",
            Body=file,
            IfNoneMatch="*",
        )
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code != "PreconditionFailed":  # the same file was sent before, under the same name
            raise _unavailable(code) from error
    except (BotoCoreError, LookupError) as error:
        raise _unavailable(type(error).__name__) from error


def _unavailable(error: str) -> Problem:
    return Problem(ProblemCode.STORE_UNAVAILABLE, headers={"Retry-After": "10"}, error=error)
