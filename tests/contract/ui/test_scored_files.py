"""What the form's page *Batch* and `/predict/batch` make of the same file; docs/bad-input.md has it.

Write it there: READMIT_WRITE_DOCS=1 python -m pytest tests/contract/ui/test_scored_files.py
"""

import gzip
import sqlite3
import tarfile
from collections.abc import Callable
from io import BytesIO, StringIO
from pathlib import Path
from zipfile import ZipFile

import pandas
import pytest

from readmit.contract.definition import Contract
from readmit.intake import sample
from serving import batch_formats, schema
from serving.problems import Problem
from serving.schema import RequestSchema
from tests.support.bad_input_page import check_section, table
from ui import batch_file, form, language, problem_messages

ENGLISH = language.load("en")
Fields = list[form.Field]
# Another text in the place of one cell of the template's row.
CELLS = ("5.0", " 7 ", "NaN", "inf", "1e999", "1_0", "\u0663", "0,5", "5.5", "1e1")
N_PROCEDURES = "n_procedures"
# A person's table may have notes; a program that sends a field in vain has a mistake.
MORE_COLUMNS = "a column that the model lacks (the form says that nobody reads it)"


@pytest.fixture(scope="module")
def fields(contract: Contract) -> Fields:
    return form.fields(contract.features, contract.seeds.__getitem__, ENGLISH)


@pytest.fixture(scope="module")
def requests(contract: Contract) -> RequestSchema:
    return schema.build(contract)


def in_the_form(content: bytes, fields: Fields, requests: RequestSchema) -> str:
    """Return what the page says of the last row of a file, or of the file."""
    try:
        upload = batch_file.read(content, fields)
    except batch_file.UnreadableFile as error:
        return f"refused: {ENGLISH.text(error.key, **error.parameters)}"
    if upload.missing:
        return f"refused: missing columns: {', '.join(upload.missing[:3])}"
    if upload.n_rows == 0:
        return "no rows"
    *_, row = upload.rows()
    if row.error is not None:
        name, text = row.error["field"], problem_messages.field_error(row.error, ENGLISH)
        return f"error of the row: `{name}` {text}"
    return outcome(batch_file.typed(row.cells, fields), requests)


def in_the_api(content: bytes, requests: RequestSchema) -> str:
    """Return what the API says of the last row of a file, or of the file."""
    try:
        rows = batch_formats.csv_rows(requests, content, 200)
    except Problem as problem:
        if problem.errors:
            names = ", ".join(f"`{error['field']}`" for error in problem.errors)
            return f"refused: {problem.detail} ({names})"
        return f"refused: {problem.detail}"
    if not rows:
        return "no rows"
    return outcome(rows[-1], requests)


def outcome(row: object, requests: RequestSchema) -> str:
    [result] = requests.from_rows([row])
    if not isinstance(result, Problem):
        return "scored"
    [*errors] = result.errors
    return f"error of the row: `{errors[0]['field']}` {errors[0]['detail']}"


