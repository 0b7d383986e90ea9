"""Why no model may serve a request: the error that says what would help."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from llmroute import exit_codes
from llmroute.errors import BudgetExceededError, NoCandidateError, RequestError
from llmroute.providers import PROVIDERS
from llmroute.text.option_names import OptionText

if TYPE_CHECKING:
    from llmroute.routing.plan import Exclusion, Plan, RoutingConstraints
    from llmroute.types import ModelConfig

SHORTEN = "shorten it, or use a model with a larger window: llmroute models shows them"
LOOK = "llmroute health shows what is set up, llmroute models what there is"
_MOST_REASONS = 4


def refuse(made: Plan, wish: RoutingConstraints, way_to_engine: str | None = None) -> NoReturn:
    """Raise what tells why a plan is empty: the nearest miss and what would admit it, else the reasons.

    `way_to_engine` is the command that gets the embedded model, where that is missing and could serve the request.
    """
    if near := nearest(made):
        option = near.admitted_by[0].option
        told, hint = (
            f"no model may serve this request; {told_miss(near)}",
            OptionText(near.admitted_by, " would admit it"),
        )
        if option != "budget_remaining":
            of_limits = NoCandidateError(told, hint=hint, option=option)
            of_limits.exit_code = exit_codes.USAGE  # what is set up could serve it
            raise of_limits
        refusal = BudgetExceededError(told, hint=hint, option=option)
        refusal.of_request = True
        raise refusal
    if long := [one for one in made.excluded if one.too_long]:
        widest = max(long, key=lambda one: one.model.context_window or 0)
        told = f"no model may serve this request: {widest.model.name}: {widest.reason}"
        too_long = NoCandidateError(told, hint=SHORTEN)
        if all(one.too_long for one in _counted(made, wish)):
            # No key and no server that a person could set up would help.
            too_long.exit_code = exit_codes.USAGE
        raise too_long
    reasons = OptionText(*_reasons(made, wish))
    look = LOOK
    if way_to_engine and way_to_engine not in reasons:
        look = f"{way_to_engine} gets a small model that needs no key; llmroute health shows what is set up"
    wanted = f" with {', '.join(sorted(wish.capabilities))}" if wish.capabilities else ""
    raise NoCandidateError(OptionText(f"no model{wanted} may serve this request: ", reasons), hint=look)


def refuse_named(exclusion: Exclusion) -> NoReturn:
    """Raise what tells why the model that was named cannot serve the request, and what would admit it."""
    hint = OptionText(exclusion.admitted_by, " would admit it") if exclusion.admitted_by else None
    raise RequestError(
        OptionText(f"{exclusion.model.name}: ", exclusion.reason), hint=SHORTEN if exclusion.too_long else hint
    )


def _reasons(made: Plan, wish: RoutingConstraints) -> list[str]:
    """Return the first reasons, each once, with the models where those were listed, and what stands between them."""
    counted = _counted(made, wish)
    if made.named:
        told = [OptionText(f"{one.model.name}: ", one.reason) for one in counted[:_MOST_REASONS]]
    else:
        firsts: dict[str, ModelConfig] = {}
        for one in counted:
            firsts.setdefault(one.reason, one.model)
        # What keeps a whole provider out begins with its name.
        told = [
            OptionText(reason) if reason.startswith(f"{model.provider}: ") else OptionText(f"{model.name}: ", reason)
            for reason, model in firsts.items()
        ][:_MOST_REASONS]
    return [part for reason in told for part in ("; ", reason)][1:] or ["there is none"]


def _counted(made: Plan, wish: RoutingConstraints) -> list[Exclusion]:
    """Return the exclusions without those of models that never run on this machine, for a request that must."""
    return [one for one in made.excluded if not wish.local_only or PROVIDERS[one.model.provider].local]


def nearest(made: Plan) -> Exclusion | None:
    """Return the nearest of those that an option would admit."""
    misses = [exclusion for exclusion in made.excluded if exclusion.admitted_by]
    return min(misses, key=lambda exclusion: exclusion.distance, default=None)


def told_miss(near: Exclusion) -> str:
    """Return in words what misses a limit of the caller's."""
    return f"the nearest is {near.model.name}, but {near.reason}"
