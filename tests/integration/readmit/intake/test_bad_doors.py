"""What comes by a link or into the inbox; docs/bad-input.md has the verdicts.

Write them there: READMIT_WRITE_DOCS=1 python -m pytest
tests/integration/readmit/intake/test_bad_doors.py
"""

import gzip
import os
from pathlib import Path
from zipfile import ZipFile

import pytest

from readmit import storage
from readmit.errors import SourceRefused, SourceUnreachable
from readmit.intake import download, inbox, inbox_files, inbox_results, sample
from readmit.intake.share_links import file_address
from tests.support import raw
from tests.support.bad_input_page import check_section, table
from tests.support.file_server import Server, serving
from tests.support.links import SHARE_LINKS

QUOTA = b"<title>Google Drive - Quota exceeded</title>"
CONFIRM = (
    b'<form id="download-form" action="/file.csv"><input type="hidden" name="id" value="1"></form>'
)
ROWS = b"encounter_id\n1\n"
# What the server does, its status, its media type and its body.
ANSWERS = [
    ("the file", 200, "text/csv", ROWS),
    ("Drive's page before a large file", 200, "text/html", CONFIRM),
    ("Drive's quota page", 200, "text/html", QUOTA),
    ("a page to log in", 200, "text/html", b"<html>Sign in</html>"),
    ("nothing (204)", 204, "text/csv", b""),
    ("a part of the file (206)", 206, "text/csv", ROWS),
    ("not ready yet (202)", 202, "text/csv", b""),
    ("no such file (404)", 404, "text/plain", b""),
    ("not allowed (403)", 403, "text/plain", b""),
    ("too many requests (429)", 429, "text/plain", b""),
    ("an error of its own (500)", 500, "text/plain", b""),
    ("a redirect to itself", 302, "redirect/loop", b""),
    ("a redirect to a file of this machine", 302, "redirect/file", b""),
    ("half of the file", 200, "cut/off", ROWS),
    ("other bytes than gzip, called gzip", 200, "not/gzip", ROWS),
]
# Nobody reads them: what becomes of each.
LEFT_ALONE = {
    ".hidden.csv": "a hidden file",
    "export.csv.part": "a part of a file",
    "link.csv": "a link",
    "folder.csv": "a folder",
    "pipe.csv": "a pipe",
    "open.csv": "a file that a program writes to",
}


def test_page_lists_links_and_answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = []
    for title, link, address in SHARE_LINKS:
        assert file_address(link) == address
        rows.append([title, f"`{link}`", f"downloaded: `{address}`"])
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        Server.answers["/file.csv"] = [(200, "text/csv", ROWS)]
        for title, status, media_type, body in ANSWERS:
            path = "/of%20the%20ward%20%231.csv"  # a name with blanks and a #
            Server.answers[path] = [(status, media_type, body)]
            rows.append([f"a server answers with {title}", "", outcome(server + path, tmp_path)])
    rows.append(["nobody answers", "", outcome("http://127.0.0.1:9/a.csv", tmp_path)])
    check_section("Links", table(["what", "link", "verdict"], rows))


def outcome(address: str, folder: Path) -> str:
    try:
        download.download(address, folder / "file", attempts=1)
    except (SourceRefused, SourceUnreachable) as problem:
        kind = "refused" if isinstance(problem, SourceRefused) else "tried 4 times, then"
        text = str(problem).removeprefix(f"{address}: ")
        return f"{kind}: {text}".replace("after 1 attempts", "after 4 attempts")
    assert (folder / "file").read_bytes() == ROWS
    return "downloaded"


def test_page_lists_files_of_the_inbox(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "inbox"
    folder.mkdir()
    settings = raw.fresh(tmp_path / "home", inbox=folder)
    raw.stand_in_tables(settings)
    sample.write_csv(tmp_path / "good.csv", n_rows=60)
    good = (tmp_path / "good.csv").read_bytes()
    first_rows = b"".join(good.splitlines(keepends=True)[:31])
    with ZipFile(tmp_path / "book.xlsx", "w") as workbook:
        workbook.writestr("xl/workbook.xml", "")
    contents = [
        ("ward 3 #1 100 %?.csv", "blanks, `#`, `%` and `?` in the name", good),
        ("copy.csv", "the same content under another name", good),
        ("export.csv.gz", "the same content, packed", gzip.compress(good)),
        ("part.csv", "rows that another file has brought", first_rows),
        ("book.csv", "a workbook that is called .csv", (tmp_path / "book.xlsx").read_bytes()),
        ("header.csv", "a header and no rows", good.splitlines(keepends=True)[0]),
        ("cut.csv", "a file that is cut off", good[:-30]),
        (os.fsdecode(b"a\xf1o.csv"), "a name that is no text", good),
    ]
    for n, (name, _, content) in enumerate(contents):
        (folder / name).write_bytes(content)
        os.utime(folder / name, (n, n))
    leave_alone(folder, good)
    s3 = storage.client("admin", settings)
    for file in inbox_files.bucket_files(settings):  # of other tests
        s3.delete_object(Bucket=settings.s3_pipeline_bucket, Key=file.key)
    with (folder / "open.csv").open("ab"):
        inbox.submit_new_files(settings)
    results = {result["name"]: result for result in inbox_results.write_results(settings)}
    rows = []
    for name, title, _ in contents:
        result = results.pop(inbox_files.printable(name))
        rows.append([title, result["state"], result["reason"] or ""])
    for name, title in LEFT_ALONE.items():
        assert name not in results
        state = "waits for the next run" if name == "open.csv" else "left alone"
        rows.append([title, state, ""])
    check_section("The inbox", table(["file", "state", "reason"], rows))
    for name in ("link.csv", "pipe.csv"):
        assert f"inbox: {name} is a link or a pipe" in caplog.text


def leave_alone(folder: Path, content: bytes) -> None:
    """Make the entries that nobody reads."""
    for name in (".hidden.csv", "export.csv.part", "open.csv"):
        (folder / name).write_bytes(content)
    (folder / "link.csv").symlink_to(folder / "copy.csv")
    (folder / "folder.csv").mkdir()
    os.mkfifo(folder / "pipe.csv")
