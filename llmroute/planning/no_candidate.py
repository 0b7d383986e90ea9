"""The errors raised when no model can serve a request, with the option that would help."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from llmroute import exit_codes
from llmroute.errors import BudgetExceededError, NoCandidateError, RequestError
from llmroute.providers import PROVIDERS
from llmroute.text.option_text import OptionText

if TYPE_CHECKING:
    from llmroute.routing.plan import Exclusion, Plan, RoutingConstraints

SHORTEN = "shorten it, or use a model with a larger context window: llmroute models lists them"
LOOK = "llmroute health shows the providers that are set up, llmroute models lists models"
_MOST_REASONS = 4


def refuse(made: Plan, constraints: RoutingConstraints, way_to_engine: str | None = None) -> NoReturn:
    """Raise the error for an empty plan: the model nearest to the limits and the option that allows it, or all reasons.

    `way_to_engine` is the command that installs the embedded model if it is missing and could serve the request.
    """
    if near := nearest(made):
        option = near.admitted_by[0].option
        explanation, hint = (
            f"no model can serve this request; {miss_text(near)}",
            OptionText(near.admitted_by, " would admit it"),
        )
        if option != "budget_remaining":
            of_limits = NoCandidateError(explanation, hint=hint, option=option)
            of_limits.exit_code = exit_codes.USAGE  # other options would allow a model
            raise of_limits
        refusal = BudgetExceededError(explanation, hint=hint, option=option)
        refusal.of_request = True
        raise refusal
    if unfit := [one for one in made.excluded if one.unfit]:
        reasons = OptionText(*_reasons(made._replace(excluded=tuple(unfit)), constraints))
        refused = NoCandidateError(OptionText("no model can serve this request: ", reasons), option="attachments")
        refused.exit_code = exit_codes.USAGE  # another attachment, or another form of it, can be sent
        raise refused
    if long := [one for one in made.excluded if one.too_long]:
        widest = max(long, key=lambda one: one.model.context_window or 0)
        explanation = f"no model can serve this request: {widest.model.name}: {widest.reason}"
        too_long = NoCandidateError(explanation, hint=SHORTEN)
        if all(one.too_long for one in _counted(made, constraints)):
            # Setting up another provider would not help.
            too_long.exit_code = exit_codes.USAGE
        raise too_long
    counted = _counted(made, constraints)
    if counted and all(one.lacks_tier for one in counted):
        providers = " and ".join(sorted({one.model.provider for one in counted}))
        no_tier = f"no model of {providers} has a known price for the service tier {constraints.tier}"
        of_tier = NoCandidateError(no_tier, option="tier")
        of_tier.exit_code = exit_codes.USAGE  # no key or server would change it
        raise of_tier
    reasons = OptionText(*_reasons(made, constraints))
    if counted and all(one.lacks_medium and not one.whole_provider for one in counted):
        of_medium = NoCandidateError(OptionText("no model can serve this request: ", reasons), option="attachments")
        of_medium.exit_code = exit_codes.USAGE  # no key or server would change it
        raise of_medium
    look = LOOK
    if way_to_engine and way_to_engine not in reasons:
        look = f"{way_to_engine} installs a small model that needs no key; llmroute health shows what is set up"
    wanted = f" with {', '.join(sorted(constraints.capabilities))}" if constraints.capabilities else ""
    raise NoCandidateError(OptionText(f"no model{wanted} can serve this request: ", reasons), hint=look)


def refuse_named(exclusion: Exclusion) -> NoReturn:
    """Raise the error for a named model that cannot serve the request, with the option that allows it."""
    hint = OptionText(exclusion.admitted_by, " would admit it") if exclusion.admitted_by else None
    raise RequestError(
        OptionText(f"{exclusion.model.name}: ", exclusion.reason), hint=SHORTEN if exclusion.too_long else hint
    )


def _reasons(made: Plan, constraints: RoutingConstraints) -> list[str]:
    """Return the first few reasons, each once, with separators between them."""
    counted = _counted(made, constraints)
    if made.named:
        reasons = [OptionText(f"{one.model.name}: ", one.reason) for one in counted[:_MOST_REASONS]]
    else:
        firsts: dict[str, Exclusion] = {}
        for one in counted:
            firsts.setdefault(one.reason, one)
        reasons = [
            OptionText(reason) if one.whole_provider else OptionText(f"{one.model.name}: ", reason)
            for reason, one in firsts.items()
        ][:_MOST_REASONS]
    return [part for reason in reasons for part in ("; ", reason)][1:] or ["there are none"]


def _counted(made: Plan, constraints: RoutingConstraints) -> list[Exclusion]:
    """Return the exclusions; for a local-only request without those of remote providers."""
    return [one for one in made.excluded if not constraints.local_only or PROVIDERS[one.model.provider].local]


def nearest(made: Plan) -> Exclusion | None:
    """Return the excluded model that misses the limits of the caller by least; None if no option would allow one."""
    misses = [exclusion for exclusion in made.excluded if exclusion.admitted_by]
    return min(misses, key=lambda exclusion: exclusion.distance, default=None)


def miss_text(near: Exclusion) -> str:
    """Return the text for an excluded model that misses a limit of the caller."""
    return f"the nearest is {near.model.name}: {near.reason}"
