"""Two OpenAPI documents: which operations, parameters, media types, statuses and bodies changed, and whom it breaks.

`diff` compares two versions of the contract; `drift` a backend's own document with the contract that it has to keep.
OpenAPI 3.0 and 3.1 are read; a 3.0 schema is first written as one of JSON Schema 2020-12.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

from conformance.compat import rules
from conformance.compat.linking import KEYWORDS, Document, Schema, SchemaUnusable, judge
from conformance.compat.rules import Direction
from conformance.compat.schemas import Change, Verdict, compare
from conformance.compat.witness import MISSING

METHODS: Final = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
EVENT_STREAM: Final = "text/event-stream"
ITEM_SCHEMAS: Final = ("itemSchema", "x-itemSchema")
_URI: Final = "https://openapi.invalid/document"
# Said by a document about its own schemas; nothing that a payload could break.
_DECORATIONS: Final = frozenset({"discriminator", "xml", "readOnly", "writeOnly"})
# OAS-01 speaks of paths, methods, required fields, types and statuses; what is finer is told, and fails nobody.
_FINER: Final = frozenset({*map(rules.kebab, rules.BOUNDS), "multiple-of", "pattern", "format", "unique-items"})
# RFC 9110 fields that OpenAPI describes elsewhere.
_OWN_HEADERS: Final = frozenset({"accept", "content-type", "authorization"})


class NotOpenAPI(Exception):
    """A document that cannot be read as OpenAPI 3: one line that says why."""


@dataclass(frozen=True)
class Finding:
    """A change, and where in the document it stands."""

    change: Change
    operation: str
    """`METHOD /path`."""
    operation_id: str | None
    where: str
    """The part of the operation: `query limit`, `request application/json`, `200 application/json`."""
    schema: str | None = None
    """The name of the schema that the body refers to."""
    consumers: tuple[str, ...] = ()
    clauses: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """What stays as long as the same thing is found: twelve hexadecimal digits."""
        parts = (
            self.change.rule,
            self.operation_id or self.operation,
            self.where,
            self.change.path,
            self.change.message,
        )
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]

    def as_json(self) -> dict[str, Any]:
        """The form of `--json`."""
        return {
            **self.change.as_json(),
            "operation": self.operation,
            "operation_id": self.operation_id,
            "where": self.where,
            "consumers": list(self.consumers),
            "clauses": list(self.clauses),
            "fingerprint": self.fingerprint,
        }


# --- Documents -------------------------------------------------------------------------------------------------------

Pointer = tuple[str, ...]


@dataclass(frozen=True)
class Content:
    """The body of one media type: its schema, and that of each item where it is a stream; None where not described."""

    schema: Pointer | None
    items: Pointer | None = None


@dataclass(frozen=True)
class Parameter:
    """A parameter that is no part of the path's shape."""

    name: str
    place: str
    required: bool
    schema: Pointer | None


@dataclass(frozen=True)
class Body:
    """A request's body."""

    required: bool
    content: Mapping[str, Content]


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    operation_id: str | None
    parameters: Mapping[tuple[str, str], Parameter]
    """By place and name; those of the path by their position."""
    body: Body | None
    responses: Mapping[str, Mapping[str, Content]]
    """Bodies by status and media type."""
    headers: frozenset[str]
    """The headers that its security schemes send, in lower case."""

    @property
    def title(self) -> str:
        """How people call it."""
        return f"{self.method.upper()} {self.path}"


