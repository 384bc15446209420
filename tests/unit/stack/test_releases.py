"""Fetching of releases from a local server, with made-up archives whose program is a small script."""

import hashlib
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from readmit.settings import ROOT
from stack import releases
from stack.releases import Limits, NotFetched, Rejected, Release
from tests.support.release_server import GOOD, PLATFORM, SCRIPT, archive, link, release, server
from tests.support.services import free_port

LINUX = ("linux-amd64", "linux-arm64")
QUICK = Limits(connect=2, silence=1, all=5)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def contents(home: Path) -> set[str]:
    """Return the names in the folder of releases, without the lock."""
    folder = releases.folder_of_releases(home)
    if not folder.exists():
        return set()
    return {path.name for path in folder.iterdir()} - {".lock"}


def test_the_list_has_every_program_for_linux() -> None:
    text = releases.LIST.read_text()
    assert not re.search(r"/(work|home|root|tmp)/", text)
    names = []
    for name, entry in releases.tomllib.loads(text).items():
        names.append(name)
        assert set(LINUX) <= set(entry["sha256"]), name
        for digest in entry["sha256"].values():
            assert re.fullmatch("[0-9a-f]{64}", digest)
        assert len(set(entry["sha256"].values())) == len(entry["sha256"])
        assert entry["url"].startswith(("https://github.com/prometheus", "https://dl.grafana.com/"))
        assert len(entry["sources"]) >= 2, name
    assert names[-1] == "grafana"  # the largest is the last


def test_a_release_is_unpacked_and_its_program_runs(tmp_path) -> None:
    with server() as (url, requests):
        path = releases.fetch(release(GOOD, url), tmp_path)
        assert subprocess.run([path], capture_output=True, check=True).stdout == b"tool 1.0\n"
        assert path == tmp_path / "programs" / "tool-1.0" / "bin" / "tool"
        assert (path.parents[1] / "conf" / "defaults.ini").read_text() == "a=1"
        assert contents(tmp_path) == {"tool-1.0"}
        assert path.stat().st_mode & 0o077 == 0
        releases.fetch(release(GOOD, url), tmp_path)
        assert requests == [f"/tool-1.0.{PLATFORM}.tar.gz"]  # once


def test_a_mirror_is_used_instead_of_the_project(tmp_path) -> None:
    with server() as (url, requests):
        releases.fetch(
            release(GOOD, "https://releases.invalid/x"), tmp_path, mirror=url + "/files/"
        )
    assert requests == [f"/files/tool-1.0.{PLATFORM}.tar.gz"]


def test_redirects_are_followed(tmp_path) -> None:
    with server() as (url, requests):
        moved = Release(
            "tool", "Tool", "1.0", "bin/tool", url + "/moved", release(GOOD, url).sha256
        )
        releases.fetch(moved, tmp_path)
    assert requests == ["/moved", "/elsewhere"]


def test_another_digest_is_an_error_and_nothing_is_left(tmp_path) -> None:
    with (
        server() as (url, _),
        pytest.raises(Rejected, match=f"has the sha256 .*, the release has {'a' * 64}"),
    ):
        releases.fetch(release(GOOD, url, digest="a" * 64), tmp_path)
    assert contents(tmp_path) == set()


def test_a_truncated_archive(tmp_path) -> None:
    with (
        server(content=GOOD[:100], announced=len(GOOD)) as (url, _),
        pytest.raises(NotFetched, match=r"127\.0\.0\.1"),
    ):
        releases.fetch(release(GOOD, url), tmp_path, limits=QUICK)
    # Without the length the end of the connection looks like the end of the file.
    with server(content=GOOD[:100]) as (url, _), pytest.raises(Rejected, match="sha256"):
        releases.fetch(release(GOOD, url), tmp_path, limits=QUICK)
    assert contents(tmp_path) == set()


@pytest.mark.parametrize("status", [403, 404, 407, 503])
def test_a_refusal_names_status_and_address(tmp_path, status) -> None:
    with (
        server(status=status) as (url, _),
        pytest.raises(NotFetched, match=f"answers {status} to {url}"),
    ):
        releases.fetch(release(GOOD, url), tmp_path, limits=QUICK)


def test_a_slow_server_is_given_up(tmp_path) -> None:
    """One byte in 0.3 s is no silence; the time of all is bounded as well."""
    began = time.monotonic()
    limits = Limits(connect=2, silence=5, all=1.5)
    with server(pause=0.3) as (url, _), pytest.raises(NotFetched, match="too slow"):
        releases.fetch(release(GOOD, url), tmp_path, limits=limits)
    with server(pause=60) as (url, _), pytest.raises(NotFetched, match=r"127\.0\.0\.1"):
        releases.fetch(release(GOOD, url), tmp_path, limits=QUICK)
    assert time.monotonic() - began < 20
    assert contents(tmp_path) == set()


def test_nobody_answers(tmp_path) -> None:
    with pytest.raises(NotFetched, match=r"127\.0\.0\.1: .*refused"):
        releases.fetch(release(GOOD, f"http://127.0.0.1:{free_port()}"), tmp_path, limits=QUICK)
    with pytest.raises(NotFetched, match=r"releases\.invalid"):
        releases.fetch(release(GOOD, "http://releases.invalid"), tmp_path, limits=QUICK)


