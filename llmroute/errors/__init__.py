"""All errors with their exit codes; `routing.fallback` alone decides what follows from each.

* LLMRouteError
  x RequestError            the request is invalid (exit 2)
  x ConfigError             a setting is invalid (exit 2)
    + ConfigWriteError      config.toml cannot be changed (exit 3)
  x NoCandidateError        no model is usable: key, engine, server (exit 3), limits of the request (exit 2)
    + EngineUnavailableError
    + ModelRetiredError
  x LedgerError             the ledger cannot be read or written (exit 3)
  x OutputError             an output file cannot be written (exit 3)
  x VendorReportError       a provider's cost report cannot be used (exit 4)
  x BudgetExceededError     the budget is exceeded; nothing was sent (exit 5)
  x DeadlineError           the deadline of the request has passed (exit 7)
  x AttemptError            one call to one provider failed
    + RateLimitError        429, or a full queue (exit 4)
    + QuotaError            no credit left (exit 3)
    + AuthenticationError   the key is missing, invalid or has no permission (exit 3)
    + ModelGoneError        the provider does not serve the model (exit 3)
    + TransientError        5xx, or an error inside a stream (exit 4)
    + ProviderTimeoutError  connecting, the first token or the next chunk timed out (exit 4)
    + UnreachableError      DNS, connection refused or reset, TLS (exit 4)
    + ContextLengthError    the prompt is too long for the model (exit 2)
    + ContentError          refused or filtered (exit 6)
    + ParameterError        an unsupported parameter or value (exit 2)
    + BadRequestError       any other invalid request (exit 2)
    + BadOutputError        an empty, undecodable or incomplete response (exit 6)
    + SchemaError           the answer is not valid against the schema of the request (exit 6)
    + CheckError            the check of the caller rejects the answer (exit 6)
    + CircuitOpenError      the circuit is open; nothing was sent (exit 4)
    + AllProvidersFailedError  several attempts failed; also of the class of the last error, with its exit code
  x CheckFaultError         the check of the caller cannot be started (exit 2), was killed or took too long (exit 3)
  x InterruptedRequestError  a request of a batch was interrupted after it was sent (exit 4)
  x IncompleteAnswerError   the response ended early, after a part of it was streamed to the caller (exit 6)

Any other exception is a bug: exit 1, with a traceback under --debug.

All errors can be copied and pickled with their fields, without cause and traceback as for any exception.
"""

from llmroute.errors.attempt import (
    AllProvidersFailedError,
    AttemptError,
    AuthenticationError,
    BadOutputError,
    BadRequestError,
    CheckError,
    CircuitOpenError,
    ContentError,
    ContextLengthError,
    ModelGoneError,
    ParameterError,
    ProviderTimeoutError,
    QuotaError,
    RateLimitError,
    RejectedError,
    SchemaError,
    TransientError,
    UnreachableError,
)
from llmroute.errors.base import (
    BudgetExceededError,
    CheckFaultError,
    ConfigError,
    ConfigWriteError,
    DeadlineError,
    EngineUnavailableError,
    IncompleteAnswerError,
    InterruptedRequestError,
    LedgerError,
    LLMRouteError,
    ModelRetiredError,
    NoCandidateError,
    OutputError,
    RequestError,
    VendorReportError,
    remade,
)

__all__ = [
    "AllProvidersFailedError",
    "AttemptError",
    "AuthenticationError",
    "BadOutputError",
    "BadRequestError",
    "BudgetExceededError",
    "CheckError",
    "CheckFaultError",
    "CircuitOpenError",
    "ConfigError",
    "ConfigWriteError",
    "ContentError",
    "ContextLengthError",
    "DeadlineError",
    "EngineUnavailableError",
    "IncompleteAnswerError",
    "InterruptedRequestError",
    "LLMRouteError",
    "LedgerError",
    "ModelGoneError",
    "ModelRetiredError",
    "NoCandidateError",
    "OutputError",
    "ParameterError",
    "ProviderTimeoutError",
    "QuotaError",
    "RateLimitError",
    "RejectedError",
    "RequestError",
    "SchemaError",
    "TransientError",
    "UnreachableError",
    "VendorReportError",
    "remade",
]
