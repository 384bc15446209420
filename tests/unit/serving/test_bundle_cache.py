"""The folder of bundles stays small, and never loses one that is in use."""

import os
import time

import pytest

from serving import bundle_cache
from serving.instruments import Metrics
from serving.watcher import Watcher
from tests.support.serving import FolderSource, read


@pytest.fixture
def watched(tmp_path):
    source = FolderSource()
    return Watcher(source, tmp_path / "models", 10, Metrics(), read), source, tmp_path / "models"


def folders(home):
    return {path.name.split("-")[1] for path in home.iterdir() if path.is_dir()}


def aged(home, seconds):
    """Make everything look older, so that the order of what comes next does not hang on the clock's
    steps.
    """
    for path in home.iterdir():
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - seconds))


def test_many_promotions_leave_the_last_bundles_and_those_in_use(watched):
    watcher, source, home = watched
    source.promote(0, "previous")
    for number in range(1, 31):
        source.promote(number)
        watcher.check()
        assert watcher.served.version.version == str(number)
        assert len(folders(home)) <= bundle_cache.KEPT + 2
        aged(home, 10)
    assert folders(home) == {"0", "26", "27", "28", "29", "30"}
    assert watcher.standbys["previous"].model().version.version == "0"


def test_a_version_that_is_used_again_counts_as_new(watched):
    watcher, source, home = watched
    for number in (1, 2, 3, 4, 5, 1, 6, 7):
        source.promote(number)
        watcher.check()
        aged(home, 10)
    assert folders(home) == {"1", "4", "5", "6", "7"}


def test_remains_of_a_download_go_and_a_running_one_stays(tmp_path):
    for name in ("old", "running"):
        (tmp_path / f"{bundle_cache.PARTIAL}{name}").mkdir()
    long_ago = time.time() - 2 * bundle_cache.ABANDONED_SECONDS
    os.utime(tmp_path / f"{bundle_cache.PARTIAL}old", (long_ago, long_ago))
    assert bundle_cache.prune(tmp_path, ()) == [f"{bundle_cache.PARTIAL}old"]
    assert (tmp_path / f"{bundle_cache.PARTIAL}running").is_dir()
