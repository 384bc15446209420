"""Kinds of bad input: each makes a corrupted file from a good one, and has the verdict on it.

`refused`: nothing is loaded, one clear error. `judged`: the file can be loaded unchanged; its rows
and its batch are then judged in SQL (row rules) and by the gates. `same`: another dialect of the
same table; RAW gets the rows of the good file.
"""

import gzip
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from readmit.intake.layout import COLUMNS

END = b"\r\n"
ROW = 20  # the row that is corrupted, from 1


@dataclass(frozen=True)
class Kind:
    """One kind of corruption.

    Its name, the function that makes it, the verdict, the location in the message.
    """

    name: str
    corrupt: Callable[[bytes], bytes]
    verdict: str
    location: str = ""


def line(change: Callable[[bytes], bytes], row: int = ROW) -> Callable[[bytes], bytes]:
    """Change one line of the file; row 0 is the header."""

    def corrupt(data: bytes) -> bytes:
        lines = data.split(END)
        lines[row] = change(lines[row])
        return END.join(lines)

    return corrupt


def value(column: str, new: bytes, row: int = ROW) -> Callable[[bytes], bytes]:
    """Put another value into one field."""

    def change(text: bytes) -> bytes:
        values = text.split(b",")
        values[COLUMNS.index(column)] = new
        return b",".join(values)

    return line(change, row)


def every(
    change: Callable[[list[bytes]], list[bytes]], header: bool = True
) -> Callable[[bytes], bytes]:
    """Change the list of values of every line."""

    def corrupt(data: bytes) -> bytes:
        first, *rows = data.removesuffix(END).split(END)
        lines = [first, *rows] if header else rows
        changed = [b",".join(change(text.split(b","))) for text in lines]
        return END.join([*([] if header else [first]), *changed, b""])

    return corrupt


def swapped(first: str, second: str) -> Callable[[list[bytes]], list[bytes]]:
    a, b = COLUMNS.index(first), COLUMNS.index(second)

    def change(values: list[bytes]) -> list[bytes]:
        values[a], values[b] = values[b], values[a]
        return values

    return change


def without(column: str) -> Callable[[list[bytes]], list[bytes]]:
    index = COLUMNS.index(column)
    return lambda values: values[:index] + values[index + 1 :]


def again_in_the_middle(data: bytes) -> bytes:
    lines = data.split(END)
    return END.join([*lines[:ROW], lines[0], *lines[ROW:]])


def doubled(data: bytes) -> bytes:
    lines = data.removesuffix(END).split(END)
    return END.join([*lines, lines[ROW], b""])


def shuffled(data: bytes) -> bytes:
    first, *rows = data.removesuffix(END).split(END)
    return END.join([first, *reversed(rows), b""])


def spelled(change: Callable[[str], str]) -> Callable[[bytes], bytes]:
    """Write the names of the columns in another way."""
    return line(
        lambda text: b",".join(change(name).encode() for name in text.decode().split(",")), 0
    )


def numbered(name: bytes) -> Callable[[bytes], bytes]:
    """Put the number of the row in front of each row, as pandas does."""

    def corrupt(data: bytes) -> bytes:
        first, *rows = data.removesuffix(END).split(END)
        lines = [b"%d,%b" % (row, text) for row, text in enumerate(rows)]
        return END.join([name + b"," + first, *lines, b""])

    return corrupt


def column_of(name: str, change: Callable[[bytes], bytes]) -> Callable[[list[bytes]], list[bytes]]:
    """Change the values of one column."""
    index = COLUMNS.index(name)
    return lambda values: [*values[:index], change(values[index]), *values[index + 1 :]]


def blanks_for(*words: bytes) -> Callable[[list[bytes]], list[bytes]]:
    """Leave out every value that is one of these words, as pandas does when it reads them."""
    return lambda values: [b"" if value in words else value for value in values]


def zipped(data: bytes, name: str = "diabetic_data.csv", times: int = 1) -> bytes:
    for _ in range(times):
        packed = BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, data)
        data = packed.getvalue()
        name = "inner.zip"
    return data


def semicolons(data: bytes) -> bytes:
    return data.replace(b",", b";")


AT = f"row {ROW} (line {ROW + 1}), column "
HEAD = "header (line 1), column "

