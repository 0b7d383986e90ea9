"""`gen --schema` and `--schema-multi`: the schema is read before any other work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.cli.errors import failures
from llmroute.cli.output.meta_file import require_no_other_use
from llmroute.errors import RequestError
from llmroute.request.schema_file import schema_of_argument
from llmroute.schema.answer_schema import list_of

if TYPE_CHECKING:
    from llmroute.cli.arguments import RequestArguments
    from llmroute.types import AnswerSchema


def with_schema(arguments: RequestArguments, multi: str | None) -> RequestArguments:
    """Return the arguments with the parsed schema; an invalid schema ends the command."""
    with failures(as_json=arguments.as_json):
        schema = _schema(arguments, multi)
    return arguments._replace(request={**arguments.request, "schema": schema})


def _schema(arguments: RequestArguments, multi: str | None) -> AnswerSchema:
    given = arguments.request["schema"]
    if given is not None and multi is not None:
        raise RequestError("--schema and --schema-multi were both given: give one", option="schema")
    if arguments.render:
        raise RequestError("--render is for Markdown; --schema and --schema-multi print JSON", option="schema")
    flag, text = ("--schema", given) if multi is None else ("--schema-multi", multi)
    if arguments.meta is not None:
        require_no_other_use(arguments.meta, [(flag, text)])
    schema = schema_of_argument(text)
    return schema if multi is None else list_of(schema)
