"""The batch flags of `llmroute gen`, and the input format that they describe."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from llmroute.batch.reader import InputFormat
from llmroute.batch.template import Template
from llmroute.encoding import decoded_argument, known_encoding
from llmroute.errors import RequestError


class BatchArguments(NamedTuple):
    """The batch flags of `gen`; `cli.options` describes each."""

    file: str
    output: Path | None
    resume: bool
    jobs: int
    unordered: bool
    lines: bool
    column: str | None
    delimiter: str | None
    template: str | None

    def input_format(self, encoding: str | None) -> InputFormat:
        """Return the format of the input; `encoding` None means UTF-8.

        Raises:
            RequestError: the flags contradict each other, or the template is invalid.
        """
        if self.lines and self.column is not None:
            raise RequestError("--lines and --column exclude each other: the input is either plain lines or CSV")
        if self.resume and self.output is None:
            raise RequestError("--resume continues a results file: name it with -o FILE")
        if self.delimiter is not None and self.column is None:
            raise RequestError("--delimiter applies to CSV only: name the column of the prompts with --column")
        encoding = known_encoding(encoding)
        template = None
        if self.template is not None:
            template = Template(decoded_argument(self.template, encoding, "--template"))
        folder = "" if self.file == "-" else str(Path(self.file).parent)
        return InputFormat(self.lines, self.column, template, self._delimiter(), encoding, folder)

    def _delimiter(self) -> str:
        if self.delimiter is None:
            return "\t" if self.file.lower().endswith((".tsv", ".tab")) else ","
        delimiter = "\t" if self.delimiter.lower() in ("tab", "\\t") else self.delimiter
        if len(delimiter) != 1 or delimiter in '"\r\n\0':
            raise RequestError(
                f"--delimiter: {self.delimiter!r} is not a single character", hint="for example ';', '|' or tab"
            )
        return delimiter
