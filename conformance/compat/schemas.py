"""Two versions of a schema: what changed, and for each change whether it breaks somebody.

A request schema may only widen: what was valid stays valid. A response schema may only narrow: what is valid now was
valid before. A change *breaks* where a payload shows it that one side takes and the other refuses, as the validator of
each whole document judged; it is *compatible* where that was proved; else it is *unproven*.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from referencing.exceptions import Unresolvable

from conformance.compat import rules
from conformance.compat.linking import KEYWORDS, Document, Schema, Space, is_opaque
from conformance.compat.rules import Direction
from conformance.compat.subschema import Prover, equal, types, values_of
from conformance.compat.witness import MANY, MISSING, Search

_QUICK: Final = 200


class Verdict(StrEnum):
    """What is known of a change, or of all of them together."""

    BREAKING = "breaking"
    COMPATIBLE = "compatible"
    UNPROVEN = "unproven"


Step = tuple[str, Any]
"""One step from a schema to one inside it: its keyword, and a name, index or pattern where that takes one."""
Place = tuple[Step, ...]


@dataclass(frozen=True)
class Change:
    """One difference between two versions."""

    rule: str
    path: str
    """JSON Pointer to the schema that differs, as if references were written out."""
    verdict: Verdict
    message: str
    witness: Any = MISSING
    """A payload that one version takes and the other refuses, where the change breaks."""
    name: str | None = None
    """The member that the change is about."""

    def as_json(self) -> dict[str, Any]:
        """The form of `--json`; `witness` is a payload where the change breaks, and null where it does not."""
        return {
            "rule": self.rule,
            "path": self.path,
            "verdict": self.verdict.value,
            "message": self.message,
            "witness": None if self.witness is MISSING else self.witness,
        }


@dataclass(frozen=True)
class Comparison:
    """All differences between two versions of a schema."""

    verdict: Verdict
    changes: tuple[Change, ...]

    def as_json(self) -> dict[str, Any]:
        """The form of `contracts diff-schema --json`."""
        return {"verdict": self.verdict.value, "changes": [change.as_json() for change in self.changes]}


def compare(
    old: Document, new: Document, direction: Direction, *, examples: Sequence[Any] = (), closed: bool = False
) -> Comparison:
    """Compares two versions of a schema, for those who send it (request) or read it (response).

    `examples` are payloads of the old version, tried before any made-up one. With `closed`, the sender is taken to
    send only members that its own schema names.
    """
    space = Space()
    linked_old, linked_new = old.link(space), new.link(space)
    if direction == "request":
        side = _Side(space, *_taken(linked_old, old, closed, space), linked_new, new)
    else:
        side = _Side(space, *_taken(linked_new, new, closed, space), linked_old, old)
    drafts = list(_Walk(space, direction).walk(linked_old, linked_new, ()))
    return _judge(side, drafts, direction, examples)


@dataclass(frozen=True)
class _Side:
    """What has to be taken by whom."""

    space: Space
    taken: Schema
    taken_document: Document
    taking: Schema
    taking_document: Document

    def shows(self, witness: Any) -> bool:
        """Whether the validators of the documents themselves agree that this payload breaks."""
        return _valid(self.taken_document, witness) is True and _valid(self.taking_document, witness) is False


def _valid(document: Document, value: Any) -> bool | None:
    try:
        return bool(document.validator().is_valid(value))
    except (RecursionError, ArithmeticError, re.error, Unresolvable):
        return None


def _taken(schema: Schema, document: Document, closed: bool, space: Space) -> tuple[Schema, Document]:
    return (close(schema, space) if closed else schema), document


# --- Verdicts --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Draft:
    """A difference that is not judged yet; `goal` is what the taking side asks because of it, from the root."""

    rule: str
    place: Place
    message: str
    goal: Schema
    name: str | None = None
    known: bool = True
    """Whether the change is about a keyword that is understood."""


def _judge(side: _Side, drafts: Sequence[_Draft], direction: Direction, examples: Sequence[Any]) -> Comparison:
    prover = Prover(side.space)
    if side.space.same(side.taken, side.taking):
        return Comparison(Verdict.COMPATIBLE, ())
    # most payloads are found at once, and a proof that cannot be is the dearest thing here
    shown = [_witness(side, draft.goal, examples, tries=_QUICK) for draft in drafts]
    proved = all(witness is MISSING for witness in shown) and prover.proves((side.taken,), side.taking)
    changes: list[Change] = []
    for draft, early in zip(drafts, shown, strict=True):
        verdict, witness = Verdict.BREAKING, early
        if early is MISSING:
            verdict = Verdict.COMPATIBLE
            if not (proved or (draft.known and prover.proves((side.taken,), draft.goal))):
                witness = _witness(side, draft.goal, examples)
                verdict = Verdict.UNPROVEN if witness is MISSING else Verdict.BREAKING
        changes.append(Change(draft.rule, pointer(draft.place), verdict, draft.message, witness, draft.name))
    verdicts = {change.verdict for change in changes}
    if Verdict.BREAKING in verdicts:
        return Comparison(Verdict.BREAKING, _ranked(changes))
    if proved:
        return Comparison(Verdict.COMPATIBLE, _ranked(changes))
    witness = _witness(side, None, examples)
    if witness is not MISSING:
        changes = _attributed(side, changes, witness, direction)
        return Comparison(Verdict.BREAKING, _ranked(changes))
    if Verdict.UNPROVEN not in verdicts:
        rule = rules.rule(direction, "schema", "changed")
        changes.append(Change(rule, "", Verdict.UNPROVEN, "neither a proof nor a payload was found"))
    return Comparison(Verdict.UNPROVEN, _ranked(changes))


def _witness(side: _Side, goal: Schema | None, examples: Sequence[Any], *, tries: int = MANY) -> Any:
    """A payload that the one side takes and the other refuses, because of the goal where there is one."""
    if goal is True:
        return MISSING
    refused = (side.taking,) if goal is None else (goal, side.taking)
    witness = Search(side.space, tries).witness(side.taken, *refused, examples=examples)
    return witness if witness is not MISSING and side.shows(witness) else MISSING


def _attributed(side: _Side, changes: list[Change], witness: Any, direction: Direction) -> list[Change]:
    """The changes with a witness for the whole: at the only one that is not cleared, else as one of its own."""
    unproven = [change for change in changes if change.verdict is Verdict.UNPROVEN]
    if len(unproven) == 1:
        shown = replace(unproven[0], verdict=Verdict.BREAKING, witness=witness)
        return [shown if change is unproven[0] else change for change in changes]
    error = next(side.space.validator().evolve(schema=side.taking).iter_errors(witness))
    path = "".join(f"/{step}" for step in error.absolute_path)
    message = f"{path or 'the payload'} is refused: {error.message[:160]}"
    rule = rules.rule(direction, "schema", "changed")
    return [*changes, Change(rule, "", Verdict.BREAKING, message, witness)]


def _ranked(changes: Iterable[Change]) -> tuple[Change, ...]:
    order = [Verdict.BREAKING, Verdict.UNPROVEN, Verdict.COMPATIBLE]
    return tuple(sorted(changes, key=lambda change: order.index(change.verdict)))


def pointer(place: Place) -> str:
    """A place as a JSON Pointer."""
    steps = (str(part) for step in place for part in step if isinstance(part, str | int))
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)


# --- Closed senders --------------------------------------------------------------------------------------------------


def close(schema: Schema, space: Space) -> Schema:
    """A schema whose objects have the members that it names and no others; free-form objects stay as they are."""
    return _Closing(space).close(schema)


class _Closing:
    """References get closed counterparts in the table of the space."""

    def __init__(self, space: Space) -> None:
        self._space = space
        self._numbers: dict[str, str] = {}

    def close(self, schema: Schema) -> Schema:
        """The schema of a place: all that applies there together names its members."""
        if not isinstance(schema, dict) or is_opaque(schema):
            return schema
        closed = self._inner(schema)
        names, free = self._names(schema, set())
        if not names or free:
            return closed
        wanted = {"enum": sorted(names)}
        if "propertyNames" in closed:
            return {**closed, "propertyNames": {"allOf": [closed["propertyNames"], wanted]}}
        return {**closed, "propertyNames": wanted}

    def _inner(self, schema: Schema) -> Schema:
        """A schema next to others of its place: only what stands inside is closed."""
        if not isinstance(schema, dict) or is_opaque(schema):
            return schema
        closed = dict(schema)
        for keyword in ("items", "additionalProperties", "unevaluatedItems"):
            if keyword in closed:
                closed[keyword] = self.close(closed[keyword])
        if "prefixItems" in closed:
            closed["prefixItems"] = [self.close(item) for item in closed["prefixItems"]]
        for keyword in ("properties", "patternProperties"):
            if keyword in closed:
                closed[keyword] = {name: self.close(item) for name, item in closed[keyword].items()}
        for keyword in ("allOf", "anyOf", "oneOf"):
            if keyword in closed and keyword != "oneOf":
                closed[keyword] = [self._inner(branch) for branch in closed[keyword]]
        if "$ref" in closed:
            closed["$ref"] = self._reference(closed["$ref"])
        return closed

    def _reference(self, reference: str) -> str:
        number = self._numbers.get(reference)
        if number is None:
            number = self._numbers[reference] = str(len(self._space.table))
            self._space.table[number] = True
            self._space.table[number] = self._inner(self._space.target(reference))
        return f"#/$defs/{number}"

    def _names(self, schema: Schema, seen: set[int]) -> tuple[set[str], bool]:
        """The names that a place speaks of, and whether it says itself what else there may be."""
        if not isinstance(schema, dict) or id(schema) in seen:
            return set(), False
        seen.add(id(schema))
        names = {*schema.get("properties", ()), *schema.get("required", ())}
        free = bool(schema.keys() & {"additionalProperties", "patternProperties", "unevaluatedProperties"})
        free = free or not schema.keys() <= KEYWORDS
        inner = [branch for word in ("allOf", "anyOf", "oneOf") for branch in schema.get(word, ())]
        inner += [schema[word] for word in ("if", "then", "else") if word in schema]
        inner += [self._space.target(schema["$ref"])] if "$ref" in schema else []
        for branch in inner:
            more, also = self._names(branch, seen)
            names |= more
            free = free or also
        return names, free


# --- Differences -----------------------------------------------------------------------------------------------------


@dataclass
class _View:
    """A schema with its references and simple compositions written out."""

    keywords: dict[str, Any] = field(default_factory=dict)
    null: bool = False
    """Whether null is permitted next to what `type` says."""
    never: bool = False

    @property
    def kinds(self) -> frozenset[str] | None:
        """The types apart from null; None for any."""
        return types(self.keywords["type"]) - {"null"} if "type" in self.keywords else None

    @property
    def nullable(self) -> bool:
        """Whether null is permitted, as far as types say."""
        return self.null or "type" not in self.keywords or "null" in types(self.keywords["type"])


_OPEN_ENDED: Final = frozenset(
    ["additionalProperties", "unevaluatedProperties", "unevaluatedItems", "patternProperties", "items", "prefixItems"]
)


class _Walk:
    """A walk through two versions side by side."""

    def __init__(self, space: Space, direction: Direction) -> None:
        self._space = space
        self._direction = direction
        self._pairs: set[tuple[int, int]] = set()

    def walk(self, old: Schema, new: Schema, place: Place) -> Iterator[_Draft]:
        """The differences of two schemas that stand at the same place."""
        if self._space.same(old, new):
            return
        if isinstance(old, dict) and isinstance(new, dict):
            if (id(old), id(new)) in self._pairs:
                return  # recursive: they are being compared already
            self._pairs.add((id(old), id(new)))
        before, after = self._view(old), self._view(new)
        if before.never or after.never:
            yield self._draft(place, "schema", "forbidden" if after.never else "allowed", before, after, (), "")
            return
        yield from self._unknown(before, after, place)
        yield from self._types(before, after, place)
        yield from self._values(before, after, place)
        for keyword in rules.BOUNDS:
            yield from self._bound(before, after, place, keyword)
        for keyword in (
            "multipleOf",
            "pattern",
            "format",
            "uniqueItems",
            "contains",
            "propertyNames",
            "dependentRequired",
            "unevaluatedItems",
            "unevaluatedProperties",
            "allOf",
            "anyOf",
            "oneOf",
            "not",
        ):
            yield from self._keyword(before, after, place, keyword, (keyword,))
        yield from self._keyword(before, after, place, "if", ("if", "then", "else"))
        yield from self._items(before, after, place)
        yield from self._members(before, after, place)

    # --- views ---

    def _view(self, schema: Schema) -> _View:
        if isinstance(schema, bool):
            return _View(never=not schema)
        view = _View()
        self._merge(view, schema, set())
        return view

    def _merge(self, view: _View, schema: Schema, within: set[int]) -> None:
        """Adds a schema that applies at the same place; what cannot be written out stays under `allOf`."""
        if schema is True:
            return
        if schema is False:
            view.never = True
            return
        if id(schema) in within:
            return
        within = within | {id(schema)}
        own = {word: value for word, value in schema.items() if word not in ("$ref", "allOf")}
        known = view.keywords
        clash = any(
            word in known
            and word != "required"
            and not (word == "properties" and not known[word].keys() & value.keys())
            and not self._space.same(known[word], value)
            for word, value in own.items()
        )
        separate = (own.keys() | known.keys()) & _OPEN_ENDED and own and known
        if clash or separate:
            known["allOf"] = [*known.get("allOf", ()), own]
        else:
            for word in own.keys() & known.keys() & {"properties", "required"}:
                both: Any = [known[word], own[word]]
                own[word] = both[0] | both[1] if word == "properties" else list(dict.fromkeys(both[0] + both[1]))
            self._take(view, own, within)
        for branch in (*schema.get("allOf", ()), *([self._space.target(schema["$ref"])] if "$ref" in schema else [])):
            self._merge(view, branch, within)

    def _take(self, view: _View, own: dict[str, Any], within: set[int]) -> None:
        for word in ("anyOf", "oneOf"):
            branches = own.get(word, ())
            rest = [
                branch for branch in branches if branch not in ({"type": "null"}, {"const": None}, {"enum": [None]})
            ]
            alone = len(own) == 1 and not view.keywords
            if alone and len(rest) == 1 and len(branches) <= 2:
                view.null = view.null or len(branches) == 2
                self._merge(view, rest[0], within)
                return
        view.keywords |= own

    # --- drafts ---

    def _draft(
        self,
        place: Place,
        subject: str,
        action: str,
        before: _View,
        after: _View,
        group: Sequence[str],
        message: str,
        *,
        goal: Schema | None = None,
        name: str | None = None,
        known: bool = True,
    ) -> _Draft:
        """A difference; `group` are the keywords that the taking side asks together, unless `goal` says it."""
        taking = self._taking(before, after)
        if goal is None:
            goal = False if taking.never else {w: taking.keywords[w] for w in group if w in taking.keywords} or True
        if taking.null and isinstance(goal, dict):
            goal = {"anyOf": [goal, {"type": "null"}]}
        at = name if name is not None else _last_name(place)
        text = message or f"{subject} {action}"
        return _Draft(rules.rule(self._direction, subject, action), place, text, _rooted(goal, place), at, known)

    def _taking(self, before: _View, after: _View) -> _View:
        return after if self._direction == "request" else before

    def _unknown(self, before: _View, after: _View, place: Place) -> Iterator[_Draft]:
        for word in sorted((before.keywords.keys() | after.keywords.keys()) - KEYWORDS):
            action = _action(before.keywords, after.keywords, word, self._space)
            if action:
                message = f"keyword {word} {action}, which is not understood"
                yield self._draft(place, "unknown-keyword", action, before, after, (), message, known=False)

    def _types(self, before: _View, after: _View, place: Place) -> Iterator[_Draft]:
        old, new = before.kinds, after.kinds
        taking = self._taking(before, after)
        if old != new:
            kinds = taking.keywords.get("type")
            listed = [kinds] if isinstance(kinds, str) else kinds
            goal: Schema = True if listed is None else {"type": sorted({*listed, "null"})}
            action = "added" if old is None else "removed" if new is None else "changed"
            message = f"type {_spelled(before)} → {_spelled(after)}"
            yield self._draft(place, "type", action, before, after, (), message, goal=goal)
        if before.nullable != after.nullable:
            goal = True if taking.nullable else {"not": {"type": "null"}}
            action = "added" if after.nullable else "removed"
            message = "null is permitted now" if after.nullable else "null is not permitted any more"
            if old == new or not (old is None or new is None):
                yield self._draft(place, "null", action, before, after, (), message, goal=goal)

    def _values(self, before: _View, after: _View, place: Place) -> Iterator[_Draft]:
        old, new = values_of(before.keywords), values_of(after.keywords)
        group = ("enum", "const")
        if old is None or new is None:
            if old is not new:
                action = "added" if old is None else "removed"
                yield self._draft(place, "enum", action, before, after, group, f"list of values {action}")
            return
        gone = [value for value in old if not any(equal(value, other) for other in new)]
        come = [value for value in new if not any(equal(value, other) for other in old)]
        if len(old) == len(new) == len(gone) == 1:
            message = f"value {_text(old[0])} → {_text(new[0])}"
            yield self._draft(place, "const", "changed", before, after, group, message)
            return
        taking_new = self._direction == "request"
        if gone:
            goal = None if taking_new else True
            message = f"{', '.join(map(_text, gone))} is no value any more"
            yield self._draft(place, "enum", "value-removed", before, after, group, message, goal=goal)
        if come:
            goal = True if taking_new else None
            message = f"{', '.join(map(_text, come))} is a value now"
            yield self._draft(place, "enum", "value-added", before, after, group, message, goal=goal)

    def _bound(self, before: _View, after: _View, place: Place, keyword: str) -> Iterator[_Draft]:
        old, new = before.keywords.get(keyword), after.keywords.get(keyword)
        if old == new:
            return
        action = "added" if old is None else "removed" if new is None else "raised" if new > old else "lowered"
        message = f"{keyword} {_text(old, '(none)')} → {_text(new, '(none)')}"
        yield self._draft(place, rules.kebab(keyword), action, before, after, (keyword,), message)

    def _keyword(
        self, before: _View, after: _View, place: Place, keyword: str, group: Sequence[str]
    ) -> Iterator[_Draft]:
        actions = [_action(before.keywords, after.keywords, word, self._space) for word in group]
        if any(actions):
            action = actions[0] or "changed"
            old, new = before.keywords.get(keyword), after.keywords.get(keyword)
            message = f"{keyword} {action}"
            if not isinstance(old, list | dict) and not isinstance(new, list | dict):
                message = f"{keyword} {_text(old, '(none)')} → {_text(new, '(none)')}"
            wanted = group
            if keyword.startswith("unevaluated"):
                wanted = tuple(self._taking(before, after).keywords)  # it depends on its neighbours
            yield self._draft(place, rules.kebab(keyword), action, before, after, wanted, message)

    def _items(self, before: _View, after: _View, place: Place) -> Iterator[_Draft]:
        old, new = before.keywords, after.keywords
        heads = [view.get("prefixItems", []) for view in (old, new)]
        if len(heads[0]) != len(heads[1]):
            action = "changed" if all(heads) else "added" if heads[1] else "removed"
            yield self._draft(place, "prefix-items", action, before, after, ("prefixItems", "items"), "")
            return
        for index, (one, other) in enumerate(zip(*heads, strict=True)):
            yield from self.walk(one, other, (*place, ("prefixItems", index)))
        if "items" in old and "items" in new and not any(isinstance(v["items"], bool) for v in (old, new)):
            if heads[0]:
                yield from self._keyword(before, after, place, "items", ("items", "prefixItems"))
            else:
                yield from self.walk(old["items"], new["items"], (*place, ("items", None)))
        else:
            change = _action(old, new, "items", self._space)
            if change:
                yield self._draft(place, "items", change, before, after, ("prefixItems", "items"), "")

    def _members(self, before: _View, after: _View, place: Place) -> Iterator[_Draft]:
        old, new = before.keywords.get("properties", {}), after.keywords.get("properties", {})
        needed = [set(view.keywords.get("required", ())) for view in (before, after)]
        for name in old:
            if name in new:
                yield from self.walk(old[name], new[name], (*place, ("properties", name)))
            else:
                goal = self._member_goal(before, after, name)
                message = f"{name} is gone"
                at = (*place, ("properties", name))
                yield replace(
                    self._draft(place, "property", "removed", before, after, (), message, goal=goal, name=name),
                    place=at,
                )
        for name in [*new, *sorted(needed[1] - new.keys())]:
            if name in old or (name not in new and name in needed[0]):
                continue
            goal = self._member_goal(before, after, name)
            subject = ("required", "added") if name in needed[1] else ("property", "added")
            message = f"{name} is new and required" if name in needed[1] else f"{name} is new"
            at = (*place, ("properties", name))
            yield replace(self._draft(place, *subject, before, after, (), message, goal=goal, name=name), place=at)
        for name in sorted(needed[0] ^ needed[1]):
            if name in needed[1] and (name in old or name in needed[0]):
                yield self._required(before, after, place, name, "added")
            elif name in needed[0] and (name in new or name not in old):
                yield self._required(before, after, place, name, "removed")
        yield from self._others(before, after, place)

    def _required(self, before: _View, after: _View, place: Place, name: str, action: str) -> _Draft:
        taking = self._taking(before, after)
        goal: Schema = {"required": [name]} if name in taking.keywords.get("required", ()) else True
        message = f"{name} is required now" if action == "added" else f"{name} is not required any more"
        draft = self._draft(place, "required", action, before, after, (), message, goal=goal, name=name)
        return replace(draft, place=(*place, ("properties", name)))

    def _member_goal(self, before: _View, after: _View, name: str) -> Schema:
        """What the taking side asks of one member."""
        taking = self._taking(before, after).keywords
        asked = []
        own = taking.get("properties", {})
        patterns = [pattern for pattern in taking.get("patternProperties", ()) if re.search(pattern, name)]
        if name in own:
            asked.append(own[name])
        asked += [taking["patternProperties"][pattern] for pattern in patterns]
        if "additionalProperties" in taking and name not in own and not patterns:
            asked.append(taking["additionalProperties"])
        goal: dict[str, Any] = {"properties": {name: {"allOf": asked}}} if asked else {}
        if name in taking.get("required", ()):
            goal["required"] = [name]
        return goal or True

    def _others(self, before: _View, after: _View, place: Place) -> Iterator[_Draft]:
        old, new = before.keywords, after.keywords
        group = ("patternProperties", "additionalProperties")
        taking = self._taking(before, after).keywords
        goal: dict[str, Any] = {word: taking[word] for word in group if word in taking}
        if goal and "properties" in taking:
            goal["properties"] = dict.fromkeys(taking["properties"], True)
        patterns = [view.get("patternProperties", {}) for view in (old, new)]
        if patterns[0].keys() == patterns[1].keys():
            for pattern in patterns[0]:
                at = (*place, ("patternProperties", pattern))
                yield from self.walk(patterns[0][pattern], patterns[1][pattern], at)
        else:
            action = "changed" if all(patterns) else "added" if patterns[1] else "removed"
            yield self._draft(place, "pattern-properties", action, before, after, (), "", goal=goal or True)
        one, other = old.get("additionalProperties", True), new.get("additionalProperties", True)
        if isinstance(one, dict) and isinstance(other, dict):
            known = {**old.get("properties", {}), **new.get("properties", {})}
            every = sorted({*patterns[0], *patterns[1]})
            step = ("additionalProperties", (tuple(known), tuple(every)))
            yield from self.walk(one, other, (*place, step))
        elif one is not other:
            action = "closed" if other is False else "opened" if one is False else "changed"
            message = {
                "closed": "other members are not permitted any more",
                "opened": "other members are permitted now",
                "changed": "what other members may be changed",
            }[action]
            yield self._draft(place, "additional-properties", action, before, after, (), message, goal=goal or True)


def _action(old: Mapping[str, Any], new: Mapping[str, Any], word: str, space: Space) -> str | None:
    if (word in old) != (word in new):
        return "added" if word in new else "removed"
    return "changed" if word in old and not space.same(old[word], new[word]) else None


def _rooted(goal: Schema, place: Place) -> Schema:
    """A schema that asks of the whole instance what `goal` asks at the place."""
    for keyword, detail in reversed(place):
        if goal is True:
            return True
        if keyword in ("properties", "patternProperties"):
            goal = {keyword: {detail: goal}}
        elif keyword == "prefixItems":
            goal = {keyword: [*[True] * detail, goal]}
        elif keyword == "additionalProperties":
            names, patterns = detail
            goal = {
                "properties": dict.fromkeys(names, True),
                "patternProperties": dict.fromkeys(patterns, True),
                keyword: goal,
            }
        else:
            goal = {keyword: goal}
    return goal


def _last_name(place: Place) -> str | None:
    return next((detail for keyword, detail in reversed(place) if keyword == "properties"), None)


def _spelled(view: _View) -> str:
    kinds = view.keywords.get("type")
    return "any" if kinds is None else kinds if isinstance(kinds, str) else "|".join(kinds)


def _text(value: Any, missing: str | None = None) -> str:
    return missing if value is None and missing is not None else json.dumps(value, ensure_ascii=False)
