"""No text that went through the redactor holds a secret, in any spelling; nothing else is lost from it."""

from __future__ import annotations

import base64
import html
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from conformance.redaction import MAX_DEPTH, MIN_CUT, Redactor

NAME = "service_role_token"
MARK = f"<redacted:{NAME}>"

# at least as long as what a person would call a secret, and not part of the mark that takes its place
secrets = st.text(st.characters(exclude_categories=["Cs"]), min_size=6, max_size=40).filter(
    lambda secret: secret.strip().casefold() and secret.casefold() not in MARK
)
around = st.text(max_size=20)


def redactor_of(**secrets_by_name: str) -> Redactor:
    redactor = Redactor()
    for name, secret in secrets_by_name.items():
        assert redactor.add(name, secret) == secret
    return redactor


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda secret: secret,
    "in upper case": str.upper,
    "in lower case": str.lower,
    "in the other case": str.swapcase,
    "in a URL": lambda secret: quote(secret, safe=""),
    "in a path": quote,
    "in a form": quote_plus,
    "in a URL, lower case": lambda secret: quote(secret, safe="").lower(),
    "in JSON": lambda secret: json.dumps(secret)[1:-1],
    "in JSON of UTF-8": lambda secret: json.dumps(secret, ensure_ascii=False)[1:-1],
    "in HTML": html.escape,
    "as a repr": lambda secret: repr(secret)[1:-1],
    "as a repr of bytes": lambda secret: repr(secret.encode())[2:-1],
    "as bytes read as Latin-1": lambda secret: secret.encode().decode("latin-1"),
    "in base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "in base64 for URLs": lambda secret: base64.urlsafe_b64encode(secret.encode()).decode(),
}
ONE_TO_ONE = ("in upper case", "in lower case", "in the other case", "in a URL, lower case")


@pytest.mark.parametrize("spell", SPELLINGS.values(), ids=SPELLINGS)
@given(secret=secrets, before=around, after=around)
@example(secret="straße-ſecret", before="x", after="y")
@example(secret="a b+c/d?e'f\"g\\h<i>", before="", after="")
@example(secret="eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl", before="Bearer ", after=",")
def test_no_spelling_of_a_secret_is_left(spell: Callable[[str], str], secret: str, before: str, after: str) -> None:
    spelled = spell(secret)
    # "ß" is "SS" in upper case: then it is no longer the same text in another case
    assume(len(spelled) == len(secret) or not any(spell is SPELLINGS[name] for name in ONE_TO_ONE[:3]))
    text = before + spelled + after
    redacted = redactor_of(**{NAME: secret}).text(text)
    assert spelled.casefold() not in redacted.casefold().replace(MARK, "\0")
    assert MARK in redacted


@given(secret=secrets, text=st.text())
def test_text_without_the_secret_is_left_alone(secret: str, text: str) -> None:
    redactor = redactor_of(**{NAME: secret})
    redacted = redactor.text(text)
    assert redacted == text or MARK in redacted
    assert redactor.text("") == ""


@given(secret=secrets, before=around, after=around)
def test_redacting_twice_is_redacting_once(secret: str, before: str, after: str) -> None:
    redactor = redactor_of(**{NAME: secret})
    once = redactor.text(f"{before} {secret} {after}")
    assume(secret.casefold() not in once.casefold())
    assert redactor.text(once) == once


def test_nothing_is_redacted_without_secrets() -> None:
    assert Redactor().text("a text") == "a text"
    redactor = redactor_of(empty="")
    assert redactor.text("a text") == "a text"


SECRET = "S3cret-Value"
DERIVED: dict[str, Callable[[str], str]] = {
    "doubled": lambda secret: secret + secret,
    "in quotes": lambda secret: f'"{secret}"',
    "with one more": lambda secret: f"{secret}x",
    "with one in front": lambda secret: f"x{secret}",
    "a thousand times": lambda secret: secret * 1000,
}


@pytest.mark.parametrize("make", DERIVED.values(), ids=DERIVED)
@pytest.mark.parametrize("secret_first", [True, False])
def test_what_is_made_from_a_secret_is_replaced_whole(make: Callable[[str], str], secret_first: bool) -> None:
    named = {"secret": SECRET, "derived": make(SECRET)}
    redactor = redactor_of(**(named if secret_first else dict(reversed(named.items()))))
    assert redactor.text(f"[{make(SECRET)}]") == "[<redacted:derived>]"
    assert redactor.text(f"[{SECRET}]") == "[<redacted:secret>]"


