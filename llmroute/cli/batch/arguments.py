"""The batch flags of `llmroute gen`, and the input format that they describe."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from llmroute.batch.reader import InputFormat
from llmroute.batch.template import Template
from llmroute.encoding import decoded_argument, known_encoding
from llmroute.errors import RequestError
from llmroute.jobs.run_settings import LEAST_WITHIN_S, MOST_WITHIN_S
from llmroute.types import BATCH

_DURATION = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[hms])", re.ASCII)
_SECONDS = {"h": 3_600, "m": 60, "s": 1}


class JobArguments(NamedTuple):
    """The flags of batch jobs, `--tier batch`."""

    within: str | None = None
    rescue: bool = False
    no_wait: bool = False
    poll_s: float | None = None
    keep: bool = False

    def require_none(self) -> None:
        """Check that no flag is set.

        Raises:
            RequestError: a flag is set although the batch creates no jobs.
        """
        if self != JobArguments():
            raise RequestError(f"--within, --rescue, --no-wait, --poll and --keep require --tier {BATCH}")

    def within_s(self) -> float | None:
        """Return the deadline in seconds, None if absent.

        Raises:
            RequestError: it is not a duration.
        """
        if self.within is None:
            return None
        parts = _DURATION.fullmatch(self.within.strip().lower())
        if parts is None:
            raise RequestError(f"--within: {self.within!r} is not a duration", hint="for example 24h, 90m or 3600s")
        seconds: float = float(parts["number"]) * _SECONDS[parts["unit"]]
        if not LEAST_WITHIN_S <= seconds <= MOST_WITHIN_S:
            raise RequestError(f"--within: {self.within} is not from 1h to 24h")
        return seconds


class BatchArguments(NamedTuple):
    """The batch flags of `gen`; `cli.options` describes each."""

    file: str
    output: Path | None
    resume: bool
    at_once: int
    unordered: bool
    lines: bool
    column: str | None
    delimiter: str | None
    template: str | None
    jobs: JobArguments

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
