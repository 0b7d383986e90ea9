"""Read the requests of a batch one at a time from JSON lines, plain lines, or a column of CSV."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from llmroute.encoding import HINT, as_utf8, check_beginning, decoded
from llmroute.errors import RequestError
from llmroute.request.rendered import prompt_of
from llmroute.text.option_text import OptionText, Remedy
from llmroute.text.suggest import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.batch.template import Template
    from llmroute.request.options import Options

LINES_HINT = OptionText(Remedy("lines"), " reads one prompt per line")
DELIMITER_HINT = OptionText("set the delimiter with ", Remedy("delimiter"))
MAX_LINE_BYTES = 64 * 1024 * 1024
# A line that sets one of these replaces all of them, so that it does not mix with the models of the command line.
_MODEL_OPTIONS = ("model", "provider", "chain", "fallback")


class Request(NamedTuple):
    """One request of a batch, or the error of an invalid line.

    `line` is the line number in the input, from 1.  `source` is the request as a JSON line that can be run again.
    """

    line: int
    id: str | int
    options: Options | RequestError
    source: dict[str, Any]


class InputFormat(NamedTuple):
    """The format of the input: JSON lines unless `lines` or a CSV `column` is set.

    `delimiter` separates the cells of CSV.  `encoding` is Python's name of an encoding; None is UTF-8.
    `folder` is where relative paths in lines begin.
    """

    lines: bool = False
    column: str | None = None
    template: Template | None = None
    delimiter: str = ","
    encoding: str | None = None
    folder: str = ""


def read_requests(file: IO[bytes], input_format: InputFormat, defaults: Options) -> Iterator[Request]:
    """Yield a request or an error for each line that is not blank.

    Raises:
        RequestError: the CSV file has no such column, or the file does not start with text.
        OSError: the file cannot be read.
    """
    text = as_utf8(file, input_format.encoding)
    if isinstance(file, io.BufferedReader) and input_format.encoding is None:
        check_beginning(file.peek(1), "the input")
    if input_format.column is not None:
        requests = _csv_requests(text, input_format.column, input_format, defaults)
    else:
        requests = _line_requests(text, input_format, defaults)
    yield from map(_validated, requests)


def _validated(request: Request) -> Request:
    try:
        if not isinstance(request.options, RequestError):
            options = request.options
            # Attachments are read when the request is sent: an earlier run may have answered it.
            checked = replace(options, attachments=()) if options.attachments else options
            prompt_of(checked, streaming=False)
    except RequestError as error:
        return request._replace(options=error, source={})
    return request


def _line_requests(file: IO[bytes], input_format: InputFormat, defaults: Options) -> Iterator[Request]:
    for number, raw in _lines(file):
        try:
            if isinstance(raw, RequestError):
                raise raw
            text = decoded(raw, None, "the line")
        except RequestError as error:
            yield Request(number, number, error, {})
        else:
            if input_format.lines:
                yield _text_request(number, text, {}, input_format.template, defaults)
            else:
                yield _json_request(number, text, input_format, defaults)


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes | RequestError]]:
    """Yield the number and content of each line that is not blank, without its end."""
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


def _text_request(
    number: int, text: str, fields: dict[str, Any], template: Template | None, defaults: Options
) -> Request:
    request_id = fields.get("id") or number
    try:
        prompt = text if template is None else template.fill({**fields, "text": text})
    except RequestError as error:
        return Request(number, request_id, error, {})
    return Request(number, request_id, replace(defaults, prompt=prompt), {"id": request_id, "prompt": prompt})


def _json_request(number: int, text: str, input_format: InputFormat, defaults: Options) -> Request:
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = str(error).partition("\n")[0][:120]
        hint = None if text.lstrip().startswith("{") else LINES_HINT
        return Request(number, number, RequestError(f"the line is not JSON: {reason}", hint=hint), {})
    if not isinstance(record, dict):
        return Request(number, number, RequestError('the line is not an object like {"id": ..., "prompt": "..."}'), {})
    has_id = isinstance(record.get("id"), str | int) and record["id"] != ""
    request_id = record["id"] if has_id else number
    from llmroute.batch import request_schema as schema  # imports pydantic

    source, template = record, input_format.template
    try:
        if template is not None:
            prompt = template.fill({"text": record["prompt"], **record} if "prompt" in record else record)
            source = {**{name: value for name, value in record.items() if name in schema.FIELDS}, "prompt": prompt}
        given = schema.parse_line(source).options()
        source = _with_files(given, source, input_format.folder)
        options = _merged(defaults, given)
    except RequestError as error:
        return Request(number, request_id, error, {})
    except RecursionError:
        return Request(number, request_id, RequestError("the line is nested too deeply"), {})
    return Request(number, request_id, options, {**source, "id": request_id})


def _with_files(given: dict[str, Any], source: dict[str, Any], folder: str) -> dict[str, Any]:
    """Find the files that the options of a line name; return the line so that it can be run from another folder."""
    if attached := given.get("attachments"):
        given["attachments"] = [_in_folder(folder, name) for name in attached]
        from llmroute.batch import request_schema as schema

        source = {name: value for name, value in source.items() if schema.FIELDS.get(name) != "attachments"}
        source |= {"attachments": given["attachments"]}
    if isinstance(given.get("schema"), str):
        from llmroute.request.schema_file import schema_of_argument

        given["schema"] = schema_of_argument(given["schema"], Path(folder))
        source = {**source, "schema": given["schema"].document}
    return source


def _in_folder(folder: str, name: str) -> str:
    """Return an attachment of a line as an absolute path, so that the line can be run again from another folder."""
    from llmroute.attachments.reading import is_url

    return name if is_url(name) else os.path.abspath(os.path.join(folder, name))  # noqa: PTH100, PTH118 (keeps links)


def _merged(defaults: Options, options: dict[str, Any]) -> Options:
    if any(name in options for name in _MODEL_OPTIONS):
        options = {"model": None, "provider": None, "chain": None, "fallback": (), **options}
    if defaults.attachments and "attachments" in options:
        options["attachments"] = [*defaults.attachments, *options["attachments"]]
    return replace(defaults, **options)


def _csv_requests(file: IO[bytes], column: str, input_format: InputFormat, defaults: Options) -> Iterator[Request]:
    csv.field_size_limit(MAX_LINE_BYTES)
    # Bytes that are not UTF-8 become surrogates, so that only their row is rejected.
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    rows = csv.reader(text, strict=True, delimiter=input_format.delimiter)
    try:
        header = next(rows, [])
    except csv.Error as error:
        raise RequestError(f"the first line is not a CSV header: {error}") from None
    _check_header(header, column)
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
        if (row_error := _row_error(row, header, column, input_format.delimiter)) is not None:
            yield Request(rows.line_num, rows.line_num, row_error, {})
            continue
        fields = dict(zip(header, row, strict=True))
        yield _text_request(rows.line_num, fields[column], fields, input_format.template, defaults)


def _check_header(header: list[str], column: str) -> None:
    count = header.count(column)
    if count == 1:
        return
    if count:
        raise RequestError(f"the file has {count} columns {column!r}: rename all but one")
    near = nearest(column, header)
    names = ", ".join(name.encode("utf-8", "replace").decode() for name in header)
    raise RequestError(
        f"the file has no column {column!r}, only {names or 'none'}",
        hint=f"did you mean {near}?" if near else DELIMITER_HINT if len(header) == 1 else None,
    )


def _row_error(row: list[str], header: list[str], column: str, delimiter: str) -> RequestError | None:
    """Return the error of an invalid row: a prompt with an unquoted delimiter must not be sent in part."""
    if any("\udc80" <= letter <= "\udcff" for cell in row if not cell.isascii() for letter in cell):
        return RequestError("the row is not UTF-8", hint=HINT)
    if len(row) == len(header):
        return None
    count = f"{len(row)} cell{'' if len(row) == 1 else 's'}"
    if len(row) <= header.index(column):
        return RequestError(f"the row has no {column!r}: it has {count}, the header has {len(header)}")
    return RequestError(
        f"the row has {count}, the header has {len(header)}: {column!r} may be incomplete",
        hint=f"quote a cell that contains {delimiter!r} with double quotes",
    )
