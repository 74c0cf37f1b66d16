"""Looking for a payload that one schema takes and another refuses.

Candidates are built from both schemas: where one of them draws a line (a bound, a length, a list of values, a name),
the values on both sides of it are tried. Nothing here has to be right: what comes out was judged by a validator.
"""

from __future__ import annotations

import itertools
import json
import re
import string
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from re import _constants as opcodes  # type: ignore[attr-defined, unused-ignore]
from re import _parser as parser  # type: ignore[attr-defined, unused-ignore]
from typing import Any, Final

from conformance.compat import formats
from conformance.compat.linking import OBJECT, Schema, Space
from conformance.compat.subschema import equal, type_of, types

_MAX_DEPTH: Final = 5
_MAX_PARTS: Final = 60
_MAX_KEPT: Final = 10
_MAX_TELLING: Final = 6
_CHOICE: Final = 3
_MAX_INNER: Final = 8
_MAX_LENGTH: Final = 20_000
MANY: Final = 1500
"""How many values a search tries unless it is told otherwise."""
MISSING: Final = object()
"""No value; None is one."""
_NAME: Final = "unknown-member"
_PLAIN: Final[tuple[Any, ...]] = ("a", 1, True, None, {}, [], 0.5, 0, -1, "", False, 2, "1", "b", "A", [1], {"a": 1})