def test_a_part_of_a_secret_has_its_own_name() -> None:
    redactor = redactor_of(secret=SECRET, half=SECRET[:6])
    assert redactor.text(f"{SECRET} {SECRET[:6]}!") == "<redacted:secret> <redacted:half>!"


def test_a_secret_under_two_names_keeps_the_first() -> None:
    assert redactor_of(first=SECRET, second=SECRET.upper()).text(SECRET) == "<redacted:first>"


def test_a_later_secret_counts_at_once() -> None:
    redactor = redactor_of(first=SECRET)
    assert redactor.text("another-secret") == "another-secret"
    redactor.add("second", "another-secret")
    assert redactor.text("another-secret") == "<redacted:second>"


def test_every_string_of_a_value_is_redacted() -> None:
    value = {"a": [SECRET, {"b": (f"x {SECRET}", 1, None, True)}], f"key {SECRET}": SECRET}
    mark = "<redacted:secret>"
    assert redactor_of(secret=SECRET).value(value) == {
        "a": [mark, {"b": [f"x {mark}", 1, None, True]}],
        f"key {mark}": mark,
    }


def test_a_value_that_is_nested_without_end_is_cut() -> None:
    deep: Any = SECRET
    for _ in range(100_000):
        deep = [deep]
    text = json.dumps(redactor_of(secret=SECRET).value(deep))
    assert len(text) < 3 * MAX_DEPTH + 10
    assert SECRET not in text


def test_what_no_file_or_pipe_takes_becomes_text() -> None:
    assert Redactor().value({"\ud800": [1e999, -1e999, "\udfff"]}) == {"\\ud800": ["inf", "-inf", "\\udfff"]}


def test_a_secret_with_quotes_is_found_in_a_repr_with_other_quotes() -> None:
    secret = "it's-a-secret"
    assert "secret" not in redactor_of(name=secret).text(repr(f'"{secret}"'))


@pytest.mark.parametrize("piece", ["Q!", "I!", "u", "acc"])
def test_short_pieces_of_secrets_leave_ordinary_words_alone(piece: str) -> None:
    """In base64 `Q!` is `USE`, which is in `clauses`: a report without its keys is no report."""
    redactor = Redactor()
    redactor.add_derived("secret, its first character", piece)
    assert redactor.value({"clauses": ["passed", "accepted"]}) == {"clauses": ["passed", "accepted"]}


def test_short_secrets_are_redacted_as_they_stand() -> None:
    """A secret of two characters is redacted where it stands, and not as base64, which ordinary words contain."""
    redactor = Redactor()
    redactor.add("secret", "Q!")
    assert redactor.value({"clauses": "is Q!"}) == {"clauses": "is <redacted:secret>"}


@given(secret=st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=16, max_size=60), data=st.data())
def test_a_secret_in_whose_middle_a_text_ends_is_redacted(secret: str, data: st.DataObject) -> None:
    kept = data.draw(st.integers(MIN_CUT, len(secret)))
    assert redactor_of(**{NAME: secret}).text(f"said: {secret[:kept]}") == f"said: {MARK}"


@given(secret=secrets, before=around, size=st.integers(0, 60))
def test_the_beginning_of_a_text_is_cut_at_no_secret(secret: str, before: str, size: int) -> None:
    assume(secret.casefold() not in before.casefold())
    beginning = redactor_of(**{NAME: secret}).beginning(before + secret + "end", size)
    assert secret not in beginning
    assert MARK in beginning or beginning == redactor_of(**{NAME: secret}).text((before + secret + "end")[:size])
    assert size <= len(before) or MARK in beginning


def test_megabytes_are_redacted_at_once() -> None:
    redactor = redactor_of(**{f"secret_{number}": f"{number}-a-long-secret" for number in range(8)})
    text = "'\"\\&<" * 2_000_000
    started = time.monotonic()
    assert redactor.text(text) == text
    assert time.monotonic() - started < 5  # it was minutes
