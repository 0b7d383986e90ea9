"""The form of a schema that the API of each provider takes, derived as the vendor documents."""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from llmroute.schema.limits import fits_anthropic, fits_openai
from llmroute.schema.subschemas import local_pointer, moved, rewritten, walk
from llmroute.schema.subset import NO_LOOKAROUND, SIMPLE, Derivation, InexpressibleError, Subset
from llmroute.urls import is_ollama_cloud_tag

if TYPE_CHECKING:
    from collections.abc import Mapping

    from llmroute.types.answer_schema import AnswerSchema
    from llmroute.types.model import ModelConfig

NAME = "answer"
"""The name of the schema in requests, and of the property around an answer that is no object."""
CAPABILITY = "json"
"""The capability of models that take a schema in their provider's native form."""

_FORMATS = frozenset(("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"))
_NUMBERS = frozenset(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"))
OPENAI = Subset(_NUMBERS | {"pattern", "format", "minItems", "maxItems"}, _FORMATS, NO_LOOKAROUND, True, True)  # noqa: FBT003
OPENAI_FINE_TUNED = OPENAI._replace(keywords=frozenset())
ANTHROPIC = Subset(
    frozenset(("pattern", "format", "minItems")),
    _FORMATS | {"uri"},
    SIMPLE,
    all_required=False,
    recursive=False,
    item_counts=(0, 1),
)
# llama.cpp compiles patterns to its grammar: anchored ones, without groups of other kinds and classes of letters.
_MAPPINGS, _LISTS = (
    frozenset(("properties", "$defs", "definitions")),
    frozenset(("anyOf", "oneOf", "allOf", "prefixItems")),
)
_NO_GRAMMAR = re.compile(r"\(\?|\\[bBdDsSwW1-9pP]")


class AnswerForm(NamedTuple):
    """The form that replaces the caller's schema in a request; immutable.

    `schema` is the form that the provider takes, None if the prompt alone requests it.  `strict` says that the provider
    guarantees it.  `wrapped` says that the answer is the property `NAME` of an object, `null_is_absent` that null
    means that a property is left out.  `in_words` says that the instruction goes with the prompt.
    """

    schema: Mapping[str, Any] | None
    strict: bool = False
    wrapped: bool = False
    null_is_absent: bool = False
    in_words: bool = False


_ENGINES = ("ollama", "builtin")
"""Providers that compile a schema for any of their models."""
IN_WORDS = AnswerForm(None, in_words=True)


def form_for(schema: AnswerSchema, model: ModelConfig) -> AnswerForm:
    """Return the form to request from a model for answers that the schema describes."""
    return _form(schema, model.provider, model.api_name.startswith("ft:")) if _is_native(model) else IN_WORDS


def form_bytes(schema: AnswerSchema, model: ModelConfig) -> int:
    """Return the length of the form of a model as JSON, 0 where the prompt alone requests it."""
    return _form_bytes(schema, model.provider, model.api_name.startswith("ft:")) if _is_native(model) else 0


def _is_native(model: ModelConfig) -> bool:
    if model.provider == "ollama" and is_ollama_cloud_tag(model.api_name):
        return False
    return CAPABILITY in model.capabilities or not model.known or model.provider in _ENGINES


@lru_cache(maxsize=256)
def _form_bytes(schema: AnswerSchema, provider: str, fine_tuned: bool) -> int:
    form = _form(schema, provider, fine_tuned)
    return 0 if form.schema is None else len(json.dumps(form.schema))


@lru_cache(maxsize=256)
def _form(schema: AnswerSchema, provider: str, fine_tuned: bool) -> AnswerForm:
    if provider == "openai":
        return _openai(schema.document, OPENAI_FINE_TUNED if fine_tuned else OPENAI)
    if provider == "anthropic":
        return _anthropic(schema.document)
    if provider in _ENGINES:
        return _grammar(schema.document)
    return _whole(schema.document)._replace(in_words=True)


def _openai(document: Mapping[str, Any], subset: Subset) -> AnswerForm:
    derived = _derived(document, subset)
    if derived is None or not fits_openai(derived.schema):
        return _whole(document)
    return derived._replace(strict=True, null_is_absent=True)


def _anthropic(document: Mapping[str, Any]) -> AnswerForm:
    derived = _derived(document, ANTHROPIC)
    return IN_WORDS if derived is None or not fits_anthropic(derived.schema) else derived._replace(strict=True)


def _derived(document: Mapping[str, Any], subset: Subset) -> AnswerForm | None:
    """Return the form of a schema in a subset, with an object at its root; None where there is none."""
    derivation = Derivation(document, subset)
    try:
        derived = derivation.form()
    except (InexpressibleError, RecursionError):
        return None
    wrapped = derived.get("type") != "object" or "anyOf" in derived
    if wrapped:
        derived = _around(derived) | {"additionalProperties": False}
    if derivation.definitions:
        derived["$defs"] = derivation.definitions
    return AnswerForm(derived, wrapped=wrapped)


def _whole(document: Mapping[str, Any]) -> AnswerForm:
    """Return the schema as it is, for a provider that publishes no subset, with an object at its root."""
    plain = _without_names(document)
    if plain.get("type") == "object" and "anyOf" not in plain:
        return AnswerForm(plain)
    return AnswerForm(_around(moved(plain, f"#/properties/{NAME}")), wrapped=True)


def _grammar(document: Mapping[str, Any]) -> AnswerForm:
    """Return the schema as llama.cpp compiles it: it knows no reference to the whole, and anchored patterns only."""
    plain = _without_names(document)
    targets = [local_pointer(node["$ref"]) for node in walk(plain) if isinstance(node.get("$ref"), str)]
    if None in targets:
        return IN_WORDS
    if "" in targets:
        plain = {"$ref": "#/$defs/root", "$defs": {"root": moved(plain, "#/$defs/root")}}
    return AnswerForm(rewritten(plain, _compilable), in_words=True)


def _compilable(node: dict[str, Any]) -> dict[str, Any]:
    """Return a part of a schema without patterns that are not compiled, boolean schemas and escapes in references."""
    if isinstance(node.get("pattern"), str) and not _is_compiled(node["pattern"]):
        del node["pattern"]
    if isinstance(node.get("$ref"), str):
        node["$ref"] = f"#{local_pointer(node['$ref'])}"
    for keyword in _MAPPINGS & node.keys():
        node[keyword] = {name: _as_object(part) for name, part in node[keyword].items()}
    for keyword in _LISTS & node.keys():
        node[keyword] = [_as_object(part) for part in node[keyword]]
    return node


def _as_object(part: Any) -> Any:
    return {} if part is True else {"not": {}} if part is False else part


def _is_compiled(pattern: str) -> bool:
    return pattern.startswith("^") and pattern.endswith("$") and not _NO_GRAMMAR.search(pattern)


def _without_names(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in ("$schema", "$id", "id")}


def _around(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": {NAME: schema}, "required": [NAME]}
