"""The arguments of `gen --batch`: the format of its input, and the settings of a run of batch jobs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from llmroute.batch.reader import InputFormat
from llmroute.batch.template import Template
from llmroute.cli.batch.options import JOBS_PANEL, names
from llmroute.encoding import decoded_argument, known_encoding
from llmroute.errors import RequestError
from llmroute.jobs.run_settings import LEAST_WITHIN_S, MOST_WITHIN_S, RunSettings
from llmroute.types import BATCH

if TYPE_CHECKING:
    from llmroute.cli.batch.options import BatchOptions

_DURATION = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[hms])", re.ASCII)
_SECONDS = {"h": 3_600, "m": 60, "s": 1}


def input_format(batch: BatchOptions, encoding: str | None) -> InputFormat:
    """Return the format of the input; `encoding` None means UTF-8.

    Raises:
        RequestError: the flags contradict each other, or the template is invalid.
    """
    if batch.lines and batch.column is not None:
        raise RequestError("--lines and --column exclude each other: the input is either plain lines or CSV")
    if batch.resume and batch.output is None:
        raise RequestError("--resume continues a results file: name it with -o FILE")
    if batch.delimiter is not None and batch.column is None:
        raise RequestError("--delimiter applies to CSV only: name the column of the prompts with --column")
    encoding = known_encoding(encoding)
    template = None
    if batch.template is not None:
        template = Template(decoded_argument(batch.template, encoding, "--template"))
    folder = "" if batch.file == "-" else str(Path(batch.file).parent)
    return InputFormat(batch.lines, batch.column, template, _delimiter(batch), encoding, folder)


def _delimiter(batch: BatchOptions) -> str:
    if batch.delimiter is None:
        return "\t" if batch.file.lower().endswith((".tsv", ".tab")) else ","
    delimiter = "\t" if batch.delimiter.lower() in ("tab", "\\t") else batch.delimiter
    if len(delimiter) != 1 or delimiter in '"\r\n\0':
        raise RequestError(
            f"--delimiter: {batch.delimiter!r} is not a single character", hint="for example ';', '|' or tab"
        )
    return delimiter


def require_no_job_flags(batch: BatchOptions) -> None:
    """Check that no flag of batch jobs is set.

    Raises:
        RequestError: a flag is set although the batch creates no jobs.
    """
    if batch.has_any(JOBS_PANEL):
        raise RequestError(f"{names(JOBS_PANEL)} require --tier {BATCH}")


def run_settings(batch: BatchOptions) -> RunSettings:
    """Return the settings of a run of batch jobs, without the digests of its input and options.

    Raises:
        RequestError: there is no results file, or --within is not a duration.
    """
    if batch.output is None:
        raise RequestError(f"--tier {BATCH} writes its results to a file: name it with -o FILE")
    return RunSettings(
        output=os.path.realpath(batch.output),
        within_s=None if batch.within is None else _within_s(batch.within),
        wait=not batch.no_wait,
        rescue=batch.rescue,
        resume=batch.resume,
        poll_s=batch.poll_s,
        keep=batch.keep,
    )


def _within_s(within: str) -> float:
    parts = _DURATION.fullmatch(within.strip().lower())
    if parts is None:
        raise RequestError(f"--within: {within!r} is not a duration", hint="for example 24h, 90m or 3600s")
    seconds: float = float(parts["number"]) * _SECONDS[parts["unit"]]
    if not LEAST_WITHIN_S <= seconds <= MOST_WITHIN_S:
        raise RequestError(f"--within: {within} is not from 1h to 24h")
    return seconds
