"""A schema as the command line and the lines of a batch give it: JSON text, a file, or the short form."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from llmroute.encoding import decoded, decoded_argument
from llmroute.errors import RequestError
from llmroute.schema.answer_schema import schema_of_json, schema_of_text
from llmroute.schema.short_form import is_short_form
from llmroute.text.redaction import one_line

if TYPE_CHECKING:
    from llmroute.types import AnswerSchema

MOST_BYTES = 16 * 2**20
MOST_SHOWN = 200
_MISSING = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)
_HINT = "a short form has a comma, a colon or a type: `name str`, or `name, age int`"


def schema_of_argument(text: str, folder: Path | None = None) -> AnswerSchema:
    """Return the schema that a text gives; a relative path begins in `folder`, or in the current one.

    Text that begins with `{` is JSON, the name of a file is that file, and other text is the short form.

    Raises:
        RequestError: it is none of them, or no JSON Schema.
    """
    if text.strip().startswith("{"):
        return schema_of_json(decoded_argument(text, None, "schema"))
    try:
        return _schema_of_file(Path(text) if folder is None else folder / text, one_line(text)[:MOST_SHOWN])
    except (OSError, ValueError) as error:
        # No name of a file can be so long, or have half characters.
        missing = not isinstance(error, OSError) or error.errno in _MISSING
        if (missing and is_short_form(text)) or not text.strip():
            return schema_of_text(decoded_argument(text, None, "schema"))
        shown = one_line(text)[:MOST_SHOWN]
        if missing:
            raise RequestError(f"schema: there is no file {shown}", hint=_HINT, option="schema") from None
        reason = error.strerror if isinstance(error, OSError) else error
        raise RequestError(f"schema: {shown} cannot be read: {reason}", option="schema") from error


def _schema_of_file(path: Path, name: str) -> AnswerSchema:
    with path.open("rb") as file:
        data = file.read(MOST_BYTES + 1)
    if len(data) > MOST_BYTES:
        raise RequestError(f"schema: {name} is larger than {MOST_BYTES // 2**20} MiB", option="schema")
    try:
        text = decoded(data, None, f"schema: {name}")
    except RequestError as error:
        error.hint = "JSON is UTF-8: convert the file"
        raise
    return schema_of_json(text)
