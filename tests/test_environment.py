"""Whatever is wrong with an environment file is one line that names the key; what is missing is not verified."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from conformance import environment
from conformance.environment import DEFAULT_VARIABLES, URL_KEYS, Environment, EnvironmentSource, from_urls, read_file
from conformance.errors import NotVerified, UsageError

UUID = "6f1f6c1e-8a34-4d5b-9f0e-0a4b6d1c2e3f"
SECRET = "hunter2-hunter2-hunter2"
VARIABLES = {"TOKEN": "token-value", "SECRET": "secret-value", "DATABASE": "postgresql://user:pass@host/db"}

FULL: dict[str, Any] = {
    "production": False,
    "targets": ["backend", "app", "screenalytics"],
    "backend_url": "https://backend.example/prefix",
    "app_url": "http://127.0.0.1:3000",
    "app_timeout_s": 100,
    "app_session_cookie": False,
    "screenalytics_url": "http://[::1]:8001",
    "backend_states_url": "http://localhost:8000/_states",
    "app_states_url": "http://localhost:3000/_states",
    "screenalytics_states_url": "http://localhost:8001/_states",
    "database_url": {"env": "DATABASE", "optional": True},
    "screenalytics_database_url": {"env": "UNSET", "optional": True},
    "page_origin": {"bind": "127.0.0.1:0", "url": "http://host.docker.internal:8790"},
    "stub_backend": {"bind": "127.0.0.1:8787"},
    "stub_vision": {"bind": "[::1]:8788"},
    "access_log": {"path": "access.log", "ignore_clients": ["10.0.0.9"]},
    "badge_junit": "badge.xml",
    "credentials": {"service_role_token": {"env": "TOKEN"}, "jwt_secret": {"env": "UNSET", "optional": True}},
    "fixtures": {
        "seeded_person": {"person_id": UUID, "link_id": UUID.upper(), "served_url": "https://images.example/1.jpg"},
        "unseeded_person": {"person_id": UUID},
        "episode": {"ep_id": "ep-1", "person_ids": [UUID]},
    },
    "sync": {"path": "/episodes/{ep_id}", "json": {"a": {"b": [1]}}, "token": {"env": "TOKEN"}, "timeout_s": 1.5},
    "purge": {"command": ["python", "purge.py"]},
}


def resolve(table: dict[str, Any]) -> Environment:
    return environment.resolve(EnvironmentSource("staging", table, VARIABLES))


def message_of(table: dict[str, Any]) -> str:
    with pytest.raises(UsageError) as caught:
        resolve(table)
    return str(caught.value)


@pytest.fixture(autouse=True)
def only_our_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("UNSET", *DEFAULT_VARIABLES.values()):
        monkeypatch.delenv(name, raising=False)


# --- what is right ---------------------------------------------------------------------------------------------------


def test_every_key_of_the_design_is_known() -> None:
    resolved = resolve(FULL)
    assert resolved.targets == ("backend", "app", "screenalytics")
    assert not resolved.production
    assert resolved.need("backend_url") == "https://backend.example/prefix"
    assert resolved.credential("service_role_token") == "token-value"
    assert resolved.need("database_url") == VARIABLES["DATABASE"]
    assert resolved.fixture("episode")["person_ids"] == (UUID,)
    assert resolved.need("sync")["token"] == "token-value"


def test_a_json_body_stays_json() -> None:
    assert json.dumps(resolve(FULL).need("sync")["json"]) == '{"a": {"b": [1]}}'


def test_a_trailing_slash_is_no_part_of_a_base_url() -> None:
    assert resolve({"production": False, "backend_url": "http://localhost/api/"}).need("backend_url").endswith("/api")


def test_targets_are_those_that_have_an_address() -> None:
    assert resolve({"production": False, "app_url": "http://localhost"}).targets == ("app",)
    assert resolve({"production": False}).targets == ()


def test_given_variables_go_before_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "of the process")
    monkeypatch.setenv("OTHER", "other of the process")
    assert resolve(FULL).credential("service_role_token") == "token-value"
    other = {"production": False, "credentials": {"jwt_secret": {"env": "OTHER"}}}
    assert resolve(other).credential("jwt_secret") == "other of the process"


def test_addresses_on_the_command_line_make_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEFAULT_VARIABLES["service_role_token"], "token-value")
    made = environment.resolve(from_urls({"backend_url": "http://localhost:8000"}))
    assert (made.targets, made.production) == (("backend",), False)
    assert made.credentials == {"service_role_token": "token-value"}


# --- what is missing -------------------------------------------------------------------------------------------------

MISSING: dict[str, tuple[Callable[[Environment], object], str]] = {
    "key": (lambda e: e.need("app_url"), "app_url is not set"),
    "optional variable": (lambda e: e.need("database_url"), "database_url: the variable UNSET is not set"),
    "credential": (lambda e: e.credential("app_user_token"), "credentials.app_user_token is not set"),
    "optional credential": (
        lambda e: e.credential("jwt_secret"),
        "credentials.jwt_secret: the variable UNSET is not set",
    ),
    "fixture": (lambda e: e.fixture("episode"), "fixtures.episode is not set"),
}


@pytest.mark.parametrize("look_up, reason", MISSING.values(), ids=MISSING)
def test_what_is_missing_is_not_verified(look_up: Callable[[Environment], object], reason: str) -> None:
    unset = {"env": "UNSET", "optional": True}
    sparse = resolve({"production": False, "database_url": unset, "credentials": {"jwt_secret": unset}})
    with pytest.raises(NotVerified) as caught:
        look_up(sparse)
    assert str(caught.value) == reason


def test_an_empty_variable_is_an_unset_one() -> None:
    source = EnvironmentSource("x", {"production": False, "credentials": {"jwt_secret": {"env": "E"}}}, {"E": ""})
    with pytest.raises(UsageError, match=r"credentials\.jwt_secret: the variable E is not set"):
        environment.resolve(source)


# --- what is wrong ---------------------------------------------------------------------------------------------------

WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"backend_ulr": "http://localhost"}, "backend_ulr: unknown key"),
    "unknown credential": ({"credentials": {"token": {"env": "TOKEN"}}}, "credentials.token: unknown key"),
    "unknown fixture": ({"fixtures": {"person": {}}}, "fixtures.person: unknown key"),
    "unknown key of a fixture": (
        {"fixtures": {"unseeded_person": {"person_id": UUID, "name": "x"}}},
        "fixtures.unseeded_person.name: unknown key",
    ),
    "unknown key of a variable": (
        {"credentials": {"jwt_secret": {"env": "TOKEN", "value": SECRET}}},
        "credentials.jwt_secret.value: unknown key",
    ),
    "unknown key of sync": ({"sync": {"url": "/"}}, "sync.url: unknown key"),
    "unknown key of stub": ({"stub_backend": {"bind": "a:1", "port": 1}}, "stub_backend.port: unknown key"),
    "production is text": ({"production": "false"}, "production: must be true or false"),
    "targets is text": ({"targets": "backend"}, "targets: must be a list"),
    "unknown target": ({"targets": ["backned"]}, "targets[0]: must be one of"),
    "target without address": ({"targets": ["app"]}, "targets: names app, but app_url is not set"),
    "timeout is zero": ({"app_timeout_s": 0}, "app_timeout_s: must be a positive number"),
    "timeout is text": ({"app_timeout_s": "1"}, "app_timeout_s: must be a positive number"),
    "timeout is a boolean": ({"app_timeout_s": True}, "app_timeout_s: must be a positive number"),
    "timeout is infinite": ({"app_timeout_s": float("inf")}, "app_timeout_s: must be a positive number"),
    "timeout is no number": ({"app_timeout_s": float("nan")}, "app_timeout_s: must be a positive number"),
    "cookie is a number": ({"app_session_cookie": 1}, "app_session_cookie: must be true or false"),
    "credentials is a list": ({"credentials": []}, "credentials: must be a table"),
    "credential is its value": ({"credentials": {"jwt_secret": SECRET}}, "credentials.jwt_secret: must name an env"),
    "credential without a name": ({"credentials": {"jwt_secret": {}}}, "credentials.jwt_secret.env: is missing"),
    "variable's name is empty": ({"database_url": {"env": ""}}, "database_url.env: must be a non-empty string"),
    "optional is text": ({"database_url": {"env": "A", "optional": "yes"}}, "database_url.optional: must be true or"),
    "database is its value": ({"database_url": f"postgresql://u:{SECRET}@h/d"}, "database_url: must name an env"),
    "token of sync is its value": ({"sync": {"token": SECRET}}, "sync.token: must name an env"),
    "variable is unset": (
        {"credentials": {"jwt_secret": {"env": "UNSET"}}},
        "credentials.jwt_secret: the variable UNSET",
    ),
    "database variable is unset": ({"database_url": {"env": "UNSET"}}, "database_url: the variable UNSET"),
    "fixture lacks a member": ({"fixtures": {"episode": {"ep_id": "1"}}}, "fixtures.episode.person_ids: is missing"),
    "person is no UUID": ({"fixtures": {"unseeded_person": {"person_id": "1"}}}, "person_id: must be a UUID"),
    "one of the people is none": (
        {"fixtures": {"episode": {"ep_id": "1", "person_ids": [UUID, 2]}}},
        "fixtures.episode.person_ids[1]: must be a non-empty string",
    ),
    "no bind": ({"page_origin": {"url": "http://localhost"}}, "page_origin.bind: is missing"),
    "bind without a port": ({"stub_vision": {"bind": "127.0.0.1"}}, "stub_vision.bind: must be host:port"),
    "bind to no port": ({"stub_vision": {"bind": "127.0.0.1:65536"}}, "stub_vision.bind: must be host:port"),
    "log is a path": ({"access_log": "access.log"}, "access_log: must be a table"),
    "command is text": ({"purge": {"command": "python purge.py"}}, "purge.command: must be a list"),
    "body is no table": ({"sync": {"json": [1]}}, "sync.json: must be a table"),
    "deep value": ({"badge_junit": json.loads("[" * 900 + "]" * 900)}, "badge_junit: must be a non-empty string"),
    "line break in a key": ({"a\nb": 1}, "a b: unknown key"),
    **{
        f"{key} on production": (
            {"production": True, key: "http://localhost/_states"},
            f"{key}: provider states are not allowed",
        )
        for key in URL_KEYS
        if key.endswith("_states_url")
    },
}

WRONG_URLS = (
    "",
    "localhost:8000",
    "//localhost",
    "/path",
    "ftp://localhost",
    "http://",
    "http://:8000",
    "http:///path",
    "http://localhost:99999",
    "http://localhost:port",
    "http://localhost:0",
    "http://[::1",
    "http://local host",
    "http://localhost/\n",
    "http://localhost/\x00",
    "http://localhost?x=1",
    "http://localhost/?",
    "http://localhost/#top",
    "http://bücher.example",
    "http://user@localhost",
    f"http://user:{SECRET}@localhost",
    f"http://:{SECRET}@",
    f"user:{SECRET}@localhost",
)


@pytest.mark.parametrize("table, message", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(table: dict[str, Any], message: str) -> None:
    line = message_of({"production": False, **table})
    assert line.startswith("environments.staging.")
    assert message in line
    assert SECRET not in line
    assert "\n" not in line


@pytest.mark.parametrize("url", WRONG_URLS)
@pytest.mark.parametrize("key", ["backend_url", "app_states_url"])
def test_a_malformed_url_is_named(key: str, url: str) -> None:
    line = message_of({"production": False, key: url})
    assert line.startswith(f"environments.staging.{key}: must be ")
    assert SECRET not in line
    assert "\n" not in line


def test_production_must_be_said() -> None:
    assert message_of({"backend_url": "http://localhost"}) == "environments.staging.production: is missing"


ONE = "[environments.one]\nproduction = false\n"
WRONG_FILES: dict[str, tuple[bytes, str | None, str]] = {
    "empty": (b"", None, "has no [environments.NAME] table"),
    "no environment": (b"environments = 1", None, "has no [environments.NAME] table"),
    "environment is no table": (b"environments.one = 1", None, "environments.one: must be a table"),
    "another table": (b"[environment.one]", None, "environment: unknown key"),
    "not TOML": (b"[environments", None, "is not TOML"),
    "not UTF-8": (b"\xff", None, "is not TOML"),
    "a key twice": (b"[environments.one]\na = 1\na = 2", None, "is not TOML"),
    "too many digits": (b"a = " + b"9" * 5000, None, "is not TOML"),
    "nested too deeply": (b"a = " + b"[" * 100_000, None, "is not TOML"),
    "several, none named": ((ONE + "[environments.two]").encode(), None, "choose one by --env: one, two"),
    "no such name": (ONE.encode(), "two", "has no environment 'two' (it has: one)"),
}


@pytest.mark.parametrize("content, name, message", WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_file_is_named(tmp_path: Path, content: bytes, name: str | None, message: str) -> None:
    path = tmp_path / "environments.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_file(path, name)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["nothing.toml", "."])
def test_a_file_that_cannot_be_read_is_named(path: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_file(Path(path), None)


def test_one_environment_needs_no_name(tmp_path: Path) -> None:
    path = tmp_path / "environments.toml"
    path.write_text(ONE)
    assert read_file(path, None) == read_file(path, "one") == EnvironmentSource("one", {"production": False})


# --- anything at all -------------------------------------------------------------------------------------------------

_scalars = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=10),
    st.dates(),
    st.sampled_from(("http://localhost", UUID, "a:1", "backend")),
)
_anything = st.recursive(
    _scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(("env", "optional", "bind", "url", "path", "person_id", "x")), inner),
    ),
    max_leaves=6,
)
_tables = st.builds(
    lambda base, changed, left_out: {k: v for k, v in {**base, **changed}.items() if k not in left_out},
    st.sampled_from(({}, FULL)),
    st.dictionaries(st.sampled_from((*FULL, "unknown")), _anything, max_size=2),
    st.sets(st.sampled_from(tuple(FULL)), max_size=2),
)


def told(read: Callable[[], Environment]) -> str:
    """What is said of an environment, nothing where it is right; any other error is a bug."""
    try:
        read()
    except UsageError as error:
        return str(error)
    return ""


@given(_tables)
def test_any_table_is_an_environment_or_one_line(table: dict[str, Any]) -> None:
    assert "\n" not in told(lambda: resolve(table))


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=200).map(str.encode),
        st.lists(st.sampled_from(("[", "]", "environments", ".", "x", "=", '"', "'", "{", "}", "\n", "1", ",", "#")))
        .map("".join)
        .map(str.encode),
    )
)
@example(b"[environments.x]\nproduction." + b"a." * 2000 + b"a = 1")
@example(b"[environments.x]\nproduction = false\nsync.json." + b"a." * 2000 + b"a = 1")
def test_any_file_is_an_environment_or_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "environments.toml"
    path.write_bytes(content)
    assert "\n" not in told(lambda: environment.resolve(read_file(path, None)))
