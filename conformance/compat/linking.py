"""Schema documents, brought into one space where a reference is `#/$defs/<number>` whatever file it led to.

Two versions stand side by side there, so that a reference whose text stayed while its target changed is seen. What
cannot change a verdict (annotations, identifiers, definitions as such) is left out; what this package does not know
stays where it is and makes the schema around it *opaque*.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

import jsonschema_rs
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from conformance.compat import formats

Schema = Any
"""A JSON Schema as parsed JSON: a boolean or an object."""

IN_PLACE_LISTS: Final = ("allOf", "anyOf", "oneOf")
IN_PLACE: Final = ("$ref", *IN_PLACE_LISTS, "not", "if", "then", "else")
ONE: Final = frozenset(
    [
        "not",
        "if",
        "then",
        "else",
        "items",
        "contains",
        "additionalProperties",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
    ]
)
LIST: Final = frozenset((*IN_PLACE_LISTS, "prefixItems"))
MAP: Final = frozenset(("properties", "patternProperties"))

NUMBER: Final = frozenset(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"])
STRING: Final = frozenset(["minLength", "maxLength", "pattern"])
ARRAY: Final = frozenset(
    ["items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains", "unevaluatedItems"]
)
OBJECT: Final = frozenset(
    [
        "properties",
        "patternProperties",
        "additionalProperties",
        "propertyNames",
        "required",
        "dependentRequired",
        "minProperties",
        "maxProperties",
        "unevaluatedProperties",
    ]
)
ANY: Final = frozenset(("type", "enum", "const", "format", *IN_PLACE))
KEYWORDS: Final = NUMBER | STRING | ARRAY | OBJECT | ANY
"""What is understood; any other keyword makes a schema opaque."""

# Nothing about these decides whether an instance is valid.
_SILENT: Final = frozenset(
    [
        "$id",
        "$anchor",
        "$comment",
        "$defs",
        "definitions",
        "title",
        "description",
        "default",
        "examples",
        "example",
        "deprecated",
        "externalDocs",
    ]
)
_DIALECTS: Final = frozenset(
    ("https://json-schema.org/draft/2020-12/schema", "https://spec.openapis.org/oas/3.1/dialect/base")
)
_BASE: Final = "https://documents.invalid/"


class SchemaUnusable(Exception):
    """A document that cannot be compared: one line that says why."""


class Space:
    """Linked schemas, the table that their references lead into, and validators for any part of them."""

    def __init__(self) -> None:
        self.table: dict[str, Schema] = {}
        self._numbers: dict[int, str] = {}
        self._kept: list[object] = []
        self._transparent: dict[int, bool] = {}
        self._fast: dict[int, Callable[[Any], bool | None]] = {}
        root = {"$defs": self.table}
        self._asserting = Draft202012Validator(root, format_checker=formats.CHECKER)
        self._annotating = Draft202012Validator(root)

    # --- linking ---

    def add(self, schema: Schema, resolver: Any) -> Schema:
        """The schema of a document in this space; raises SchemaUnusable where a reference leads nowhere."""
        self._numbers.clear()  # another document may hold the very same object, and mean other targets by it
        return self._link(schema, resolver)

    def _link(self, schema: Schema, resolver: Any) -> Schema:
        if not isinstance(schema, dict):
            return schema
        if isinstance(schema.get("$id"), str):
            resolver = resolver.in_subresource(Resource.from_contents(schema, default_specification=DRAFT202012))
        linked: dict[str, Any] = {}
        for keyword, value in schema.items():
            if keyword in _SILENT or (keyword == "$schema" and value in _DIALECTS):
                continue
            if keyword == "$ref":
                linked[keyword] = self._reference(value, resolver)
            elif keyword in ONE:
                linked[keyword] = self._link(value, resolver)
            elif keyword in LIST:
                linked[keyword] = [self._link(item, resolver) for item in value]
            elif keyword in MAP:
                linked[keyword] = {name: self._link(item, resolver) for name, item in value.items()}
            elif keyword in KEYWORDS:
                linked[keyword] = value
            else:
                linked[keyword] = self._unknown(value, resolver)
        if "if" not in linked:
            linked.pop("then", None)
            linked.pop("else", None)
        return linked

    def _reference(self, reference: str, resolver: Any) -> str:
        try:
            target = resolver.lookup(reference)
        except (Unresolvable, ValueError):
            raise SchemaUnusable(f"$ref {reference!r} leads nowhere") from None
        self._kept.append(target.contents)
        number = self._numbers.get(id(target.contents)) if isinstance(target.contents, dict) else None
        if number is None:
            number = self._numbers[id(target.contents)] = str(len(self.table))
            self.table[number] = True  # a place, before the target's own references are followed
            self.table[number] = self._link(target.contents, target.resolver)
        return f"#/$defs/{number}"

    def _unknown(self, value: Any, resolver: Any) -> Any:
        """The value of a keyword nobody knows, with what looks like references in it followed."""
        if isinstance(value, dict):
            linked = {key: self._unknown(item, resolver) for key, item in value.items()}
            if isinstance(value.get("$ref"), str):
                try:
                    linked["$ref"] = self._reference(value["$ref"], resolver)
                except SchemaUnusable:
                    linked["$ref"] = value["$ref"]
            return linked
        if isinstance(value, list):
            return [self._unknown(item, resolver) for item in value]
        return value

    def target(self, reference: str) -> Schema:
        """What a linked reference leads to."""
        return self.table[reference.removeprefix("#/$defs/")]

    # --- judging ---

    def validator(self) -> Draft202012Validator:
        """A validator that asserts formats; `evolve(schema=…)` makes it one of any schema of this space."""
        return self._asserting

    def accepts(self, schema: Schema, value: Any) -> bool:
        """Whether the value is valid, formats asserted, as a fast validator has it; good enough for a search."""
        if isinstance(schema, bool):
            return schema
        fast = self._fast.get(id(schema))
        if fast is None:
            self._kept.append(schema)
            try:
                fast = jsonschema_rs.Draft202012Validator(
                    {**schema, "$defs": self.table} if self.table else schema, validate_formats=True
                ).is_valid
            except (ValueError, jsonschema_rs.ReferencingError):  # it has regular expressions of its own
                fast = partial(_is_valid, self._asserting, schema)
            self._fast[id(schema)] = fast
        return fast(value) is True

    def surely_accepts(self, schema: Schema, value: Any) -> bool:
        """Whether the value is valid whether formats assert or annotate."""
        return all(_is_valid(validator, schema, value) is True for validator in (self._asserting, self._annotating))

    def surely_refuses(self, schema: Schema, value: Any) -> bool:
        """Whether the value is invalid whether formats assert or annotate."""
        return all(_is_valid(validator, schema, value) is False for validator in (self._asserting, self._annotating))

    def is_transparent(self, schema: Schema) -> bool:
        """Whether all that decides about the schema, through references too, is understood."""
        if not isinstance(schema, dict):
            return True
        known = self._transparent.get(id(schema))
        if known is None:
            self._kept.append(schema)  # so that its id stays its own
            known = self._transparent[id(schema)] = all(map(_is_understood, self._reachable(schema)))
        return known

    def _reachable(self, schema: Schema) -> Iterator[Schema]:
        """The schema and all that it leads to, each once."""
        seen: set[int] = set()
        waiting = [schema]
        while waiting:
            one = waiting.pop()
            if not isinstance(one, dict) or id(one) in seen:
                continue
            seen.add(id(one))
            yield one
            waiting += subschemas(one)
            if "$ref" in one:
                waiting.append(self.target(one["$ref"]))

    def same(self, one: Any, other: Any) -> bool:
        """Whether two schemas say the same, word by word; references are followed, wherever they lead back to."""
        return self._equal(one, other, {})

    def _equal(self, one: Any, other: Any, assumed: dict[tuple[int, int], bool]) -> bool:
        if one is other:
            return True
        if type(one) is not type(other):
            return False
        if isinstance(one, list):
            return len(one) == len(other) and all(self._equal(*pair, assumed) for pair in zip(one, other, strict=True))
        if not isinstance(one, dict):
            return bool(one == other)
        if one.keys() != other.keys():
            return False
        pair = (id(one), id(other))
        if pair in assumed:
            return assumed[pair]
        assumed[pair] = True
        assumed[pair] = equal = all(self._member_equal(key, one[key], other[key], assumed) for key in one)
        return equal

    def _member_equal(self, key: str, one: Any, other: Any, assumed: dict[tuple[int, int], bool]) -> bool:
        if key == "$ref" and isinstance(one, str) and isinstance(other, str) and one != other:
            inside = all(reference.startswith("#/$defs/") for reference in (one, other))
            numbers = [reference.removeprefix("#/$defs/") for reference in (one, other)]
            if not (inside and all(number in self.table for number in numbers)):
                return False
            return self._equal(self.table[numbers[0]], self.table[numbers[1]], assumed)
        return self._equal(one, other, assumed)


def subschemas(schema: Mapping[str, Any]) -> Iterator[Schema]:
    """The schemas that stand directly in a linked one, in known keywords."""
    for keyword, value in schema.items():
        if keyword in ONE:
            yield value
        elif keyword in LIST:
            yield from value
        elif keyword in MAP:
            yield from value.values()


def _is_understood(schema: dict[str, Any]) -> bool:
    return schema.keys() <= KEYWORDS and schema.get("format", "uuid") in formats.KNOWN


def is_opaque(schema: Schema) -> bool:
    """Whether a keyword that stands directly in the schema is not understood."""
    return isinstance(schema, dict) and not schema.keys() <= KEYWORDS


def _is_valid(validator: Draft202012Validator, schema: Schema, value: Any) -> bool | None:
    """None where the validator itself gives up (endless or dynamic references, numbers beyond floats)."""
    if isinstance(schema, bool):
        return schema
    try:
        return bool(validator.evolve(schema=schema).is_valid(value))
    except (RecursionError, ArithmeticError, re.error, Unresolvable):
        return None


# --- Documents -------------------------------------------------------------------------------------------------------


class Document:
    """One schema document with all that it refers to, offline."""

    def __init__(self, schema: Schema, others: Mapping[str, Any] = MappingProxyType({}), uri: str = _BASE) -> None:
        """`others` are the contents of the documents that it may refer to, by their URIs."""
        judge(schema)
        own = Resource.from_contents(schema, default_specification=DRAFT202012)
        self.schema = schema
        self.uri = own.id() or uri
        registry: Registry[Any] = Registry().with_resources(
            (address, Resource.from_contents(contents, default_specification=DRAFT202012))
            for address, contents in others.items()
        )
        self._registry = registry.with_resource(self.uri, own).crawl()
        self._validator: Draft202012Validator | None = None

    def link(self, space: Space) -> Schema:
        """This document in a space; raises SchemaUnusable."""
        try:
            return space.add(self.schema, self._registry.resolver(self.uri))
        except RecursionError:
            raise SchemaUnusable("is nested too deeply") from None

    def validator(self) -> Draft202012Validator:
        """The document's own validator, which asserts formats."""
        if self._validator is None:
            schema = {"$ref": self.uri}
            self._validator = Draft202012Validator(schema, registry=self._registry, format_checker=formats.CHECKER)
        return self._validator


