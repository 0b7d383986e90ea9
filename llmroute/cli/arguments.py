"""A request as it was typed: the flags that `gen` and `stream` share, declared once."""

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.cli import options as flags
from llmroute.encoding import decoded_argument, known_encoding

if TYPE_CHECKING:
    from llmroute.request.options import Options


class RequestArguments(NamedTuple):
    """What was typed after `gen` or `stream`; each field is a flag, in the order in which help shows it."""

    prompt: flags.PromptArgument = None
    model: flags.ModelOption = None
    provider: flags.ProviderOption = None
    strategy: flags.StrategyOption = None
    chain: flags.Chain = None
    fallback: flags.Fallback = None
    fallback_on: flags.FallbackOnOption = None
    no_fallback: flags.NoFallback = False
    no_upgrade: flags.NoUpgrade = False
    capability: flags.CapabilityOption = None
    task: flags.TaskOption = None
    system: flags.System = None
    temperature: flags.Temperature = None
    max_tokens: flags.MaxTokens = None
    effort: flags.EffortOption = None
    tier: flags.TierOption = None
    stop: flags.Stop = None
    strict_params: flags.StrictParams = False
    budget: flags.Budget = None
    worth: flags.Worth = None
    on_budget: flags.OnBudgetOption = None
    max_latency: flags.MaxLatency = None
    min_quality: flags.MinQuality = None
    timeout: flags.Timeout = None
    max_attempts: flags.MaxAttempts = None
    prefer_local: flags.PreferLocal = False
    local_only: flags.LocalOnly = False
    workspace: flags.Workspace = None
    execution: flags.Execution = None
    as_json: flags.AsJSON = False
    meta: flags.Meta = None
    dry_run: flags.DryRun = False
    every_candidate: flags.EveryCandidate = False
    extract: flags.Extract = False
    render: flags.Render = False
    color: flags.Color = "auto"
    usage: flags.UsageLine = False
    quiet: flags.Quiet = False
    debug: flags.Debug = False
    no_stdin: flags.NoStdin = False
    encoding: flags.Encoding = None

    def options(self) -> "Options":
        """Read the prompt and return the request.

        Raises:
            RequestError: stdin cannot be read, or is not text in its encoding.
        """
        from llmroute.cli.stdin import read_prompt

        encoding = known_encoding(self.encoding)
        prompt = read_prompt(self.prompt, no_stdin=self.no_stdin, quiet=self.quiet, encoding=encoding)
        return self._request(prompt, self.budget)

    def defaults(self) -> "Options":
        """Return what each request of a batch asks for, but its prompt; the budget is that of all together."""
        return self._request(None, None)

    def _text(self, argument: str, flag: str) -> str:
        return decoded_argument(argument, known_encoding(self.encoding), flag)

    def _request(self, prompt: str | None, budget_usd: float | None) -> "Options":
        from llmroute.request.options import Options

        # What is one of some words is checked there, not here.
        words: dict[str, Any] = {
            "strategy": self.strategy,
            "fallback_on": self.fallback_on,
            "task_type": self.task,
            "required_capability": self.capability,
            "on_budget": self.on_budget,
            "effort": self.effort,
            "tier": self.tier,
        }
        return Options(
            prompt=prompt,
            budget_remaining=budget_usd,
            worth_usd=self.worth,
            system=self.system and self._text(self.system, "-s"),
            provider=self.provider,
            model=self.model,
            chain=self.chain,
            fallback=tuple(self.fallback or ()),
            upgrade=False if self.no_upgrade else None,
            max_latency_ms=self.max_latency,
            min_quality=self.min_quality,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            stop=self.stop and [self._text(each, "--stop") for each in self.stop],
            timeout_s=self.timeout,
            max_attempts=self.max_attempts,
            workspace_id=self.workspace,
            execution_id=self.execution,
            enable_fallback=False if self.no_fallback else None,
            prefer_local=self.prefer_local or None,
            local_only=self.local_only,
            strict_params=self.strict_params,
            **words,
        )


def takes_a_request(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, whose first parameter is an Asked, the flags of Asked before its own."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    hints = RequestArguments.__annotations__
    kind = inspect.Parameter.KEYWORD_ONLY
    shared = [
        inspect.Parameter(name, kind, default=default, annotation=hints[name])
        for name, default in RequestArguments._field_defaults.items()
    ]

    def typed(**values: Any) -> None:
        command(RequestArguments(**{name: values.pop(name) for name in RequestArguments._fields}), **values)

    typed.__name__, typed.__doc__ = command.__name__, command.__doc__
    parameters = [*shared, *(parameter.replace(kind=kind) for parameter in own)]
    typed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return typed
