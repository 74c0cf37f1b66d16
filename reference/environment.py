"""The reference as an entry of an environment file: its addresses, and credentials made fresh for every run."""

from __future__ import annotations

import json
import secrets
import string
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt

from reference.backend import Settings

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
    "jwt_secret": "SUPABASE_JWT_SECRET",
}
"""The variable that carries each credential."""

DATABASE_VARIABLE = "TRR_DB_URL"


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


def fresh_settings() -> tuple[Settings, Mapping[str, str]]:
    """Settings with new random secrets, and the value of every credential that fits them."""
    admin_email, user_email = (f"{role}-{secrets.token_hex(4)}@trr-reference.invalid" for role in ("admin", "user"))
    settings = Settings(
        jwt_secret=_secret(48),
        internal_secret=_secret(32),
        screenalytics_token=_secret(40),
        admin_emails=frozenset({admin_email}),
    )
    values = {
        "service_role_token": _sign(settings, role="service_role"),
        "internal_admin_secret": str(settings.internal_secret),
        "screenalytics_token": str(settings.screenalytics_token),
        "backend_admin_token": _person(settings, admin_email),
        "backend_user_token": _person(settings, user_email),
        "jwt_secret": settings.jwt_secret,
    }
    return settings, values


def describe(base_url: str, database_url: str, credentials: Mapping[str, str]) -> Environment:
    """The environment of a reference that serves at `base_url` on `database_url`."""
    table = {
        "production": False,
        "targets": ["backend"],
        "backend_url": base_url,
        "backend_states_url": f"{base_url}/_states",
        "database_url": {"env": DATABASE_VARIABLE},
        "credentials": {key: {"env": name} for key, name in CREDENTIALS.items()},
    }
    variables = {name: credentials[key] for key, name in CREDENTIALS.items()}
    return Environment(table, variables | {DATABASE_VARIABLE: database_url})


def _secret(length: int) -> str:
    """Letters of both cases and digits, some of each."""
    while True:
        text = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(length))
        if any(map(str.isupper, text)) and any(map(str.islower, text)) and any(map(str.isdigit, text)):
            return text


def _person(settings: Settings, email: str) -> str:
    return _sign(settings, role="authenticated", aud="authenticated", sub=str(uuid.uuid4()), email=email)


def _sign(settings: Settings, **claims: str) -> str:
    now = int(time.time())
    return jwt.encode({"iss": ISSUER, "iat": now, "exp": now + 3650 * DAY_S, **claims}, settings.jwt_secret, "HS256")


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return f"{{ {', '.join(f'{key} = {_toml(item)}' for key, item in value.items())} }}"
    raise TypeError(f"no TOML for {type(value).__name__}")