class OpenAPI:
    """A document, read as far as it matters here."""

    def __init__(self, data: Any, *, published: bool = False) -> None:
        """`published`: a server's own document, whose decorations and defaults are read as its framework means them.

        Raises NotOpenAPI.
        """
        if not isinstance(data, dict) or not isinstance(data.get("openapi"), str):
            raise NotOpenAPI("there is no member openapi with a version")
        if not re.match(r"3\.[012](\.|$)", data["openapi"]):
            raise NotOpenAPI(f"openapi is {data['openapi'][:20]!r}; 3.0 and 3.1 are read")
        if not isinstance(data.get("paths", {}), dict):
            raise NotOpenAPI("paths is no object")
        try:
            self._data: dict[str, Any] = json.loads(json.dumps(data))
            _rewrite(self._data, old=data["openapi"].startswith("3.0"), published=published)
            self._answers = deepcopy(self._data) if published else self._data
            if published:
                _fill_in_defaults(self._answers)
            self.prefixes = tuple(_prefixes(self._data))
            self.operations = tuple(self._operations())
        except (TypeError, AttributeError, KeyError, ValueError, RecursionError) as error:
            raise NotOpenAPI(f"is not laid out as OpenAPI: {type(error).__name__} {error}"[:200]) from None

    def document(self, pointer: Pointer | None, direction: Direction) -> Document:
        """The schema at a pointer; raises SchemaUnusable."""
        if pointer is None:
            return Document(True)
        data = self._data if direction == "request" else self._answers
        judge(_at(data, pointer))
        for schema in data.get("components", {}).get("schemas", {}).values():
            judge(schema)
        return Document({"$ref": f"{_URI}#{_text(pointer)}"}, {_URI: data})

    def schema(self, pointer: Pointer | None) -> Schema:
        """The schema as it stands."""
        return True if pointer is None else _at(self._data, pointer)

    def tells_of_data(self, items: Pointer | None) -> bool:
        """Whether the items of a stream are described as an event's data; OpenAPI 3.2 describes the event around it."""
        if items is None:
            return False
        schema = self.schema(items)
        return not (isinstance(schema, dict) and "data" in schema.get("properties", {}))

    def name(self, pointer: Pointer | None) -> str | None:
        """What the component is called that a schema refers to."""
        schema = self.schema(pointer)
        reference = schema.get("$ref", "") if isinstance(schema, dict) else ""
        return reference.rpartition("/")[2] or None

    # --- reading ---

    def _operations(self) -> Iterator[Operation]:
        for path in self._data.get("paths", {}):
            item, at = self._resolve(("paths", path))
            for method in METHODS:
                if method in item:
                    yield self._operation(path, method, item, at)

    def _operation(self, path: str, method: str, item: Mapping[str, Any], at: Pointer) -> Operation:
        record = item[method]
        parameters = [self._parameter((*at, "parameters", str(n))) for n in range(len(item.get("parameters", ())))]
        parameters += [
            self._parameter((*at, method, "parameters", str(n))) for n in range(len(record.get("parameters", ())))
        ]
        order = re.findall(r"\{([^{}]*)\}", path)
        named = {}
        for one in parameters:
            if one.place == "path":
                named["path", str(order.index(one.name)) if one.name in order else one.name] = one
            elif one.place == "header":
                named["header", one.name.lower()] = one
            else:
                named[one.place, one.name] = one
        body = None
        if "requestBody" in record:
            found, where = self._resolve((*at, method, "requestBody"))
            body = Body(bool(found.get("required", False)), self._contents(found, where))
        responses = {}
        for status in record.get("responses", {}):
            found, where = self._resolve((*at, method, "responses", status))
            responses[str(status)] = self._contents(found, where)
        schemes = {name for need in record.get("security", self._data.get("security", ())) for name in need}
        return Operation(
            method, path, record.get("operationId"), named, body, responses, frozenset(self._headers(schemes))
        )

    def _headers(self, schemes: set[str]) -> Iterator[str]:
        declared = self._data.get("components", {}).get("securitySchemes", {})
        for name in schemes & declared.keys():
            scheme, _ = self._resolve(("components", "securitySchemes", name))
            if scheme.get("type") == "apiKey" and scheme.get("in") == "header":
                yield str(scheme["name"]).lower()

    def _parameter(self, at: Pointer) -> Parameter:
        record, where = self._resolve(at)
        schema = (*where, "schema") if "schema" in record else None
        return Parameter(record["name"], record["in"], bool(record.get("required", False)), schema)

    def _contents(self, record: Mapping[str, Any], at: Pointer) -> dict[str, Content]:
        contents = {}
        for media_type, media in record.get("content", {}).items():
            place = (*at, "content", media_type)
            items = next(((*place, word) for word in ITEM_SCHEMAS if word in media), None)
            contents[essence(media_type)] = Content((*place, "schema") if "schema" in media else None, items)
        return contents

    def _resolve(self, at: Pointer) -> tuple[Mapping[str, Any], Pointer]:
        """The object at a pointer, or the one that it refers to."""
        for _ in range(20):
            found = _at(self._data, at)
            reference = found.get("$ref")
            if reference is None:
                return found, at
            if not reference.startswith("#/"):
                raise ValueError(f"$ref {reference!r} leads out of the document")
            at = tuple(part.replace("~1", "/").replace("~0", "~") for part in reference[2:].split("/"))
        raise ValueError(f"$ref at {_text(at)} leads nowhere")