class Search:
    """A search for values that all of some schemas take and another one refuses."""

    def __init__(self, space: Space, tries: int = MANY) -> None:
        self._space = space
        self._limit = self._tries = tries
        self._open = Counter[tuple[tuple[int, ...], tuple[int, ...]]]()
        self._known: dict[tuple[tuple[int, ...], tuple[int, ...], int], list[Any]] = {}

    def witness(self, taken: Schema, *refused: Schema, examples: Iterable[Any] = ()) -> Any:
        """A small value that is valid under `taken` and invalid under each of `refused`, or MISSING.

        The examples are tried first, and varied last. Only the first of `refused` steers the search.
        """
        examples = list(examples)
        varied = (value for example in examples for value in self._variations(example, taken, refused))
        for tried in (examples, self._pool_of((taken,), refused[:1], 0), varied):
            self._tries = self._limit
            found = itertools.islice(self._that_show(tried, taken, refused), _CHOICE)
            smallest = min(found, key=lambda value: len(json.dumps(value)), default=MISSING)
            if smallest is not MISSING:
                return smallest
        return MISSING

    def _that_show(self, values: Iterable[Any], taken: Schema, refused: Sequence[Schema]) -> Iterator[Any]:
        for value in self._unique(values):
            self._tries -= 1
            if self._tries < 0:
                return
            # what refuses is judged first: most candidates go there
            if not any(self._space.accepts(schema, value) for schema in refused) and self._space.accepts(taken, value):
                yield value

    def _variations(self, example: Any, taken: Schema, refused: Sequence[Schema]) -> Iterator[Any]:
        """An object with one of its members left out, or one that the schemas know put in."""
        if not isinstance(example, dict):
            return
        ours, theirs = self._parts((taken,)), self._parts(refused)
        for name in _names([*ours, *theirs]):
            yield {key: value for key, value in example.items() if key != name}
            for value in self._candidates(_members(ours, name), _members(theirs, name), 1)[:_MAX_INNER]:
                yield {**example, name: value}

    def samples(self, schema: Schema, limit: int = 40) -> list[Any]:
        """Values that are valid under the schema."""
        return self._candidates((schema,), (), 0)[:limit]

    # --- candidates ---

    def _candidates(self, taken: tuple[Schema, ...], refused: tuple[Schema, ...], depth: int) -> list[Any]:
        """Values that all of `taken` take; those that some of `refused` does not are first."""
        if any(schema is False for schema in taken) or depth > _MAX_DEPTH:
            return []
        place = (tuple(map(id, taken)), tuple(map(id, refused)))
        if self._open[place]:
            return []  # a recursive schema, once around
        known = self._known.get((*place, depth))
        if known is None:
            self._open[place] += 1
            known = self._known[*place, depth] = self._choose(taken, refused, depth)
            self._open[place] -= 1
        return known

    def _choose(self, taken: tuple[Schema, ...], refused: tuple[Schema, ...], depth: int) -> list[Any]:
        good: list[Any] = []
        telling: list[Any] = []
        for value in self._unique(self._pool_of(taken, refused, depth)):
            self._tries -= 1
            if self._tries < 0 or len(telling) >= _MAX_TELLING:
                break
            if len(good) >= _MAX_KEPT and not refused:
                break
            if all(self._space.accepts(schema, value) for schema in taken):
                if any(not self._space.accepts(schema, value) for schema in refused):
                    telling.append(value)
                else:
                    good.append(value)
        return [*telling, *good[:_MAX_KEPT]]

    def _pool_of(self, taken: tuple[Schema, ...], refused: tuple[Schema, ...], depth: int) -> Iterator[Any]:
        return self._pool(taken, self._parts(taken), self._parts(refused), self._kinds(taken), depth)

    @staticmethod
    def _unique(values: Iterable[Any]) -> Iterator[Any]:
        seen: set[str] = set()
        for value in values:
            text = json.dumps(value, sort_keys=True)
            if text not in seen:
                seen.add(text)
                yield value

    def _parts(self, schemas: Iterable[Schema]) -> list[dict[str, Any]]:
        """Every object schema that speaks of the same place, whether it has to hold or not."""
        parts: list[dict[str, Any]] = []
        waiting, seen = list(schemas), set[int]()
        while waiting and len(parts) < _MAX_PARTS:
            schema = waiting.pop(0)
            if not isinstance(schema, dict) or id(schema) in seen:
                continue
            seen.add(id(schema))
            parts.append(schema)
            if "$ref" in schema:
                waiting.append(self._space.target(schema["$ref"]))
            for keyword in ("allOf", "anyOf", "oneOf"):
                waiting += schema.get(keyword, ())
            waiting += [schema[keyword] for keyword in ("not", "if", "then", "else") if keyword in schema]
            for dependent in _mapping(schema.get("dependentSchemas")).values():
                waiting.append(dependent)
        return parts

    def _kinds(self, schemas: Iterable[Schema]) -> frozenset[str]:
        """The types that plainly stand in the schemas."""
        kinds = frozenset(("null", "boolean", "integer", "fraction", "string", "array", "object"))
        for schema in schemas:
            if isinstance(schema, dict) and "type" in schema:
                kinds &= types(schema["type"])
        return kinds

    def _pool(
        self,
        taken: tuple[Schema, ...],
        ours: Sequence[dict[str, Any]],
        theirs: Sequence[dict[str, Any]],
        kinds: frozenset[str],
        depth: int,
    ) -> Iterator[Any]:
        both = [*ours, *theirs]
        for part in both:
            values = [*part.get("enum", ()), *([part["const"]] if "const" in part else [])]
            yield from (value for value in values if type_of(value) in kinds)
        yield from (value for value in _PLAIN if type_of(value) in kinds)
        if kinds & {"integer", "fraction"}:
            yield from (number for number in _numbers(both) if type_of(number) in kinds)
        if "string" in kinds:
            yield from _strings(both)
        if "array" in kinds:
            yield from self._arrays(ours, theirs, depth)
        if "object" in kinds:
            yield from self._objects(taken, ours, theirs, depth)

    # --- arrays ---

    def _arrays(
        self, ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]], depth: int
    ) -> Iterator[list[Any]]:
        both = [*ours, *theirs]
        if not any(_speaks_of_items(part) for part in both):
            return
        width = max((len(part.get("prefixItems", ())) for part in both), default=0)
        choices = [
            self._candidates(_items(ours, index), _items(theirs, index), depth + 1)[:_MAX_INNER]
            for index in range(width + 1)
        ]
        contained = [part["contains"] for part in both if "contains" in part]
        special = [value for schema in contained for value in self._candidates((schema,), (), depth + 1)[:3]]
        plain = [self._filler(_items(ours, index)) for index in range(width + 1)]
        distinct = self._distinct(_items(ours, width))

        def filled(length: int) -> list[Any] | None:
            values = [plain[index] for index in range(min(length, width))]
            rest = length - len(values)
            if rest > len(distinct) or any(value is MISSING for value in values):
                return None
            return [*values, *distinct[:rest]]

        for index, values in enumerate(choices):
            head = filled(index)
            if head is None:
                break
            for value in values:
                yield [*head, value]
        yield []
        bounds = [
            part[word]
            for part in both
            for word in ("minItems", "maxItems", "minContains", "maxContains")
            if isinstance(part.get(word), int)
        ]
        lengths = sorted({length for bound in (*bounds, width, 2) for length in (bound - 1, bound, bound + 1)})
        for length in lengths:
            if 0 <= length <= 300:
                full = filled(length)
                if full is not None:
                    yield full
                    for value in special:
                        yield [*full[:-1], value]
                for value in choices[-1][:3] if choices else ():
                    yield [*(full or [])[:0], *[value] * length]
        for value in special:
            yield [value]
            yield [value, value]
            yield [*(filled(max(width, 1)) or []), value]
        if len(choices[-1]) > 1:
            yield list(choices[-1][:2])

    def _filler(self, schemas: tuple[Schema, ...]) -> Any:
        values = self._candidates(schemas, (), _MAX_DEPTH - 1)
        return values[0] if values else MISSING

    def _distinct(self, schemas: tuple[Schema, ...]) -> list[Any]:
        """Different items, as many as are easily had."""
        values = list(self._candidates(schemas, (), _MAX_DEPTH - 1))
        for more in ([f"item {number}" for number in range(60)], list(range(100, 160))):
            if all(self._space.accepts(schema, more[0]) for schema in schemas):
                values += more
                break
        distinct: list[Any] = []
        for value in values:
            if not any(equal(value, other) for other in distinct):
                distinct.append(value)
        return distinct if len(distinct) != 1 else distinct * 60

    # --- objects ---

    def _objects(
        self,
        taken: tuple[Schema, ...],
        ours: Sequence[dict[str, Any]],
        theirs: Sequence[dict[str, Any]],
        depth: int,
    ) -> Iterator[dict[str, Any]]:
        both = [*ours, *theirs]
        if not any(_speaks_of_members(part) for part in both):
            return
        names = _names(both)
        choices = {
            name: self._candidates(_members(ours, name), _members(theirs, name), depth + 1)[:_MAX_INNER]
            for name in names
        }
        plain = {
            name: next((value for value in values if self._taken_by(theirs, name, value)), values[0])
            for name, values in choices.items()
            if values
        }
        required = _required(ours)
        bases = list(self._bases(taken, plain, required))
        for base in bases:
            yield base
        for base in bases:
            for name, values in choices.items():
                yield {key: value for key, value in base.items() if key != name}
                for value in values:
                    yield {**base, name: value}
        least = bases[0]
        for word in ("minProperties", "maxProperties"):
            for count in {part[word] + step for part in both if isinstance(part.get(word), int) for step in (-1, 0, 1)}:
                fillers = [name for name in plain if name not in least] + [f"key{n}" for n in range(min(count, 60))]
                chosen = fillers[: max(count - len(least), 0)]
                yield {**least, **{name: plain.get(name, 1) for name in chosen}}
        for part in both:
            for name, brought in _mapping(part.get("dependentRequired")).items():
                yield {**least, name: plain.get(name, 1)}
                yield {**least, **{key: plain.get(key, 1) for key in (name, *brought)}}
        for one in names:
            for other in names:
                if one < other and one in plain and other in plain and len(names) <= 5:
                    yield {**least, one: plain[one], other: plain[other]}

    def _bases(
        self, taken: tuple[Schema, ...], plain: Mapping[str, Any], required: Sequence[str]
    ) -> Iterator[dict[str, Any]]:
        """Objects to vary: with the required members, with all known ones, and for each branch with what it asks."""
        yield {name: plain[name] for name in required if name in plain}
        yield {name: value for name, value in plain.items() if name != _NAME}
        for branch in self._branches(taken):
            parts = self._parts((branch,))
            members = {
                name: next(iter(self._candidates(_members(parts, name), (), _MAX_DEPTH - 1)), plain.get(name))
                for name in {*_required(parts), *(n for part in parts for n in _mapping(part.get("properties")))}
            }
            always = {name: plain[name] for name in required if name in plain}
            yield {**always, **{name: members[name] for name in _required(parts)}}
            yield {**always, **members}

    def _branches(self, schemas: Iterable[Schema]) -> Iterator[Schema]:
        for part in self._parts(schemas):
            for keyword in ("anyOf", "oneOf"):
                yield from part.get(keyword, ())
            yield from (part[keyword] for keyword in ("if", "then", "else") if keyword in part)

    def _taken_by(self, parts: Sequence[dict[str, Any]], name: str, value: Any) -> bool:
        return all(self._space.accepts(schema, value) for schema in _members(parts, name))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _speaks_of_items(part: Mapping[str, Any]) -> bool:
    return bool(
        part.keys()
        & {
            "items",
            "prefixItems",
            "minItems",
            "maxItems",
            "uniqueItems",
            "contains",
            "unevaluatedItems",
            "minContains",
            "maxContains",
        }
    )


