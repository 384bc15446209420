"""Kinds of bad input: each makes a corrupted file from a good one, and has the verdict on it.

`refused`: nothing is loaded, one clear error. `judged`: the file can be loaded unchanged; its rows
and its batch are then judged in SQL (row rules) and by the gates. `same`: another dialect of the
same table; RAW gets the rows of the good file.
"""

import codecs
import gzip
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

from readmit.intake.layout import COLUMNS

END = b"\r\n"
ROW = 20  # the row that is corrupted, from 1


Change = Callable[[bytes], bytes]
ChangeOfValues = Callable[[list[bytes]], list[bytes]]


@dataclass(frozen=True)
class Kind:
    """One kind of corruption.

    Its name, the function that makes it, the verdict, the location in the message.
    """

    name: str
    corrupt: Change
    verdict: str
    location: str = ""


# ---------------------------------------------------------------- changes of a file or a line


def replace(old: bytes, new: bytes) -> Change:
    """Replace some bytes wherever they stand."""

    def change(data: bytes) -> bytes:
        return data.replace(old, new)

    return change


def prepend(start: bytes) -> Change:
    """Write these bytes before the others."""

    def change(data: bytes) -> bytes:
        return start + data

    return change


def append(end: bytes) -> Change:
    """Write these bytes after the others."""

    def change(data: bytes) -> bytes:
        return data + end

    return change


def become(content: bytes) -> Change:
    """Replace everything by these bytes."""

    def change(_: bytes) -> bytes:
        return content

    return change


def surround(mark: bytes) -> Change:
    """Write a mark on both sides."""
    return chain(prepend(mark), append(mark))


def encode(encoding: str) -> Change:
    """Write the text in another encoding."""

    def change(data: bytes) -> bytes:
        return data.decode().encode(encoding)

    return change


def chain(*changes: Change) -> Change:
    """Make one change after the other."""

    def change(data: bytes) -> bytes:
        for step in changes:
            data = step(data)
        return data

    return change


def pack_with(*others: str) -> Change:
    """Put the file into an archive, beside others."""

    def change(data: bytes) -> bytes:
        archive = BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zip_file:
            zip_file.writestr("diabetic_data.csv", data)
            for name in others:
                zip_file.writestr(name, b"admission_type_id,description")
        return archive.getvalue()

    return change


def mark_zip(field: int, mark: int) -> Change:
    """Pack the file as zip, and write a number into both heads of its entry.

    Args:
        field: 6 for the flags (1: a password is needed), 8 for the way it is packed.
        mark: the number.
    """

    def change(data: bytes) -> bytes:
        packed = bytearray(pack()(data))
        packed[field] = mark
        packed[packed.index(b"PK\1\2") + field + 2] = mark
        return bytes(packed)

    return change


def pack_as_tar(data: bytes) -> bytes:
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar_file:
        member = tarfile.TarInfo("diabetic_data.csv")
        member.size = len(data)
        tar_file.addfile(member, BytesIO(data))
    return archive.getvalue()


def pack(name: str = "diabetic_data.csv", times: int = 1) -> Change:
    """Put the file into an archive, and that into another."""

    def change(data: bytes) -> bytes:
        member = name
        for _ in range(times):
            archive = BytesIO()
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zip_file:
                zip_file.writestr(member, data)
            data = archive.getvalue()
            member = "inner.zip"
        return data

    return change


def cut_gzip(data: bytes) -> bytes:
    return gzip.compress(data)[:-20]


def cut_in_the_last_row(data: bytes) -> bytes:
    return data[: data.rindex(b",No,") + 1]


def keep_header_only(data: bytes) -> bytes:
    return data.split(END)[0] + END


def drop_header(data: bytes) -> bytes:
    return data.split(END, 1)[1]


def drop_last_line_end(data: bytes) -> bytes:
    return data.removesuffix(END)


def repeat_header(data: bytes) -> bytes:
    lines = data.split(END)
    return END.join([*lines[:ROW], lines[0], *lines[ROW:]])


def repeat_row(data: bytes) -> bytes:
    lines = data.removesuffix(END).split(END)
    return END.join([*lines, lines[ROW], b""])


def reverse_rows(data: bytes) -> bytes:
    first, *rows = data.removesuffix(END).split(END)
    return END.join([first, *reversed(rows), b""])


