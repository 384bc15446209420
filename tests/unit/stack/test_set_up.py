"""dbt writes its manifest when its project is newer, or when nobody can tell."""

import os
import time

import pytest

from readmit.settings import StackSettings
from stack import set_up

DAY = 86_400


@pytest.mark.parametrize(
    ("written_at", "is_renewed"),
    [("never", True), ("before the project", True), ("today", False), ("tomorrow", True)],
)
def test_the_manifest_is_renewed_unless_it_is_newer_than_the_project(
    written_at, is_renewed, tmp_path, monkeypatch
):
    """It is of tomorrow when the clock was put back: changes of today would look older."""
    times = {"before the project": 0, "today": time.time() - 1, "tomorrow": time.time() + DAY}
    project = tmp_path / "dbt_project"
    project.mkdir()
    (project / "model.sql").write_text("select 1")
    os.utime(project / "model.sql", (DAY, DAY))
    if written_at in times:
        (tmp_path / "manifest.json").write_text("{}")
        os.utime(tmp_path / "manifest.json", (times[written_at], times[written_at]))
    commands = []
    monkeypatch.setenv("DBT_TARGET_PATH", str(tmp_path))
    monkeypatch.setattr(set_up, "DBT_PROJECT", project)
    monkeypatch.setattr(set_up, "run", lambda command, settings: commands.append(command))
    assert set_up.begin_manifest(StackSettings()).result() == is_renewed
    assert commands == [set_up.DBT_MANIFEST] * is_renewed
