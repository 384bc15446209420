"""Which rows of a file an earlier file has brought, and which of them it brings with other values.

A nightly export holds all old rows and a few new ones. A row is known when a batch has it that is
published, waits or is in work, in quarantine or not. A row of a known stay with other values
becomes a proposal, which a person accepts or dismisses (`readmit.batches.proposals`); it is never
loaded.
"""

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from psycopg2.extensions import cursor
from psycopg2.extras import execute_values

from readmit.intake.csv_fields import values_of
from readmit.intake.csv_rows import Block, NumberedRow
from readmit.intake.layout import LANDING_COLUMNS
from readmit.intake.row_digests import digest_of, encounter_key

# Rows of other files with these stays. Batches of the file itself end with the first digits of its
# sha256; its own repeated rows are judged by the rules for rows.
KNOWN = """
    select encounter_key, replace(digest::text, '-', ''), batch_id, batch_row
    from landing.known_rows
    where encounter_key = any(%s) and right(batch_id, 8) <> %s
    order by is_published desc, batch_row
"""
INSERT_PROPOSALS = """
    insert into landing.proposals
        (source_sha256, source_row, batch_id, batch_row, encounter_key, digest, new_values)
    values %s
"""


class KnownRow(NamedTuple):
    """A row of an earlier file: its batch and its number in that file."""

    batch_id: str
    batch_row: int


class KnownRows:
    """Tells the rows of one file that are new from those that are known or changed.

    Attributes:
        n_known: rows so far that equal a row of an earlier file.
        n_changed: rows so far that have other values than the same stay in an earlier file.
    """

    def __init__(self, cur: cursor, source_sha256: str) -> None:
        self.n_known = 0
        self.n_changed = 0
        self._cursor = cur
        self._source_sha256 = source_sha256
        cur.execute("select exists (select from landing.sources)")
        [(self._has_earlier_files,)] = cur.fetchall()

    def new_rows(self, blocks: Iterable[Block]) -> Iterator[NumberedRow]:
        """Yield the rows of a file that no earlier file has brought, and write the proposals.

        Args:
            blocks: all rows of the file in canonical form. One block is in memory at a time.
        """
        for block in blocks:
            if self._has_earlier_files:
                yield from self._new_rows_of(block)
            else:
                yield from block.numbered()

    def _new_rows_of(self, block: Block) -> list[NumberedRow]:
        keys = [encounter_key(line) for line in block.lines]
        self._cursor.execute(KNOWN, ([*{*keys}], self._source_sha256[:8]))
        # The row that a change would correct comes first.
        known_rows: dict[str, dict[str, KnownRow]] = {}
        for key, digest, batch_id, batch_row in self._cursor:
            of_stay = known_rows.setdefault(key, {})
            of_stay.setdefault(digest, KnownRow(batch_id, batch_row))
        new_rows = []
        proposals = []
        for (row, line), key in zip(block.numbered(), keys, strict=True):
            known_digests = known_rows.get(key)
            digest = digest_of(line)
            if known_digests is not None and digest in known_digests:
                self.n_known += 1
            elif known_digests is not None and key:
                changed = next(iter(known_digests.values()))
                known_digests[digest] = changed
                values = [value.decode() for value in values_of(line)]
                new_values = json.dumps(dict(zip(LANDING_COLUMNS, values, strict=True)))
                proposals.append((self._source_sha256, row, *changed, key, digest, new_values))
            else:
                new_rows.append((row, line))
        if proposals:
            self.n_changed += len(proposals)
            execute_values(self._cursor, INSERT_PROPOSALS, proposals)
        return new_rows