def essence(media_type: str) -> str:
    """A media type without parameters, in lower case."""
    return media_type.partition(";")[0].strip().lower()


def _at(data: Any, pointer: Pointer) -> Any:
    for part in pointer:
        data = data[int(part)] if isinstance(data, list) else data[part]
    return data


def _text(pointer: Pointer) -> str:
    escaped = (part.replace("~", "~0").replace("/", "~1").replace("%", "%25") for part in pointer)
    return "".join("/" + part.replace("{", "%7B").replace("}", "%7D") for part in escaped)


def _prefixes(data: Mapping[str, Any]) -> Iterator[str]:
    """Under which paths the servers of the document hang it."""
    for server in data.get("servers", ()):
        url = server["url"]
        for name, variable in server.get("variables", {}).items():
            url = url.replace(f"{{{name}}}", str(variable["default"]))
        path = urlsplit(url).path.rstrip("/")
        if path:
            yield path


# --- Schemas of other dialects ---------------------------------------------------------------------------------------


def _rewrite(data: dict[str, Any], *, old: bool, published: bool) -> None:
    """Brings every schema of a document, in place, into the words of JSON Schema 2020-12."""
    for holder, word in _schema_places(data):
        holder[word] = _rewritten(holder[word], old, published)


def _schema_places(value: Any, within: tuple[str, ...] = ()) -> Iterator[tuple[Any, str]]:
    """Where schemas stand in a document: the outermost ones, each by what holds it."""
    if isinstance(value, dict):
        for key, member in list(value.items()):
            if within == ("components", "schemas") or key in ("schema", *ITEM_SCHEMAS):
                yield value, key
            elif key not in ("example", "examples"):
                yield from _schema_places(member, (*within, key))
    elif isinstance(value, list):
        for item in value:
            yield from _schema_places(item, (*within, "[]"))


def _rewritten(schema: Any, old: bool, published: bool) -> Any:
    if not isinstance(schema, dict):
        return schema
    if old and "$ref" in schema:
        return {"$ref": schema["$ref"]}
    result: dict[str, Any] = {}
    for word, value in schema.items():
        if published and (word in _DECORATIONS or word.startswith("x-")):
            continue
        if word in ("properties", "patternProperties", "$defs", "dependentSchemas") and isinstance(value, dict):
            result[word] = {name: _rewritten(item, old, published) for name, item in value.items()}
        elif word in ("allOf", "anyOf", "oneOf", "prefixItems") and isinstance(value, list):
            result[word] = [_rewritten(item, old, published) for item in value]
        elif word in KEYWORDS and isinstance(value, dict) and word not in ("const", "dependentRequired"):
            result[word] = _rewritten(value, old, published)
        else:
            result[word] = value
    return _from_3_0(result) if old else result