def judge(schema: Schema) -> None:
    """Raises SchemaUnusable for what is no JSON Schema of draft 2020-12."""
    # a hundred times as fast as jsonschema's own check_schema
    if not isinstance(schema, bool | dict):
        raise SchemaUnusable("is neither an object nor a boolean")
    dialect = schema.get("$schema") if isinstance(schema, dict) else None
    if dialect is not None and not (isinstance(dialect, str) and dialect in _DIALECTS):
        raise SchemaUnusable(f"$schema is {dialect!r}; only draft 2020-12 is compared")
    try:
        jsonschema_rs.meta.validate(schema)
    except jsonschema_rs.ValidationError as error:
        place = "/".join(map(str, error.instance_path))
        raise SchemaUnusable(f"is no JSON Schema: /{place}: {error.message[:200]}") from None
    except (ValueError, SchemaError) as error:
        raise SchemaUnusable(f"is no JSON Schema: {error}") from None


def read_document(path: Path) -> Document:
    """A schema file; its references may lead to files that stand next to it, by their names."""
    schema = read_json(path)
    judge(schema)
    uri = _uri_of(schema, f"{_BASE}{path.name}")
    others: dict[str, Any] = {}
    waiting = [(schema, uri)]
    while waiting:
        contents, base = waiting.pop()
        for reference in references(contents):
            address = urldefrag(urljoin(base, reference)).url
            sibling = path.parent / unquote(urlsplit(address).path).rpartition("/")[2]
            if address not in (uri, *others) and sibling.is_file():
                others[address] = read_json(sibling)
                judge(others[address])
                waiting.append((others[address], address))
    return Document(schema, others, uri)


def _uri_of(schema: Schema, otherwise: str) -> str:
    return str(schema["$id"]) if isinstance(schema, dict) and isinstance(schema.get("$id"), str) else otherwise


def references(value: Any) -> Iterator[str]:
    """Every `$ref` in a JSON value."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for member in value.values():
            yield from references(member)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def read_json(path: Path) -> Any:
    """The JSON value of a file; raises SchemaUnusable in one line."""

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON number")

    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except OSError as error:
        raise SchemaUnusable(f"cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SchemaUnusable(f"is not JSON: {error}") from None
