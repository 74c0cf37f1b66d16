"""Two versions of the contracts as a whole: where the old one comes from, and all that changed since."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from conformance.compat import openapi
from conformance.compat.linking import Document, references
from conformance.compat.openapi import Finding, OpenAPI
from conformance.compat.rules import Direction
from conformance.compat.schemas import Change, Verdict, compare
from conformance.compat.witness import MISSING
from conformance.errors import UsageError
from contracts import ContractError, Contracts, load

# Formats of this tool that people write; it reads them as a service reads requests.
_WRITTEN_BY_PEOPLE: Final = frozenset({"clause-file", "waivers", "stream-examples"})
# Formats that it writes: their schemas are closed to catch mistakes, and readers ignore what they do not know.
_OWN_REPORTS: Final = frozenset({"report", "rogues"})
_VERSION: Final = re.compile(r"v?(\d+\.\d+\.\d+\S*)")


@contextmanager
def base(name: str, contracts: Contracts) -> Iterator[Contracts]:
    """An older version of some contracts: a folder, a git revision, or a released version such as 1.0.0.

    Raises UsageError.
    """
    folder = Path(name)
    if folder.is_dir():
        yield _load(folder if (folder / "VERSION").is_file() else folder / "contracts", name)
        return
    with tempfile.TemporaryDirectory(prefix="trr-contracts-") as temporary:
        _extract(_revision(name, contracts.folder), contracts.folder, Path(temporary))
        yield _load(Path(temporary), name)


def _load(folder: Path, name: str) -> Contracts:
    try:
        return load(folder)
    except ContractError as refusal:
        raise UsageError(f"{name} holds no usable contracts: {refusal}") from None


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What git prints; None where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, check=False)
    except (OSError, ValueError):  # no git here, or nothing that could be a word of a command line
        return None
    return done.stdout if done.returncode == 0 else None


def _revision(name: str, folder: Path) -> str:
    """The commit that a name stands for: a revision, or a version's tag, or the last commit of that version."""
    if not name.startswith("-") and _git(folder, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"):
        return name
    version = _VERSION.fullmatch(name)
    if version is not None:
        for tag in (f"v{version[1]}", f"contracts-{version[1]}", f"contracts-v{version[1]}"):
            if _git(folder, "rev-parse", "--verify", "--quiet", f"refs/tags/{tag}"):
                return f"refs/tags/{tag}"
        for commit in (_git(folder, "log", "--format=%H", "--", ".") or b"").decode().split():
            if (_git(folder, "show", f"{commit}:./VERSION") or b"").decode().strip() == version[1]:
                return commit
    raise UsageError(f"{name!r} is neither a folder, nor a git revision, nor a version that was released here")


def _extract(revision: str, folder: Path, into: Path) -> None:
    """Unpacks the contracts of a commit."""
    prefix = (_git(folder, "rev-parse", "--show-prefix") or b"").decode().strip().rstrip("/")
    root = (_git(folder, "rev-parse", "--show-toplevel") or b"").decode().strip()
    archive = _git(Path(root), "archive", "--format=tar", f"{revision}:{prefix}")
    if archive is None:
        raise UsageError(f"{revision} has no {prefix or 'contracts'}")
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(into, filter="data")


def changes(old: Contracts, new: Contracts) -> list[Finding]:
    """All that changed about operations and schemas, each change with the consumers and clauses that it touches.

    Raises SchemaUnusable and NotOpenAPI.
    """
    examples = {
        name: [
            value
            for contracts in (old, new)
            if name in contracts.schemas
            for value in contracts.examples(name).values()
        ]
        for name in {*old.schemas, *new.schemas}
    }
    found: list[Finding] = []
    spoken_of: set[str] = set()
    for name in sorted({*old.documents, *new.documents}):
        documents = [contracts.openapi(name) if name in contracts.documents else _empty() for contracts in (old, new)]
        for document in documents:
            spoken_of |= document.get("components", {}).get("schemas", {}).keys()
        found += openapi.diff(OpenAPI(documents[0]), OpenAPI(documents[1]), examples)
    for name in (*old.schemas, *(name for name in new.schemas if name not in old.schemas)):
        if name not in spoken_of:
            found += _schema_changes(name, old, new, examples.get(name, ()))
    order = (Verdict.BREAKING, Verdict.UNPROVEN, Verdict.COMPATIBLE)
    touched = [with_consumers(finding, old, new) for finding in found]
    return sorted(touched, key=lambda finding: order.index(finding.change.verdict))


def _empty() -> dict[str, Any]:
    return {"openapi": "3.1.0", "paths": {}}


def _schema_changes(name: str, old: Contracts, new: Contracts, examples: Sequence[Any]) -> Iterator[Finding]:
    """The changes of a schema that no operation speaks of."""
    people_write = name in _WRITTEN_BY_PEOPLE or name.endswith("-request")
    direction: Direction = "request" if people_write else "response"
    if name not in old.schemas or name not in new.schemas:
        gone = name in old.schemas
        rule, verdict = ("removed", Verdict.BREAKING) if gone else ("added", Verdict.COMPATIBLE)
        message = f"the schema is {'gone' if gone else 'new'}"
        witness = examples[0] if gone and examples else name if gone else MISSING
        change = Change(f"{direction}-body-{rule}", "", verdict, message, witness)
        yield Finding(change, f"schema {name}", None, "schema", name)
        return
    both = [_with_others(contracts, name) for contracts in (old, new)]
    documents = [Document(*(_opened(one) if name in _OWN_REPORTS else one)) for one in both]
    for change in compare(documents[0], documents[1], direction, examples=examples).changes:
        yield Finding(change, f"schema {name}", None, "schema", name)


def _with_others(contracts: Contracts, name: str) -> tuple[Any, dict[str, Any]]:
    schema = contracts.schema(name)
    return schema, {(other := contracts.schema(one))["$id"]: other for one in contracts.schemas if one != name}


def _opened(value: Any) -> Any:
    """Schemas without what closes their objects."""
    if isinstance(value, dict):
        return {
            key: _opened(member)
            for key, member in value.items()
            if key not in ("additionalProperties", "unevaluatedProperties") or member is not False
        }
    return type(value)(map(_opened, value)) if isinstance(value, list | tuple) else value


def with_consumers(finding: Finding, *versions: Contracts) -> Finding:
    """The finding with who reads or sends what changed, as the clauses of those versions say."""
    consumers: dict[str, None] = {}
    touched: dict[str, None] = {}
    for contracts in versions:
        schemas = _reachable(contracts, finding.schema)
        about = [
            clause
            for clause in contracts.clauses.values()
            if finding.operation_id in clause.operations
            or (finding.operation_id is None and schemas & {*clause.schemas})
        ]
        of_the_schema = [clause for clause in about if schemas & {*clause.schemas}]
        name = finding.change.name
        of_the_member = [clause for clause in about if name and f"`{name}`" in clause.statement]
        for clause in [*of_the_member, *of_the_schema] or about:
            touched[clause.id] = None
            consumers |= dict.fromkeys(clause.consumers)
    return replace(finding, consumers=tuple(consumers), clauses=tuple(touched))


def _reachable(contracts: Contracts, name: str | None) -> set[str]:
    """The schema and those that it refers to."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one is None or one in found or one not in contracts.schemas:
            continue
        found.add(one)
        waiting += [
            reference.partition("#")[0].rpartition("/")[2].removesuffix(".schema.json")
            for reference in references(contracts.schema(one))
        ]
    return found
