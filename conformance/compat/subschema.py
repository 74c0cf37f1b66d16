"""Proving that one schema takes no more than another.

`Prover.proves(facts, goal)`: every instance that is valid under all of the facts is valid under the goal. True is a
proof; False only means that none was found. The method is a tableau: an instance is one of seven types; what the facts
say about instances of that type is taken apart into cases (`Case`), one for each branch of `anyOf`, `oneOf` and `if`;
in each case either the goal follows, keyword by keyword, or no such instance exists.

Sound by these habits. Facts that are not understood are dropped, goals that are not understood are only ever found to
be word by word one of the facts. Formats may assert or not. A claim about members or items may be assumed while it is
being proved, since they are smaller than the instance (this is how recursive schemas end). Out of steps: no proof.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from conformance.compat import formats
from conformance.compat.linking import ARRAY, NUMBER, OBJECT, STRING, Schema, Space, is_opaque

TYPES: Final = ("null", "boolean", "integer", "fraction", "string", "array", "object")
"""A number is an integer, as 1 and 1.0 are, or a fraction."""

_OWN: Final[Mapping[str, frozenset[str]]] = {
    "null": frozenset(),
    "boolean": frozenset(),
    "integer": NUMBER,
    "fraction": NUMBER,
    "string": STRING,
    "array": ARRAY,
    "object": OBJECT,
}
_TYPED: Final = NUMBER | STRING | ARRAY | OBJECT
_FOREIGN: Final = {name: _TYPED - own for name, own in _OWN.items()}
# The opposite of a bound, and by how much a count moves.
_OPPOSITE: Final = {
    "minimum": ("exclusiveMaximum", 0),
    "maximum": ("exclusiveMinimum", 0),
    "exclusiveMinimum": ("maximum", 0),
    "exclusiveMaximum": ("minimum", 0),
    "minLength": ("maxLength", -1),
    "maxLength": ("minLength", 1),
    "minItems": ("maxItems", -1),
    "maxItems": ("minItems", 1),
    "minProperties": ("maxProperties", -1),
    "maxProperties": ("minProperties", 1),
}
_EVALUATING: Final = frozenset(["anyOf", "oneOf", "if"])
_SEPARATE: Final = frozenset(
    [
        "type",
        "enum",
        "const",
        "$ref",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "format",
        "pattern",
        "required",
        "dependentRequired",
        "uniqueItems",
        "multipleOf",
        "propertyNames",
        "contains",
    ]
) | frozenset(_OPPOSITE)
_MAX_STEPS: Final = 6000
_MAX_VALUES: Final = 64
_MAX_PATTERNS: Final = 4

Sign = bool
Split = tuple[tuple[tuple[Schema, Sign], ...], ...]
"""Alternatives, one of which holds; each is what holds there."""


def type_of(value: Any) -> str:
    """Which of TYPES a JSON value has."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "integer" if isinstance(value, int) or value.is_integer() else "fraction"
    return "string" if isinstance(value, str) else "array" if isinstance(value, list) else "object"


def types(keyword: str | Sequence[str]) -> frozenset[str]:
    """Which of TYPES the value of a `type` keyword names."""
    names = {keyword} if isinstance(keyword, str) else set(keyword)
    return frozenset(names | {"integer", "fraction"} if "number" in names else names) & frozenset(TYPES)


def equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal, as JSON Schema has it: 1 is 1.0, and true is not 1."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return bool(one == other)


def values_of(schema: Mapping[str, Any]) -> list[Any] | None:
    """The values that `const` and `enum` leave; None where there is neither."""
    values = list(schema["enum"]) if "enum" in schema else None
    if "const" in schema:
        only = schema["const"]
        values = [only] if values is None or any(equal(only, value) for value in values) else []
    return values