def test_the_proxy_of_the_environment_is_used(tmp_path, monkeypatch) -> None:
    with server() as (proxy, requests):
        monkeypatch.setenv("http_proxy", proxy)
        releases.fetch(release(GOOD, "http://releases.invalid"), tmp_path)
    assert requests == [f"http://releases.invalid/tool-1.0.{PLATFORM}.tar.gz"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("http_proxy", "http://127.0.0.1:9"),
        ("ALL_PROXY", "socks5://127.0.0.1:9"),
        ("http_proxy", "nonsense://x"),
    ],
)
def test_a_proxy_that_does_not_work_is_one_line(tmp_path, monkeypatch, variable, value) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(NotFetched) as error:
        releases.fetch(release(GOOD, "http://releases.invalid"), tmp_path, limits=QUICK)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(("tool-1.0/../../evil", b"x"), id="file above the folder"),
        pytest.param(("../evil", b"x"), id="file beside the folder"),
        pytest.param(("/tmp/evil-of-an-archive", b"x"), id="absolute path"),
        pytest.param(link("tool-1.0/evil", "/etc/passwd"), id="link to an absolute path"),
        pytest.param(link("tool-1.0/evil", "../../../etc"), id="link above the folder"),
        pytest.param(
            link("tool-1.0/evil", "/etc/passwd", tarfile.LNKTYPE),
            id="hard link to an absolute path",
        ),
        pytest.param(
            link("tool-1.0/evil", "../evil", tarfile.LNKTYPE), id="hard link beside the folder"
        ),
    ],
)
def test_an_archive_that_reaches_outside_is_rejected(tmp_path, entry) -> None:
    content = archive(("tool-1.0/bin/tool", SCRIPT), entry)
    home = tmp_path / "home"
    home.mkdir()
    with server(content=content) as (url, _), pytest.raises(Rejected, match="archive"):
        releases.fetch(release(content, url), home)
    assert contents(home) == set()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    assert not Path("/tmp/evil-of-an-archive").exists()


def test_links_within_the_archive_are_never_followed(tmp_path) -> None:
    content = archive(
        ("tool-1.0/bin/tool", SCRIPT),
        link("tool-1.0/inside", "bin"),
        ("tool-1.0/inside/file", b"x"),
    )
    with server(content=content) as (url, _):
        path = releases.fetch(release(content, url), tmp_path)
    assert not (path.parents[1] / "inside").is_symlink()
    assert not (path.parent / "file").exists()


@pytest.mark.parametrize(
    "content", [b"<html>log in</html>", GOOD[: len(GOOD) // 2], b""], ids=["page", "half", "empty"]
)
def test_a_file_that_is_no_archive_is_rejected(tmp_path, content) -> None:
    with server(content=content) as (url, _), pytest.raises(Rejected, match="archive"):
        releases.fetch(release(content, url), tmp_path)
    assert contents(tmp_path) == set()


def test_a_release_without_its_program_is_rejected(tmp_path) -> None:
    content = archive(("tool-1.0/other", SCRIPT))
    with (
        server(content=content) as (url, _),
        pytest.raises(Rejected, match="does not contain tool"),
    ):
        releases.fetch(release(content, url), tmp_path)


@pytest.mark.parametrize(
    "script", [b"\x7fELF of another kind", b"#!/bin/sh\necho cannot >&2; exit 3\n"]
)
def test_a_program_that_does_not_run_here_is_left_out(tmp_path, script) -> None:
    content = archive(("tool-1.0/bin/tool", script))
    with (
        server(content=content) as (url, _),
        pytest.raises(NotFetched, match="does not run on this machine"),
    ):
        releases.fetch(release(content, url), tmp_path)
    assert contents(tmp_path) == set()


def test_a_full_or_closed_disk_is_left_out(tmp_path) -> None:
    (tmp_path / "programs").write_text("a file is in the way")
    with server() as (url, _), pytest.raises(NotFetched, match="programs"):
        releases.fetch(release(GOOD, url), tmp_path)


def test_a_new_version_replaces_the_earlier_one_and_no_other(tmp_path) -> None:
    (tmp_path / "programs" / "tool-0.9").mkdir(parents=True)
    (tmp_path / "programs" / "tools-0.9").mkdir()
    with server() as (url, _):
        releases.fetch(release(GOOD, url), tmp_path)
    assert contents(tmp_path) == {"tool-1.0", "tools-0.9"}


def test_two_runs_at_once_download_once(tmp_path) -> None:
    with server() as (url, requests), ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: releases.fetch(release(GOOD, url), tmp_path), range(4)))
    assert len(set(paths)) == len(requests) == 1
    assert contents(tmp_path) == {"tool-1.0"}


KILLED = """
import sys
from pathlib import Path
from typing import ClassVar
from stack import releases
def stop(program, url):
    print("unpacked", flush=True)
    sys.stdin.read()
releases._try_out = stop
wanted = releases.Release("tool", "Tool", "1.0", "bin/tool", sys.argv[1], {releases.this_platform(): sys.argv[2]})
releases.fetch(wanted, Path(sys.argv[3]))
"""


def test_a_run_that_is_killed_leaves_nothing_that_counts(tmp_path) -> None:
    digest = hashlib.sha256(GOOD).hexdigest()
    with server() as (url, requests):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, url + "/tool", digest, str(tmp_path)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"unpacked\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.communicate()
        assert not release(GOOD, url).is_fetched(tmp_path)
        assert len(contents(tmp_path)) == 1  # what it had unpacked
        releases.fetch(release(GOOD, url), tmp_path)
        assert contents(tmp_path) == {"tool-1.0"}
        assert len(requests) == 2
