"""Pull a model onto this machine: resolve its name, and let the local server fetch it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llmroute.errors import RequestError, UnreachableError
from llmroute.planning.local.engine_install import MODEL
from llmroute.planning.local.local_models import LOCAL_SERVER, START_LOCAL_SERVER
from llmroute.providers import ENGINE
from llmroute.types.request import HTTP_OK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from llmroute.providers.wire.ollama_pull import PullProgress
    from llmroute.service.core import ServiceCore
    from llmroute.types import ModelConfig


def to_pull(core: ServiceCore, name: str) -> ModelConfig:
    """Return the model that is meant by `ollama/NAME`, by NAME, or the embedded one by its whole name.

    Raises:
        RequestError: it is another provider's, which has nothing to pull.
    """
    provider, slash, rest = name.partition("/")
    if name == MODEL:
        return core.registry.get_model_config(ENGINE, rest)
    if slash and provider in core.config.providers and provider != LOCAL_SERVER:
        problem = f"{name}: only Ollama's models and {MODEL} are pulled"
        raise RequestError(problem, hint=f"llmroute models pull {LOCAL_SERVER}/NAME")
    wanted = rest if provider == LOCAL_SERVER else name
    if not wanted or not wanted.isprintable() or " " in wanted:
        raise RequestError(f"{name!r} names no model", hint=f"llmroute models pull {LOCAL_SERVER}/NAME")
    return core.registry.get_model_config(LOCAL_SERVER, wanted)


def pull(core: ServiceCore, model: ModelConfig) -> Iterator[PullProgress]:
    """Yield the progress of the pull until the model is installed.  Existing layers are not fetched again.

    Raises:
        AttemptError: the server is not there, or could not fetch it.
    """
    from llmroute.providers.ollama import Ollama

    provider = core.endpoints.connect(LOCAL_SERVER)
    assert isinstance(provider, Ollama)
    timeouts = core.config.timeouts
    # Between two lines a layer of many gigabytes may be verified.
    wait_s = timeouts.slow_first_token_s
    try:
        with core.resources.blocking_sender().open(
            provider.render_pull(model.api_name), connect_s=timeouts.connect_s, answer_s=wait_s
        ) as exchange:
            if exchange.status != HTTP_OK:
                body = exchange.read_all(lambda: timeouts.stall_s)
                raise provider.parse_error(exchange.status, exchange.headers, body)
            reader = provider.open_pull()
            for data in exchange.pieces(lambda: wait_s):
                yield from reader.feed(data)
            reader.finish()
    except UnreachableError as error:
        error.provider = LOCAL_SERVER
        if not error.broken_off:
            error.hint = START_LOCAL_SERVER
        raise
