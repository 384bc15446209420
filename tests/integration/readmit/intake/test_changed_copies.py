"""A changed copy is refused before anything of it is stored, and loaded when it is forced."""

from pathlib import Path

import pytest

from readmit import storage
from readmit.errors import SourceRefused
from readmit.intake import sample, sources
from readmit.ops.bootstrap import bootstrap
from readmit.settings import StackSettings
from tests.support import raw


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Write what `read_csv(...).to_csv(...)` makes of the source."""
    path = tmp_path / "copy.csv"
    sample.write_csv(path, n_rows=300)
    path.write_bytes(path.read_bytes().replace(b",None,", b",,").replace(b",None,", b",,"))
    return path


def stored(settings: StackSettings) -> list[str]:
    answer = storage.client("admin", settings).list_objects_v2(
        Bucket=settings.s3_pipeline_bucket, Prefix="source/"
    )
    return [item["Key"] for item in answer.get("Contents", [])]


def test_changed_copy_is_refused_and_can_be_forced(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = raw.fresh(tmp_path, dataset=str(copy))
    monkeypatch.setattr(sources, "PipelineSettings", lambda: settings)
    before = stored(settings)
    with pytest.raises(SourceRefused, match=r"max_glu_serum is empty in .* keep_default_na=False"):
        sources.ensure_source(settings)
    assert sources.main(["submit", "--", str(copy)]) == 1
    assert "FORCE=1 loads it" in capsys.readouterr().err
    assert stored(settings) == before
    assert sources.main(["submit", "--force", "--", str(copy)]) == 0
    assert "read as: comma; UTF-8; CR LF" in capsys.readouterr().out
    assert sources.ensure_source(settings)  # it is registered: no second refusal
    waiting = "select count(*) from landing.open_slices"
    assert raw.query(settings, settings.raw_database, waiting) == [(3,)]


def test_database_of_an_earlier_release_gets_the_column(tmp_path: Path) -> None:
    settings = raw.fresh(tmp_path)
    # It counted no versions of its schema.
    for statement in (
        "alter table landing.sources drop column source_dialect",
        "alter table landing.sources drop column n_known, drop column n_changed",
        "alter table landing.slices drop column n_erased cascade",
        "alter table landing.batches drop column n_erased cascade",
        "drop table landing.row_digests, landing.proposals, landing.downloads, landing.erasures,"
        " landing.inbox cascade",
        "drop table landing.alembic_version",
    ):
        raw.query(settings, settings.raw_database, statement)
    bootstrap(settings)
    path = tmp_path / "sample.csv"
    sample.write_csv(path, n_rows=60)
    sources.submit(str(path), settings)
    query = "select source_dialect from landing.sources"
    assert raw.query(settings, settings.raw_database, query) == [("comma; UTF-8; CR LF",)]
