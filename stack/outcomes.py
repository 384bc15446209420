"""What became of the builds of a run: a table at the end, and the reason that rejections share."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from readmit import db
from readmit.batches.builds import Build, Kind
from readmit.errors import BatchRejected
from readmit.settings import StackSettings

MAX_REASON_CHARACTERS = 160
PAGE = re.compile(r" \(details: (\S+)\)")

# A batch whose rows another batch has published has the status "published elsewhere".
BATCHES = """
    select batch_id, status, coalesce(reason, '') from landing.overview where batch_id = any(%s)
"""
CORRECTIONS = """
    select build_id, 'published', '' from ops.published_batches
    where kind = 'correction' and build_id = any(%(builds)s)
    union all
    select build_id, 'rejected', reason from ops.rejected_builds where build_id = any(%(builds)s)
"""
# A rebuild has the name of a published build; it is no longer listed once the mart has switched.
REBUILDS = """
    select
        build_id, case when reason is null then 'waiting' else 'rejected' end, coalesce(reason, '')
    from ops.rebuilds where build_id = any(%s) and verified_at is null
"""


class Outcome(NamedTuple):
    """What became of a build; `reason` is empty unless the verdict is "rejected"."""

    build_id: str
    kind: Kind
    verdict: str
    reason: str

    def first_reason(self) -> str:
        """Return the first of the reasons, without the name of the build and its page."""
        reason = PAGE.sub("", self.reason)
        reason = reason.replace(f"batch {self.build_id}: ", "").replace(f"{self.build_id}: ", "")
        return reason.partition("; ")[0]


def outcomes_of(builds: Sequence[Build], settings: StackSettings) -> list[Outcome]:
    """Return the verdicts on builds in their order; one that has none yet is "waiting"."""
    build_ids = [build.build_id for build in builds]
    with db.transaction("reader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(BATCHES, (build_ids,))
        rows = cur.fetchall()
    with (
        db.transaction("reader", settings.clean_database, settings) as clean,
        clean.cursor() as cur,
    ):
        cur.execute(CORRECTIONS, {"builds": build_ids})
        rows += cur.fetchall()
        cur.execute(REBUILDS, (build_ids,))
        rebuilds = {str(build_id): (verdict, reason) for build_id, verdict, reason in cur}
    verdicts = {str(build_id): (str(status), str(reason)) for build_id, status, reason in rows}
    outcomes = []
    for build in builds:
        verdict, reason = verdicts.get(build.build_id, ("waiting", ""))
        if build.kind == "rebuild":
            verdict, reason = rebuilds.get(build.build_id, ("published", ""))
        outcomes.append(Outcome(build.build_id, build.kind, verdict, reason))
    return outcomes


def count(outcomes: Sequence[Outcome], kind: Kind) -> int:
    """Count the outcomes of one kind of build."""
    return sum(outcome.kind == kind for outcome in outcomes)


def count_published(outcomes: Sequence[Outcome]) -> int:
    """Count the builds that were published."""
    return sum(outcome.verdict == "published" for outcome in outcomes)


def summary(outcomes: Sequence[Outcome]) -> str:
    """Return one line: how many batches and corrections there were, by verdict."""
    batches = count(outcomes, "batch")
    corrections = count(outcomes, "correction")
    line = f"{batches} batch{'' if batches == 1 else 'es'}"
    if n_rebuilds := count(outcomes, "rebuild"):
        line += f", {n_rebuilds} rebuilt for the new contract"
    if corrections:
        line += f" and {corrections} correction{'' if corrections == 1 else 's'}"
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    parts = [f"{n} {verdict}" for verdict, n in verdicts.most_common()]
    return f"{line}: {', '.join(parts) or 'nothing was waiting'}"


def table(outcomes: Sequence[Outcome], settings: StackSettings) -> Table:
    """Return a table with the verdict, the first reason and the page of each build."""
    rows = Table("batch", "verdict", "first reason", "page", box=None, pad_edge=False)
    for outcome in outcomes:
        page = ""
        linked = PAGE.search(outcome.reason)
        if linked:
            page = linked[1]
        elif outcome.verdict == "published":
            page = f"{settings.page('docs')}/gx/{outcome.build_id}/publish.html"
        reason = outcome.first_reason()
        if len(reason) > MAX_REASON_CHARACTERS:
            reason = reason[: MAX_REASON_CHARACTERS - 1] + "…"
        rows.add_row(outcome.build_id, outcome.verdict, Text(reason), page)
    return rows


def stop_if_all_rejected(
    outcomes: Sequence[Outcome], settings: StackSettings, console: Console
) -> None:
    """End a run that has published nothing because every build was rejected.

    Raises:
        BatchRejected: all builds were rejected; the message has the reason that most of them have.
    """
    rejected = [outcome for outcome in outcomes if outcome.verdict in ("rejected", "superseded")]
    if not rejected:
        return
    console.print(table(outcomes, settings))
    if len(rejected) < len(outcomes):
        return
    kinds = Counter(_kind_of_reason(outcome) for outcome in rejected)
    kind, n_shared = kinds.most_common(1)[0]
    reason = ""
    for outcome in rejected:
        if _kind_of_reason(outcome) == kind:
            reason = outcome.first_reason()
            break
    subject = f"all {len(rejected)} batches were rejected"
    if len(rejected) == 1:
        subject = "the only batch was rejected"
    if n_shared < len(rejected):
        subject += f", {n_shared} of them for one reason"
    raise BatchRejected(f"{subject}: {reason}")


def _kind_of_reason(outcome: Outcome) -> str:
    """Return the column and the rule of the first reason: numbers differ from batch to batch."""
    return outcome.first_reason().partition(" {")[0]
