"""The contracts: what is promised, as data, and the one loader of it.

Clauses (``clauses/*.yaml``), JSON Schemas (``schemas/*.schema.json``), OpenAPI fragments (``openapi/*.yaml``), examples
(``examples/<schema>/{valid,invalid}/*.json``), whole streams (``examples/streams``) and test vectors
(``vectors/*.json``) are readable from any language. This module reads them for Python: `load` for use, refusing every
structural fault; `check` for authors, with the slower checks too; `write_lock` writes down what a version consists of.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import textwrap
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, partial
from math import isfinite
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar, cast

import jsonschema_rs
import yaml
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError, best_match
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

__all__ = [
    "Clause",
    "ContractError",
    "Contracts",
    "Finding",
    "StreamExample",
    "check",
    "load",
    "require_shallow_yaml",
    "write_lock",
]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_BASE_URI: Final = "https://trr-conformance.invalid/contracts"
_SCHEMA_SUFFIX: Final = ".schema.json"
_STREAMS: Final = "streams"
_LOCK: Final = "contracts.lock"
# What a version consists of, folder by folder; examples, streams and prose may grow without a new one.
_LOCKED: Final = (("clauses", ".yaml"), ("openapi", ".yaml"), ("schemas", _SCHEMA_SUFFIX), ("vectors", ".json"))
# Schemas of files that this project itself reads or writes, which no endpoint speaks of.
_OWN_FORMATS: Final = frozenset({"clause-file", "report", "rogues", "stream-examples", "waivers"})

_SEMVER = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
_KEBAB_JSON = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\.json")
_ANNOTATIONS = frozenset({"$schema", "$id", "$comment", "title", "description", "examples"})
# Only formats whose check needs no optional package, so that every installation judges alike.
_FORMATS = FormatChecker(("uuid", "date"))
_JSON_TAGS: Final = frozenset({"map", "seq", "str", "int", "float", "bool", "null"})
_YAML_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MOST_YAML_LEVELS: Final = 5000

_Path = tuple[str | int, ...]
_T = TypeVar("_T")


@dataclass(frozen=True)
class Finding:
    """One thing wrong with a file of the contracts; as text ``file:line: message``, the line number where known."""

    file: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return f"{place}: {self.message}"


class ContractError(Exception):
    """The contracts cannot be used as they are, or have nothing of the name asked for."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(str(finding))
        self.finding = finding


@dataclass(frozen=True)
class Clause:
    """A promise: one sentence that is true or false of a running system.

    `level` is MUST or SHOULD; `riders` are what a MUST clause also asks at level SHOULD. `source` names the places that
    promise it (see ``schemas/clause-file.schema.json``), and `why` says what breaks without it where the plan does not.
    """

    id: str
    level: str
    targets: tuple[str, ...]
    statement: str
    riders: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    why: str | None = None
    operations: tuple[str, ...] = ()
    schemas: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()


@dataclass(frozen=True)
class StreamExample:
    """The body of an answer to streamImport, as it comes over the wire."""

    content: bytes
    images: tuple[str, ...]
    """The addresses of the images that were sent, in order."""
    reason: str
    breaks: tuple[str, ...] = ()
    """The clauses that it breaks, the main one first; none where it conforms."""


