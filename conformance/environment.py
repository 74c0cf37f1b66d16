"""The environment: which systems to check, what may be used to check them, and what is missing.

An environment file is TOML (`smoke/environments.toml`, `--env-file`); its words are fixed in the design. A key that is
missing, or an optional variable that is unset, switches off what needs it; anything else that is wrong is a
`UsageError` that names the key.
"""

from __future__ import annotations

import os
import re
import reprlib
import tomllib
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from conformance.errors import NotVerified, UsageError

TARGETS = ("backend", "app", "screenalytics")

DEFAULT_VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "service_role_token": "TRR_CORE_SUPABASE_SERVICE_ROLE_KEY",
        "internal_admin_secret": "TRR_INTERNAL_ADMIN_SHARED_SECRET",
        "screenalytics_token": "SCREENALYTICS_SERVICE_TOKEN",
        "backend_admin_token": "TRR_ADMIN_JWT",
        "backend_user_token": "TRR_USER_JWT",
        "app_admin_token": "TRR_APP_ADMIN_TOKEN",
        "app_user_token": "TRR_APP_USER_TOKEN",
        "jwt_secret": "SUPABASE_JWT_SECRET",
    }
)
"""Credential key → the variable that holds it where no environment file says otherwise."""

Parse = Callable[[Any, str], Any]


@dataclass(frozen=True)
class EnvironmentSource:
    """An environment as written, before variables are looked up; JSON-like, so it travels to the xdist workers."""

    name: str
    table: dict[str, Any]
    variables: dict[str, str] = field(default_factory=dict)
    """Values that go before the process's own environment variables."""


@dataclass(frozen=True)
class Environment:
    """The systems of one environment and what the run may use to check them."""

    name: str
    production: bool
    targets: tuple[str, ...]
    values: Mapping[str, Any]
    """Every other top-level key that is present."""
    credentials: Mapping[str, str]
    """Credential key → secret value."""
    missing: Mapping[str, str]
    """Key → why it is not there, for keys that are named but whose optional variable is unset."""

    def get(self, key: str) -> Any:
        """The value of a top-level key, or None."""
        return self.values.get(key)

    def need(self, key: str) -> Any:
        """The value of a top-level key; raises NotVerified with the key's name where it is missing."""
        value = self.values.get(key)
        if value is None:
            raise NotVerified(self.missing.get(key, f"{key} is not set"))
        return value

    def reaches(self, target: str) -> bool:
        """Whether there is a way to the target: its URL, or for Screenalytics a command that imports, or a log."""
        return self.get(f"{target}_url") is not None or (
            target == "screenalytics" and ("command" in (self.get("sync") or ()) or self.get("access_log") is not None)
        )

    def credential(self, key: str) -> str:
        """A credential's value; raises NotVerified with the key's name where it is missing."""
        try:
            return self.credentials[key]
        except KeyError:
            raise NotVerified(self.missing.get(f"credentials.{key}", f"credentials.{key} is not set")) from None

    def fixture(self, name: str) -> Mapping[str, Any]:
        """A table of `fixtures`; raises NotVerified where it is missing."""
        fixtures: Mapping[str, Mapping[str, Any]] = self.values.get("fixtures", {})
        if name not in fixtures:
            raise NotVerified(f"fixtures.{name} is not set")
        return fixtures[name]


# --- the shape of the file -------------------------------------------------------------------------------------------