def restrict(schema: Schema, kind: str) -> Schema:
    """What a schema says of instances of that type; an opaque one is left whole."""
    if not isinstance(schema, dict) or is_opaque(schema):
        return schema
    if "type" in schema and kind not in types(schema["type"]):
        return False
    foreign = _FOREIGN[kind]
    rest = {
        keyword: value
        for keyword, value in schema.items()
        if keyword not in foreign
        and keyword != "type"
        and not (keyword == "format" and kind != "string" and value in formats.KNOWN)
    }
    return rest or True


@dataclass(frozen=True)
class Evaluated:
    """Which members of an object a schema evaluates, where that does not depend on the instance."""

    names: frozenset[str] = frozenset()
    patterns: frozenset[str] = frozenset()
    every: bool = False

    def __or__(self, other: Evaluated) -> Evaluated:
        return Evaluated(self.names | other.names, self.patterns | other.patterns, self.every or other.every)


@dataclass
class Case:
    """One way for an instance of a type to satisfy the facts."""

    kind: str
    positive: list[Schema] = field(default_factory=list)
    """All schemas that hold, composite ones too."""
    atoms: list[dict[str, Any]] = field(default_factory=list)
    """Those of them that have keywords of the type."""
    negative: list[Schema] = field(default_factory=list)
    """Schemas that do not hold."""
    values: list[Any] | None = None
    """All that it can be, where that is a list."""
    splits: list[Split] = field(default_factory=list)
    """What is not taken apart yet."""

    def copy(self) -> Case:
        return replace(
            self,
            positive=[*self.positive],
            atoms=[*self.atoms],
            negative=[*self.negative],
            splits=[*self.splits],
        )


class _Exhausted(Exception):
    """No more steps."""


