"""No false "compatible" and no false witness, whatever the two schemas say."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from conformance.compat import formats
from conformance.compat.linking import Document, Schema, Space
from conformance.compat.rules import DIRECTIONS, Direction
from conformance.compat.schemas import Verdict, compare
from conformance.compat.subschema import Prover
from conformance.compat.witness import MISSING, Search

# Few names, numbers and strings, so that two schemas speak of the same things.
NAMES = st.sampled_from(["a", "b", "ab"])
COUNTS = st.integers(0, 3)
NUMBERS = st.sampled_from([-1, 0, 1, 2, 3, 0.5, 1.5, 2.0])
STRINGS = st.sampled_from(["", "a", "b", "ab", "ba", "aab", "1b3cb751-e6d0-594c-acdb-57958c463495"])
PATTERNS = st.sampled_from(["^a", "b$", "^[ab]*$", "^a|b$", "."])
TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
SCALARS = st.none() | st.booleans() | NUMBERS | STRINGS
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES | st.just("z"), inner, max_size=4),
    max_leaves=6,
)
SIMPLE: dict[str, st.SearchStrategy[Any]] = {
    "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
    "enum": st.lists(SCALARS | VALUES, min_size=1, max_size=3),
    "const": SCALARS,
    **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"], NUMBERS),
    "multipleOf": st.sampled_from([1, 2, 3, 6, 0.5, 1.0, 2.0]),
    **dict.fromkeys(["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"], COUNTS),
    "pattern": PATTERNS,
    "format": st.sampled_from(["uuid", "date", "regex", "email", "uri", "int32"]),
    "uniqueItems": st.booleans(),
    "required": st.lists(NAMES, max_size=2, unique=True),
    "dependentRequired": st.dictionaries(NAMES, st.lists(NAMES, max_size=2, unique=True), max_size=2),
    "$ref": st.sampled_from(["#/$defs/one", "#/$defs/two"]),
    # what the engine does not understand: annotations of later drafts, and keywords that do decide
    "x-unknown": VALUES,
    "contentMediaType": st.just("application/json"),
    "minContains": COUNTS,
    "maxContains": COUNTS,
}
ONE = (
    *("not", "if", "then", "else", "items", "contains", "additionalProperties", "propertyNames"),
    *("unevaluatedItems", "unevaluatedProperties"),
)


def objects(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    """Schemas with a few keywords each."""
    composed: dict[str, st.SearchStrategy[Any]] = {
        **dict.fromkeys(ONE, inner),
        **dict.fromkeys(["allOf", "anyOf", "oneOf", "prefixItems"], st.lists(inner, min_size=1, max_size=3)),
        "properties": st.dictionaries(NAMES, inner, max_size=3),
        "patternProperties": st.dictionaries(PATTERNS, inner, max_size=2),
        "dependentSchemas": st.dictionaries(NAMES, inner, max_size=1),
    }
    keywords = [*SIMPLE, *composed, *composed]
    return st.lists(st.sampled_from(keywords), max_size=4, unique=True).flatmap(
        lambda chosen: st.fixed_dictionaries({word: {**SIMPLE, **composed}[word] for word in chosen})
    )


SCHEMAS: st.SearchStrategy[Schema] = st.recursive(
    st.booleans() | objects(st.booleans() | st.builds(lambda kind: {"type": kind}, TYPES)), objects, max_leaves=4
)


def without_endless_references(schema: Schema) -> Schema:
    """The schema without references that lead back to where they stand, which mean nothing."""
    if isinstance(schema, dict):
        rest = {word: value for word, value in schema.items() if word != "$ref"}
        for word in ("not", "if", "then", "else"):
            if word in rest:
                rest[word] = without_endless_references(rest[word])
        for word in ("allOf", "anyOf", "oneOf"):
            if word in rest:
                rest[word] = [without_endless_references(branch) for branch in rest[word]]
        if "dependentSchemas" in rest:
            rest["dependentSchemas"] = {
                name: without_endless_references(branch) for name, branch in rest["dependentSchemas"].items()
            }
        return rest
    return schema


@st.composite
def documents(draw: st.DrawFn) -> Schema:
    """Whole documents, recursive ones too."""
    schema = draw(SCHEMAS)
    if not isinstance(schema, dict):
        return schema
    definitions = {name: without_endless_references(draw(SCHEMAS)) for name in ("one", "two")}
    return {**schema, "$defs": definitions}


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Schema, Schema]:
    """Two documents: of nothing in common, or the second an edit of the first."""
    one = draw(documents())
    if isinstance(one, bool) or draw(st.integers(0, 3)) == 0:
        return one, draw(documents())
    other = edited(draw, one)
    return one, {"$defs": one["$defs"], **other} if isinstance(other, dict) else other


def edited(draw: st.DrawFn, schema: Schema) -> Schema:
    """The schema with one thing changed somewhere."""
    if not isinstance(schema, dict) or not schema or draw(st.integers(0, 3)) == 0:
        other = draw(objects(SCHEMAS) if isinstance(schema, dict) else SCHEMAS)
        if isinstance(schema, dict) and isinstance(other, dict):
            return {**other, **schema} if draw(st.booleans()) else {**schema, **other}
        return other
    word = draw(st.sampled_from(sorted(schema)))
    value = schema[word]
    if word in ONE:
        return {**schema, word: edited(draw, value)}
    if word in ("properties", "patternProperties", "$defs") and value:
        name = draw(st.sampled_from(sorted(value)))
        part = edited(draw, value[name])
        return {**schema, word: {**value, name: without_endless_references(part) if word == "$defs" else part}}
    if word in ("allOf", "anyOf", "oneOf", "prefixItems"):
        index = draw(st.integers(0, len(value) - 1))
        return {**schema, word: [*value[:index], edited(draw, value[index]), *value[index + 1 :]]}
    if word in SIMPLE and draw(st.booleans()):
        return {**schema, word: draw(SIMPLE[word])}
    return {key: member for key, member in schema.items() if key != word or word == "$defs"}


def validators(schema: Schema) -> list[Draft202012Validator]:
    """The two readings of a schema: formats assert, formats annotate."""
    return [Draft202012Validator(schema, format_checker=checker) for checker in (formats.CHECKER, None)]


def instances(*schemas: Schema) -> Iterator[Any]:
    """Values that the schemas take, steered by them, besides those that hypothesis thinks of."""
    space = Space()
    for schema in schemas:
        yield from Search(space).samples(Document(schema).link(space))


def shows_a_break(old: Schema, new: Schema, direction: Direction, value: Any) -> bool:
    taken, taking = (old, new) if direction == "request" else (new, old)
    try:
        return any(
            one.is_valid(value) and not other.is_valid(value)
            for one, other in zip(validators(taken), validators(taking), strict=True)
        )
    except RecursionError:
        return False


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(pair=pairs(), values=st.lists(VALUES, max_size=30), direction=st.sampled_from(DIRECTIONS))
@example(({"type": "string", "x-unknown": 1}, {"type": "integer"}), ["a"], "request")
def test_never_compatible_where_an_instance_shows_a_break(
    pair: tuple[Schema, Schema], values: list[Any], direction: Direction
) -> None:
    old, new = pair
    comparison = compare(Document(old), Document(new), direction)
    event(f"{comparison.verdict}{'' if comparison.changes else ', nothing changed'}")
    if comparison.verdict is Verdict.COMPATIBLE:
        for value in [*values, *instances(old, new)]:
            assert not shows_a_break(old, new, direction, value), value
    for change in comparison.changes:
        assert (change.witness is not MISSING) is (change.verdict is Verdict.BREAKING)
        if change.verdict is Verdict.BREAKING:
            taken, taking = (old, new) if direction == "request" else (new, old)
            assert validators(taken)[0].is_valid(change.witness)
            assert not validators(taking)[0].is_valid(change.witness)
    breaking = any(change.verdict is Verdict.BREAKING for change in comparison.changes)
    assert (comparison.verdict is Verdict.BREAKING) is breaking


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=documents())
def test_what_did_not_change_is_compatible(schema: Schema) -> None:
    for direction in DIRECTIONS:
        comparison = compare(Document(schema), Document({**schema} if isinstance(schema, dict) else schema), direction)
        assert comparison.verdict is Verdict.COMPATIBLE
        assert comparison.changes == ()


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(pair=pairs())
def test_what_nobody_understands_is_never_proved(pair: tuple[Schema, Schema]) -> None:
    """The same two schemas with an unknown keyword of different values: nothing is proved of them any more."""
    space = Space()
    one, other = (
        Document({**(schema if isinstance(schema, dict) else {}), "x-unknown": ["different", number]}).link(space)
        for number, schema in enumerate(pair)
    )
    assert not Prover(space).proves((one,), other)


BEYOND = {
    "x-unknown": 1,
    "minContains": 1,
    "dependentSchemas": {"a": {}},
    "contentMediaType": "text/plain",
    "readOnly": True,
    "discriminator": {"propertyName": "a"},
    "nullable": True,
    "$dynamicRef": "#",
}


@pytest.mark.parametrize("keyword", BEYOND)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_keyword_beyond_the_known_is_unproven(keyword: str, direction: Direction) -> None:
    plain: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
    other = {**plain, keyword: BEYOND[keyword]}
    for before, after in ((plain, other), (other, plain)):
        assert compare(Document(before), Document(after), direction).verdict is Verdict.UNPROVEN