@dataclass(frozen=True, eq=False)
class Contracts:
    """One version of the contracts, read and found sound."""

    folder: Path
    version: str
    clauses: Mapping[str, Clause]
    """By id; files in the order of their names, clauses in the order of their file."""
    _validators: Mapping[str, Draft202012Validator] = field(repr=False)
    _documents: Mapping[str, dict[str, Any]] = field(repr=False)

    @property
    def documents(self) -> tuple[str, ...]:
        """The names that `openapi` takes."""
        return tuple(self._documents)

    @property
    def schemas(self) -> tuple[str, ...]:
        """The names that `schema`, `validator` and `examples` take."""
        return tuple(self._validators)

    def schema(self, name: str) -> dict[str, Any]:
        """Return a copy of ``schemas/<name>.schema.json`` as it stands; its references are relative to its ``$id``."""
        return deepcopy(_members(self.validator(name)))

    def validator(self, name: str) -> Draft202012Validator:
        """Return the validator of a schema: offline, and strict about ``uuid`` and ``date`` formats."""
        return self._lookup(self._validators, name, "schemas")

    def openapi(self, name: str = "backend") -> dict[str, Any]:
        """Return a copy of ``openapi/<name>.yaml`` that refers to nothing but itself.

        The schemas that it needs stand under ``components/schemas`` by their names here.
        """
        return deepcopy(self._lookup(self._documents, name, "openapi"))

    def examples(self, name: str, side: Literal["valid", "invalid"] = "valid") -> dict[str, Any]:
        """Return the examples of a schema by file name without ``.json``; an invalid one's name says why."""
        self.validator(name)
        return {path.stem: _read_json(path).data for path in _examples(self.folder, name, side)}

    def streams(self, side: Literal["valid", "invalid"] = "valid") -> dict[str, StreamExample]:
        """Return the examples of whole streams by name, with what ``examples/streams/index.json`` says of each."""
        folder = self.folder / "examples" / _STREAMS
        index = _read_json(folder / "index.json").data
        return {
            name: StreamExample(
                content=_read_bytes(folder / side / f"{name}.txt"),
                images=tuple(entry.get("images", index["images"])),
                reason=entry["reason"],
                breaks=tuple(entry.get("breaks", ())),
            )
            for name, entry in index[side].items()
        }

    def vectors(self, name: str) -> list[dict[str, Any]]:
        """Return the test vectors of ``vectors/<name>.json``, which the schema ``<name>-vectors`` describes."""
        vectors: list[dict[str, Any]] = _read_json(self.folder / "vectors" / f"{name}.json").data
        return vectors

    def select(self, patterns: Iterable[str]) -> list[str]:
        """Return the ids, in order, that match any of the patterns: ids or wildcards such as ``TOG-*``, in any case."""
        wanted = [pattern.strip().upper() for pattern in patterns]
        return [clause for clause in self.clauses if any(fnmatchcase(clause, pattern) for pattern in wanted)]

    def _lookup(self, things: Mapping[str, _T], name: str, where: str) -> _T:
        try:
            return things[name]
        except KeyError:
            message = f"nothing is named {name!r} here; there is {', '.join(things)}"
            raise ContractError(Finding(_display(self.folder / where), message)) from None


def load(folder: Path | None = None) -> Contracts:
    """Read the contracts in `folder`, by default those of this package (read once and kept).

    Raises `ContractError` at the first fault: a file that is missing, not YAML or JSON, or of the wrong shape; a
    VERSION that is no semantic version, or not the one in an ``$id`` or an OpenAPI document; an id or operationId used
    twice; a schema or operation that a clause names and nobody defines; a reference that leads nowhere.
    """
    return _read(folder.resolve()) if folder is not None else _read_default()


def check(folder: Path | None = None) -> list[Finding]:
    """Return all that is wrong with the contracts in `folder`; empty where they can be released.

    Besides what `load` refuses, judges the examples as filed, the vectors, whether each schema is of use, the
    CHANGELOG, the lock, and the OpenAPI documents by the specification's own schema; what follows from another fault is
    not told again. Whether a stream keeps the clauses is not judged here.
    """
    try:
        contracts = load(folder)
    except ContractError as error:
        root = _default_folder() if folder is None else folder.resolve()
        return [*(_check_files(root) or [error.finding]), *_check_sound_part(root)]
    return [
        *_check_changelog(contracts),
        *_check_examples(contracts),
        *_check_streams(contracts),
        *_check_vectors(contracts),
        *_check_use(contracts),
        *_check_openapi(contracts),
        *_check_lock(contracts.folder, contracts.version),
    ]


def write_lock(folder: Path | None = None) -> None:
    """Write ``contracts.lock`` anew: path, ``$id``, version and SHA-256 of each file that a version consists of.

    Raises `ContractError` where a file cannot be read.
    """
    folder = _default_folder() if folder is None else folder.resolve()
    lock = _lock(folder, _read_version(folder / "VERSION"))
    (folder / _LOCK).write_text(json.dumps(lock, indent=2) + "\n", encoding="utf-8")


def _default_folder() -> Path:
    return Path(__file__).resolve().parent


@cache
def _read_default() -> Contracts:
    return _read(_default_folder())


def _read(folder: Path) -> Contracts:
    version = _read_version(folder / "VERSION")
    validators = _read_schemas(folder / "schemas", version)
    documents, operations = _read_documents(folder / "openapi", version, validators)
    clauses = _read_clauses(folder / "clauses", validators, operations)
    return Contracts(folder, version, MappingProxyType(clauses), validators, documents)


