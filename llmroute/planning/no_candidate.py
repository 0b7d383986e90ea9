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
    raise (
        _missed_limit(made)
        or _unfit_attachments(made, constraints)
        or _too_long(made, constraints)
        or _no_tier(made, constraints)
        or _no_medium(made, constraints)
        or _nothing_usable(made, constraints, way_to_engine)
    )


def _missed_limit(made: Plan) -> NoCandidateError | BudgetExceededError | None:
    near = nearest(made)
    if near is None:
        return None
    option = near.admitted_by[0].option
    text = f"no model can serve this request; {miss_text(near)}"
    hint = OptionText(near.admitted_by, " would admit it")
    if option != "budget_remaining":
        return _of_request(text, option=option, hint=hint)
    refusal = BudgetExceededError(text, hint=hint, option=option)
    refusal.of_request = True
    return refusal


def _unfit_attachments(made: Plan, constraints: RoutingConstraints) -> NoCandidateError | None:
    unfit = tuple(one for one in made.excluded if one.unfit)
    if not unfit:
        return None
    reasons = OptionText(*_reasons(made._replace(excluded=unfit), constraints))
    return _of_request(OptionText("no model can serve this request: ", reasons), option="attachments")


def _too_long(made: Plan, constraints: RoutingConstraints) -> NoCandidateError | None:
    long = [one for one in made.excluded if one.too_long]
    if not long:
        return None
    widest = max(long, key=lambda one: one.model.context_window or 0)
    text = f"no model can serve this request: {widest.model.name}: {widest.reason}"
    # Setting up another provider helps unless all are too small.
    all_too_small = all(one.too_long for one in _counted(made, constraints))
    return _of_request(text, hint=SHORTEN) if all_too_small else NoCandidateError(text, hint=SHORTEN)


def _no_tier(made: Plan, constraints: RoutingConstraints) -> NoCandidateError | None:
    counted = _counted(made, constraints)
    if not counted or not all(one.lacks_tier for one in counted):
        return None
    providers = " and ".join(sorted({one.model.provider for one in counted}))
    return _of_request(
        f"no model of {providers} has a known price for the service tier {constraints.tier}", option="tier"
    )


def _no_medium(made: Plan, constraints: RoutingConstraints) -> NoCandidateError | None:
    counted = _counted(made, constraints)
    if not counted or not all(one.lacks_medium and not one.whole_provider for one in counted):
        return None
    reasons = OptionText(*_reasons(made, constraints))
    return _of_request(OptionText("no model can serve this request: ", reasons), option="attachments")


def _nothing_usable(made: Plan, constraints: RoutingConstraints, way_to_engine: str | None) -> NoCandidateError:
    reasons = OptionText(*_reasons(made, constraints))
    hint = LOOK
    if way_to_engine and way_to_engine not in reasons:
        hint = f"{way_to_engine} installs a small model that needs no key; llmroute health shows what is set up"
    wanted = f" with {', '.join(sorted(constraints.capabilities))}" if constraints.capabilities else ""
    return NoCandidateError(OptionText(f"no model{wanted} can serve this request: ", reasons), hint=hint)


def _of_request(text: str, *, option: str | None = None, hint: str | None = None) -> NoCandidateError:
    """Return the error of a request that other options would make possible, and no key or server."""
    error = NoCandidateError(text, hint=hint, option=option)
    error.exit_code = exit_codes.USAGE
    return error


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