def _boolean(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise UsageError(f"{where}: must be true or false, not {reprlib.repr(value)}")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value:
        raise UsageError(f"{where}: must be a non-empty string, not {reprlib.repr(value)}")
    return value


def _positive(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise UsageError(f"{where}: must be a positive number, not {reprlib.repr(value)}")
    return value


def _url(value: Any, where: str) -> str:
    text = _text(value, where)
    if "@" in text:
        # not repeated: there may be a password in it
        raise UsageError(f"{where}: must be a URL without a user and without @")
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    # a query would swallow the path that is appended
    if not valid or not re.fullmatch(r"[!-~]+", text) or "?" in text or "#" in text:
        raise UsageError(f"{where}: must be an http(s) URL in ASCII, without query and fragment, not {text!r}")
    return text.rstrip("/")


def _uuid(value: Any, where: str) -> str:
    text = _text(value, where)
    try:
        uuid.UUID(text)
    except ValueError:
        raise UsageError(f"{where}: must be a UUID, not {text!r}") from None
    return text


def _address(value: Any, where: str) -> str:
    text = _text(value, where)
    found = re.fullmatch(r"(?:[^:\s]+|\[[0-9a-fA-F:]+\]):([0-9]{1,5})", text)
    if found is None or int(found[1]) > 65535:
        raise UsageError(f"{where}: must be host:port, not {text!r}")
    return text


def _list_of(parse: Parse) -> Parse:
    def parse_list(value: Any, where: str) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise UsageError(f"{where}: must be a list, not {reprlib.repr(value)}")
        return tuple(parse(item, f"{where}[{index}]") for index, item in enumerate(value))

    return parse_list


def _target(value: Any, where: str) -> str:
    if value not in TARGETS:
        raise UsageError(f"{where}: must be one of {', '.join(TARGETS)}, not {reprlib.repr(value)}")
    return str(value)


def _any_table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{where}: must be a table, not {reprlib.repr(value)}")
    return value


def _table(keys: Mapping[str, Parse], *, required: tuple[str, ...] = ()) -> Parse:
    def parse_table(value: Any, where: str) -> Mapping[str, Any]:
        table = _any_table(value, where)
        for key in table:
            if key not in keys:
                raise UsageError(f"{where}.{key}: unknown key (known: {', '.join(keys)})")
        for key in required:
            if key not in table:
                raise UsageError(f"{where}.{key}: is missing")
        return MappingProxyType({key: keys[key](item, f"{where}.{key}") for key, item in table.items()})

    return parse_table


@dataclass(frozen=True)
class Variable:
    """A reference to an environment variable: `{ env = "NAME", optional = true }`."""

    name: str
    optional: bool


_variable_table = _table({"env": _text, "optional": _boolean}, required=("env",))


def _variable(value: Any, where: str) -> Variable:
    if not isinstance(value, dict):
        # the value itself is not repeated: it may be the secret
        raise UsageError(
            f'{where}: must name an environment variable, {{ env = "NAME" }}; values do not belong in the file'
        )
    table = _variable_table(value, where)
    return Variable(table["env"], table.get("optional", False))


_KEYS: Mapping[str, Parse] = {
    "production": _boolean,
    "targets": _list_of(_target),
    "backend_url": _url,
    "app_url": _url,
    "screenalytics_url": _url,
    "app_timeout_s": _positive,
    "app_session_cookie": _boolean,
    "backend_states_url": _url,
    "app_states_url": _url,
    "screenalytics_states_url": _url,
    "database_url": _variable,
    "screenalytics_database_url": _variable,
    "page_origin": _table({"bind": _address, "url": _url}, required=("bind",)),
    "stub_backend": _table({"bind": _address, "url": _url}, required=("bind",)),
    "stub_vision": _table({"bind": _address, "url": _url}, required=("bind",)),
    "access_log": _table({"path": _text, "ignore_clients": _list_of(_text)}, required=("path",)),
    "badge_junit": _text,
    "credentials": _table(dict.fromkeys(DEFAULT_VARIABLES, _variable)),
    "fixtures": _table(
        {
            "seeded_person": _table(
                {"person_id": _uuid, "link_id": _uuid, "served_url": _text},
                required=("person_id", "link_id", "served_url"),
            ),
            "unseeded_person": _table({"person_id": _uuid}, required=("person_id",)),
            "episode": _table({"ep_id": _text, "person_ids": _list_of(_uuid)}, required=("ep_id", "person_ids")),
        }
    ),
    "sync": _table(
        {
            "method": _text,
            "path": _text,
            "json": _any_table,
            "token": _variable,
            "import_limit": _positive,
            "timeout_s": _positive,
            "command": _list_of(_text),
        }
    ),
    "purge": _table({"command": _list_of(_text)}, required=("command",)),
}

URL_KEYS = tuple(key for key, parse in _KEYS.items() if parse is _url)
"""The keys whose value is the base URL of a service or of its provider states."""

_parse_table = _table(_KEYS, required=("production",))


def _look_up(parsed: Any, where: str, variables: Mapping[str, str], missing: dict[str, str]) -> Any:
    """Replaces each `Variable` below `parsed` by its value; leaves out the optional unset ones, noted in `missing`."""
    if isinstance(parsed, Variable):
        value = variables.get(parsed.name, "")
        if value:
            return value
        if not parsed.optional:
            raise UsageError(f"{where}: the variable {parsed.name} is not set (and not optional)")
        missing[where] = f"{where}: the variable {parsed.name} is not set"
        return None
    # only what `_table` made: `sync.json` stays the plain JSON that it is
    if isinstance(parsed, MappingProxyType):
        looked_up = {
            key: _look_up(item, f"{where}.{key}" if where else key, variables, missing) for key, item in parsed.items()
        }
        return MappingProxyType({key: item for key, item in looked_up.items() if item is not None})
    return parsed


def resolve(source: EnvironmentSource) -> Environment:
    """Checks an environment's table and looks its variables up; raises UsageError for the first thing that is wrong."""
    where = f"environments.{source.name}"
    parsed = _parse_table(source.table, where)
    missing: dict[str, str] = {}
    try:
        values = dict(_look_up(parsed, "", {**os.environ, **source.variables}, missing))
    except UsageError as error:
        raise UsageError(f"{where}.{error}") from None
    production = values.pop("production")
    targets = values.pop("targets", None)
    if production:
        for key in values:
            if key.endswith("_states_url"):
                raise UsageError(f"{where}.{key}: provider states are not allowed where production = true")
    credentials = values.pop("credentials", MappingProxyType({}))
    found = Environment(
        name=source.name,
        production=production,
        targets=(),
        values=MappingProxyType(values),
        credentials=credentials,
        missing=MappingProxyType(missing),
    )
    for target in targets or ():
        if not found.reaches(target):
            raise UsageError(f"{where}.targets: names {target}, but {target}_url is not set")
    reached = tuple(target for target in TARGETS if found.reaches(target))
    return replace(found, targets=reached if targets is None else targets)


def read_file(path: Path, name: str | None) -> EnvironmentSource:
    """One environment of a file: the one called `name`, or the only one. Raises UsageError."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError, and a number of too many digits
        raise UsageError(f"{path}: is not TOML: {error}") from None
    except RecursionError:
        raise UsageError(f"{path}: is not TOML that can be read: nested too deeply") from None
    unknown = next((key for key in document if key != "environments"), None)
    if unknown is not None:
        raise UsageError(f"{path}: {unknown}: unknown key (known: environments)")
    environments = document.get("environments")
    if not isinstance(environments, dict) or not environments:
        raise UsageError(f"{path}: has no [environments.NAME] table")
    if name is None and len(environments) > 1:
        raise UsageError(f"{path}: has several environments, choose one by --env: {', '.join(environments)}")
    name = next(iter(environments)) if name is None else name
    if name not in environments:
        raise UsageError(f"{path}: has no environment {name!r} (it has: {', '.join(environments)})")
    if not isinstance(environments[name], dict):
        raise UsageError(f"{path}: environments.{name}: must be a table")
    return EnvironmentSource(name, environments[name])


def from_urls(urls: Mapping[str, str]) -> EnvironmentSource:
    """The environment of `--backend-url` and the like: credentials are the usual variables, all optional."""
    return EnvironmentSource(
        "command line",
        {
            "production": False,
            **urls,
            "database_url": {"env": "TRR_DB_URL", "optional": True},
            "screenalytics_database_url": {"env": "SCREENALYTICS_DB_URL", "optional": True},
            "credentials": {key: {"env": name, "optional": True} for key, name in DEFAULT_VARIABLES.items()},
        },
    )