# --- Files -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Source:
    """A parsed file, and the line on which each of its values stands."""

    path: Path
    data: Any
    lines: Mapping[_Path, int] = field(default_factory=dict, repr=False)

    def error(self, message: str, at: Iterable[str | int] = ()) -> ContractError:
        return ContractError(self.finding(message, at))

    def finding(self, message: str, at: Iterable[str | int] = ()) -> Finding:
        place = tuple(at)
        lines = self.lines
        if place and not lines:
            # JSON is YAML enough to count its lines, and only a fault is worth the time.
            with suppress(ContractError, yaml.YAMLError, RecursionError, ValueError):
                lines = _YamlReader(self.path, _read_text(self.path)).read().lines
        return Finding(_display(self.path), message, lines.get(place))

    def explain(self, error: ValidationError) -> Finding:
        """Put a jsonschema error into one line: where in the file, and what."""
        problem = _shorten(error.message.partition("\n")[0])
        return self.finding(f"{error.json_path}: {problem}", error.absolute_path)


def _shorten(message: str) -> str:
    return textwrap.shorten(message, 300, placeholder=" …")


def _display(path: Path) -> str:
    """Show a path as one would type it: relative where it lies under the working folder."""
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def _list(folder: Path, suffix: str) -> list[Path]:
    paths = sorted(path for path in folder.glob(f"*{suffix}") if not path.name.startswith("."))
    if not paths:
        raise ContractError(Finding(_display(folder), f"has no {suffix} file"))
    return paths


def _list_or_none(folder: Path, suffix: str) -> list[Path]:
    try:
        return _list(folder, suffix)
    except ContractError:
        return []


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ContractError(Finding(_display(path), f"cannot be read: {error.strerror}")) from None


def _read_text(path: Path) -> str:
    try:
        return _read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise ContractError(Finding(_display(path), f"is not UTF-8: {error.reason} at byte {error.start}")) from None


def _read_version(path: Path) -> str:
    version = _read_text(path).strip()
    if not _SEMVER.fullmatch(version):
        raise ContractError(Finding(_display(path), f"{version[:40]!r} is not a semantic version such as 1.0.0"))
    return version


def _read_json(path: Path) -> _Source:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ContractError(Finding(_display(path), f"key {twice!r} appears twice in one object"))
        return members

    def refuse(constant: str) -> Any:
        raise ContractError(Finding(_display(path), f"is not JSON: {constant} is no JSON number"))

    text = _read_text(path)
    try:
        return _Source(path, json.loads(text, object_pairs_hook=unique, parse_constant=refuse))
    except json.JSONDecodeError as error:
        raise ContractError(Finding(_display(path), f"is not JSON: {error.msg}", error.lineno)) from None
    except (RecursionError, ValueError) as error:
        raise ContractError(Finding(_display(path), f"is not usable JSON: {error}")) from None


def _read_yaml(path: Path) -> _Source:
    text = _read_text(path)
    try:
        return _YamlReader(path, text).read()
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        raise ContractError(Finding(_display(path), f"is not YAML: {error.problem}", line)) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ContractError(Finding(_display(path), f"is not usable YAML: {_shorten(str(error))}")) from None