def name_rows(data: bytes) -> bytes:
    """Put the quoted number of the row in front of each row, and nothing into the header: R."""
    first, *rows = data.removesuffix(END).split(END)
    lines = [b'"%d",%b' % (row, text) for row, text in enumerate(rows, 1)]
    return END.join([first, *lines, b""])


def quote_lines(data: bytes) -> bytes:
    """Put each line into quotes, as a spreadsheet does that has read it into one column."""
    lines = data.removesuffix(END).split(END)
    return END.join([b'"%b"' % text for text in lines] + [b""])


def end_lines_by_return(data: bytes) -> bytes:
    """End the second part of the lines as an old Mac does."""
    lines = data.removesuffix(END).split(END)
    return END.join([*lines[:ROW], b"\r".join(lines[ROW:])])


def mix_line_ends(data: bytes) -> bytes:
    """End the first lines as Unix does, the others as Windows does."""
    return data.replace(END, b"\n", ROW)


def join_two_files(data: bytes) -> bytes:
    """Write a file with a mark behind another."""
    return data + codecs.BOM_UTF8 + data


def number_rows(name: bytes) -> Change:
    """Put the number of the row in front of each row, as pandas does."""

    def change(data: bytes) -> bytes:
        first, *rows = data.removesuffix(END).split(END)
        lines = [b"%d,%b" % (row, text) for row, text in enumerate(rows)]
        return END.join([name + b"," + first, *lines, b""])

    return change


# ---------------------------------------------------------------- changes of one line


def line(change: Change, row: int = ROW) -> Change:
    """Change one line of the file; row 0 is the header."""

    def corrupt(data: bytes) -> bytes:
        lines = data.split(END)
        lines[row] = change(lines[row])
        return END.join(lines)

    return corrupt


def value(column: str, new: bytes, row: int = ROW) -> Change:
    """Put another value into one field."""

    def change(text: bytes) -> bytes:
        values = text.split(b",")
        values[COLUMNS.index(column)] = new
        return b",".join(values)

    return line(change, row)


def drop_last_field(text: bytes) -> bytes:
    return text.rsplit(b",", 1)[0]


def write_twice(text: bytes) -> bytes:
    return text + text


def spell(change: Change) -> Change:
    """Write the names of the columns in another way."""

    def respell(text: bytes) -> bytes:
        return b",".join(map(change, text.split(b",")))

    return line(respell, row=0)


# ---------------------------------------------------------------- changes of every line


def every(change: ChangeOfValues, header: bool = True) -> Change:
    """Change the list of values of every line."""

    def corrupt(data: bytes) -> bytes:
        first, *rows = data.removesuffix(END).split(END)
        lines = []
        if header:
            lines.append(b",".join(change(first.split(b","))))
        else:
            lines.append(first)
        for row in rows:
            lines.append(b",".join(change(row.split(b","))))
        return END.join([*lines, b""])

    return corrupt


def swap(first: str, second: str) -> ChangeOfValues:
    first_index = COLUMNS.index(first)
    second_index = COLUMNS.index(second)

    def change(values: list[bytes]) -> list[bytes]:
        changed = list(values)
        changed[first_index] = values[second_index]
        changed[second_index] = values[first_index]
        return changed

    return change


def without(column: str) -> ChangeOfValues:
    index = COLUMNS.index(column)

    def change(values: list[bytes]) -> list[bytes]:
        return values[:index] + values[index + 1 :]

    return change


def add_a_value(values: list[bytes]) -> list[bytes]:
    return [*values, b"x"]


def quote_all(values: list[bytes]) -> list[bytes]:
    return [b'"%b"' % value for value in values]


def drop_ids_and_label(values: list[bytes]) -> list[bytes]:
    return values[2:-1]


def column_of(name: str, change: Change) -> ChangeOfValues:
    """Change the values of one column."""
    index = COLUMNS.index(name)

    def change_values(values: list[bytes]) -> list[bytes]:
        return [*values[:index], change(values[index]), *values[index + 1 :]]

    return change_values


def label_as_number(label: bytes) -> bytes:
    return b"%d" % (label == b"<30")