class Prover:
    """Proofs about schemas of one space."""

    def __init__(self, space: Space, steps: int = _MAX_STEPS) -> None:
        self.space = space
        self._limit = self._steps = steps
        self._open: set[tuple[frozenset[int], int]] = set()
        self._made: dict[tuple[Any, ...], Schema] = {}
        self._refuted: set[tuple[frozenset[int], int]] = set()

    def proves(self, facts: Iterable[Schema], goal: Schema) -> bool:
        """Whether every instance that is valid under all of `facts` was proved to be valid under `goal`."""
        self._steps = self._limit
        self._open.clear()
        self._refuted.clear()
        try:
            return self._prove(tuple(facts), goal)
        except (_Exhausted, RecursionError):
            return False

    # --- one place of an instance ---

    def _prove(self, facts: tuple[Schema, ...], goal: Schema) -> bool:
        facts = tuple(fact for fact in facts if fact is not True)
        if goal is True or any(fact is False or self.space.same(fact, goal) for fact in facts):
            return True
        key = (frozenset(map(id, facts)), 0 if goal is False else id(goal))
        if key in self._open:
            return True
        if key in self._refuted:
            return False
        self._open.add(key)
        try:
            proved = all(self._prove_type(facts, goal, kind) for kind in TYPES)
        finally:
            self._open.discard(key)
        if not proved:
            self._refuted.add(key)  # with fewer assumptions there is no proof either
        return proved

    def _prove_type(self, facts: tuple[Schema, ...], goal: Schema, kind: str) -> bool:
        case = Case(kind)
        if not self._add(case, [(fact, True) for fact in facts]):
            return True
        return self._decide(case, restrict(goal, kind), goal)

    def _decide(self, case: Case, goal: Schema, whole: Schema) -> bool:
        """Whether the goal follows in this case, or in each of its branches."""
        self._step()
        if whole is not False and any(self.space.same(whole, fact) for fact in case.positive):
            return True
        if self._entails(case, goal) or self._contradictory(case):
            return True
        if not case.splits:
            return False
        split = min(case.splits, key=len)
        for alternative in split:
            branch = case.copy()
            branch.splits.remove(split)
            if self._add(branch, alternative) and not self._decide(branch, goal, whole):
                return False
        return True

    def _extend(self, case: Case, *signed: tuple[Schema, Sign]) -> Case | None:
        """The case with more known about it; None where it cannot be."""
        extended = case.copy()
        return extended if self._add(extended, signed) else None

    def _follows(self, case: Case | None, goal: Schema) -> bool:
        return case is None or self._decide(case, restrict(goal, case.kind), goal)

    # --- taking facts apart ---

    def _add(self, case: Case, signed: Iterable[tuple[Schema, Sign]]) -> bool:
        """Adds facts and what follows from them directly; False where they cannot hold together."""
        waiting = list(signed)
        seen: set[tuple[int, Sign]] = set()
        while waiting:
            schema, sign = waiting.pop()
            self._step()
            rest = restrict(schema, case.kind)
            if isinstance(rest, bool):
                if rest is not sign:
                    return False
                continue
            if (id(schema), sign) in seen or (sign and any(schema is fact for fact in case.positive)):
                continue
            seen.add((id(schema), sign))
            more = self._assume(case, schema, rest) if sign else self._deny(case, schema, rest)
            if more is None:
                return False
            waiting += more
        return True

    def _assume(self, case: Case, schema: Schema, rest: dict[str, Any]) -> list[tuple[Schema, Sign]] | None:
        case.positive += [schema, rest]
        if is_opaque(rest):
            return []
        values = values_of(rest)
        if values is not None:
            values = [value for value in values if type_of(value) == case.kind]
            if case.values is not None:
                values = [value for value in case.values if any(equal(value, other) for other in values)]
            case.values = values
            if not values:
                return None
        if rest.keys() & _OWN[case.kind]:
            case.atoms.append(rest)
        more: list[tuple[Schema, Sign]] = []
        if "$ref" in rest:
            more.append((self.space.target(rest["$ref"]), True))
        more += [(branch, True) for branch in rest.get("allOf", ())]
        if "not" in rest:
            more.append((rest["not"], False))
        if "anyOf" in rest:
            case.splits.append(tuple(((branch, True),) for branch in rest["anyOf"]))
        if "oneOf" in rest:
            branches = rest["oneOf"]
            case.splits.append(
                tuple(
                    tuple((other, index == chosen) for index, other in enumerate(branches))
                    for chosen in range(len(branches))
                )
            )
        if "if" in rest:
            condition = rest["if"]
            case.splits.append(
                (
                    ((condition, True), (rest.get("then", True), True)),
                    ((condition, False), (rest.get("else", True), True)),
                )
            )
        return more

    def _deny(self, case: Case, schema: Schema, rest: dict[str, Any]) -> list[tuple[Schema, Sign]] | None:
        if is_opaque(rest):
            case.negative.append(schema)
            return []
        if len(rest) > 1:
            case.negative.append(rest)
            if rest.keys() <= _SEPARATE | {"properties"}:
                parts = [self._make(("part", id(rest), word), {word: value}, rest) for word, value in rest.items()]
                case.splits.append(tuple(((part, False),) for part in parts))
            return []
        [(keyword, value)] = rest.items()
        if keyword == "$ref":
            return [(self.space.target(value), False)]
        if keyword == "not":
            return [(value, True)]
        if keyword == "anyOf":
            return [(branch, False) for branch in value]
        if keyword == "allOf":
            case.splits.append(tuple(((branch, False),) for branch in value))
            return []
        if keyword in _OPPOSITE:
            opposite, step = _OPPOSITE[keyword]
            if value + step < 0 and step:
                return None
            return [(self._make((opposite, value + step), {opposite: value + step}), True)]
        if keyword == "required":
            absent = [self._make(("absent", name), {"properties": {name: False}}) for name in value]
            if not absent:
                return None
            case.splits.append(tuple(((one, True),) for one in absent))
            return []
        if keyword == "properties":
            case.splits.append(tuple(self._violated(name, member) for name, member in value.items()))
            return [] if value else None
        case.negative.append(rest)
        return []

    def _violated(self, name: str, schema: Schema) -> tuple[tuple[Schema, Sign], ...]:
        """What holds where a member is there and not valid."""
        negation = self._make(("not", id(schema), schema is True), {"not": schema}, schema)
        present = self._make(("present", name), {"required": [name]})
        return (
            (present, True),
            (self._make(("member", name, id(negation)), {"properties": {name: negation}}), True),
        )

    def _make(self, key: tuple[Any, ...], schema: Schema, *parts: Any) -> Schema:
        """A schema of our own making; always the same object, so that assumptions are found again."""
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = schema
            self._made[("kept", *key)] = parts  # an id is only a key as long as its object lives
        return made

    # --- what follows ---

    def _entails(self, case: Case, goal: Schema) -> bool:
        """Whether the goal, restricted to the case's type, follows without taking the case further apart."""
        self._step()
        if isinstance(goal, bool):
            return goal
        if any(self.space.same(goal, fact) for fact in case.positive):
            return True
        if is_opaque(goal):
            return False
        if self.space.is_transparent(goal):
            values = self._values(case)
            if values is not None:
                return all(self.space.surely_accepts(goal, value) for value in values)
        return self._entails_members(case, goal) and all(self._entails_keyword(case, goal, keyword) for keyword in goal)

    def _entails_keyword(self, case: Case, goal: dict[str, Any], keyword: str) -> bool:
        value = goal[keyword]
        if keyword == "$ref":
            return self._entails_whole(case, self.space.target(value))
        if keyword == "allOf":
            return all(self._entails_whole(case, branch) for branch in value)
        if keyword == "anyOf":
            return any(self._entails_whole(case, branch) for branch in value)
        if keyword == "oneOf":
            return self._entails_one_of(case, value)
        if keyword == "not":
            return self._follows(self._extend(case, (value, True)), False)
        if keyword == "if":
            return self._follows(self._extend(case, (value, True)), goal.get("then", True)) and self._follows(
                self._extend(case, (value, False)), goal.get("else", True)
            )
        if keyword in ("then", "else"):
            return True
        if keyword == "format":
            understood = (fact for fact in case.positive if not is_opaque(fact))
            return any(fact.get("format") == value for fact in understood)
        if keyword in NUMBER:
            return self._entails_number(case, keyword, value)
        if keyword in STRING:
            return self._entails_string(case, keyword, value)
        if keyword in ARRAY:
            return self._entails_array(case, goal, keyword)
        if keyword in OBJECT:
            return self._entails_object(case, goal, keyword)
        return False  # enum and const hold of listed values only, which are judged above

    def _entails_whole(self, case: Case, goal: Schema) -> bool:
        return any(self.space.same(goal, fact) for fact in case.positive) or self._entails(
            case, restrict(goal, case.kind)
        )

    def _entails_one_of(self, case: Case, branches: Sequence[Schema]) -> bool:
        for chosen, branch in enumerate(branches):
            if self._entails_whole(case, branch):
                others = [other for index, other in enumerate(branches) if index != chosen]
                return all(self._follows(self._extend(case, (other, True)), False) for other in others)
        return False

    # --- what cannot be ---

    def _contradictory(self, case: Case) -> bool:
        """Whether the case was found to be one that no instance is in."""
        self._step()
        if case.values is not None and not self._values(case):
            return True
        for index, denied in enumerate(case.negative):
            others = replace(case, negative=case.negative[:index] + case.negative[index + 1 :])
            if self._entails_whole(others, denied):
                return True
        if case.kind in ("integer", "fraction"):
            return self._bounds(case) is None
        if case.kind == "string":
            return self._least(case, "minLength") > self._most(case, "maxLength")
        if case.kind == "array":
            return self._no_array(case)
        if case.kind == "object":
            return self._no_object(case)
        return False

    def _values(self, case: Case) -> list[Any] | None:
        """All values that the instance may have, less what some fact surely refuses; None where they are too many."""
        values = case.values
        if values is None:
            values = self._implied_values(case)
        if values is None or len(values) > _MAX_VALUES:
            return None
        facts = [fact for fact in case.positive if self.space.is_transparent(fact)]
        denied = [fact for fact in case.negative if self.space.is_transparent(fact)]
        return [
            value
            for value in values
            if not any(self.space.surely_refuses(fact, value) for fact in facts)
            and not any(self.space.surely_accepts(fact, value) for fact in denied)
        ]

    def _implied_values(self, case: Case) -> list[Any] | None:
        if case.kind == "null":
            return [None]
        if case.kind == "boolean":
            return [False, True]
        if case.kind == "integer":
            bounds = self._bounds(case)
            if bounds is None:
                return []
            low, high = bounds[0][0], bounds[1][0]
            if math.isinf(low) or math.isinf(high) or high - low >= _MAX_VALUES:
                return None
            return list(range(int(low), int(high) + 1))
        if case.kind == "string" and self._most(case, "maxLength") < 1:
            return [""]
        if case.kind == "array" and self._most(case, "maxItems") < 1:
            return [[]]
        if case.kind == "object" and self._most(case, "maxProperties") < 1:
            return [{}]
        return None

    def _step(self) -> None:
        self._steps -= 1
        if self._steps < 0:
            raise _Exhausted

    # --- numbers and strings ---

    def _bounds(self, case: Case) -> tuple[tuple[float, bool], tuple[float, bool]] | None:
        """The lowest and highest value, each with whether it is excluded itself; None where nothing lies between."""
        low, high = (-math.inf, False), (math.inf, False)
        for atom in case.atoms:
            for keyword, excluded in (("minimum", False), ("exclusiveMinimum", True)):
                if keyword in atom:
                    low = max(low, (atom[keyword], excluded))
            for keyword, excluded in (("maximum", False), ("exclusiveMaximum", True)):
                if keyword in atom and (atom[keyword], not excluded) < (high[0], not high[1]):
                    high = (atom[keyword], excluded)
        steps = [m for m in self._all(case, "multipleOf") if type(m) is int]
        if case.kind == "fraction" and steps:
            return None
        if case.kind == "integer":
            step = math.lcm(*steps) if steps else 1
            if not math.isinf(low[0]):
                least = math.floor(low[0]) + 1 if low[1] else math.ceil(low[0])
                low = (-(-least // step) * step, False)
            if not math.isinf(high[0]):
                most = math.ceil(high[0]) - 1 if high[1] else math.floor(high[0])
                high = (most // step * step, False)
        if low[0] > high[0] or (
            low[0] == high[0] and (low[1] or high[1] or (case.kind == "fraction" and low[0] % 1 == 0))
        ):
            return None
        return low, high

    def _entails_number(self, case: Case, keyword: str, value: float) -> bool:
        if keyword == "multipleOf":
            if type(value) is not int:
                return any(type(m) is float and m == value for m in self._all(case, "multipleOf"))
            steps = [m for m in self._all(case, "multipleOf") if type(m) is int]
            return (case.kind == "integer" and value == 1) or any(step % value == 0 for step in steps)
        bounds = self._bounds(case)
        if bounds is None:
            return True
        low, high = bounds
        if keyword == "minimum":
            return low[0] >= value
        if keyword == "exclusiveMinimum":
            return low[0] > value or (low[0] == value and low[1])
        if keyword == "maximum":
            return high[0] <= value
        return high[0] < value or (high[0] == value and high[1])

    def _entails_string(self, case: Case, keyword: str, value: Any) -> bool:
        if keyword == "minLength":
            return bool(self._least(case, keyword) >= value)
        if keyword == "maxLength":
            return bool(self._most(case, keyword) <= value)
        return value in self._all(case, "pattern")

    @staticmethod
    def _all(case: Case, keyword: str) -> list[Any]:
        return [atom[keyword] for atom in case.atoms if keyword in atom]

    def _least(self, case: Case, keyword: str) -> float:
        bound: float = max(self._all(case, keyword), default=0)
        return bound

    def _most(self, case: Case, keyword: str) -> float:
        bound: float = min(self._all(case, keyword), default=math.inf)
        return bound

    # --- arrays ---

    def _entails_array(self, case: Case, goal: dict[str, Any], keyword: str) -> bool:
        if keyword == "minItems":
            return bool(self._least_items(case) >= goal[keyword])
        if keyword == "maxItems":
            return bool(self._most_items(case) <= goal[keyword])
        if keyword == "uniqueItems":
            return not goal[keyword] or any(self._all(case, keyword)) or self._most_items(case) <= 1
        if keyword == "contains":
            return self._entails_contains(case, goal[keyword])
        return keyword != "unevaluatedItems" or _items_are_plain(goal)  # the items are judged with the members

    def _entails_contains(self, case: Case, goal: Schema) -> bool:
        width = self._prefix(case)
        if any(
            self._prove((*self._items(case, width), contained), goal)
            for contained in self._all(case, "contains")
            if not width
        ):
            return True
        if any(self._prove((contained,), goal) for contained in self._all(case, "contains")):
            return True
        least = self._least_items(case)
        return any(self._prove(self._items(case, index), goal) for index in range(min(int(least), width + 1)))

    def _least_items(self, case: Case) -> float:
        return max(self._least(case, "minItems"), 1 if self._all(case, "contains") else 0)

    def _most_items(self, case: Case) -> float:
        most = self._most(case, "maxItems")
        for index in range(self._prefix(case) + 1):
            if index >= most:
                break
            if self._prove(self._items(case, index), False):
                return index
        return most

    def _prefix(self, case: Case, *more: Mapping[str, Any]) -> int:
        """From which index on all items are judged alike."""
        return max((len(atom.get("prefixItems", ())) for atom in (*case.atoms, *more)), default=0)

    def _items(self, case: Case, index: int) -> tuple[Schema, ...]:
        return tuple(item for atom in case.atoms for item in _item_schemas(atom, index))

    def _no_array(self, case: Case) -> bool:
        least, most = self._least_items(case), self._most_items(case)
        if least > most:
            return True
        width = self._prefix(case)
        return any(
            all(self._prove((*self._items(case, index), contained), False) for index in range(width + 1))
            for contained in self._all(case, "contains")
        )

    # --- objects ---

    def _entails_members(self, case: Case, goal: dict[str, Any]) -> bool:
        """Whether the goal's claims about items or members follow, keyword by keyword together."""
        if case.kind == "array":
            most = self._most(case, "maxItems")
            width = self._prefix(case, goal)
            return all(
                self._prove(self._items(case, index), item)
                for index in range(width + 1)
                if index < most
                for item in _item_schemas(goal, index)
            )
        if case.kind == "object":
            return all(self._entails_name(case, goal, name) for name in self._names(case, goal)) and all(
                self._entails_pattern(case, goal, matched) for matched in self._classes(case, goal)
            )
        return True

    def _entails_name(self, case: Case, goal: dict[str, Any], name: str) -> bool:
        claims = list(self._member(goal, name))
        if not claims or self._refused_name(case, name):
            return True
        facts = self._facts_of(case, name)
        return all(self._prove(facts, claim) for claim in claims)

    def _entails_pattern(self, case: Case, goal: dict[str, Any], matched: frozenset[str] | None) -> bool:
        if matched is None:  # there are more patterns than can be told apart
            return not goal.keys() & {"patternProperties", "additionalProperties", "unevaluatedProperties"}
        claims = list(self._other(goal, matched))
        facts = tuple(fact for atom in case.atoms for fact in self._other(atom, matched))
        return all(self._prove(facts, claim) for claim in claims)

    def _names(self, case: Case, goal: Mapping[str, Any]) -> list[str]:
        """The names of members that some fact or the goal speaks of."""
        names: dict[str, None] = {}
        for schema in (*case.atoms, goal):
            names |= dict.fromkeys(schema.get("properties", ()))
            names |= dict.fromkeys(self.evaluated_names(schema))
        names |= dict.fromkeys(self._required(case))
        names |= dict.fromkeys(self._closed(case) or ())
        return list(names)

    def _classes(self, case: Case, goal: Mapping[str, Any]) -> Iterator[frozenset[str] | None]:
        """All other names, by which of the patterns they match."""
        if self._closed(case) is not None:
            return
        patterns: dict[str, None] = {}
        for schema in (*case.atoms, goal):
            patterns |= dict.fromkeys(schema.get("patternProperties", ()))
            evaluated = self._evaluated(schema) if "unevaluatedProperties" in schema else None
            patterns |= dict.fromkeys(sorted(evaluated.patterns) if evaluated else ())
        if len(patterns) > _MAX_PATTERNS:
            yield None
            return
        for count in range(len(patterns) + 1):
            yield from map(frozenset, itertools.combinations(patterns, count))

    def _facts_of(self, case: Case, name: str) -> tuple[Schema, ...]:
        return tuple(fact for atom in case.atoms for fact in self._member(atom, name))

    def _member(self, schema: Mapping[str, Any], name: str) -> Iterator[Schema]:
        """The schemas that an object's schema applies to the member of that name."""
        patterns = [pattern for pattern in schema.get("patternProperties", ()) if re.search(pattern, name)]
        if name in schema.get("properties", ()):
            yield schema["properties"][name]
        for pattern in patterns:
            yield schema["patternProperties"][pattern]
        if "additionalProperties" in schema and not patterns and name not in schema.get("properties", ()):
            yield schema["additionalProperties"]
        evaluated = self._evaluated(schema) if "unevaluatedProperties" in schema else None
        if evaluated is not None and not (
            evaluated.every
            or name in evaluated.names
            or any(re.search(pattern, name) for pattern in evaluated.patterns)
        ):
            yield schema["unevaluatedProperties"]

    def _other(self, schema: Mapping[str, Any], matched: frozenset[str]) -> Iterator[Schema]:
        """The same for any name that nobody speaks of and that matches these patterns only."""
        patterns = [pattern for pattern in schema.get("patternProperties", ()) if pattern in matched]
        for pattern in patterns:
            yield schema["patternProperties"][pattern]
        if "additionalProperties" in schema and not patterns:
            yield schema["additionalProperties"]
        evaluated = self._evaluated(schema) if "unevaluatedProperties" in schema else None
        if evaluated is not None and not (evaluated.every or evaluated.patterns & matched):
            yield schema["unevaluatedProperties"]

    def evaluated_names(self, schema: Mapping[str, Any]) -> frozenset[str]:
        """The names that `unevaluatedProperties` leaves alone, as far as they are known."""
        evaluated = self._evaluated(schema) if "unevaluatedProperties" in schema else None
        return evaluated.names if evaluated else frozenset()

    def _evaluated(self, schema: Schema, within: frozenset[int] = frozenset(), *, top: bool = True) -> Evaluated | None:
        """What is evaluated next to `unevaluatedProperties`; None where that depends on the instance."""
        if isinstance(schema, bool):
            return Evaluated()
        if is_opaque(schema) or schema.keys() & _EVALUATING or id(schema) in within:
            return None
        found = Evaluated(
            frozenset(schema.get("properties", ())),
            frozenset(schema.get("patternProperties", ())),
            "additionalProperties" in schema or (not top and "unevaluatedProperties" in schema),
        )
        inner = [*schema.get("allOf", ()), *([self.space.target(schema["$ref"])] if "$ref" in schema else [])]
        for branch in inner:
            more = self._evaluated(branch, within | {id(schema)}, top=False)
            if more is None:
                return None
            found |= more
        return found

    def _required(self, case: Case, *more: str) -> set[str]:
        """The names that are there, with those that others bring with them."""
        names = {name for atom in case.atoms for name in atom.get("required", ())} | set(more)
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            for atom in case.atoms:
                brought = set(atom.get("dependentRequired", {}).get(name, ())) - names
                names |= brought
                waiting += brought
        return names

    def _closed(self, case: Case) -> list[str] | None:
        """All names that `propertyNames` permits, where it lists them."""
        for names in self._all(case, "propertyNames"):
            values = values_of(names) if isinstance(names, dict) and not is_opaque(names) else None
            if values is not None:
                return [value for value in values if isinstance(value, str)]
        return None

    def _refused_name(self, case: Case, name: str) -> bool:
        return any(
            self.space.is_transparent(names) and self.space.surely_refuses(names, name)
            for names in self._all(case, "propertyNames")
        )

    def _impossible(self, case: Case, name: str) -> bool:
        return self._refused_name(case, name) or self._prove(self._facts_of(case, name), False)

    def _entails_object(self, case: Case, goal: dict[str, Any], keyword: str) -> bool:
        value = goal[keyword]
        if keyword == "required":
            return set(value) <= self._required(case)
        if keyword == "dependentRequired":
            return all(
                set(names) <= self._required(case, name) or self._impossible(case, name)
                for name, names in value.items()
            )
        if keyword == "minProperties":
            return bool(max(self._least(case, keyword), len(self._required(case))) >= value)
        if keyword == "maxProperties":
            return bool(min(self._most(case, keyword), self._possible_names(case)) <= value)
        if keyword == "propertyNames":
            return self._entails_names(case, goal)
        return keyword != "unevaluatedProperties" or self._evaluated(goal) is not None  # the rest: with the members

    def _possible_names(self, case: Case) -> float:
        for matched in self._classes(case, {}):
            if matched is None or not self._prove(
                tuple(fact for atom in case.atoms for fact in self._other(atom, matched)), False
            ):
                return math.inf
        return sum(1 for name in self._names(case, {}) if not self._impossible(case, name))

    def _entails_names(self, case: Case, goal: dict[str, Any]) -> bool:
        wanted = goal["propertyNames"]
        for name in self._names(case, goal):
            accepted = self.space.is_transparent(wanted) and self.space.surely_accepts(wanted, name)
            if not accepted and not self._impossible(case, name):
                return False
        string = self._make(("string",), {"type": "string"})
        for matched in self._classes(case, goal):
            if matched is None:
                return False
            if self._prove(tuple(fact for atom in case.atoms for fact in self._other(atom, matched)), False):
                continue
            patterns = [self._make(("pattern", pattern), {"pattern": pattern}) for pattern in sorted(matched)]
            if not self._prove((string, *patterns, *self._all(case, "propertyNames")), wanted):
                return False
        return True

    def _no_object(self, case: Case) -> bool:
        required = self._required(case)
        if self._least(case, "minProperties") > self._most(case, "maxProperties"):
            return True
        if len(required) > self._most(case, "maxProperties"):
            return True
        if any(self._impossible(case, name) for name in required):
            return True
        least = self._least(case, "minProperties")
        return least > 0 and self._possible_names(case) < least


def _item_schemas(schema: Mapping[str, Any], index: int) -> Iterator[Schema]:
    """The schemas that an array's schema applies to the item of that index."""
    prefix = schema.get("prefixItems", ())
    if index < len(prefix):
        yield prefix[index]
    elif "items" in schema:
        yield schema["items"]
    elif "unevaluatedItems" in schema and _items_are_plain(schema):
        yield schema["unevaluatedItems"]


def _items_are_plain(schema: Mapping[str, Any]) -> bool:
    """Whether which items are unevaluated stands in the schema itself."""
    return not schema.keys() & (_EVALUATING | {"allOf", "$ref", "contains"})