def require_shallow_yaml(text: str) -> None:
    """Raise `yaml.YAMLError` for YAML so deep that libyaml's loader, which recurses without bound, may crash."""
    # each level of a block takes a column (two may share one), each level of a flow a bracket
    columns = max(map(len, text.splitlines()), default=0)
    if 2 * columns + text.count("[") + text.count("{") <= _MOST_YAML_LEVELS:
        return
    depth = 0
    for event in yaml.parse(text, _YAML_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MOST_YAML_LEVELS:
            raise yaml.YAMLError("is nested too deeply")


class _YamlReader:
    """Reads the YAML that is JSON in other clothes: unique string keys, JSON's scalars, no aliases; notes the lines."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        self.text = text
        self.loader: Any = _YAML_LOADER(text)
        self.lines: dict[_Path, int] = {}
        self.seen: set[int] = set()

    def read(self) -> _Source:
        try:
            require_shallow_yaml(self.text)
            node = self.loader.get_single_node()
            if node is None:
                raise ContractError(Finding(_display(self.path), "is empty"))
            return _Source(self.path, self._value(node, ()), self.lines)
        finally:
            self.loader.dispose()

    def _value(self, node: Any, at: _Path) -> Any:
        self.lines.setdefault(at, node.start_mark.line + 1)
        if id(node) in self.seen:
            raise self._error(node, "aliases are not used here: readers expand them differently")
        self.seen.add(id(node))
        tag = node.tag.removeprefix("tag:yaml.org,2002:")
        if tag not in _JSON_TAGS:
            raise self._error(node, f"YAML's {tag} is not a type of JSON: quote the value")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, at)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*at, index)) for index, item in enumerate(node.value)]
        scalar = self.loader.construct_object(node)
        if isinstance(scalar, float) and not isfinite(scalar):
            raise self._error(node, f"{node.value} is no JSON number")
        return scalar

    def _mapping(self, node: Any, at: _Path) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag != "tag:yaml.org,2002:str":
                raise self._error(key_node, f"key {key_node.value!r} is not a string: quote it")
            key: str = key_node.value
            if key in mapping:
                raise self._error(key_node, f"key {key!r} appears twice in one mapping")
            self.lines[*at, key] = key_node.start_mark.line + 1
            mapping[key] = self._value(value_node, (*at, key))
        return mapping

    def _error(self, node: Any, message: str) -> ContractError:
        return ContractError(Finding(_display(self.path), message, node.start_mark.line + 1))


# --- Schemas ---------------------------------------------------------------------------------------------------------


def _read_schemas(folder: Path, version: str) -> dict[str, Draft202012Validator]:
    sources = {path.name.removesuffix(_SCHEMA_SUFFIX): _read_json(path) for path in _list(folder, _SCHEMA_SUFFIX)}
    for source in sources.values():
        _judge_schema(source, f"{_BASE_URI}/{version}/schemas/{source.path.name}")
    registry = _registry(sources.values())
    for fault in _dead_references(sources.values(), registry):
        raise fault
    return {
        name: Draft202012Validator(source.data, registry=registry, format_checker=_FORMATS)
        for name, source in sources.items()
    }


def _registry(sources: Iterable[_Source]) -> Registry[Any]:
    resources = [(source.data["$id"], DRAFT202012.create_resource(source.data)) for source in sources]
    registry: Registry[Any] = Registry()
    return registry.with_resources(resources).crawl()


def _dead_references(
    sources: Iterable[_Source], registry: Registry[Any], unusable: Container[str] = ()
) -> Iterator[ContractError]:
    """What leads nowhere; what leads to an `unusable` schema is not told."""
    for source in sources:
        resolver = registry.resolver(source.data["$id"])
        for reference in sorted({schema["$ref"] for schema in _subschemas(source.data) if "$ref" in schema}):
            if _file_of(reference) in unusable:
                continue
            try:
                resolver.lookup(reference)
            except (Unresolvable, ValueError):
                at = next((at for holder, at in _references(source.data) if holder["$ref"] == reference), ())
                yield source.error(f"$ref {reference!r} leads nowhere", at)


def _file_of(reference: str) -> str:
    """The name of the schema to which a reference leads; empty where it stays in its file."""
    return reference.partition("#")[0].rpartition("/")[2].removesuffix(_SCHEMA_SUFFIX)


def _judge_schema(source: _Source, expected_id: str) -> None:
    schema = source.data
    if not isinstance(schema, dict):
        raise source.error("is not a JSON object")
    for keyword, expected in (("$schema", _DIALECT), ("$id", expected_id)):
        if schema.get(keyword) != expected:
            raise source.error(f"{keyword} is {schema.get(keyword)!r}, not {expected!r}", (keyword,))
    try:
        # A hundred times as fast as jsonschema's own check_schema, and every worker of a run loads the contracts.
        jsonschema_rs.meta.validate(schema)
    except jsonschema_rs.ValidationError as error:
        place = "/".join(map(str, error.instance_path))
        raise source.error(f"is not a JSON Schema: /{place}: {_shorten(error.message)}", error.instance_path) from None
    for subschema in _subschemas(schema):
        for pattern in (subschema.get("pattern", ""), *subschema.get("patternProperties", ())):
            try:
                re.compile(pattern)
            except re.error as error:
                raise source.error(f"pattern {pattern!r} is no regular expression: {error}") from None


def _members(validator: Draft202012Validator) -> dict[str, Any]:
    """Return the validator's own schema, which `_judge_schema` saw to be an object."""
    return cast("dict[str, Any]", validator.schema)


def _subschemas(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield the schema and all that stand in it, boolean schemas aside, in no certain order."""
    if isinstance(schema, dict):
        yield schema
        for subschema in DRAFT202012.subresources_of(schema):
            yield from _subschemas(subschema)


# --- OpenAPI ---------------------------------------------------------------------------------------------------------


_METHOD: Final = "^(get|put|post|delete|options|head|patch|trace)$"
# As much of OpenAPI as this module relies on; `check` judges the rest.
_OPENAPI_SHAPE: Final = Draft202012Validator(
    {
        "type": "object",
        "properties": {
            "openapi": {"type": "string", "pattern": r"^3\.1\."},
            "info": {"type": "object", "required": ["version"]},
            "paths": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "patternProperties": {
                        _METHOD: {
                            "type": "object",
                            "properties": {"operationId": {"type": "string"}},
                            "required": ["operationId"],
                        }
                    },
                },
            },
            # Schemas have files of their own, so that a schema has one place and one $id.
            "components": {"type": "object", "properties": {"schemas": {"type": "object", "maxProperties": 0}}},
        },
        "required": ["openapi", "info", "paths"],
    }
)


def _read_documents(
    folder: Path, version: str, validators: Mapping[str, Draft202012Validator]
) -> tuple[dict[str, dict[str, Any]], frozenset[str]]:
    """Return the self-contained documents by name, and the operationIds of them all."""
    documents: dict[str, dict[str, Any]] = {}
    operations: dict[str, str] = {}
    for path in _list(folder, ".yaml"):
        source = _read_yaml(path)
        for operation, at in _operations(source, version):
            if operation in operations:
                raise source.error(f"operationId {operation} is used in {operations[operation]} already", at)
            operations[operation] = path.name
        documents[path.stem] = _bundle(source, {name: _members(validator) for name, validator in validators.items()})
    return documents, frozenset(operations)


def _operations(source: _Source, version: str) -> Iterator[tuple[str, _Path]]:
    """Yield the operationIds with their places, once the document's outer shape is known to be sound."""
    error = best_match(_OPENAPI_SHAPE.iter_errors(source.data))
    if error is not None:
        raise ContractError(source.explain(error))
    if source.data["info"]["version"] != version:
        raise source.error(f"info.version is not the contracts' version {version}", ("info", "version"))
    for path, item in source.data["paths"].items():
        for method in item:
            if re.fullmatch(_METHOD, method):
                yield item[method]["operationId"], ("paths", path, method, "operationId")


def _bundle(source: _Source, schemas: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a document with every schema file that it refers to, directly or not, moved into its components."""
    document: dict[str, Any] = deepcopy(source.data)
    bundled: dict[str, Any] = {}

    def component(name: str, pointer: str) -> str:
        if name not in bundled:
            bundled[name] = schema = {k: v for k, v in deepcopy(schemas[name]).items() if k not in ("$schema", "$id")}
            for subschema in _subschemas(schema):
                if "$ref" in subschema:
                    file, _, inner = subschema["$ref"].partition("#")
                    subschema["$ref"] = component(file.rpartition("/")[2].removesuffix(_SCHEMA_SUFFIX) or name, inner)
        return f"#/components/schemas/{name}{pointer}"

    for holder, at in _references(document):
        file, _, pointer = holder["$ref"].partition("#")
        if file:
            name = file.removeprefix("../schemas/").removesuffix(_SCHEMA_SUFFIX)
            if file != f"../schemas/{name}{_SCHEMA_SUFFIX}" or name not in schemas:
                raise source.error(f"$ref {holder['$ref']!r} leads to no schema of the contracts", at)
            holder["$ref"] = component(name, pointer)
    if bundled:
        document.setdefault("components", {})["schemas"] = dict(sorted(bundled.items()))

    resolver = Registry().with_resource("", Resource.opaque(document)).resolver()
    for holder, at in _references(document):
        try:
            resolver.lookup(holder["$ref"])
        except (Unresolvable, ValueError):
            raise source.error(f"$ref {holder['$ref']!r} leads nowhere", at) from None
    return document


def _references(value: Any, at: _Path = ()) -> Iterator[tuple[dict[str, Any], _Path]]:
    """Yield every object of an OpenAPI document that holds a reference, and the place of that reference."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value, (*at, "$ref")
        for key, member in value.items():
            yield from _references(member, (*at, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _references(item, (*at, index))


# --- Clauses ---------------------------------------------------------------------------------------------------------


def _read_clauses(
    folder: Path, validators: Mapping[str, Draft202012Validator], operations: frozenset[str]
) -> dict[str, Clause]:
    shape = validators.get("clause-file")
    if shape is None:
        raise ContractError(Finding(_display(folder.parent / "schemas"), f"has no clause-file{_SCHEMA_SUFFIX}"))
    clauses: dict[str, Clause] = {}
    files: dict[str, str] = {}
    for path in _list(folder, ".yaml"):
        source = _read_yaml(path)
        error = best_match(shape.iter_errors(source.data))
        if error is not None:
            raise ContractError(source.explain(error))
        for index, record in enumerate(source.data):
            clause = _clause(record)
            for fault in _clause_faults(source, index, clause, files, validators, operations):
                raise fault
            clauses[clause.id], files[clause.id] = clause, path.name
    return clauses


def _clause_faults(
    source: _Source,
    index: int,
    clause: Clause,
    files: Mapping[str, str],
    schemas: Container[str],
    operations: Container[str],
) -> Iterator[ContractError]:
    """What is wrong with one clause beside others; `files` says where those are defined."""
    if clause.id in files:
        yield source.error(f"clause {clause.id} is defined in {files[clause.id]} already", (index, "id"))
    for key, names, known in (("schemas", clause.schemas, schemas), ("operations", clause.operations, operations)):
        for name in (name for name in names if name not in known):
            yield source.error(f"clause {clause.id} names {name!r}, which is not among the {key}", (index, key))


def _clause(record: Mapping[str, Any]) -> Clause:
    members: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in record.items()}
    return Clause(**members)


# --- Slower checks ---------------------------------------------------------------------------------------------------


def _check_files(folder: Path) -> list[Finding]:
    """All structural faults, of which `load` raises the first; each file is judged as far as the others permit."""
    findings: list[Finding] = []

    def attempt(judge: Callable[[], _T]) -> _T | None:
        try:
            return judge()
        except ContractError as refusal:
            findings.append(refusal.finding)
            return None

    version = attempt(lambda: _read_version(folder / "VERSION"))
    if version is None:
        return findings
    paths = {path.name.removesuffix(_SCHEMA_SUFFIX): path for path in _list_or_none(folder / "schemas", _SCHEMA_SUFFIX)}
    sources = {name: attempt(partial(_read_schema, path, version)) for name, path in paths.items()}
    schemas = {name: source for name, source in sources.items() if source is not None}
    unusable = paths.keys() - schemas.keys()  # what leads to a broken file is not told again
    dead = [fault.finding for fault in _dead_references(schemas.values(), _registry(schemas.values()), unusable)]
    findings += dead
    whole = None if unusable or dead else schemas
    operations: dict[str, str] = {}
    all_operations = True
    for path in _list_or_none(folder / "openapi", ".yaml"):
        source = attempt(partial(_note_operations, path, version, operations))
        all_operations = all_operations and source is not None
        if source is not None:
            attempt(partial(_check_document, source, whole, paths))
    shape = schemas.get("clause-file")
    files: dict[str, str] = {}
    for path in _list_or_none(folder / "clauses", ".yaml"):
        source = attempt(partial(_read_yaml, path))
        if source is None or shape is None:
            continue
        validator = Draft202012Validator(shape.data, registry=_registry(schemas.values()))
        errors = list(validator.iter_errors(source.data))
        findings += [source.explain(error) for error in errors]
        for index, record in enumerate(source.data if not errors else ()):
            clause = _clause(record)
            known = operations if all_operations else clause.operations
            faults = _clause_faults(source, index, clause, files, paths, known)
            findings += [fault.finding for fault in faults]
            files.setdefault(clause.id, path.name)
    return findings


def _check_sound_part(folder: Path) -> Iterator[Finding]:
    """What else is wrong with contracts that `load` refuses, as far as can be told without what is broken."""
    try:
        version = _read_version(folder / "VERSION")
    except ContractError:
        return
    schemas = _list_or_none(folder / "schemas", _SCHEMA_SUFFIX)
    validators = _sound_schemas(schemas, version)
    unusable = {path.name.removesuffix(_SCHEMA_SUFFIX) for path in schemas} - validators.keys()
    documents: dict[str, dict[str, Any]] = {}
    for path in (broken := _list_or_none(folder / "openapi", ".yaml")):
        with suppress(ContractError):
            source = _read_yaml(path)
            list(_operations(source, version))
            documents[path.stem] = _bundle(source, {name: _members(one) for name, one in validators.items()})
    broken = [path for path in broken if path.stem not in documents]
    clauses: dict[str, Clause] = {}
    for path in _list_or_none(folder / "clauses", ".yaml"):
        try:
            records = _read_yaml(path).data
        except ContractError:
            records = None
        if "clause-file" in validators and validators["clause-file"].is_valid(records):
            clauses |= {clause.id: clause for clause in map(_clause, records)}
        else:
            broken.append(path)
    contracts = Contracts(folder, version, clauses, validators, documents)
    yield from _check_changelog(contracts)
    yield from _check_examples(contracts, unusable)
    yield from _check_vectors(contracts, unusable)
    if not broken and not unusable:
        yield from _check_streams(contracts)
        yield from _check_use(contracts)
    yield from _check_openapi(contracts)
    yield from _check_lock(folder, version)


def _sound_schemas(paths: Iterable[Path], version: str) -> dict[str, Draft202012Validator]:
    """The validators of the schemas that are whole and lead to none that is not."""
    sources: dict[str, _Source] = {}
    for path in paths:
        with suppress(ContractError):
            sources[path.name.removesuffix(_SCHEMA_SUFFIX)] = _read_schema(path, version)
    while True:
        registry = _registry(sources.values())
        dead = {name for name, source in sources.items() if any(True for _ in _dead_references([source], registry))}
        if not dead:
            break
        sources = {name: source for name, source in sources.items() if name not in dead}
    return {
        name: Draft202012Validator(source.data, registry=registry, format_checker=_FORMATS)
        for name, source in sources.items()
    }


def _read_schema(path: Path, version: str) -> _Source:
    source = _read_json(path)
    _judge_schema(source, f"{_BASE_URI}/{version}/schemas/{path.name}")
    return source


def _note_operations(path: Path, version: str, operations: dict[str, str]) -> _Source:
    """Read an OpenAPI document, and note in which file each of its operationIds stands."""
    source = _read_yaml(path)
    for operation, at in _operations(source, version):
        if operation in operations:
            raise source.error(f"operationId {operation} is used in {operations[operation]} already", at)
        operations[operation] = path.name
    return source


def _check_document(source: _Source, schemas: Mapping[str, _Source] | None, names: Container[str]) -> None:
    """Judge an OpenAPI document's references; where not all `schemas` are sound, only whether there are such files."""
    if schemas is not None:
        _bundle(source, {name: schema.data for name, schema in schemas.items()})
        return
    for holder, at in _references(source.data):
        if _file_of(holder["$ref"]) not in names and not holder["$ref"].startswith("#"):
            raise source.error(f"$ref {holder['$ref']!r} leads to no schema of the contracts", at)


def _check_changelog(contracts: Contracts) -> Iterator[Finding]:
    path = contracts.folder / "CHANGELOG.md"
    try:
        text = _read_text(path)
    except ContractError as refusal:
        yield refusal.finding
        return
    if not re.search(rf"^## \[?{re.escape(contracts.version)}\]?(\s|$)", text, re.MULTILINE):
        yield Finding(_display(path), f"has no section for version {contracts.version}")


def _check_examples(contracts: Contracts, unusable: Container[str] = ()) -> Iterator[Finding]:
    """The examples as filed; those of `unusable` schemas cannot be judged."""
    folder = contracts.folder / "examples"
    for path in sorted(folder.rglob("*")):
        first = path.relative_to(folder).parts[0]
        if path.is_file() and not path.name.startswith(".") and first != _STREAMS and first not in unusable:
            yield from _check_example(contracts, path)
    for name in contracts.schemas:
        if not _examples(contracts.folder, name, "valid"):
            yield Finding(_display(folder / name / "valid"), "has no example")
        # A schema of annotations alone refuses nothing, so that nothing can be filed as invalid.
        if contracts.schema(name).keys() - _ANNOTATIONS and not _examples(contracts.folder, name, "invalid"):
            yield Finding(_display(folder / name / "invalid"), "has no example")


def _check_example(contracts: Contracts, path: Path) -> Iterator[Finding]:
    where = path.relative_to(contracts.folder / "examples").parts
    if len(where) != 3 or where[0] not in contracts.schemas or where[1] not in ("valid", "invalid"):
        yield Finding(_display(path), "is not filed as examples/<schema>/valid/… or examples/<schema>/invalid/…")
        return
    if not _KEBAB_JSON.fullmatch(path.name):
        yield Finding(_display(path), "is not named in kebab-case with .json")
        return
    try:
        source = _read_json(path)
    except ContractError as refusal:
        yield refusal.finding
        return
    error = best_match(contracts.validator(where[0]).iter_errors(source.data))
    if where[1] == "valid" and error is not None:
        yield source.explain(error)
    elif where[1] == "invalid" and error is None:
        yield source.finding(f"is filed as invalid, but {where[0]} takes it")


def _examples(folder: Path, name: str, side: str) -> list[Path]:
    return sorted((folder / "examples" / name / side).glob("*.json"))


def _check_streams(contracts: Contracts) -> Iterator[Finding]:
    folder = contracts.folder / "examples" / _STREAMS
    try:
        index, validator = _read_json(folder / "index.json"), contracts.validator("stream-examples")
    except ContractError as refusal:
        yield refusal.finding
        return
    error = best_match(validator.iter_errors(index.data))
    if error is not None:
        yield index.explain(error)
        return
    named = {folder / side / f"{name}.txt" for side in ("valid", "invalid") for name in index.data[side]}
    filed = {path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")} - {index.path}
    for path in sorted(named - filed):
        yield index.finding(f"names {path.relative_to(folder)}, and there is no such file")
    for path in sorted(filed - named):
        yield Finding(_display(path), "is not named in index.json")
    for name, entry in index.data["invalid"].items():
        for clause in (clause for clause in entry["breaks"] if clause not in contracts.clauses):
            yield index.finding(f"{name} breaks {clause}, which is no clause")


def _check_vectors(contracts: Contracts, unusable: Container[str] = ()) -> Iterator[Finding]:
    for path in sorted((contracts.folder / "vectors").glob("*")):
        name = f"{path.stem}-vectors"
        if name in unusable:
            continue
        if not _KEBAB_JSON.fullmatch(path.name) or name not in contracts.schemas:
            yield Finding(_display(path), f"is described by no schema {name}")
            continue
        try:
            source = _read_json(path)
        except ContractError as refusal:
            yield refusal.finding
            continue
        error = best_match(contracts.validator(name).iter_errors(source.data))
        if error is not None:
            yield source.explain(error)
            continue
        names = [vector["name"] for vector in source.data]
        for twice in sorted({name for name in names if names.count(name) > 1}):
            yield source.finding(f"two vectors are named {twice}")


def _check_use(contracts: Contracts) -> Iterator[Finding]:
    """Every schema is reached from an endpoint or event, from a clause, from vectors, or is a format of our own."""
    reached = set(_OWN_FORMATS)
    for document in contracts._documents.values():
        reached |= document.get("components", {}).get("schemas", {}).keys()
    waiting = [name for clause in contracts.clauses.values() for name in clause.schemas]
    waiting += [f"{path.stem}-vectors" for path in (contracts.folder / "vectors").glob("*.json")]
    while waiting:
        name = waiting.pop()
        if name not in reached and name in contracts.schemas:
            reached.add(name)
            for schema in _subschemas(contracts.schema(name)):
                waiting.append(_file_of(schema.get("$ref", "")))
    for name in contracts.schemas:
        if name not in reached:
            path = contracts.folder / "schemas" / f"{name}{_SCHEMA_SUFFIX}"
            yield Finding(_display(path), "no endpoint, event, clause or vector leads here", 1)


def _lock(folder: Path, version: str) -> dict[str, Any]:
    return {"version": version, "files": [_lock_entry(folder, path, version) for path in _locked(folder)]}


def _locked(folder: Path) -> list[Path]:
    return [path for part, suffix in _LOCKED for path in sorted((folder / part).glob(f"*{suffix}"))]


def _lock_entry(folder: Path, path: Path, version: str) -> dict[str, str]:
    entry = {"path": path.relative_to(folder).as_posix(), "version": version}
    if path.name.endswith(_SCHEMA_SUFFIX):
        source = _read_json(path)
        if not isinstance(source.data, dict) or "$id" not in source.data:
            raise source.error("has no $id")
        entry["$id"] = str(source.data["$id"])
    content = _read_bytes(path).replace(b"\r\n", b"\n")  # as git may check it out
    return {**entry, "sha256": hashlib.sha256(content).hexdigest()}


def _check_lock(folder: Path, version: str) -> Iterator[Finding]:
    path = folder / _LOCK
    try:
        locked = _read_json(path)
    except ContractError as refusal:
        yield refusal.finding
        return
    try:
        before = {entry["path"]: entry for entry in locked.data["files"]}
    except (KeyError, TypeError):
        yield locked.finding("is no lock: write it with `contracts check --write-lock`")
        return
    after: dict[str, dict[str, str]] = {}
    unreadable: set[str] = set()
    for file in _locked(folder):
        try:
            entry = _lock_entry(folder, file, version)
            after[entry["path"]] = entry
        except ContractError:
            unreadable.add(file.relative_to(folder).as_posix())
    order = [entry["path"] for entry in locked.data["files"]]
    for name in sorted({*before, *after} - unreadable):
        if before.get(name) != after.get(name):
            what = "is not in it" if name not in before else "is gone" if name not in after else "has changed"
            at = ("files", order.index(name)) if name in before else ()
            yield locked.finding(f"{name} {what}: see to the version, then `contracts check --write-lock`", at)
    if locked.data.get("version") != version:
        yield locked.finding(f"is of version {locked.data.get('version')!r}, not {version}", ("version",))


def _check_openapi(contracts: Contracts) -> Iterator[Finding]:
    # Slow to import, and of use to authors only.
    from openapi_spec_validator import OpenAPIV31SpecValidator

    for name, document in contracts._documents.items():
        path = contracts.folder / "openapi" / f"{name}.yaml"
        source = _read_yaml(path)
        for error in OpenAPIV31SpecValidator(document).iter_errors():
            yield source.explain(error)