def _from_3_0(schema: dict[str, Any]) -> dict[str, Any]:
    """`nullable` and the boolean bounds of OpenAPI 3.0."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(schema.get(exclusive), bool) and schema.pop(exclusive) and bound in schema:
            schema[exclusive] = schema.pop(bound)
    if schema.pop("nullable", False) is not True:
        return schema
    if isinstance(schema.get("type"), str) and not schema.keys() & {"enum", "const", "allOf", "anyOf", "oneOf", "not"}:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _fill_in_defaults(value: Any) -> None:
    """Makes members with a default required: a framework that serialises a response fills them in."""
    if isinstance(value, dict):
        members = value.get("properties")
        if isinstance(members, dict):
            filled = [name for name, member in members.items() if isinstance(member, dict) and "default" in member]
            required = [*value.get("required", ()), *filled]
            if required:
                value["required"] = list(dict.fromkeys(required))
        if value.get("additionalProperties") is True:
            del value["additionalProperties"]
        for member in value.values():
            _fill_in_defaults(member)
    elif isinstance(value, list):
        for item in value:
            _fill_in_defaults(item)


# --- Comparing -------------------------------------------------------------------------------------------------------


def diff(old: OpenAPI, new: OpenAPI, examples: Mapping[str, Sequence[Any]] | None = None) -> list[Finding]:
    """The changes between two versions of the contract.

    Callers send what the old version names; readers read whatever the new one permits. `examples` are the old
    version's payloads by the name of their schema. Raises SchemaUnusable.
    """
    return _Diff(old, new, examples or {}).findings()


def drift(pinned: OpenAPI, published: OpenAPI) -> list[Finding]:
    """Where a backend's own document promises less than the contract, or may.

    It may take more and promise more. Callers send what the contract names, and the backend answers with what its
    document names. Bounds, patterns and formats that only one of the two states are told as *unproven*.
    """
    return _Drift(pinned, published, {}).findings()


@dataclass
class _Pair:
    """An operation in both documents."""

    old: Operation
    new: Operation
    found: list[Finding] = field(default_factory=list)

    def add(self, rule: str, where: str, verdict: Verdict, message: str, witness: Any = MISSING) -> None:
        """Notes a change of the operation itself."""
        if verdict is not Verdict.BREAKING:
            witness = MISSING
        assert rule in rules.RULES, rule
        change = Change(rule, "", verdict, message, witness)
        self.found.append(Finding(change, self.old.title, self.old.operation_id, where))


class _Diff:
    """Comparison of two versions of the contract."""

    is_drift = False

    def __init__(self, old: OpenAPI, new: OpenAPI, examples: Mapping[str, Sequence[Any]]) -> None:
        self.old, self.new, self.examples = old, new, examples

    def findings(self) -> list[Finding]:
        """Every change, those that break first."""
        found: list[Finding] = []
        matched: set[tuple[str, str]] = set()
        for operation in self.old.operations:
            other = self.counterpart(operation)
            if other is None:
                message = "the operation is gone"
                witness = {"method": operation.method.upper(), "path": operation.path}
                change = Change("operation-removed", "", Verdict.BREAKING, message, witness)
                found.append(Finding(change, operation.title, operation.operation_id, "operation"))
                continue
            matched.add((other.method, other.path))
            pair = _Pair(operation, other)
            self.parameters(pair)
            self.body(pair)
            self.responses(pair)
            found += pair.found
        if not self.is_drift:
            for operation in self.new.operations:
                if (operation.method, operation.path) not in matched:
                    change = Change("operation-added", "", Verdict.COMPATIBLE, "the operation is new")
                    found.append(Finding(change, operation.title, operation.operation_id, "operation"))
        order = (Verdict.BREAKING, Verdict.UNPROVEN, Verdict.COMPATIBLE)
        return sorted(found, key=lambda one: order.index(one.change.verdict))

    def counterpart(self, operation: Operation) -> Operation | None:
        """The same operation in the other document: its path as written, or behind a server's prefix."""
        wanted = _shape(operation.path)
        for prefix in ("", *self.new.prefixes):
            for other in self.new.operations:
                if other.method == operation.method and _shape(prefix + other.path) == wanted:
                    return other
        return None

    # --- requests ---

    def parameters(self, pair: _Pair) -> None:
        old, new = pair.old.parameters, pair.new.parameters
        for key, one in old.items():
            where = f"{one.place} {one.name}"
            other = new.get(key)
            if other is None:
                if one.place == "path":
                    continue  # the path's shape has it
                witness = {one.place: {one.name: ""}}
                self.gone(pair, where, one, witness)
                continue
            if other.required and not one.required:
                pair.add(
                    "request-parameter-became-required",
                    where,
                    Verdict.BREAKING,
                    f"{one.name} is required now",
                    _call(pair.old),
                )
            elif one.required and not other.required:
                self.fine(pair, "request-parameter-became-optional", where, f"{one.name} is not required any more")
            self.schemas(pair, "request", where, one.schema, other.schema, text=True)
        for key, other in new.items():
            if key in old or other.place == "path" or (other.place == "header" and self.is_sent(pair.old, other.name)):
                continue
            where = f"{other.place} {other.name}"
            if other.required:
                message = f"{other.name} is new and required"
                pair.add("request-parameter-added", where, Verdict.BREAKING, message, _call(pair.old))
            else:
                self.fine(pair, "request-parameter-added", where, f"{other.name} is new")

    @staticmethod
    def is_sent(operation: Operation, header: str) -> bool:
        """Whether callers send that header anyway."""
        return header.lower() in _OWN_HEADERS or header.lower() in operation.headers

    def gone(self, pair: _Pair, where: str, parameter: Parameter, witness: Any) -> None:
        message = f"{parameter.name} is gone"
        pair.add("request-parameter-removed", where, Verdict.BREAKING, message, witness)

    def fine(self, pair: _Pair, rule: str, where: str, message: str) -> None:
        if not self.is_drift:
            pair.add(rule, where, Verdict.COMPATIBLE, message)

    def body(self, pair: _Pair) -> None:
        old, new = pair.old.body, pair.new.body
        if old is None and new is None:
            return
        if old is None or new is None:
            if new is not None and new.required:
                pair.add("request-body-added", "request", Verdict.BREAKING, "a body is required now", _call(pair.old))
            elif new is not None:
                self.fine(pair, "request-body-added", "request", "a body may be sent now")
            else:
                message = "no body is taken any more"
                pair.add("request-body-removed", "request", Verdict.BREAKING, message, _call(pair.old))
            return
        if new.required and not old.required:
            message = "the body is required now"
            pair.add("request-body-became-required", "request", Verdict.BREAKING, message, _call(pair.old))
        elif old.required and not new.required:
            self.fine(pair, "request-body-became-optional", "request", "the body is not required any more")
        for media_type, content in old.content.items():
            where = f"request {media_type}"
            other = _offered(new.content, media_type)
            if other is None:
                message = f"{media_type} is not taken any more"
                witness = {"content-type": media_type}
                pair.add("request-media-type-removed", where, Verdict.BREAKING, message, witness)
                continue
            self.schemas(pair, "request", where, content.schema, other.schema)
        for media_type in new.content.keys() - old.content.keys():
            self.fine(pair, "request-media-type-added", f"request {media_type}", f"{media_type} is taken now")

    # --- responses ---

    def responses(self, pair: _Pair) -> None:
        old, new = pair.old.responses, pair.new.responses
        for status in sorted(new.keys() - old.keys()):
            where = str(status)
            if _covered(status, old):
                self.fine(pair, "response-status-added", where, f"{status} is named now")
            elif not self.is_drift or status.startswith("2"):
                message = f"{status} may be answered now"
                pair.add("response-status-added", where, Verdict.BREAKING, message, {"status": status})
        left = {status for status in new if status.startswith("2") and (status in old or _covered(status, old))}
        if not left and not (self.is_drift and "default" in new):
            successes = sorted(status for status in old if status.startswith("2"))
            for status in successes[:1]:
                message = f"{status} is not promised any more"
                pair.add("response-status-removed", status, Verdict.BREAKING, message, {"status": status})
        for status in sorted(old.keys() - new.keys()):
            if left or not status.startswith("2"):
                self.fine(pair, "response-status-removed", status, f"{status} is not named any more")
        for status in sorted(new):
            known = _answer(old, status)
            if known is not None and (status.startswith("2") or not self.is_drift):
                self.answers(pair, status, known, new[status])
        if self.is_drift and not left and "default" in new:
            for status in sorted(status for status in old if status.startswith("2"))[:1]:
                self.answers(pair, status, old[status], new["default"])

    def answers(self, pair: _Pair, status: str, old: Mapping[str, Content], new: Mapping[str, Content]) -> None:
        """The bodies of one status."""
        if not old:
            if new:
                self.fine(pair, "response-body-added", status, "the body is described now")
            return
        if self.is_drift and EVENT_STREAM in old and not self.tells_of_stream(pair, status, new):
            return
        if not new:
            message = "the body is not described any more"
            pair.add("response-body-removed", status, Verdict.BREAKING, message, {"status": status, "body": None})
            return
        shared = [media_type for media_type in old if _offered(new, media_type) is not None]
        for media_type in old:
            where = f"{status} {media_type}"
            other = _offered(new, media_type)
            if other is None:
                message = f"{media_type} is not answered any more"
                if shared:
                    self.fine(pair, "response-media-type-removed", where, message)
                else:
                    witness = {"content-type": next(iter(new))}
                    pair.add("response-media-type-removed", where, Verdict.BREAKING, message, witness)
                continue
            content = old[media_type]
            # the text of a stream has no JSON type: frameworks say nothing there, or what an event is
            if not self.is_drift or media_type != EVENT_STREAM:
                self.schemas(pair, "response", where, content.schema, other.schema)
            if content.items is not None and (not self.is_drift or self.new.tells_of_data(other.items)):
                self.schemas(pair, "response", f"{where} items", content.items, other.items)
        for media_type in new.keys() - old.keys():
            if shared and not self.is_drift and "*" not in media_type:
                message = f"{media_type} may be answered now"
                where = f"{status} {media_type}"
                witness = {"content-type": media_type}
                pair.add("response-media-type-added", where, Verdict.BREAKING, message, witness)

    def tells_of_stream(self, pair: _Pair, status: str, new: Mapping[str, Content]) -> bool:
        """Whether a document says something of a stream; many frameworks cannot, and say nothing or any JSON."""
        if all(self.new.schema(content.schema) in (True, {}) for content in new.values()) and EVENT_STREAM not in new:
            message = f"nothing is said of {EVENT_STREAM}"
            pair.add("response-media-type-removed", f"{status} {EVENT_STREAM}", Verdict.UNPROVEN, message)
            return False
        return True

    # --- schemas ---

    def schemas(
        self,
        pair: _Pair,
        direction: Direction,
        where: str,
        old: Pointer | None,
        new: Pointer | None,
        *,
        text: bool = False,
    ) -> None:
        """The changes of one schema; `text`: its values travel as text."""
        before, after = self.old.document(old, direction), self.new.document(new, direction)
        if text and _is_plain_text(self.new.schema(new)):
            before = Document(_as_text(self.old.schema(old)))
        name = self.old.name(old)
        examples = self.examples.get(name or "", ())
        closed = direction == "request" or self.is_drift
        comparison = compare(before, after, direction, examples=examples, closed=closed)
        for change in comparison.changes:
            judged = self.judged(change)
            if judged is not None:
                pair.found.append(Finding(judged, pair.old.title, pair.old.operation_id, where, name))

    def judged(self, change: Change) -> Change | None:
        """The change as it counts here."""
        return change


