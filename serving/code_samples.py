"""Lines that callers can copy: a curl command and a Python snippet for each example of a request.

They stand on /docs, and in the problems that refuse a method or a media type.
"""

import shlex
from collections.abc import Sequence
from typing import NamedTuple, TypedDict

import orjson

# Stands for the address that a caller used; an answer has that address in its place.
BASE_URL = "http://127.0.0.1:8000"
KEY_HEADER = "X-API-Key"
JSON = "application/json"
CSV = "text/csv"
MULTIPART = "multipart/form-data"
CSV_FILE = "stays.csv"
POST_PATHS = {
    "/predict": (JSON,),
    "/explain": (JSON,),
    "/compare": (JSON,),
    "/predict/batch": (JSON, CSV),
    "/submit": (CSV,),
}


class CodeSample(TypedDict):
    """An entry of `x-codeSamples`."""

    lang: str
    label: str
    source: str


class RequestExample(NamedTuple):
    """A body that a route takes; `body` is a JSON document, or nothing for a file."""

    title: str
    media_type: str
    body: object = None


def samples(
    method: str, path: str, examples: Sequence[RequestExample], *, has_keys: bool
) -> list[CodeSample]:
    """Return the commands and snippets that send the examples; one of each without examples."""
    listed: list[CodeSample] = []
    for example in examples or [RequestExample("", "")]:
        label = f" ({example.title})" if example.title else ""
        command = curl(method, path, example, has_key=has_keys)
        snippet = python(method, path, example, has_key=has_keys)
        listed.append({"lang": "Shell", "label": f"curl{label}", "source": command})
        listed.append({"lang": "Python", "label": f"Python{label}", "source": snippet})
    return listed


def as_markdown(listed: Sequence[CodeSample]) -> str:
    """Return the samples as text for the description of a route."""
    texts = []
    for sample in listed:
        texts.append(f"**{sample['label']}**\n```{sample['lang'].lower()}\n{sample['source']}\n```")
    return "\n\n".join(texts)


def curl(method: str, path: str, example: RequestExample, *, has_key: bool) -> str:
    """Return the command that sends an example."""
    parts = ["curl"]
    if method == "HEAD":
        parts.append("-I")
    if has_key:
        parts.append(f'-H "{KEY_HEADER}: $API_KEY"')
    if example.media_type == MULTIPART:
        if not has_key:
            parts.append(f"-H 'Origin: {BASE_URL}'")
        parts.append(f"-F 'file=@{CSV_FILE};type={CSV}'")
    elif example.media_type:
        parts.append(f"-H 'Content-Type: {example.media_type}'")
        data = f"@{CSV_FILE}"
        if example.media_type == JSON:
            data = "@stay.json"
        if example.media_type == JSON and example.body is not None:
            data = shlex.quote(orjson.dumps(example.body).decode())
        parts.append(f"--data-binary {data}")
    return " ".join([*parts, f"'{BASE_URL}{path}'"])


def line(path: str, address: str, *, has_key: bool) -> str:
    """Return the commands that a path takes, for who sent another method or media type.

    Args:
        path: of a route, without values of its parameters.
        address: of the API, as the caller used it.
        has_key: whether the caller needs a key.
    """
    commands = []
    for media_type in POST_PATHS.get(path, ("",)):
        commands.append(curl("GET", path, RequestExample("", media_type), has_key=has_key))
    return " or ".join(commands).replace(BASE_URL, address)


def python(method: str, path: str, example: RequestExample, *, has_key: bool) -> str:
    """Return the Python snippet that sends an example and prints the answer."""
    lines = ["import httpx  # pip install httpx", ""]
    headers = {}
    arguments = [f'"{BASE_URL}{path}"']
    if example.media_type == JSON:
        lines = [*lines, f"body = {example.body!r}"]
        arguments.append("json=body")
    elif example.media_type == MULTIPART:
        lines = [*lines, f'file = ("{CSV_FILE}", open("{CSV_FILE}", "rb"), "{CSV}")']
        arguments.append('files={"file": file}')
        if not has_key:
            headers["Origin"] = f'"{BASE_URL}"'
    elif example.media_type:
        lines = [*lines, f'body = open("{CSV_FILE}", "rb").read()']
        arguments.append("content=body")
        headers["Content-Type"] = f'"{example.media_type}"'
    if has_key:
        lines.insert(0, "import os\n")
        headers[KEY_HEADER] = 'os.environ["API_KEY"]'
    if headers:
        pairs = [f'"{name}": {value}' for name, value in headers.items()]
        arguments.append(f"headers={{{', '.join(pairs)}}}")
    lines = [*lines, f"answer = httpx.{method.lower()}({', '.join(arguments)})"]
    return "\n".join([*lines, "print(answer.status_code, answer.text)"])
