"""The settings of a run of batch jobs."""

# No postponed annotations: see types.
from typing import NamedTuple

LEAST_WITHIN_S = 3_600
MOST_WITHIN_S = 86_400
LEAST_POLL_S = 0.01
MOST_POLL_S = 3_600
GIVE_UP_S = 3_600
"""How long after the deadline the end of a cancelled job, or a job that may have been created, is waited for.

Results may take at least as long to download.
"""


class RunSettings(NamedTuple):
    """The settings of a run: its output, its input, and its behavior.

    Attributes:
        output: the absolute path of the results file, or the name of a batch of the library.
        input_digest, options_digest: digests of the input and the options, the same when a run is resumed.
        within_s: seconds until lines without an answer are cancelled; None is a day, or what the resumed run has.
        wait: whether to wait for jobs that have been submitted.
        rescue: whether the caller answers lines without an answer by ordinary calls.
        resume: whether an earlier run of the same output is continued.
        poll_s: seconds between two queries, None for 10 that grow to 60.
        keep: whether files at the provider are kept.
        confirms: whether jobs count as delivered only when the caller confirms the whole run, as the library does.
    """

    output: str | None = None
    input_digest: str = ""
    options_digest: str = ""
    within_s: float | None = None
    wait: bool = True
    rescue: bool = False
    resume: bool = False
    poll_s: float | None = None
    keep: bool = False
    confirms: bool = False
