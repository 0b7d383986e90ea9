"""Read requests from a file, one at a time: JSON lines, plain lines, or a column of CSV."""

from __future__ import annotations

import codecs
import csv
import io
import json
from dataclasses import replace
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from llmroute.encoding import HINT, as_utf8, check_beginning, decoded
from llmroute.errors import RequestError
from llmroute.text.option_names import OptionText, Remedy
from llmroute.text.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.batch.template import Template
    from llmroute.request.options import Options

DELIMITER_HINT = OptionText(Remedy("delimiter"), " says what stands between the cells")
MAX_LINE_BYTES = 64 * 1024 * 1024
# What a line says of which models are tried stands in place of all that the command line says of it.
_CHOICES = ("model", "provider", "chain", "fallback")


class Request(NamedTuple):
    """One request of a batch, or why a line is none.

    `line` is its number in the input, from 1.  `source` is a JSON line that asks for the same again.
    """

    line: int
    id: str | int
    asked: Options | RequestError
    source: dict[str, Any]


class InputFormat(NamedTuple):
    """How the input is to be read: JSON lines, unless `lines` or a CSV `column` says otherwise.

    `delimiter` stands between the cells of CSV.  `encoding` is Python's name of one; None is UTF-8.
    """

    lines: bool = False
    column: str | None = None
    template: Template | None = None
    delimiter: str = ","
    encoding: str | None = None


def requests(file: IO[bytes], form: InputFormat, defaults: Options) -> Iterator[Request]:
    """Yield a request for each line, those that are none too; a line that is not in the encoding is none.

    Raises:
        RequestError: the file is no CSV with that column, or begins with what is no text.
        OSError: it cannot be read.
    """
    text = as_utf8(file, form.encoding)
    if isinstance(file, io.BufferedReader) and form.encoding is None:
        check_beginning(file.peek(1), "the input")
    if form.column is not None:
        yield from map(_checked, _of_csv(text, form.column, form, defaults))
    else:
        yield from map(_checked, _of_lines(text, form, defaults))


def _checked(request: Request) -> Request:
    """Say of a request that could be made of nobody that it is none."""
    try:
        if not isinstance(request.asked, RequestError):
            request.asked.rendered_prompt(streaming=False)
    except RequestError as error:
        return request._replace(asked=error, source={})
    return request


def _of_lines(file: IO[bytes], form: InputFormat, defaults: Options) -> Iterator[Request]:
    for number, raw in _lines(file):
        if isinstance(raw, RequestError):
            yield Request(number, number, raw, {})
        elif form.lines:
            yield _of_bytes(number, raw, form.template, defaults)
        else:
            yield _of_json(number, raw, form.template, defaults)


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes | RequestError]]:
    """Yield the lines that are not blank, without their ends, by their numbers."""
    number = 0
    while raw := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(raw) > MAX_LINE_BYTES:
            while raw and not raw.endswith(b"\n"):
                raw = file.readline(MAX_LINE_BYTES)
            yield number, RequestError(f"the line is longer than {MAX_LINE_BYTES // 2**20} MiB")
            continue
        line = raw.removeprefix(codecs.BOM_UTF8) if number == 1 else raw
        if line.strip():
            yield number, line.rstrip(b"\r\n")


def _of_bytes(number: int, raw: bytes, template: Template | None, defaults: Options) -> Request:
    try:
        text = decoded(raw, None, "the line")
    except RequestError as error:
        return Request(number, number, error, {})
    return _of_text(number, text, {}, template, defaults)


def _of_text(number: int, text: str, fields: dict[str, Any], template: Template | None, defaults: Options) -> Request:
    asked_id = fields.get("id") or number
    try:
        prompt = text if template is None else template.fill({**fields, "text": text})
    except RequestError as error:
        return Request(number, asked_id, error, {})
    return Request(number, asked_id, replace(defaults, prompt=prompt), {"id": asked_id, "prompt": prompt})


def _of_json(number: int, raw: bytes, template: Template | None, defaults: Options) -> Request:
    asked_id: str | int = number
    try:
        said = json.loads(decoded(raw, None, "the line"))
        if not isinstance(said, dict):
            return Request(number, number, RequestError('the line is no object like {"id": ..., "prompt": "..."}'), {})
        if isinstance(said.get("id"), str | int) and said["id"] != "":
            asked_id = said["id"]
        from llmroute.batch import request_schema as line

        options = said
        if template is not None:
            prompt = template.fill({"text": said.get("prompt"), **said} if "prompt" in said else said)
            options = {**{name: value for name, value in said.items() if name in line.NAMES}, "prompt": prompt}
        return Request(number, asked_id, _joined(defaults, line.read(options).options()), {**options, "id": asked_id})
    except RequestError as error:
        return Request(number, asked_id, error, {})
    except (ValueError, RecursionError) as error:
        told = str(error).partition("\n")[0][:120]
        return Request(number, number, RequestError(f"the line is not JSON: {told}"), {})


def _joined(defaults: Options, said: dict[str, Any]) -> Options:
    if any(name in said for name in _CHOICES):
        defaults = replace(defaults, model=None, provider=None, chain=None, fallback=())
    return replace(defaults, **said)


def _of_csv(file: IO[bytes], column: str, form: InputFormat, defaults: Options) -> Iterator[Request]:
    csv.field_size_limit(MAX_LINE_BYTES)
    # What is not UTF-8 becomes half characters, by which its row is known.
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    rows = csv.reader(text, strict=True, delimiter=form.delimiter)
    try:
        head = next(rows, [])
    except csv.Error as error:
        raise RequestError(f"the first line is no head of a CSV file: {error}") from None
    _check_head(head, column)
    while True:
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield Request(rows.line_num, rows.line_num, RequestError(f"the row is not CSV: {error}"), {})
            continue
        if not row:
            continue
        if (problem := _problem_of(row, head, column, form.delimiter)) is not None:
            yield Request(rows.line_num, rows.line_num, problem, {})
            continue
        fields = dict(zip(head, row, strict=True))
        yield _of_text(rows.line_num, fields[column], fields, form.template, defaults)


def _check_head(head: list[str], column: str) -> None:
    found = head.count(column)
    if found == 1:
        return
    if found:
        raise RequestError(f"the file has {found} columns {column!r}: name the one with the prompts otherwise")
    near = nearest(column, head)
    told = ", ".join(name.encode("utf-8", "replace").decode() for name in head)
    raise RequestError(
        f"the file has no column {column!r}, only {told or 'none'}",
        hint=f"did you mean {near}?" if near else DELIMITER_HINT if len(head) == 1 else None,
    )


def _problem_of(row: list[str], head: list[str], column: str, delimiter: str) -> RequestError | None:
    """Say why a row is no request: a prompt that lost its quotes must not be sent in part."""
    if any("\udc80" <= letter <= "\udcff" for cell in row if not cell.isascii() for letter in cell):
        return RequestError("the row is not UTF-8", hint=HINT)
    if len(row) == len(head):
        return None
    if len(row) <= head.index(column):
        return RequestError(f"the row has no {column!r}: it has {_cells(row)}, and the head {len(head)}")
    return RequestError(
        f"the row has {_cells(row)}, and the head {len(head)}, so that {column!r} may be cut",
        hint=f"put a cell that holds {delimiter!r} in double quotes",
    )


def _cells(row: list[str]) -> str:
    return f"{len(row)} cell{'' if len(row) == 1 else 's'}"
