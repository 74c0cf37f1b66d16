"""Pairs of schemas judged by hand, and the laws that rules keep."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator

from conformance.compat import formats, rules
from conformance.compat.linking import Document, Schema, SchemaUnusable, Space, read_document
from conformance.compat.rules import Direction
from conformance.compat.schemas import Verdict, close, compare
from conformance.compat.witness import MISSING


class Pair(NamedTuple):
    """Two versions, the verdicts for who sends it and for who reads it, and the rule of the change that breaks."""

    old: Schema
    new: Schema
    request: str
    response: str
    rule: str


STRING = {"type": "string"}
INTEGER = {"type": "integer"}
NULL = {"type": "null"}
BREAKS, FINE, OPEN = "breaking", "compatible", "unproven"


def thing(required: tuple[str, ...] = (), /, **properties: Schema) -> dict[str, Any]:
    """An object schema."""
    return {"type": "object", "properties": properties, **({"required": [*required]} if required else {})}


def tree(value: Schema, *required: str) -> dict[str, Any]:
    """A recursive schema."""
    node = thing(required, value=value, children={"type": "array", "items": {"$ref": "#/$defs/node"}})
    return {"$ref": "#/$defs/node", "$defs": {"node": node}}


def kinds(*names: str) -> dict[str, Any]:
    """A union told apart by one member."""
    return {"type": "object", "oneOf": [thing(("kind",), kind={"const": name}) for name in names]}


A_OR_B = thing(a=STRING, b=STRING)
PAIRS = {
    "type widened": Pair({"type": "integer"}, {"type": "number"}, FINE, BREAKS, "type-changed"),
    "type replaced": Pair(STRING, INTEGER, BREAKS, BREAKS, "type-changed"),
    "type of a member added": Pair(thing(a={}), thing(a=STRING), BREAKS, FINE, "type-added"),
    "types in another order": Pair({"type": ["string", "null"]}, {"type": ["null", "string"]}, FINE, FINE, ""),
    "null added to the types": Pair(STRING, {"type": ["string", "null"]}, FINE, BREAKS, "null-added"),
    "null as a branch": Pair({"type": ["string", "null"]}, {"anyOf": [STRING, NULL]}, FINE, FINE, ""),
    "null branch removed": Pair({"oneOf": [STRING, NULL]}, STRING, BREAKS, FINE, "null-removed"),
    "value added": Pair({"enum": ["a", "b"]}, {"enum": ["a", "b", "c"]}, FINE, BREAKS, "enum-value-added"),
    "values listed": Pair(STRING, {"type": "string", "enum": ["a"]}, BREAKS, FINE, "enum-added"),
    "const changed": Pair({"const": 1}, {"const": 2}, BREAKS, BREAKS, "const-changed"),
    "const as enum": Pair({"const": "a"}, {"enum": ["a"]}, FINE, FINE, ""),
    "const among more": Pair({"const": 1}, {"enum": [1.0, 2]}, FINE, BREAKS, "enum-value-added"),
    "member renamed": Pair(thing(("url",), url=STRING), thing(("href",), href=STRING), BREAKS, BREAKS, ""),
    "required added": Pair(A_OR_B, {**A_OR_B, "required": ["a"]}, BREAKS, FINE, "required-added"),
    "minimum raised": Pair({**INTEGER, "minimum": 1}, {**INTEGER, "minimum": 2}, BREAKS, FINE, "minimum-raised"),
    "minimum that integers have anyway": Pair(
        {**INTEGER, "minimum": 1}, {**INTEGER, "exclusiveMinimum": 0}, FINE, FINE, ""
    ),
    "maximum added": Pair({"type": "number"}, {"type": "number", "maximum": 9}, BREAKS, FINE, "maximum-added"),
    "multipleOf loosened": Pair({"multipleOf": 6}, {"multipleOf": 3}, FINE, BREAKS, "multiple-of-changed"),
    "minLength lowered": Pair(
        {**STRING, "minLength": 3}, {**STRING, "minLength": 1}, FINE, BREAKS, "min-length-lowered"
    ),
    "maxLength lowered": Pair(
        {**STRING, "maxLength": 9}, {**STRING, "maxLength": 5}, BREAKS, FINE, "max-length-lowered"
    ),
    "pattern added": Pair(STRING, {**STRING, "pattern": "^[a-z]+$"}, BREAKS, FINE, "pattern-added"),
    "pattern changed": Pair({"pattern": "^[a-z]{2}$"}, {"pattern": "^[a-f]{2}$"}, BREAKS, OPEN, "pattern-changed"),
    "format added": Pair(STRING, {**STRING, "format": "uuid"}, BREAKS, FINE, "format-added"),
    "format nobody checks added": Pair(STRING, {**STRING, "format": "uri"}, OPEN, FINE, ""),
    "composition written out": Pair(
        {"allOf": [thing(("a",), a=STRING), thing(b=STRING)]}, {**A_OR_B, "required": ["a"]}, FINE, FINE, ""
    ),
    "allOf got a branch": Pair(
        {"allOf": [thing(a=STRING)]}, {"allOf": [thing(a=STRING), {"minProperties": 1}]}, BREAKS, FINE, ""
    ),
    "anyOf got a branch": Pair(
        {"anyOf": [STRING, INTEGER]}, {"anyOf": [STRING, INTEGER, {"type": "array"}]}, FINE, BREAKS, "any-of-changed"
    ),
    "oneOf got an alternative": Pair(kinds("a", "b"), kinds("a", "b", "c"), FINE, BREAKS, "one-of-changed"),
    "oneOf got a branch that overlaps": Pair(
        {"oneOf": [STRING, INTEGER]}, {"oneOf": [STRING, INTEGER, {"type": "number"}]}, BREAKS, BREAKS, ""
    ),
    "not forbids less": Pair(
        {"not": {"type": ["string", "null"]}}, {"not": {"type": "string"}}, FINE, BREAKS, "not-changed"
    ),
    "condition asks for more": Pair(
        {"if": {"required": ["a"]}, "then": {"required": ["b"]}},
        {"if": {"required": ["a"]}, "then": {"required": ["b", "c"]}},
        *(BREAKS, FINE, "if-changed"),
    ),
    "closed": Pair(A_OR_B, {**A_OR_B, "additionalProperties": False}, BREAKS, FINE, "additional-properties-closed"),
    "other members typed": Pair({}, {"additionalProperties": INTEGER}, BREAKS, FINE, "additional-properties-changed"),
    "other members widened": Pair(
        {"additionalProperties": INTEGER}, {"additionalProperties": {"type": "number"}}, FINE, BREAKS, "type-changed"
    ),
    "unevaluated closed": Pair(
        {"allOf": [A_OR_B]},
        {"allOf": [A_OR_B], "unevaluatedProperties": False},
        *(BREAKS, FINE, "unevaluated-properties-added"),
    ),
    "patternProperties narrowed": Pair(
        {"patternProperties": {"^x-": {}}}, {"patternProperties": {"^x-": STRING}}, BREAKS, FINE, "type-added"
    ),
    "names narrowed": Pair(
        {"type": "object"}, {"type": "object", "propertyNames": {"maxLength": 3}}, BREAKS, FINE, "property-names-added"
    ),
    "dependentRequired added": Pair(
        A_OR_B, {**A_OR_B, "dependentRequired": {"a": ["b"]}}, BREAKS, FINE, "dependent-required-added"
    ),
    "minProperties added": Pair(A_OR_B, {**A_OR_B, "minProperties": 1}, BREAKS, FINE, "min-properties-added"),
    "items changed": Pair({"items": {"maxLength": 5}}, {"items": {"maxLength": 4}}, BREAKS, FINE, "max-length-lowered"),
    "prefixItems changed": Pair(
        {"prefixItems": [STRING, STRING]}, {"prefixItems": [STRING, {}]}, FINE, BREAKS, "type-removed"
    ),
    "minItems raised": Pair({"minItems": 1}, {"minItems": 2}, BREAKS, FINE, "min-items-raised"),
    "maxItems of a tuple": Pair(
        {"prefixItems": [STRING], "items": False},
        {"prefixItems": [STRING], "items": False, "maxItems": 1},
        *(FINE, FINE, ""),
    ),
    "uniqueItems added": Pair(
        {"items": INTEGER}, {"items": INTEGER, "uniqueItems": True}, BREAKS, FINE, "unique-items-added"
    ),
    "contains widened": Pair({"contains": INTEGER}, {"contains": {"type": "number"}}, FINE, BREAKS, "contains-changed"),
    "recursive, a value narrowed": Pair(tree({"type": "number"}), tree(INTEGER), BREAKS, FINE, "type-changed"),
    "recursive, unrolled once": Pair(
        tree(STRING),
        thing(value=STRING, children={"type": "array", "items": {"$ref": "#/$defs/node"}})
        | {"$defs": tree(STRING)["$defs"]},
        *(FINE, FINE, ""),
    ),
    "target of a reference changed": Pair(
        {"$ref": "#/$defs/a", "$defs": {"a": STRING}},
        {"$ref": "#/$defs/a", "$defs": {"a": {**STRING, "minLength": 1}}},
        *(BREAKS, FINE, "min-length-added"),
    ),
    "forbidden": Pair({}, False, BREAKS, FINE, "schema-forbidden"),
    "annotations only": Pair(STRING, {**STRING, "title": "A", "default": "b", "examples": [1]}, FINE, FINE, ""),
    "unknown keyword kept": Pair({**A_OR_B, "x-a": 1}, {"title": "T", **A_OR_B, "x-a": 1}, FINE, FINE, ""),
    "unknown keyword around a target that changed": Pair(
        {"x-a": {"$ref": "#/$defs/a"}, "$defs": {"a": STRING}},
        {"x-a": {"$ref": "#/$defs/a"}, "$defs": {"a": INTEGER}},
        *(OPEN, OPEN, ""),
    ),
}
SIDES = [
    pytest.param(pair, direction, id=f"{name}, {direction}")
    for name, pair in PAIRS.items()
    for direction in rules.DIRECTIONS
]


@pytest.mark.parametrize("pair, direction", SIDES)
def test_pair_is_judged_right_with_a_valid_witness(pair: Pair, direction: Direction) -> None:
    comparison = compare(Document(pair.old), Document(pair.new), direction)
    assert comparison.verdict == (pair.request if direction == "request" else pair.response), comparison
    breaking = [change for change in comparison.changes if change.verdict is Verdict.BREAKING]
    taken, taking = (pair.old, pair.new) if direction == "request" else (pair.new, pair.old)
    for change in breaking:
        assert Draft202012Validator(taken, format_checker=formats.CHECKER).is_valid(change.witness)
        assert not Draft202012Validator(taking, format_checker=formats.CHECKER).is_valid(change.witness)
    if breaking and pair.rule:
        assert f"{direction}-{pair.rule}" in [change.rule for change in breaking]
    if comparison.verdict is not Verdict.COMPATIBLE:
        assert any(change.verdict is comparison.verdict for change in comparison.changes)


def test_there_are_pairs_for_every_keyword_that_is_understood() -> None:
    text = json.dumps([pair[:2] for pair in PAIRS.values()])
    understood = """
        type enum const required minimum maximum exclusiveMinimum multipleOf minLength maxLength pattern format
        allOf anyOf oneOf not if then additionalProperties unevaluatedProperties patternProperties propertyNames
        items prefixItems minItems maxItems uniqueItems contains $ref dependentRequired minProperties
    """
    assert [word for word in understood.split() if f'"{word}"' not in text] == []
    assert len(PAIRS) >= 40


def test_a_renamed_member_is_one_finding_with_its_payload() -> None:
    old, new = PAIRS["member renamed"][:2]
    comparison = compare(Document(old), Document(new), "response")
    [change] = [change for change in comparison.changes if change.verdict is Verdict.BREAKING]
    assert (change.rule, change.path, change.name) == ("response-property-removed", "/properties/url", "url")
    assert change.witness == {"href": ""}


def test_examples_are_tried_first() -> None:
    old, new = thing(a=STRING), thing(("a",), a=STRING)
    comparison = compare(Document(old), Document(new), "request", examples=[{"a": "x"}, {"of": "the old version"}])
    assert comparison.changes[0].witness == {"of": "the old version"}


def test_each_of_several_breaks_has_a_payload_of_its_own() -> None:
    old = thing(a=INTEGER, b=thing(c=STRING))
    new = thing(a=STRING, b=thing(c={"type": "string", "maxLength": 2}))
    comparison = compare(Document(old), Document(new), "request")
    found = {change.path: change.witness for change in comparison.changes}
    assert isinstance(found["/properties/a"]["a"], int)
    assert len(found["/properties/b/properties/c"]["b"]["c"]) > 2


# --- senders that name their members ---------------------------------------------------------------------------------


def test_a_sender_who_names_his_members_sends_no_others() -> None:
    old, new = Document(thing(a=STRING)), Document(thing(a=STRING, b=INTEGER))
    assert compare(old, new, "request").verdict is Verdict.BREAKING
    assert compare(old, new, "request", closed=True).verdict is Verdict.COMPATIBLE


@pytest.mark.parametrize(
    "schema, takes, refuses",
    [
        (thing(a=thing(b=STRING)), {"a": {"b": ""}}, {"a": {"c": 1}}),
        ({"allOf": [thing(a=STRING), thing(b=STRING)]}, {"a": "", "b": ""}, {"c": ""}),
        ({"anyOf": [thing(a=STRING), thing(b=STRING)]}, {"a": ""}, {"c": ""}),
        (tree(STRING), {"children": [{"value": ""}]}, {"children": [{"c": ""}]}),
        ({"type": "object"}, {"c": 1}, 1),
        ({**thing(a=STRING), "additionalProperties": STRING}, {"c": ""}, {"c": 1}),
    ],
)
def test_closing_reaches_every_object_that_names_members(schema: Schema, takes: Any, refuses: Any) -> None:
    space = Space()
    closed = close(Document(schema).link(space), space)
    assert space.surely_accepts(closed, takes)
    assert space.surely_refuses(closed, refuses)


# --- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", sorted(rules.RULES))
def test_rule_has_its_mirror_or_a_reason(rule: str) -> None:
    mirror = rules.mirror(rule)
    if mirror is None:
        assert rules.ONE_SIDED[rule].endswith(".")
    else:
        assert mirror in rules.RULES
        assert rules.mirror(mirror) == rule


# What a subject can be without, as it is, and changed; what does not fit the pattern stands in PAIRS.
STATES: dict[str, tuple[Schema, Schema, Schema]] = {
    "type": ({}, STRING, INTEGER),
    "multiple-of": ({}, {"multipleOf": 2}, {"multipleOf": 3}),
    "pattern": ({}, {"pattern": "^a"}, {"pattern": "^b"}),
    "format": ({}, {"format": "uuid"}, {"format": "date"}),
    "unique-items": ({}, {"uniqueItems": True}, {"uniqueItems": False}),
    "contains": ({}, {"contains": STRING}, {"contains": INTEGER}),
    "prefix-items": ({}, {"prefixItems": [STRING]}, {"prefixItems": [STRING, STRING]}),
    "items": ({}, {"items": STRING}, {"items": False}),
    "property-names": ({}, {"propertyNames": {"maxLength": 1}}, {"propertyNames": {"maxLength": 2}}),
    "pattern-properties": ({}, {"patternProperties": {"a": STRING}}, {"patternProperties": {"b": STRING}}),
    "dependent-required": ({}, {"dependentRequired": {"a": ["b"]}}, {"dependentRequired": {"a": ["c"]}}),
    "unevaluated-items": ({}, {"unevaluatedItems": STRING}, {"unevaluatedItems": False}),
    "unevaluated-properties": ({}, {"unevaluatedProperties": STRING}, {"unevaluatedProperties": False}),
    "all-of": (
        {"minLength": 1},
        {"minLength": 1, "allOf": [{"minLength": 2}]},
        {"minLength": 1, "allOf": [{"minLength": 3}]},
    ),
    "any-of": ({}, {"anyOf": [STRING, INTEGER]}, {"anyOf": [STRING, NULL, INTEGER]}),
    "one-of": ({}, {"oneOf": [STRING, INTEGER]}, {"oneOf": [STRING, NULL, INTEGER]}),
    "not": ({}, {"not": STRING}, {"not": INTEGER}),
    "if": ({}, {"if": STRING, "then": {"maxLength": 1}}, {"if": STRING, "then": {"maxLength": 2}}),
    "unknown-keyword": ({}, {"x-a": 1}, {"x-a": 2}),
    **{rules.kebab(bound): ({}, {bound: 1}, {bound: 2}) for bound in rules.BOUNDS},
}


def rules_seen(direction: Direction) -> set[str]:
    """What the changes of all pairs and states are called in a direction."""
    pairs = [(pair.old, pair.new) for pair in PAIRS.values()]
    pairs += [(one, other) for states in STATES.values() for one in states for other in states]
    changes = [
        change
        for one, other in pairs
        for old, new in ((one, other), (other, one))
        for change in compare(Document(old), Document(new), direction).changes
    ]
    return {change.rule.removeprefix(f"{direction}-") for change in changes}


def test_every_rule_of_schemas_happens_in_both_directions() -> None:
    of_bodies = {"media-type", "body"}
    expected = {
        f"{subject}-{action}"
        for subject, actions in rules.SUBJECTS.items()
        if subject not in of_bodies
        for action in actions
    }
    # what no keyword alone shows: the composition of several
    for direction in rules.DIRECTIONS:
        assert expected - rules_seen(direction) == {"schema-changed"}


def test_what_no_single_change_shows_is_a_change_of_the_whole() -> None:
    old = {"allOf": [{"$ref": "#/$defs/a"}, {"minLength": 1}], "$defs": {"a": {"pattern": "^a"}}}
    new = {"allOf": [{"$ref": "#/$defs/a"}], "minLength": 1, "$defs": {"a": {"pattern": "^(?:a)"}}}
    comparison = compare(Document(old), Document(new), "request")
    assert comparison.verdict is Verdict.UNPROVEN


# --- files -----------------------------------------------------------------------------------------------------------


def test_references_lead_to_files_next_to_it(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(json.dumps({"items": {"$ref": "item.json#/$defs/one"}}))
    (tmp_path / "item.json").write_text(json.dumps({"$defs": {"one": {"$ref": "list.json"}}}))
    document = read_document(tmp_path / "list.json")
    assert document.validator().is_valid([[[]]])


@pytest.mark.parametrize(
    "text, says",
    [
        ("{", "is not JSON"),
        ("[1]", "is neither an object nor a boolean"),
        ('{"type": "text"}', "is no JSON Schema: /type"),
        ('{"minimum": NaN}', "NaN is no JSON number"),
        ('{"$ref": "elsewhere.json"}', "$ref 'elsewhere.json' leads nowhere"),
        ('{"$schema": "http://json-schema.org/draft-07/schema#"}', "only draft 2020-12 is compared"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_what_is_no_schema_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "schema.json"
    path.write_text(text)
    with pytest.raises(SchemaUnusable) as refusal:
        read_document(path).link(Space())
    assert says in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("direction", rules.DIRECTIONS)
def test_dynamic_references_are_borne(direction: Direction) -> None:
    dynamic = Document({"$dynamicRef": "#x", "$defs": {"a": {"$dynamicAnchor": "x", "type": "string"}}})
    assert compare(dynamic, Document({"type": "string"}), direction).verdict is Verdict.UNPROVEN


def test_no_witness_is_not_null() -> None:
    change = compare(Document({"type": ["null", "string"]}), Document(STRING), "request").changes[0]
    assert change.witness is None
    assert change.as_json()["witness"] is None
    [fine] = compare(Document(STRING), Document({"type": ["null", "string"]}), "request").changes
    assert fine.witness is MISSING
    assert fine.as_json()["witness"] is None


def test_documents_that_share_objects_keep_their_own_targets() -> None:
    shared = {"$ref": "#/$defs/b"}
    old = {"$ref": "#/$defs/a", "$defs": {"a": shared, "b": STRING}}
    new = {"$ref": "#/$defs/a", "$defs": {"a": shared, "b": INTEGER}}
    assert compare(Document(old), Document(new), "request").verdict is Verdict.BREAKING