def _speaks_of_members(part: Mapping[str, Any]) -> bool:
    return not part.keys().isdisjoint(OBJECT | {"dependentSchemas"})


def _items(parts: Sequence[dict[str, Any]], index: int) -> tuple[Schema, ...]:
    found: list[Schema] = []
    for part in parts:
        prefix = part.get("prefixItems", ())
        if index < len(prefix):
            found.append(prefix[index])
        else:
            found += [part[word] for word in ("items", "unevaluatedItems") if word in part][:1]
    return tuple(found)


def _members(parts: Sequence[dict[str, Any]], name: str) -> tuple[Schema, ...]:
    found: list[Schema] = []
    for part in parts:
        own = _mapping(part.get("properties"))
        patterns = [p for p in _mapping(part.get("patternProperties")) if re.search(p, name)]
        if name in own:
            found.append(own[name])
        found += [part["patternProperties"][pattern] for pattern in patterns]
        if name not in own and not patterns and isinstance(part.get("additionalProperties"), dict):
            found.append(part["additionalProperties"])
    return tuple(found)


def _names(parts: Sequence[dict[str, Any]]) -> list[str]:
    names: dict[str, None] = {}
    for part in parts:
        names |= dict.fromkeys(_mapping(part.get("properties")))
        names |= dict.fromkeys(part.get("required", ()))
        for name, brought in _mapping(part.get("dependentRequired")).items():
            names |= dict.fromkeys((name, *brought))
        for pattern in _mapping(part.get("patternProperties")):
            names |= dict.fromkeys(sample_pattern(pattern)[:2])
        wanted = part.get("propertyNames")
        if isinstance(wanted, dict):
            listed = [*wanted.get("enum", ()), *([wanted["const"]] if "const" in wanted else [])]
            names |= dict.fromkeys(name for name in listed if isinstance(name, str))
            names |= dict.fromkeys(list(_strings([wanted]))[:6])
    return [*list(names)[:40], _NAME]


