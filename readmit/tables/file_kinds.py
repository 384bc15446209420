"""Files that are brought in place of a CSV: recognised by their first bytes."""

import re
from typing import NamedTuple

N_FIRST_BYTES = 512  # a tar archive shows itself at byte 257

SAVE_AS_CSV = "save the table as CSV (UTF-8)"
UNPACK = "unpack it, or pack the CSV as zip or gzip"
COPY_TARGET = "copy the file that it leads to"
FETCH_AGAIN = "it was not copied to its end; fetch it again"


class FileKind(NamedTuple):
    """A kind of file that is no CSV.

    Attributes:
        pattern: of the first bytes that are no white space.
        title: what the file is, with its article.
        remedy: what to do.
        name: the title without words of a language, for the form.
    """

    pattern: bytes
    title: str
    remedy: str
    name: str


# The first that fits counts: what is common to several kinds stands behind them.
KINDS: tuple[FileKind, ...] = (
    FileKind(rb"PAR1", "a Parquet file", SAVE_AS_CSV, "Parquet"),
    FileKind(rb"FEA1|ARROW1", "an Arrow or Feather file", SAVE_AS_CSV, "Arrow"),
    FileKind(rb"\xd0\xcf\x11\xe0", "an Excel workbook (xls)", SAVE_AS_CSV, "Excel"),
    FileKind(rb"\x89HDF", "an HDF5 file", SAVE_AS_CSV, "HDF5"),
    FileKind(rb"ORC", "an ORC file", SAVE_AS_CSV, "ORC"),
    FileKind(rb"Obj\x01", "an Avro file", SAVE_AS_CSV, "Avro"),
    FileKind(rb"SQLite format 3", "a SQLite database", SAVE_AS_CSV, "SQLite"),
    FileKind(rb".{8}DUCK", "a DuckDB database", SAVE_AS_CSV, "DuckDB"),
    FileKind(rb"\x00\x01\x00\x00Standard ", "an Access database", SAVE_AS_CSV, "Access"),
    FileKind(rb"RD[AX]\d|X\n\x00\x00", "an R workspace", SAVE_AS_CSV, "R"),
    FileKind(rb"<stata_dta>|[\x66-\x73][\x01\x02]\x01\x00", "a Stata file", SAVE_AS_CSV, "Stata"),
    FileKind(rb"\x00{12}\xc2\xea\x81\x60", "a SAS file", SAVE_AS_CSV, "SAS"),
    FileKind(rb"HEADER RECORD\*{7}LIB", "a SAS transport file", SAVE_AS_CSV, "SAS"),
    FileKind(rb"\$FL[23]", "an SPSS file", SAVE_AS_CSV, "SPSS"),
    FileKind(rb"MATLAB 5", "a MATLAB file", SAVE_AS_CSV, "MATLAB"),
    FileKind(rb"\x93NUMPY", "a NumPy array", SAVE_AS_CSV, "NumPy"),
    FileKind(rb"\x80[\x02-\x05]", "a Python pickle", SAVE_AS_CSV, "pickle"),
    FileKind(rb"%PDF", "a PDF", SAVE_AS_CSV, "PDF"),
    FileKind(rb"\{\\rtf", "a text document (RTF)", SAVE_AS_CSV, "RTF"),
    FileKind(rb"%|(?i:@relation)", "an ARFF file", SAVE_AS_CSV, "ARFF"),
    FileKind(rb"\x89PNG|\xff\xd8\xff|GIF8", "a picture", SAVE_AS_CSV, "PNG, JPEG, GIF"),
    FileKind(rb"-- |(?i:create table|insert into)", "an SQL script", SAVE_AS_CSV, "SQL"),
    # An age band such as [70-80) may begin a row.
    FileKind(rb"\{|\[\s*(?:[\[{\"]|$)", "JSON", SAVE_AS_CSV, "JSON"),
    FileKind(rb"BZh", "packed with bzip2", UNPACK, "bzip2"),
    FileKind(rb"\xfd7zXZ|\x5d\x00\x00", "packed with xz", UNPACK, "xz"),
    FileKind(rb"\x28\xb5\x2f\xfd", "packed with zstd", UNPACK, "zstd"),
    FileKind(rb"\x04\x22\x4d\x18", "packed with lz4", UNPACK, "lz4"),
    FileKind(rb"7z\xbc\xaf", "a 7z archive", UNPACK, "7z"),
    FileKind(rb"Rar!", "a RAR archive", UNPACK, "RAR"),
    FileKind(rb".{257}ustar", "a tar archive", UNPACK, "tar"),
    FileKind(rb"PK[\x03\x05\x07]", "a zip or a workbook (xlsx, ods)", SAVE_AS_CSV, "zip, Excel"),
    FileKind(rb"\x1f\x8b", "packed with gzip", UNPACK, "gzip"),
    FileKind(rb"-----BEGIN ", "an encrypted file", "decrypt it", "PGP"),
    FileKind(
        rb"version https://git-lfs",
        "a Git LFS pointer, not the data",
        "run `git lfs pull` in its repository",
        "Git LFS",
    ),
    FileKind(
        rb"\[InternetShortcut",
        "a link of Windows, not the file",
        COPY_TARGET,
        "URL",
    ),
    FileKind(rb"L\x00{3}\x01\x14\x02", "a link of Windows, not the file", COPY_TARGET, "LNK"),
    FileKind(rb"ID;P", "a spreadsheet as SYLK", SAVE_AS_CSV, "SYLK"),
    FileKind(rb"TABLE\r?\n0,1", "a spreadsheet as DIF", SAVE_AS_CSV, "DIF"),
    FileKind(
        rb"<{7} ", "a file with an unresolved merge of git", "resolve the merge in it", "git merge"
    ),
    FileKind(rb"<\?xml", "XML, not a CSV", SAVE_AS_CSV, "XML"),
    FileKind(rb"<", "a web page, not a CSV", f"download the file itself, or {SAVE_AS_CSV}", "HTML"),
    FileKind(rb"\x00{16}", "a file of NUL bytes", FETCH_AGAIN, "NUL"),
)
_PATTERNS = [(re.compile(rb"\s*(?:" + kind.pattern + rb")", re.DOTALL), kind) for kind in KINDS]


def foreign_kind(first_bytes: bytes) -> FileKind | None:
    """Return what a file is by its first `N_FIRST_BYTES` bytes; None when it may be a CSV."""
    for pattern, kind in _PATTERNS:
        if pattern.match(first_bytes):
            return kind
    return None


def foreign_file(first_bytes: bytes) -> str:
    """Return what the file is and what to do, or an empty text when it may be a CSV."""
    kind = foreign_kind(first_bytes)
    return f"this is {kind.title}; {kind.remedy}" if kind else ""
