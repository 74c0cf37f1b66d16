"""The reference as an entry of an environment file: its addresses, and credentials made fresh for every run."""

from __future__ import annotations

import json
import secrets
import string
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt

NAME = "reference"
"""What the environment is called in its file."""

ISSUER = "https://trr-reference.invalid/auth/v1"
DAY_S = 24 * 60 * 60

CREDENTIALS: Mapping[str, str] = {
    "service_role_token": "TRR_CORE_SUPABASE_SERVICE_ROLE_KEY",
    "internal_admin_secret": "TRR_INTERNAL_ADMIN_SHARED_SECRET",
    "screenalytics_token": "SCREENALYTICS_SERVICE_TOKEN",
    "backend_admin_token": "TRR_ADMIN_JWT",
    "backend_user_token": "TRR_USER_JWT",
    "app_admin_token": "TRR_APP_ADMIN_TOKEN",
    "app_user_token": "TRR_APP_USER_TOKEN",
    "jwt_secret": "SUPABASE_JWT_SECRET",
}
"""The variable that carries each credential."""

DATABASES: Mapping[str, tuple[str, str]] = {
    "backend": ("database_url", "TRR_DB_URL"),
    "screenalytics": ("screenalytics_database_url", "SCREENALYTICS_DB_URL"),
}
"""The key of each service's database, and the variable that carries its URL."""

PURGE_ARGUMENTS = ("{show_id}", "{season_number}", "{page_url}")
"""What the purge script is told."""

APP_TIMEOUT_S = 5
"""Within this time the app answers, whatever its backend does."""

STATES: Mapping[str, str] = {
    "backend": "backend_states_url",
    "app": "app_states_url",
    "screenalytics": "screenalytics_states_url",
}
"""The key of each service's provider states."""


@dataclass(frozen=True)
class Environment:
    """An entry of an environment file, and the values of the variables that it names."""

    table: Mapping[str, Any]
    variables: Mapping[str, str]

    def json(self) -> str:
        """The entry and the variables as one line of JSON."""
        return json.dumps({"environment": self.table, "variables": self.variables}) + "\n"

    def toml(self) -> str:
        """The entry as a ready environment file, headed by the variables as shell commands."""
        addresses = {key: value for key, value in self.table.items() if key.endswith("_url") and isinstance(value, str)}
        lines = [
            *(f"# {key} {value}" for key, value in addresses.items()),
            "#",
            *(f"# export {name}='{value}'" for name, value in self.variables.items()),
            "",
            f"[environments.{NAME}]",
        ]
        plain = {key: value for key, value in self.table.items() if key != "credentials"}
        lines += [f"{key} = {_toml(value)}" for key, value in plain.items()]
        lines += ["", f"[environments.{NAME}.credentials]"]
        lines += [f"{key} = {_toml(value)}" for key, value in self.table["credentials"].items()]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Settings:
    """What the services of one world know besides their credentials."""

    jwt_secret: str
    """The key of the backend's tokens."""
    session_secret: str
    """The key of the app's sessions."""
    admin_emails: frozenset[str]
    """The allowlist of both."""


def fresh_settings() -> tuple[Settings, Mapping[str, str]]:
    """Settings with new random secrets, and the value of every credential that fits them."""
    admin_email = f"admin-{secrets.token_hex(4)}@trr-reference.invalid"
    # Who may not looks as much as possible like who may.
    user_email = f"not-{admin_email}"
    settings = Settings(_secret(48), _secret(48), frozenset({admin_email}))
    values = {
        "service_role_token": _sign(settings.jwt_secret, role="service_role"),
        "internal_admin_secret": _secret(32),
        "screenalytics_token": _secret(40),
        "backend_admin_token": _person(settings.jwt_secret, admin_email),
        "backend_user_token": _person(settings.jwt_secret, user_email),
        "app_admin_token": _session(settings.session_secret, admin_email),
        "app_user_token": _session(settings.session_secret, user_email),
        "jwt_secret": settings.jwt_secret,
    }
    return settings, values


def describe(
    addresses: Mapping[str, str],
    databases: Mapping[str, str],
    credentials: Mapping[str, str],
    trr_api_url: str | None = None,
    vision_url: str | None = None,
    purge_rogue: str | None = None,
) -> Environment:
    """The environment of a world whose services (service → base URL) run on these databases (service → URL).

    `trr_api_url` is where somebody else plays the backend for the app and Screenalytics, `vision_url` where somebody
    plays the vision service for the backend, if so. `purge_rogue` is the fault that the purge script has, if any.
    """
    table: dict[str, Any] = {"production": False, "targets": list(addresses)}
    table |= {f"{service}_url": url for service, url in addresses.items()}
    table |= {key: f"{addresses[service]}/_states" for service, key in STATES.items() if service in addresses}
    table |= {DATABASES[service][0]: {"env": DATABASES[service][1]} for service in databases}
    if "app" in addresses:
        table["app_timeout_s"] = APP_TIMEOUT_S
    if "screenalytics" in addresses:
        table["sync"] = {"method": "POST", "path": "/episodes/{ep_id}/sync_cast_from_trr"}
    if trr_api_url is not None:
        table["stub_backend"] = {"bind": urlsplit(trr_api_url).netloc}
    if vision_url is not None:
        table["stub_vision"] = {"bind": urlsplit(vision_url).netloc}
    if "backend" in addresses:
        fault = [] if purge_rogue is None else ["--rogue", purge_rogue]
        table["purge"] = {"command": [sys.executable, "-m", "reference.purge", *fault, *PURGE_ARGUMENTS]}
    table["credentials"] = {key: {"env": name} for key, name in CREDENTIALS.items()}
    variables = {name: credentials[key] for key, name in CREDENTIALS.items()}
    return Environment(table, variables | {DATABASES[service][1]: url for service, url in databases.items()})


def _secret(length: int) -> str:
    """Letters of both cases and digits, some of each."""
    while True:
        text = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))
        if any(map(str.isupper, text)) and any(map(str.islower, text)) and any(map(str.isdigit, text)):
            return text


def _person(key: str, email: str) -> str:
    # What people write into their own profile is signed along, and means nothing.
    profile = {"role": "service_role"}
    return _sign(
        key, role="authenticated", aud="authenticated", sub=str(uuid.uuid4()), email=email, user_metadata=profile
    )


def _session(key: str, email: str) -> str:
    return _sign(key, sub=str(uuid.uuid4()), email=email, email_verified=True)


def _sign(key: str, **claims: Any) -> str:
    now = int(time.time())
    return jwt.encode({"iss": ISSUER, "iat": now, "exp": now + 3650 * DAY_S, **claims}, key, "HS256")


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case str():
            return f'"{value}"'
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return f"{{ {', '.join(f'{key} = {_toml(item)}' for key, item in value.items())} }}"
    raise TypeError(f"no TOML for {type(value).__name__}")