def files(fields: Fields, folder: Path) -> dict[str, bytes]:
    """Return a file of each kind."""
    template = batch_file.template(fields)
    header, row = template.splitlines()
    sample.write_csv(folder / "source.csv", n_rows=60)
    source = (folder / "source.csv").read_bytes()
    kinds = {"the template": template.encode()}
    position = header.split(",").index(N_PROCEDURES)
    for cell in CELLS:
        cells = row.split(",")
        cells[position] = f'"{cell}"'
        kinds[f"`{cell.strip()}` for a whole number"] = f"{header}\n{','.join(cells)}\n".encode()
    spanish = batch_file.template(fields, "es")
    plain = spanish.removeprefix("\ufeff")
    latin = f"{header},nota\n{row},año\n"
    kinds |= {
        "the Spanish template: semicolons and a mark": spanish.encode(),
        "the same, saved as Unicode text": plain.replace(";", "\t").encode("utf-16"),
        "the same behind a line `sep=;`": f"sep=;\r\n{plain}".encode(),
        "line ends of an old Mac": template.replace("\n", "\r").encode(),
        "blank lines above the header and between the rows": f"\n\n{header}\n\n{row}\n\n".encode(),
        "a row of empty cells between two": f"{template}{',' * row.count(',')}\n{row}\n".encode(),
        "rows of empty cells at the end": f"{template}{',' * row.count(',')}\n,,\n".encode(),
        "row numbers of pandas in front": f",{header}\n0,{row}\n".encode(),
        "names in capitals, with blanks": f"{header.upper().replace('_', ' ')}\n{row}\n".encode(),
        "a comma behind each line": f"{header},\n{row},\n".encode(),
        MORE_COLUMNS: f"{header},note\n{row},x\n".encode(),
        "a row that lacks its last cell": f"{template}{row.rpartition(',')[0]}\n".encode(),
        "a row with a cell too many": f"{template}{row},1\n".encode(),
        "the source's names and codes": source,
        "the same with a column less": source.replace(b"insulin", b"drug_17", 1),
        "the same, written by pandas with its row numbers": with_row_numbers(source),
        "two columns of a name": f"{header},gender\n{row},Female\n".encode(),
        "a header and no rows": f"{header}\n".encode(),
        "an empty file": b"",
        "names of something else": b"a,b\n1,2\n",
        "a quote that is not closed": f'{template}"{row}\n'.encode(),
        "letters in the encoding of Windows": latin.encode("cp1252"),
        "a web page": b"<html>Sign in</html>",
        "a web page in UTF-16": "<html>Sign in</html>".encode("utf-16"),
        "JSON Lines": b'{"gender": "Male"}\n',
    }
    return kinds | packed(source, folder)


def with_row_numbers(source: bytes) -> bytes:
    stays = pandas.read_csv(BytesIO(source), dtype=str, keep_default_na=False)
    text = StringIO()
    stays.to_csv(text)
    return text.getvalue().encode()


def packed(source: bytes, folder: Path) -> dict[str, bytes]:
    """Return the source as files of other programs, made by these."""
    stays = pandas.read_csv(BytesIO(source), dtype=str, keep_default_na=False)
    writers: dict[str, Callable[[Path], object]] = {
        "a Parquet file": stays.to_parquet,
        "a Feather file": stays.to_feather,
        "a pickle": stays.to_pickle,
        "a Stata file": stays.set_axis([f"v{n}" for n in range(50)], axis=1).to_stata,
    }
    kinds = {"a gzip": gzip.compress(source)}
    for title, write in writers.items():
        write(folder / "table")
        kinds[title] = (folder / "table").read_bytes()
    with ZipFile(folder / "book", "w") as workbook:
        workbook.writestr("xl/workbook.xml", "")
    kinds["a workbook"] = (folder / "book").read_bytes()
    with sqlite3.connect(folder / "database") as database:
        database.execute("create table stays (id)")
    database.close()
    kinds["a SQLite database"] = (folder / "database").read_bytes()
    with tarfile.open(folder / "tar", "w") as archive:
        archive.add(folder / "source.csv", "source.csv")
    kinds["a tar archive"] = (folder / "tar").read_bytes()
    return kinds


def test_page_lists_files_to_be_scored(
    fields: Fields, requests: RequestSchema, tmp_path: Path
) -> None:
    rows = []
    for title, content in files(fields, tmp_path).items():
        form_verdict = in_the_form(content, fields, requests)
        api_verdict = in_the_api(content, requests)
        # No file is scored by one and not by the other, and an error of a row is the same error.
        if not form_verdict.startswith("refused") and title != MORE_COLUMNS:
            assert form_verdict == api_verdict, title
        rows.append([title, form_verdict, api_verdict])
    check_section(
        "Stays to be scored", table(["file", "the form's *Batch* page", "`/predict/batch`"], rows)
    )
