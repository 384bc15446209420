"""Recognise known copies of the source by the values of their columns, before anything is loaded.

A tool that reads the file and writes it again often changes values: pandas takes "None" for a
missing value, for example. The gates would reject such batches one after the other.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from readmit.errors import SourceRefused
from readmit.intake.csv_rows import Block
from readmit.intake.layout import COLUMNS, DRUGS
from readmit.intake.source_values import DIAGNOSES, DOMAINS, DOSES, NUMBERS

# Shares of fewer rows mean nothing: a corrected resend may have a handful.
MIN_ROWS = 20
# Rows of a block that are counted, evenly spread: a share of half the rows shows in any of them.
SAMPLED_ROWS = 2_000
# Above this share of a column the file is another copy; below it the raw gate looks at each batch.
MAX_SHARE = 0.5
# The label has few values, and one that is written otherwise is never a single mistake.
MAX_LABEL_SHARE = 0.2
MAX_NAMES = 3  # columns listed in a message

# How tools write a missing value. "None" is a value of the source: no test was taken.
MISSING = frozenset(
    (
        *(b"", b"nan", b"null", b"na", b"n/a", b"<na>", b"nat", b"."),
        *(rb"\n", b"#n/a", b"(null)", b"<null>", b"[null]", b"nil", b"missing", b"-", b"--"),
    )
)
MARK = b"?"  # how the source writes a missing value
MARKED_MOST = "weight"  # 97 % of the public file
BINARY_LABELS = frozenset(
    (b"0", b"1", b"0.0", b"1.0", b"true", b"false", b"yes", b"no", b"y", b"n")
)
FLOAT = re.compile(rb"[+-]?\d+\.0*")
NONE_COLUMNS = ("max_glu_serum", "A1Cresult")
KEEP_TEXT = "save with read_csv(..., dtype=str, keep_default_na=False)"
IN_SQL = "a database wrote its own word: export coalesce(column, '?')"
# Tools other than pandas that show themselves by how they write a missing value.
KEEP_TEXT_IN: dict[bytes, str] = {
    b"na": 'in R read with read.csv(..., colClasses = "character", na.strings = character())',
    b".": "in SAS read all columns as text; it writes . for a missing number",
    **dict.fromkeys((b"null", rb"\n", b"(null)", b"[null]"), IN_SQL),
}


class Profile:
    """Counts over the values of a sample of the rows so far, by column."""

    def __init__(self) -> None:
        self.n_rows = 0
        self.n_marks = 0
        self.n_missing: Counter[str] = Counter()
        self.n_spellings: Counter[bytes] = Counter()  # of missing values
        self.n_float: Counter[str] = Counter()
        self.n_other: Counter[str] = Counter()  # values that this column of the source never has
        self.n_spaced: Counter[str] = Counter()  # of these, the ones with blanks around a right one
        self.n_binary_labels = 0

    def add(self, block: Block) -> None:
        """Count the values of a block of rows in canonical form."""
        step = 1 + len(block.lines) // SAMPLED_ROWS
        self.n_rows += len(block.lines[::step])
        for column, values in zip(COLUMNS, block.columns, strict=True):
            is_expected = _RULES.get(column)
            for value, n in Counter(values[::step]).items():
                if value == MARK:
                    self.n_marks += n
                elif value.lower() in MISSING:
                    self.n_missing[column] += n
                    self.n_spellings[value.lower()] += n
                elif is_expected is not None and not is_expected(value):
                    self.n_other[column] += n
                    if is_expected(value.strip()):
                        self.n_spaced[column] += n
                    if column in NUMBERS and FLOAT.fullmatch(value):
                        self.n_float[column] += n
                    if column == "readmitted" and value.lower() in BINARY_LABELS:
                        self.n_binary_labels += n

    def problems(self) -> list[str]:
        """Return why this is not the source as it came, and what to do; empty if it may be."""
        if self.n_rows < MIN_ROWS:
            return []
        problems = []
        keep_text = self._keep_text()
        missing = self._above(self.n_missing, [*_RULES])
        if missing:
            cause = "the source always fills it; submit the original file"
            if not set(missing).isdisjoint(NONE_COLUMNS):
                cause = f"pandas reads 'None' as missing; {keep_text}"
            problems.append(f"{self._shares(missing, self.n_missing, 'empty')}; {cause}")
        elif self.n_marks == 0 and self._above(self.n_missing, [MARKED_MOST]):
            share = self._shares([MARKED_MOST], self.n_missing, "empty")
            problems.append(f"{share} and '?' stands nowhere: '?' was read as missing; {keep_text}")
        if self.n_binary_labels > MAX_LABEL_SHARE * self.n_rows:
            problems.append(
                "readmitted holds 0/1 or yes/no; the source writes NO, <30 and >30: "
                "submit the original file"
            )
        floats = self._above(self.n_float, [*NUMBERS])
        if floats:
            shares = self._shares(floats, self.n_float, "written like 5.0")
            problems.append(f"{shares}; a tool read whole numbers as floats; {keep_text}")
        spaced = self._above(self.n_spaced, [*_RULES])
        if spaced:
            shares = self._shares(spaced, self.n_spaced, "written with blanks around its value")
            problems.append(f"{shares}; save the values without blanks around them")
        named = {*floats, *spaced}
        if self.n_binary_labels:
            named.add("readmitted")
        others = [name for name in self._above(self.n_other, [*_RULES]) if name not in named]
        if others:
            shares = self._shares(others, self.n_other, "not a value of the source")
            problems.append(f"{shares}; was the file encoded, or are columns mixed up?")
        return problems

    def _keep_text(self) -> str:
        """Return how the tool that wrote this copy keeps all values as they are."""
        for spelling, _ in self.n_spellings.most_common(1):
            return KEEP_TEXT_IN.get(spelling, KEEP_TEXT)
        return KEEP_TEXT

    def _above(self, counts: Counter[str], columns: list[str]) -> list[str]:
        return [column for column in columns if counts[column] > MAX_SHARE * self.n_rows]

    def _shares(self, columns: list[str], counts: Counter[str], state: str) -> str:
        parts = []
        for column in columns[:MAX_NAMES]:
            share = 100 * counts[column] / self.n_rows
            parts.append(f"{column} is {state} in {share:.0f} % of the rows")
        text = ", ".join(parts)
        if len(columns) > MAX_NAMES:
            text += f" (and {len(columns) - MAX_NAMES} columns more)"
        return text


def check_profile(blocks: Iterable[Block], name: str) -> Iterator[Block]:
    """Yield the blocks of a file, unless their values show that it is a changed copy.

    The profile is compared after each block, so that nothing is stored of most copies.

    Args:
        blocks: rows in canonical form.
        name: what error messages call the file.

    Raises:
        SourceRefused: the values of whole columns are not those of the source.
    """
    profile = Profile()
    for block in blocks:
        profile.add(block)
        problems = profile.problems()
        if problems:
            raise SourceRefused(
                f"{name}: {'; '.join(problems)} "
                f"({profile.n_rows} rows were compared; make submit with FORCE=1 loads it as it is)"
            )
        yield block


def _rules() -> dict[str, Callable[[bytes], bool] | None]:
    """Return the test for an expected value of each column that the source always fills.

    It is None where every value is expected.
    """
    rules: dict[str, Callable[[bytes], bool] | None] = dict.fromkeys(NUMBERS, bytes.isdigit)
    doses = frozenset(dose.encode() for dose in DOSES)
    for column in COLUMNS:
        if column.lower() in DOMAINS:
            values = frozenset(value.encode() for value in DOMAINS[column.lower()])
            rules[column] = values.__contains__
        elif column in DRUGS:
            rules[column] = doses.__contains__
        elif column in DIAGNOSES[:1]:
            rules[column] = None
    return rules


_RULES = _rules()