def blanks_for(word: bytes) -> ChangeOfValues:
    """Leave out every value that is this word, as pandas does when it reads it."""

    def change(values: list[bytes]) -> list[bytes]:
        changed = []
        for value in values:
            if value == word:
                changed.append(b"")
            else:
                changed.append(value)
        return changed

    return change


def word_for(old: bytes, new: bytes) -> ChangeOfValues:
    """Write another word for every value that is this one."""

    def change(values: list[bytes]) -> list[bytes]:
        return [new if value == old else value for value in values]

    return change


def add_an_empty_value(values: list[bytes]) -> list[bytes]:
    return [*values, b""]


def rename(names: dict[str, str]) -> Change:
    """Give columns other names."""
    pairs = {old.encode(): new.encode() for old, new in names.items()}

    def change(text: bytes) -> bytes:
        return b",".join(pairs.get(name, name) for name in text.split(b","))

    return line(change, row=0)


SEMICOLONS = replace(b",", b";")
IN_SPANISH = {column: f"columna_{n}" for n, column in enumerate(COLUMNS)}

AT = f"row {ROW} (line {ROW + 1}), column "
HEAD = "header (line 1), column "

REFUSED = [
    Kind("empty file", become(b""), "refused", HEAD + "encounter_id"),
    Kind(
        "header and no rows",
        keep_header_only,
        "refused",
        "row 1, column encounter_id",
    ),
    Kind("rows and no header", drop_header, "refused", HEAD + "encounter_id"),
    Kind("column missing everywhere", every(without("insulin")), "refused", HEAD + "insulin"),
    Kind(
        "column missing in the header only",
        line(replace(b"race,", b""), row=0),
        "refused",
        HEAD + "race",
    ),
    Kind("column too many everywhere", every(add_a_value), "refused", HEAD + "x"),
    Kind(
        "column renamed",
        line(replace(b"A1Cresult", b"a1c"), row=0),
        "refused",
        HEAD + "A1Cresult",
    ),
    Kind(
        "column named twice",
        line(replace(b"diag_3", b"diag_2"), row=0),
        "refused",
        HEAD + "diag_2",
    ),
    Kind("blank line before the header", prepend(END), "refused", HEAD + "encounter_id"),
    Kind(
        "header of a million columns",
        become(b"column," * 10**6 + END),
        "refused",
        HEAD + "encounter_id",
    ),
    Kind("UTF-32", encode("utf-32"), "refused", HEAD + "encounter_id"),
    Kind("a web page", become(b"<html>404</html>"), "refused", HEAD + "encounter_id"),
    Kind("random bytes", become(bytes(range(256)) * 40), "refused", HEAD + "encounter_id"),
    Kind("51 fields in one row", line(append(b",x")), "refused", AT + "readmitted"),
    Kind("49 fields in one row", line(drop_last_field), "refused", AT + "readmitted"),
    Kind(
        "unquoted comma in a value",
        value("medical_specialty", b"Surgery, General"),
        "refused",
        AT + "readmitted",
    ),
    Kind(
        "file cut off in a row",
        cut_in_the_last_row,
        "refused",
        "is the file cut off?",
    ),
    Kind("blank line between rows", line(become(b"")), "refused", AT + "encounter_id"),
    Kind("two rows on one line", line(write_twice), "refused", AT + "readmitted"),
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
    Kind("old Macintosh line ends", replace(END, b"\r"), "refused", "column "),
    Kind(
        "line ends turned round",
        replace(END, b"\n\r"),
        "refused",
        "row 61 (line 62), column ",
    ),
    Kind(
        "line ends with two returns",
        replace(END, b"\r" + END),
        "refused",
        "column readmitted",
    ),
    Kind("end mark of DOS", append(b"\x1a"), "refused", "row 61 (line 62), column "),
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
    Kind("row of a million fields", line(become(b"," * 999_999)), "refused", AT + "readmitted"),
    Kind("no line ends", replace(END, b" "), "refused", "column "),
    Kind(
        "comma in a diagnosis of a semicolon file",
        chain(value("diag_1", b"250,83"), SEMICOLONS, replace(b"250;83", b"250,83")),
        "refused",
        AT + "diag_1: a decimal comma",
    ),
    Kind(
        "decimal comma in a semicolon file",
        chain(value("num_procedures", b"3#0"), SEMICOLONS, replace(b"#", b",")),
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
        chain(number_rows(b"Unnamed: 0"), line(prepend(b"x"))),
        "refused",
        AT + "Unnamed: 0: an unknown column",
    ),
    Kind(
        "a Git LFS pointer",
        become(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 19159383\n"),
        "refused",
        "git lfs pull",
    ),
    Kind("a Parquet file", prepend(b"PAR1"), "refused", "Parquet"),
    Kind(
        "an Excel workbook (xlsx)",
        pack("xl/workbook.xml"),
        "refused",
        "is an Excel workbook (xlsx)",
    ),
    Kind(
        "an Excel workbook (xls)",
        prepend(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        "refused",
        "an Excel workbook (xls)",
    ),
    Kind("JSON", become(b'[{"encounter_id": 1}]'), "refused", HEAD + "encounter_id"),
    Kind("packed with bzip2", prepend(b"BZh91AY"), "refused", "packed with bzip2"),
    Kind(
        "the table of codes",
        become(b"admission_type_id,description" + END + b"1,Emergency" + END),
        "refused",
        HEAD + "admission_type_id: this is the table of codes",
    ),
    Kind(
        "ucimlrepo's features",
        every(drop_ids_and_label),
        "refused",
        HEAD + "encounter_id: missing: encounter_id, patient_nbr, readmitted",
    ),
    Kind("zip four times", pack(times=4), "refused", "packed more than 3 times"),
    Kind("gzip cut off", cut_gzip, "refused", "damaged or cut off"),
    Kind(
        "names in Spanish",
        rename(IN_SPANISH),
        "refused",
        HEAD + "encounter_id: missing: encounter_id",
    ),
    Kind(
        "names with accents",
        rename({"age": "años"}),
        "refused",
        "name the columns as the source does",
    ),
    Kind(
        "fairlearn's copy",
        rename(IN_SPANISH | {"readmitted": "readmit_30_days"}),
        "refused",
        "fairlearn's copy",
    ),
    Kind(
        "a table of the Batch page",
        rename(IN_SPANISH | {"age": "age_band"}),
        "refused",
        "a table for the form's page *Batch*",
    ),
    Kind("stays without a label", every(without("readmitted")), "refused", "are scored by"),
    Kind(
        "titles above the header",
        prepend(b"Report of 2008;;;" + END + END),
        "refused",
        "the names stand 2 line(s) further down",
    ),
    Kind("spaces for commas", replace(b",", b" "), "refused", "separate names and values by"),
    Kind("a no-break space in a value", value("race", b"Other\xc2\xa0"), "refused", AT + "race"),
    Kind(
        "a no-break space in a name",
        line(replace(b",race", b",\xc2\xa0race"), row=0),
        "refused",
        "remove the no-break space",
    ),
    Kind(
        "blanks behind the commas",
        replace(b",", b", "),
        "refused",
        "save the values without blanks around them",
    ),
    Kind("names in single quotes", spell(surround(b"'")), "refused", 'quote by " only'),
    Kind("colons for commas", replace(b",", b":"), "refused", "separate names and values by"),
    Kind(
        "lines of an old Mac in the second half",
        end_lines_by_return,
        "refused",
        AT + "readmitted: a carriage return inside the row",
    ),
    Kind(
        "an unresolved merge of git",
        prepend(b"<<<<<<< HEAD\n"),
        "refused",
        "resolve the merge in it",
    ),
    Kind(
        "a merge of git further down",
        line(append(END + b"<<<<<<< HEAD")),
        "refused",
        "row 21 (line 22), column patient_nbr: 1 field",
    ),
    Kind("a spreadsheet as SYLK", prepend(b"ID;PWXL;N;E\r\n"), "refused", "as SYLK"),
    Kind("a spreadsheet as DIF", prepend(b"TABLE\r\n0,1\r\n"), "refused", "as DIF"),
    Kind("a link of Windows", become(b"L\0\0\0\1\x14\2\0"), "refused", "copy the file that it"),
    Kind(
        "NULL of SQL Server for ?",
        every(word_for(b"?", b"NULL"), header=False),
        "refused",
        "export coalesce(column, '?')",
    ),
    Kind(
        "null mark of MySQL for ?",
        every(word_for(b"?", rb"\N"), header=False),
        "refused",
        "export coalesce(column, '?')",
    ),
    Kind(
        "sqlcmd's count below the table",
        append(END + b"(60 rows affected)" + END),
        "refused",
        "row 61 (line 62), column encounter_id: the line is blank",
    ),
    Kind("every line in quotes", quote_lines, "refused", "the whole line stands in quotes"),
    Kind("row names of R without a name", name_rows, "refused", "or a row name in front"),
    Kind(
        "a comma behind each row only",
        every(add_an_empty_value, header=False),
        "refused",
        ", or behind the last one?",
    ),
    Kind(
        "a note below the table",
        append(b"(60 rows)" + END),
        "refused",
        "or is this a note below the table?",
    ),
    Kind("two files joined", join_two_files, "refused", "row 61 (line 62), column encounter_id"),
    Kind("two byte order marks", prepend(codecs.BOM_UTF8 * 2), "refused", "remove the byte order"),
    Kind("a file of NUL bytes", become(bytes(4_096)), "refused", "not copied to its end"),
    Kind("JSON Lines", become(b'{"encounter_id": 1}\n' * 3), "refused", "this is JSON"),
    Kind("an ARFF file", prepend(b"% from OpenML\n@RELATION x\n"), "refused", "an ARFF file"),
    Kind("XML of a spreadsheet", become(b'<?xml version="1.0"?>'), "refused", "this is XML"),
    Kind("a Stata file", become(b"<stata_dta><header>"), "refused", "a Stata file"),
    Kind("a SAS file", become(bytes(12) + b"\xc2\xea\x81\x60"), "refused", "a SAS file"),
    Kind("an SPSS file", become(b"$FL2@(#) SPSS DATA FILE"), "refused", "an SPSS file"),
    Kind("a SQLite database", become(b"SQLite format 3\0"), "refused", "a SQLite database"),
    Kind("a Feather file", become(b"ARROW1\0\0"), "refused", "an Arrow or Feather file"),
    Kind("a pickle", become(b"\x80\4\x95"), "refused", "a Python pickle"),
    Kind("a tar archive, packed with gzip", pack_as_tar, "refused", "a tar archive"),
    Kind("packed with xz", lzma.compress, "refused", "packed with xz"),
    Kind("packed with zstd", become(b"\x28\xb5\x2f\xfd"), "refused", "packed with zstd"),
    Kind("a 7z archive", become(b"7z\xbc\xaf\x27\x1c"), "refused", "a 7z archive"),
    Kind("a RAR archive", become(b"Rar!\x1a\7\1\0"), "refused", "a RAR archive"),
    Kind("zip with a password", mark_zip(6, 1), "refused", "send it without a password"),
    Kind("zip of Deflate64", mark_zip(8, 9), "refused", "pack it as an ordinary zip"),
    Kind("zip of two CSVs", pack_with("a/diabetic_data.csv"), "refused", "more than one CSV"),
    Kind(
        "a spreadsheet of Apple Numbers",
        pack("Index/Document.iwa"),
        "refused",
        "a spreadsheet of Apple Numbers",
    ),
    Kind(
        "copy by R without ?",
        every(word_for(b"?", b"NA"), header=False),
        "refused",
        "in R read with read.csv",
    ),
    Kind(
        "copy by SAS without ?",
        every(word_for(b"?", b"."), header=False),
        "refused",
        "in SAS read all columns as text",
    ),
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
        every(column_of("readmitted", label_as_number), header=False),
        "refused",
        "readmitted holds 0/1 or yes/no",
    ),
    Kind(
        "numbers as floats",
        every(column_of("time_in_hospital", append(b".0")), header=False),
        "refused",
        "time_in_hospital is written like 5.0 in 100 % of the rows",
    ),
    Kind(
        "values of two columns swapped",
        every(swap("race", "gender"), header=False),
        "refused",
        "gender is not a value of the source in ",
    ),
]
SAME = [
    Kind("columns swapped, header too", every(swap("race", "gender")), "same"),
    Kind(
        "column named in capitals",
        line(replace(b"race", b"Race"), row=0),
        "same",
    ),
    Kind(
        "Excel's line before the header",
        prepend(b"sep=," + END),
        "same",
    ),
    Kind(
        "semicolons for commas",
        SEMICOLONS,
        "same",
    ),
    Kind("tabs for commas", replace(b",", b"\t"), "same"),
    Kind(
        "vertical bars for commas",
        replace(b",", b"|"),
        "same",
    ),
    Kind("UTF-16", encode("utf-16"), "same"),
    Kind(
        "UTF-16 without its mark",
        encode("utf-16-be"),
        "same",
    ),
    Kind("byte order mark", prepend(b"\xef\xbb\xbf"), "same"),
    Kind("sep= and semicolons", chain(SEMICOLONS, prepend(b"sep=;" + END)), "same"),
    Kind("UTF-16 BE", chain(encode("utf-16-be"), prepend(b"\xfe\xff")), "same"),
    Kind("names with points, as R writes", spell(replace(b"-", b".")), "same"),
    Kind("names with underscores", spell(chain(replace(b"-", b"_"), bytes.lower)), "same"),
    Kind(
        "names in snake case",
        spell(replace(b"diabetesMed", b"diabetes_med")),
        "same",
    ),
    Kind("row numbers of pandas", number_rows(b""), "same"),
    Kind("row numbers of pandas, read and written again", number_rows(b"Unnamed: 0"), "same"),
    Kind("row numbers of R", chain(number_rows(b'""'), every(quote_all)), "same"),
    Kind("a comma behind each line", every(add_an_empty_value), "same"),
    Kind(
        "two commas behind each line",
        chain(every(add_an_empty_value), every(add_an_empty_value)),
        "same",
    ),
    Kind(
        "names in capitals with blanks",
        spell(chain(replace(b"_", b" "), surround(b" "), bytes.upper)),
        "same",
    ),
    Kind(
        "line ends of two systems",
        mix_line_ends,
        "same",
    ),
    Kind(
        "zip of macOS, with the table of codes",
        pack_with("IDs_mapping.csv", "__MACOSX/._diabetic_data.csv", "._diabetic_data.csv"),
        "same",
    ),
    Kind("gzip", gzip.compress, "same"),
    Kind("zip", pack(), "same"),
    Kind("zip in a zip", pack(times=2), "same"),
    Kind("gzip in a zip", chain(gzip.compress, pack("data.csv.gz")), "same"),
]
JUDGED = [
    Kind("Unix line ends", replace(END, b"\n"), "judged"),
    Kind("quoted values", value("race", b'"Caucasian"'), "judged"),
    Kind("every value quoted", every(quote_all), "judged"),
    Kind("comma inside quotes", value("medical_specialty", b'"Surgery, General"'), "judged"),
    Kind(
        "spaces around a column's name",
        line(replace(b",race,", b", race ,"), row=0),
        "judged",
    ),
    Kind("header once more in the middle", repeat_header, "judged"),
    Kind("a total below the table", append(b"Total," + b"," * 48 + END), "judged"),
    Kind(
        "sqlcmd's dashes below the header",
        line(append(END + b",".join([b"---"] * 50)), 0),
        "judged",
    ),
    Kind("row of commas", line(become(b"," * 49)), "judged"),
    Kind("last line without end", drop_last_line_end, "judged"),
    Kind("blank lines after the last row", append(END * 3), "judged"),
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
    Kind("row twice in a file", repeat_row, "judged"),
    Kind("rows in reversed order", reverse_rows, "judged"),
    Kind("a column all null", every(column_of(COLUMNS[2], become(b"?")), header=False), "judged"),
    Kind("SQL in a value", value("race", b"'; drop table landing.encounters; --"), "judged"),
    Kind("a script in a value", value("race", b"<script>alert(1)</script>"), "judged"),
    Kind("a template in a value", value("race", b"${race} {{ 7 * 7 }} %s"), "judged"),
    Kind("a terminal's command in a value", value("race", b"\x1b[31mred"), "judged"),
    Kind("a formula in a value", value("race", b"=cmd()"), "judged"),
    Kind("COPY's end mark in a value", value("race", rb"\."), "judged"),
    Kind("COPY's null mark in a value", value("race", rb"\N"), "judged"),
]
KINDS = [*REFUSED, *SAME, *JUDGED]