def _required(parts: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for part in parts for name in part.get("required", ())))


# --- numbers and strings ---------------------------------------------------------------------------------------------


def _numbers(parts: Sequence[Mapping[str, Any]]) -> Iterator[float]:
    """Numbers on both sides of every line."""
    lines = [
        part[word]
        for part in parts
        for word in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        if word in part
    ]
    steps = [part["multipleOf"] for part in parts if "multipleOf" in part]
    for line in lines:
        yield from (line, line + 1, line - 1, line + 0.5, line - 0.5)
        for step in steps:
            below = line // step * step
            yield from (below, below + step, below - step)
    for step in steps:
        yield from (step, 2 * step, 3 * step, -step, step / 2, step + 1, 5 * step, 7 * step)
        yield from (step * other for other in steps)
    for one in lines:
        for other in lines:
            if one < other:
                yield (one + other) / 2
                yield (one + other) // 2
    yield from (3, 5, 7, 10, 100, 1.5, -0.5, -2, 1000000)


def _strings(parts: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Strings on both sides of every line."""
    lengths = {
        part[word] + step
        for part in parts
        for word in ("minLength", "maxLength")
        if word in part
        for step in (-1, 0, 1)
    }
    patterns = [part["pattern"] for part in parts if isinstance(part.get("pattern"), str)]
    named = [part["format"] for part in parts if part.get("format") in formats.KNOWN]
    samples = [sample for pattern in patterns for sample in sample_pattern(pattern)]
    samples += [sample for name in named for sample in formats.SAMPLES[name]]
    yield from samples
    if named:
        yield from formats.OUTSIDERS
    for length in sorted(lengths):
        if 0 <= length <= _MAX_LENGTH:
            yield "a" * length
            for sample in samples[:8]:
                yield (sample * (length // max(len(sample), 1) + 1))[:length]
                yield sample + sample[-1:] * (length - len(sample))
    for sample in samples[:12]:
        yield from (sample.upper(), sample.lower(), f"{sample}-", f"-{sample}", f"{sample}1", f"{sample}a", sample[:-1])
    yield from ("abc", "ABC", "123", "x-1", "a b", "é", "-", "a@b.c", "https://example.com/a", "2026-02-06")


def sample_pattern(pattern: str) -> list[str]:
    """Strings that the regular expression probably matches; none where it is no expression of ours."""
    try:
        tree = parser.parse(pattern)
        return list(dict.fromkeys(text for choice in range(6) for text in [_write(tree, choice)] if text is not None))
    except (re.error, RecursionError, OverflowError, KeyError, TypeError, ValueError):
        return []


def _write(tree: Any, choice: int) -> str | None:
    """One string for a parsed expression; `choice` says how to decide where there is a choice."""
    text = ""
    for operator, argument in tree:
        if operator is opcodes.LITERAL:
            text += chr(argument)
        elif operator is opcodes.NOT_LITERAL:
            text += "a" if argument != ord("a") else "b"
        elif operator is opcodes.ANY:
            text += "axz9 "[choice % 5]
        elif operator is opcodes.IN:
            text += _pick(argument, choice)
        elif operator is opcodes.BRANCH:
            branches = argument[1]
            text += _write(branches[choice % len(branches)], choice) or ""
        elif operator in (opcodes.MAX_REPEAT, opcodes.MIN_REPEAT, opcodes.POSSESSIVE_REPEAT):
            least, most, inner = argument
            count = min(least + (choice % 3), most if isinstance(most, int) else least + 2, _MAX_LENGTH)
            text += "".join(_write(inner, choice + turn) or "" for turn in range(count))
        elif operator is opcodes.SUBPATTERN:
            text += _write(argument[-1], choice) or ""
        elif operator is opcodes.CATEGORY:
            text += _category(argument, choice)
    return text


def _pick(members: Sequence[Any], choice: int) -> str:
    """A character of a set."""
    negated = bool(members) and members[0][0] is opcodes.NEGATE
    allowed: list[str] = []
    for operator, argument in members:
        if operator is opcodes.LITERAL:
            allowed.append(chr(argument))
        elif operator is opcodes.RANGE:
            low, high = argument
            allowed += [chr(code) for code in sorted({low, (low + high) // 2, high})]
        elif operator is opcodes.CATEGORY:
            allowed.append(_category(argument, choice))
    if negated:
        outside = [one for one in string.ascii_letters + string.digits + "-_. " if one not in allowed]
        return outside[choice % len(outside)] if outside else ""
    return allowed[choice % len(allowed)] if allowed else ""


def _category(category: Any, choice: int) -> str:
    picks = {
        opcodes.CATEGORY_DIGIT: "0179",
        opcodes.CATEGORY_NOT_DIGIT: "aZ-",
        opcodes.CATEGORY_SPACE: " \t",
        opcodes.CATEGORY_NOT_SPACE: "aZ1",
        opcodes.CATEGORY_WORD: "aZ1_",
        opcodes.CATEGORY_NOT_WORD: "- .",
    }[category]
    return picks[choice % len(picks)]