class _Drift(_Diff):
    """Comparison of a backend's own document with the contract."""

    is_drift = True

    def judged(self, change: Change) -> Change | None:
        if change.verdict is Verdict.COMPATIBLE:
            return None
        if change.verdict is Verdict.BREAKING and is_finer(change):
            return replace(change, verdict=Verdict.UNPROVEN, witness=MISSING)
        return change


def describes_answers(pinned: OpenAPI, document: Mapping[str, Any]) -> bool:
    """Whether a backend's own document says of any pinned JSON answer what it holds.

    Where handlers are not typed, frameworks publish a document of paths alone; it promises nothing, and hides nothing.
    """
    shapes = tuple({_shape(operation.path) for operation in pinned.operations})
    for path, item in document.get("paths", {}).items():
        if not _shape(path).endswith(tuple(shape.removeprefix("/api/v1") for shape in shapes)):
            continue
        for operation in item.values() if isinstance(item, dict) else ():
            responses = operation.get("responses") if isinstance(operation, dict) else None
            for status, response in responses.items() if isinstance(responses, dict) else ():
                if str(status).startswith("2") and not _says_nothing(response):
                    return True
    return False


def _says_nothing(response: Any) -> bool:
    """Whether a response's JSON body is not described, or as any object, or as a list of those."""
    contents = response.get("content", {}) if isinstance(response, dict) else {}
    if not isinstance(contents, dict) or "$ref" in response:
        return False
    schemas = [content.get("schema", {}) for name, content in contents.items() if "json" in name]
    return all(isinstance(schema, dict) and _is_free(schema) for schema in schemas)


