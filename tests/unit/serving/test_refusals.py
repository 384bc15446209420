"""A passing shortage refuses a model for a while; a faulty model is refused for good."""

import errno
import time

import pytest

from serving import refusals
from serving import watcher as watcher_module
from serving.bundle_loader import ModelRefused
from serving.instruments import Metrics
from serving.watcher import Watcher
from tests.support.services import wait_until
from tests.support.serving import FolderSource, read

FAULTS = {
    "memory": MemoryError(),
    "open files": OSError(errno.EMFILE, "Too many open files"),
    "disk": OSError(errno.ENOSPC, "No space left on device"),
    "onnxruntime": RuntimeError("bad allocation"),
}


class Clock:
    """Replaces time.monotonic()."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(refusals.time, "monotonic", lambda: self.now)


class Reader:
    """Reads bundles; raises the next fault first, and counts the tries."""

    def __init__(self):
        self.faults = []
        self.n_tries = 0

    def __call__(self, folder):
        self.n_tries += 1
        if self.faults:
            raise self.faults.pop()
        return read(folder)


@pytest.fixture
def world(tmp_path):
    source = FolderSource()
    source.promote(1)
    reader = Reader()
    watcher = Watcher(source, tmp_path / "models", 10, Metrics(), reader)
    watcher.check()
    source.promote(2)
    reader.n_tries = 0
    return watcher, source, reader


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_of_the_machine_is_no_fault_of_the_model(fault, world, monkeypatch):
    watcher, _, reader = world
    clock = Clock(monkeypatch)
    reader.faults = [fault, fault]
    watcher.check()
    assert (watcher.served.version.version, reader.n_tries) == ("1", 1)
    assert "tried again in 10 s" in watcher.refused["reason"]
    watcher.check()
    assert reader.n_tries == 1  # not at each look
    clock.now += 11
    watcher.check()
    assert "tried again in 20 s" in watcher.refused["reason"]
    clock.now += 21
    watcher.check()
    assert (watcher.served.version.version, watcher.refused) == ("2", None)
    assert watcher._metrics.counter("readmit_model_refusals_total")._value.get() == 1


def test_a_failed_check_is_final_and_the_folder_stays_while_it_is_loaded(world, monkeypatch):
    watcher, source, reader = world
    clock = Clock(monkeypatch)
    source.promote(2, wrong_by=1e-5)
    watcher.check()
    assert "differ" in watcher.refused["reason"]
    clock.now += 1e6
    watcher.check()
    assert reader.n_tries == 1
    assert watcher._cache.folder(source.versions["production"]).is_dir()


def test_a_standby_is_tried_again_too(world, monkeypatch):
    watcher, source, reader = world
    clock = Clock(monkeypatch)
    watcher.check()
    source.promote(3, "challenger")
    reader.faults = [MemoryError()]
    watcher.check()
    assert "challenger" not in watcher.standbys
    clock.now += 11
    watcher.check()
    assert watcher.standbys["challenger"].version.version == "3"


def test_another_copy_of_a_bundle_removes_no_files_that_are_being_read(world):
    watcher, source, _ = world
    watcher.check()
    version = source.versions["production"]
    folder = watcher._cache.folder(version)
    refusals_left = [1]

    def check_files(_, checked_folder, __):
        if checked_folder == folder and refusals_left:
            refusals_left.pop()
            raise ModelRefused("not the file that was signed")

    source.check_files = check_files
    with (folder / "contract.json").open() as contract:
        assert watcher._fetch(version, None) == folder
        assert contract.read() == (folder / "contract.json").read_text()
    others = [path for path in folder.parent.iterdir() if path.name.startswith(".partial-")]
    assert [(path / "contract.json").is_file() for path in others] == [True]


def test_a_local_copy_that_could_not_be_loaded_at_the_start_is_tried_again(tmp_path, world):
    _, source, reader = world
    source.down = True
    reader.faults = [MemoryError()]
    restarted = Watcher(source, tmp_path / "models", 0.01, Metrics(), reader)
    restarted.start()
    try:
        wait_until(lambda: restarted.served, "the local copy is not served", pause=0.01)
        assert restarted.served.version.version == "1"
        assert restarted.origin == "local copy"
    finally:
        restarted.stop()


def test_the_first_model_is_not_waited_for_until_the_next_poll(tmp_path, monkeypatch):
    """A new stack served its first model up to ten seconds after the promotion."""
    monkeypatch.setattr(watcher_module, "MODELLESS_SECONDS", 0.05)
    source = FolderSource()
    modelless = Watcher(source, tmp_path / "models", 3600, Metrics(), read)
    modelless.start()
    try:
        wait_until(lambda: modelless.registry["checked_at"], "the registry is not asked")
        assert modelless.served is None
        source.promote(1)
        wait_until(lambda: modelless.served, "the first model is not served")
        source.promote(2)
        time.sleep(0.5)
        assert modelless.served.version.version == "1"
    finally:
        modelless.stop()