REFUSED = [
    Kind("empty file", lambda data: b"", "refused", HEAD + "encounter_id"),
    Kind(
        "header and no rows",
        lambda data: data.split(END)[0] + END,
        "refused",
        "row 1, column encounter_id",
    ),
    Kind(
        "rows and no header", lambda data: data.split(END, 1)[1], "refused", HEAD + "encounter_id"
    ),
    Kind("column missing everywhere", every(without("insulin")), "refused", HEAD + "insulin"),
    Kind(
        "column missing in the header only",
        line(lambda t: t.replace(b"race,", b""), 0),
        "refused",
        HEAD + "race",
    ),
    Kind("column too many everywhere", every(lambda v: [*v, b"x"]), "refused", HEAD + "x"),
    Kind(
        "column renamed",
        line(lambda t: t.replace(b"A1Cresult", b"a1c"), 0),
        "refused",
        HEAD + "A1Cresult",
    ),
    Kind(
        "column named twice",
        line(lambda t: t.replace(b"diag_3", b"diag_2"), 0),
        "refused",
        HEAD + "diag_2",
    ),
    Kind("blank line before the header", lambda data: END + data, "refused", HEAD + "encounter_id"),
    Kind(
        "header of a million columns",
        lambda data: b"column," * 10**6 + END,
        "refused",
        HEAD + "encounter_id",
    ),
    Kind("UTF-32", lambda data: data.decode().encode("utf-32"), "refused", HEAD + "encounter_id"),
    Kind("a web page", lambda data: b"<html>404</html>", "refused", HEAD + "encounter_id"),
    Kind("random bytes", lambda data: bytes(range(256)) * 40, "refused", HEAD + "encounter_id"),
    Kind("51 fields in one row", line(lambda t: t + b",x"), "refused", AT + "readmitted"),
    Kind(
        "49 fields in one row", line(lambda t: t.rsplit(b",", 1)[0]), "refused", AT + "readmitted"
    ),
    Kind(
        "unquoted comma in a value",
        value("medical_specialty", b"Surgery, General"),
        "refused",
        AT + "readmitted",
    ),
    Kind(
        "file cut off in a row",
        lambda data: data[: data.rindex(b",No,") + 1],
        "refused",
        "is the file cut off?",
    ),
    Kind("blank line between rows", line(lambda t: b""), "refused", AT + "encounter_id"),
    Kind("two rows on one line", line(lambda t: t + t), "refused", AT + "readmitted"),
    Kind("NUL byte", value("race", b"a\0"), "refused", AT + "race"),
    Kind(
        "UTF-8 letter",
        value("medical_specialty", "é".encode()),
        "refused",
        AT + "medical_specialty",
    ),
    Kind("Latin-1 letter", value("payer_code", b"\xe9"), "refused", AT + "payer_code"),
    Kind("quote not closed", value("race", b'"Caucasian'), "refused", AT + "race"),
    Kind("quote inside a value", value("diag_1", b'25"0'), "refused", AT + "diag_1"),
    Kind("line break inside quotes", value("race", b'"a\nb"'), "refused", AT + "race"),
    Kind("carriage return inside a value", value("change", b"N\ro"), "refused", AT + "change"),
    Kind("old Macintosh line ends", lambda data: data.replace(END, b"\r"), "refused", "column "),
    Kind(
        "line ends turned round",
        lambda data: data.replace(END, b"\n\r"),
        "refused",
        "row 61 (line 62), column ",
    ),
    Kind(
        "line ends with two returns",
        lambda data: data.replace(END, b"\r" + END),
        "refused",
        "column readmitted",
    ),
    Kind("end mark of DOS", lambda data: data + b"\x1a", "refused", "row 61 (line 62), column "),
    Kind(
        "full-width digits",
        value("time_in_hospital", b"\xef\xbc\x93"),
        "refused",
        AT + "time_in_hospital",
    ),
    Kind("huge field", value("weight", b"9" * 5_000), "refused", AT + "weight"),
    Kind("field of 10 MB", value("weight", b"9" * 10_000_000), "refused", AT + "weight"),
    Kind(
        "field of 200 kB in quotes",
        value("weight", b'"%b"' % (b"9" * 200_000)),
        "refused",
        AT + "weight",
    ),
    Kind(
        "field of 10 MB, quote not closed",
        value("weight", b'"' + b"9" * 10_000_000),
        "refused",
        AT + "weight",
    ),
    Kind("row of a million fields", line(lambda t: b"," * 999_999), "refused", AT + "readmitted"),
    Kind("no line ends", lambda data: data.replace(END, b" "), "refused", "column "),
    Kind(
        "comma in a diagnosis of a semicolon file",
        lambda data: (
            value("diag_1", b"250,83")(data).replace(b",", b";").replace(b"250;83", b"250,83")
        ),
        "refused",
        AT + "diag_1: a decimal comma",
    ),
    Kind(
        "decimal comma in a semicolon file",
        lambda data: (
            value("num_procedures", b"3#0")(semicolons(data).replace(b";", b","))
            .replace(b",", b";")
            .replace(b"#", b",")
        ),
        "refused",
        AT + "num_procedures: a decimal comma or a thousands separator",
    ),
    Kind(
        "thousands separator, quoted",
        value("encounter_id", b'"2,278,392"'),
        "refused",
        AT + "encounter_id: a decimal comma or a thousands separator",
    ),
    Kind(
        "thousands separator of Spain",
        value("patient_nbr", b"8.222.157"),
        "refused",
        AT + "patient_nbr: a decimal comma or a thousands separator",
    ),
    Kind(
        "thousands separator of Switzerland",
        value("patient_nbr", b"8'222'157"),
        "refused",
        AT + "patient_nbr: a decimal comma or a thousands separator",
    ),
    Kind(
        "id in scientific notation",
        value("patient_nbr", b"8.22216E+06"),
        "refused",
        AT + "patient_nbr: an id in scientific notation",
    ),
    Kind(
        "column without a name that holds text",
        lambda data: line(lambda text: b"x" + text)(numbered(b"Unnamed: 0")(data)),
        "refused",
        AT + "Unnamed: 0: an unknown column",
    ),
    Kind(
        "a Git LFS pointer",
        lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 19159383\n",
        "refused",
        "git lfs pull",
    ),
    Kind("a Parquet file", lambda data: b"PAR1" + data, "refused", "Parquet"),
    Kind(
        "an Excel workbook (xlsx)",
        lambda data: zipped(data, "xl/workbook.xml"),
        "refused",
        "is an Excel workbook (xlsx)",
    ),
    Kind(
        "an Excel workbook (xls)",
        lambda data: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + data,
        "refused",
        "an Excel workbook (xls)",
    ),
    Kind("JSON", lambda data: b'[{"encounter_id": 1}]', "refused", HEAD + "encounter_id"),
    Kind("packed with bzip2", lambda data: b"BZh91AY" + data, "refused", "packed with bzip2"),
    Kind(
        "the table of codes",
        lambda data: b"admission_type_id,description" + END + b"1,Emergency" + END,
        "refused",
        HEAD + "admission_type_id: this is the table of codes",
    ),
    Kind(
        "ucimlrepo's features",
        every(lambda values: values[2:-1]),
        "refused",
        HEAD + "encounter_id: missing: encounter_id, patient_nbr, readmitted",
    ),
    Kind(
        "zip four times", lambda data: zipped(data, times=4), "refused", "packed more than 3 times"
    ),
    Kind("gzip cut off", lambda data: gzip.compress(data)[:-20], "refused", "damaged or cut off"),
    Kind(
        "copy by pandas without None",
        every(blanks_for(b"None"), header=False),
        "refused",
        "pandas reads 'None' as missing",
    ),
    Kind(
        "copy by pandas without ?",
        every(blanks_for(b"?"), header=False),
        "refused",
        "weight is empty in ",
    ),
    Kind(
        "labels as 0 and 1",
        every(column_of("readmitted", lambda label: b"%d" % (label == b"<30")), header=False),
        "refused",
        "readmitted holds 0/1 or yes/no",
    ),
    Kind(
        "numbers as floats",
        every(column_of("time_in_hospital", lambda days: days + b".0"), header=False),
        "refused",
        "time_in_hospital is written like 5.0 in 100 % of the rows",
    ),
    Kind(
        "values of two columns swapped",
        every(swapped("race", "gender"), header=False),
        "refused",
        "gender is not a value of the source in ",
    ),
]
SAME = [
    Kind("columns swapped, header too", every(swapped("race", "gender")), "same"),
    Kind(
        "column named in capitals",
        line(lambda t: t.replace(b"race", b"Race"), 0),
        "same",
    ),
    Kind(
        "Excel's line before the header",
        lambda data: b"sep=," + END + data,
        "same",
    ),
    Kind(
        "semicolons for commas",
        lambda data: data.replace(b",", b";"),
        "same",
    ),
    Kind("tabs for commas", lambda data: data.replace(b",", b"\t"), "same"),
    Kind(
        "vertical bars for commas",
        lambda data: data.replace(b",", b"|"),
        "same",
    ),
    Kind("UTF-16", lambda data: data.decode().encode("utf-16"), "same"),
    Kind(
        "UTF-16 without its mark",
        lambda data: data.decode().encode("utf-16-be"),
        "same",
    ),
    Kind("byte order mark", lambda data: b"\xef\xbb\xbf" + data, "same"),
    Kind("sep= and semicolons", lambda data: b"sep=;" + END + semicolons(data), "same"),
    Kind("UTF-16 BE", lambda data: b"\xfe\xff" + data.decode().encode("utf-16-be"), "same"),
    Kind("names with points, as R writes", spelled(lambda name: name.replace("-", ".")), "same"),
    Kind("names with underscores", spelled(lambda name: name.replace("-", "_").lower()), "same"),
    Kind(
        "names in snake case",
        spelled(lambda name: name.replace("diabetesMed", "diabetes_med")),
        "same",
    ),
    Kind("row numbers of pandas", numbered(b""), "same"),
    Kind("row numbers of pandas, read and written again", numbered(b"Unnamed: 0"), "same"),
    Kind("gzip", gzip.compress, "same"),
    Kind("zip", zipped, "same"),
    Kind("zip in a zip", lambda data: zipped(data, times=2), "same"),
    Kind("gzip in a zip", lambda data: zipped(gzip.compress(data), "data.csv.gz"), "same"),
]
JUDGED = [
    Kind("Unix line ends", lambda data: data.replace(END, b"\n"), "judged"),
    Kind("quoted values", value("race", b'"Caucasian"'), "judged"),
    Kind("every value quoted", every(lambda v: [b'"%b"' % x for x in v]), "judged"),
    Kind("comma inside quotes", value("medical_specialty", b'"Surgery, General"'), "judged"),
    Kind(
        "spaces around a column's name",
        line(lambda t: t.replace(b",race,", b", race ,"), 0),
        "judged",
    ),
    Kind("header once more in the middle", again_in_the_middle, "judged"),
    Kind("row of commas", line(lambda t: b"," * 49), "judged"),
    Kind("last line without end", lambda data: data.removesuffix(END), "judged"),
    Kind("blank lines after the last row", lambda data: data + END * 3, "judged"),
    Kind("empty field for a null", value("race", b""), "judged"),
    Kind("NULL for a null", value("race", b"NULL"), "judged"),
    Kind("number with a decimal point", value("time_in_hospital", b"3.0"), "judged"),
    Kind("number with a sign", value("num_medications", b"-3"), "judged"),
    Kind("number with a plus", value("num_medications", b"+3"), "judged"),
    Kind("number with an exponent", value("num_medications", b"1e1"), "judged"),
    Kind("number with leading zeros", value("num_medications", b"007"), "judged"),
    Kind("NaN for a number", value("num_medications", b"NaN"), "judged"),
    Kind("number in words", value("number_diagnoses", b"nine"), "judged"),
    Kind("number out of range", value("time_in_hospital", b"99"), "judged"),
    Kind("number too large for its type", value("num_lab_procedures", b"9" * 30), "judged"),
    Kind("encounter without a number", value("encounter_id", b"?"), "judged"),
    Kind("encounter of ten digits", value("encounter_id", b"1000000000"), "judged"),
    Kind("patient without a number", value("patient_nbr", b"?"), "judged"),
    Kind("patient left empty", value("patient_nbr", b""), "judged"),
    Kind("patient below zero", value("patient_nbr", b"-1"), "judged"),
    Kind("patient of 2^63", value("patient_nbr", b"9223372036854775808"), "judged"),
    Kind("spaces around a value", value("race", b" Caucasian "), "judged"),
    Kind("unknown race", value("race", b"Martian"), "judged"),
    Kind("unknown age band", value("age", b"[70-75)"), "judged"),
    Kind("age band closed on both sides", value("age", b"[70-80]"), "judged"),
    Kind("age not known", value("age", b"?"), "judged"),
    Kind("unknown drug state", value("insulin", b"Maybe"), "judged"),
    Kind("drug state in capitals", value("insulin", b"STEADY"), "judged"),
    Kind("unknown label", value("readmitted", b"perhaps"), "judged"),
    Kind("label with a space", value("readmitted", b"<30 "), "judged"),
    Kind("label cut off", value("readmitted", b"N"), "judged"),
    Kind("discharge code that does not exist", value("discharge_disposition_id", b"77"), "judged"),
    Kind("admission source that does not exist", value("admission_source_id", b"99"), "judged"),
    Kind("diagnosis that is no ICD-9 code", value("diag_1", b"X99.999"), "judged"),
    Kind("diabetesMed contradicts the drugs", value("diabetesMed", b"maybe"), "judged"),
    Kind("dead and readmitted", value("discharge_disposition_id", b"11"), "judged"),
    Kind("row twice in a file", doubled, "judged"),
    Kind("rows in reversed order", shuffled, "judged"),
    Kind("a column all null", every(lambda v: [*v[:2], b"?", *v[3:]], header=False), "judged"),
    Kind("SQL in a value", value("race", b"'; drop table landing.encounters; --"), "judged"),
    Kind("a script in a value", value("race", b"<script>alert(1)</script>"), "judged"),
    Kind("a template in a value", value("race", b"${race} {{ 7 * 7 }} %s"), "judged"),
    Kind("a terminal's command in a value", value("race", b"\x1b[31mred"), "judged"),
    Kind("a formula in a value", value("race", b"=cmd()"), "judged"),
    Kind("COPY's end mark in a value", value("race", rb"\."), "judged"),
    Kind("COPY's null mark in a value", value("race", rb"\N"), "judged"),
]
KINDS = [*REFUSED, *SAME, *JUDGED]