def _is_free(schema: Mapping[str, Any]) -> bool:
    items = schema.get("items", {})
    free = schema.keys() <= {"type", "title", "description", "additionalProperties", "items"}
    return (
        free
        and schema.get("type") in (None, "object", "array")
        and schema.get("additionalProperties", True) in (True, {})
        and isinstance(items, dict)
        and (not items or _is_free(items))
    )


def is_finer(change: Change) -> bool:
    """Whether a change is about a bound, pattern or format that only one of two documents states."""
    subject, _, action = change.rule.partition("-")[2].rpartition("-")
    return subject in _FINER and action in ("added", "removed")


def _shape(path: str) -> str:
    """A path whatever its parameters are called, and with or without a slash at its end."""
    return re.sub(r"\{[^{}]*\}", "{}", path).rstrip("/")


def _call(operation: Operation) -> dict[str, str]:
    """The least that a caller sends."""
    return {"method": operation.method.upper(), "path": operation.path}


def _offered(contents: Mapping[str, Content], media_type: str) -> Content | None:
    """What is said of a media type, by its own name or by a range."""
    for name in (media_type, f"{media_type.partition('/')[0]}/*", "*/*"):
        if name in contents:
            return contents[name]
    return None


def _covered(status: str, responses: Mapping[str, Any]) -> bool:
    return _answer(responses, status) is not None


def _answer(responses: Mapping[str, Mapping[str, Content]], status: str) -> Mapping[str, Content] | None:
    """What is said of a status: by itself, by its range, or by the default."""
    return next((responses[name] for name in (status, f"{status[:1]}XX", "default") if name in responses), None)


def _is_plain_text(schema: Schema) -> bool:
    """Whether a parameter is described as a string, whatever it means."""
    if not isinstance(schema, dict):
        return False
    branches = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(branches) == 1:
        return _is_plain_text(branches[0])
    kinds = schema.get("type")
    return kinds == "string" or kinds in (["string"], ["string", "null"])


def _as_text(schema: Schema) -> Schema:
    """How the values of a parameter's schema are written in a URL."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    if kind == "boolean":
        return {"enum": ["true", "false"]}
    if kind == "integer":
        return {"type": "string", "pattern": "^-?[0-9]+$", "maxLength": 20}
    return schema


__all__ = ["Finding", "NotOpenAPI", "OpenAPI", "SchemaUnusable", "diff", "drift"]
