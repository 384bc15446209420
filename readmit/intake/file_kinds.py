"""Files that are brought in place of the CSV: recognised by their first bytes."""

SAVE_AS_CSV = "save the table as CSV (UTF-8)"
UNPACK = "unpack it, or pack the CSV as zip or gzip"
# First bytes, the name of the kind and what to do. Text kinds are compared in lower case.
KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"par1", "a Parquet file", SAVE_AS_CSV),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook (xls)", SAVE_AS_CSV),
    (b"arrow1", "an Arrow file", SAVE_AS_CSV),
    (b"\x89hdf", "an HDF5 file", SAVE_AS_CSV),
    (b"orc", "an ORC file", SAVE_AS_CSV),
    (b"obj\x01", "an Avro file", SAVE_AS_CSV),
    (b"sqlite format 3", "a SQLite database", SAVE_AS_CSV),
    (b"rdx", "an R workspace", SAVE_AS_CSV),
    (b"%pdf", "a PDF", SAVE_AS_CSV),
    (b"@relation", "an ARFF file", SAVE_AS_CSV),
    (b"{", "JSON", SAVE_AS_CSV),
    (b"[", "JSON", SAVE_AS_CSV),
    (b"bzh", "packed with bzip2", UNPACK),
    (b"\xfd7zxz", "packed with xz", UNPACK),
    (b"\x28\xb5\x2f\xfd", "packed with zstd", UNPACK),
    (b"7z\xbc\xaf", "a 7z archive", UNPACK),
    (b"rar!", "a RAR archive", UNPACK),
    (b"pk\x03\x04", "a zip", UNPACK),
    (b"\x1f\x8b", "packed with gzip", UNPACK),
    (
        b"version https://git-lfs",
        "a Git LFS pointer, not the data",
        "run `git lfs pull` in its repository",
    ),
    (b"<", "a web page, not a CSV", "download the file itself"),
)


def foreign_kind(first_bytes: bytes) -> str:
    """Return what the file is and what to do, or an empty text when it may be a CSV."""
    start = first_bytes.lstrip().lower()
    for prefix, title, remedy in KINDS:
        if start.startswith(prefix):
            return f"this is {title}; {remedy}"
    return ""
