"""Changed rows of later files: list them, accept them as corrections, or dismiss them.

A file may hold a stay that was loaded before, with other values. The row is not loaded: it is a
proposal (`landing.proposals`). Accepted, it becomes a correction of the row in RAW and goes through
the queue; when it is published, its values take the place of the ones before.
"""

import argparse
import getpass
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from psycopg2.extensions import cursor

from readmit import db
from readmit.batches import corrections
from readmit.batches.corrections import ReleaseRefused
from readmit.command import explained
from readmit.inherited_environment import forget_the_shell
from readmit.settings import PipelineSettings

MAX_LISTED = 50

# A rejected batch has no rows that could be corrected: its corrected resend brings them.
OPEN = """
    from landing.proposals
    left join landing.batches on proposals.batch_id = batches.batch_id
    left join landing.encounters
        on
            proposals.batch_id = encounters._batch_id
            and proposals.batch_row = encounters._source_row
    where
        state = 'open'
        and coalesce(batches.status, 'waiting') in ('waiting', 'loaded', 'published')
"""


@dataclass(frozen=True)
class Proposal:
    """A row of a later file that has other values than the same stay in RAW.

    Attributes:
        proposal_id: by which a person names it.
        batch_id: batch of the row that it would change.
        batch_row: number of that row in the file of the batch.
        changes: old and new text by column; None while the batch waits to be loaded.
    """

    proposal_id: int
    batch_id: str
    batch_row: int
    changes: dict[str, tuple[str, str]] | None

    def __str__(self) -> str:
        """Return one line for a listing."""
        subject = f"proposal {self.proposal_id}: {self.batch_id}, row {self.batch_row}"
        if self.changes is None:
            return f"{subject}: its batch waits"
        changes = [f"{name} {old} -> {new}" for name, (old, new) in self.changes.items()]
        return f"{subject}: {', '.join(changes) or 'as it came first'}"


def open_proposals(settings: PipelineSettings, limit: int = MAX_LISTED) -> list[Proposal]:
    """Return the proposals that nobody has decided, oldest first."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        return _select(cur, "order by proposal_id limit %s", limit)


def count_open(settings: PipelineSettings) -> int:
    """Count the proposals that nobody has decided."""
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        cur.execute(f"select count(*) {OPEN}")
        [(n_open,)] = cur.fetchall()
    return int(n_open)


def listing(settings: PipelineSettings) -> str:
    """Return the open proposals as text, one on a line."""
    lines = [str(proposal) for proposal in open_proposals(settings)]
    n_more = count_open(settings) - len(lines)
    if n_more > 0:
        lines.append(f"and {n_more} more")
    return "\n".join(lines) or "no changed rows are proposed"


def accept(proposal_id: int, accepted_by: str, settings: PipelineSettings) -> str:
    """Release the values of a proposal as a correction of the row in RAW.

    May be repeated: after a crash the correction that was recorded is found again.

    Args:
        proposal_id: an open proposal.
        accepted_by: who answers for it; stands in the records for good.
        settings: where the databases are.

    Returns:
        The build that the correction waits in.

    Raises:
        ReleaseRefused: there is no such open proposal, its batch is not published, or its values
            are not allowed.
    """
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        proposal = _lock(cur, proposal_id)
        if proposal.changes is None:
            raise ReleaseRefused(f"proposal {proposal_id}: its batch is not published yet")
        new_values = {name: new for name, (_, new) in proposal.changes.items()}
        build_id = corrections.replace(
            proposal.batch_id, proposal.batch_row, new_values, accepted_by, settings
        )
        cur.execute(
            "update landing.proposals set state = 'accepted', build_id = %s, decided_by = %s,"
            " decided_at = clock_timestamp() where proposal_id = %s",
            (build_id, accepted_by, proposal_id),
        )
        return build_id


def dismiss(proposal_id: int, dismissed_by: str, settings: PipelineSettings) -> None:
    """Decide that the row stays as it is; files that hold the same values again change nothing.

    Raises:
        ReleaseRefused: there is no such open proposal, or nobody answers for it.
    """
    if not dismissed_by.strip():
        raise ReleaseRefused("a decision needs the name of the person who answers for it")
    with db.transaction("loader", settings.raw_database, settings) as raw, raw.cursor() as cur:
        _lock(cur, proposal_id)
        cur.execute(
            "update landing.proposals set state = 'dismissed', decided_by = %s,"
            " decided_at = clock_timestamp() where proposal_id = %s",
            (dismissed_by, proposal_id),
        )


def _lock(cur: cursor, proposal_id: int) -> Proposal:
    """Return an open proposal; nobody else can decide it until the transaction ends."""
    cur.execute("select from landing.proposals where proposal_id = %s for update", (proposal_id,))
    proposals = _select(cur, "and proposal_id = %s", proposal_id)
    if not proposals:
        raise ReleaseRefused(
            f"proposal {proposal_id}: no such proposal is open;"
            " see `python -m readmit.batches.proposals list`"
        )
    return proposals[0]


def _select(cur: cursor, condition: str, value: int) -> list[Proposal]:
    cur.execute(
        "select proposal_id, proposals.batch_id, batch_row, new_values, to_jsonb(encounters)"
        f" {OPEN} {condition}",
        (value,),
    )
    proposals = []
    for proposal_id, batch_id, batch_row, new_values, row in cur.fetchall():
        changes = None
        if row is not None:
            changes = {
                column: (row[column], new)
                for column, new in new_values.items()
                if row[column] != new
            }
        proposals.append(Proposal(int(proposal_id), str(batch_id), int(batch_row), changes))
    return proposals


def _numbers(texts: Iterable[str]) -> list[int]:
    """Return the numbers that `3`, `5-9` and the like name."""
    numbers: list[int] = []
    for text in texts:
        first, _, last = text.partition("-")
        if not first.isdigit() or not (last or first).isdigit():
            raise ReleaseRefused(f"{text}: write the number of a proposal, or 5-9")
        numbers += range(int(first), int(last or first) + 1)
    return numbers


@explained
def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: `list`, `accept NUMBER ...`, `dismiss NUMBER ...`."""
    parser = argparse.ArgumentParser(
        prog="python -m readmit.batches.proposals",
        description="Rows of later files with other values than were loaded.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="proposals that nobody has decided")
    accepting = commands.add_parser("accept", help="correct the loaded rows")
    dismissing = commands.add_parser("dismiss", help="leave the loaded rows as they are")
    for command in (accepting, dismissing):
        command.add_argument("numbers", nargs="+", metavar="NUMBER", help="as 3, or 5-9")
        command.add_argument(
            "--by", default=getpass.getuser(), help="who answers for it (default: the user)"
        )
    options = parser.parse_args(arguments)
    settings = PipelineSettings()
    if options.command == "list":
        print(listing(settings))
        return 0
    for number in _numbers(options.numbers):
        if options.command == "accept":
            build_id = accept(number, options.by, settings)
            print(f"proposal {number} waits in {build_id}")
        else:
            dismiss(number, options.by, settings)
            print(f"proposal {number} is dismissed")
    return 0


if __name__ == "__main__":
    forget_the_shell()
    sys.exit(main())
