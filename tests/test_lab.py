"""The lab: what it answers on the wire, what it writes down, and how its process lives."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator

import httpx
import pytest

from conformance import bundled
from conformance.errors import UsageError
from conformance.lab import UNSCRIPTED, answers
from conformance.lab.answers import Answer
from conformance.lab.client import Lab, LabProcess

HTTP = httpx.Client(timeout=30)
ROWS = [{"served_url": f"http://photos.invalid/{number}.jpg"} for number in range(5)]


@pytest.fixture(scope="module")
def process() -> Iterator[LabProcess]:
    process = LabProcess()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def lab(process: LabProcess) -> Iterator[Lab]:
    lab = Lab(process.control_url)
    yield lab
    lab.close()


@pytest.fixture
def person_id() -> str:
    return str(uuid.uuid4())


def photos(lab: Lab, person_id: str, **query: object) -> httpx.Response:
    """A person's photos, as a consumer asks for them."""
    url = f"{lab.stub_url}/api/v1/screenalytics/people/{person_id}/photos"
    return HTTP.get(url, params={key: str(value) for key, value in query.items()})


# --- answers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer, status, text, word",
    [
        (answers.rows(ROWS), 200, json.dumps(ROWS), "rows(5)"),
        (answers.empty(), 200, "[]", "empty"),
        (answers.status(503), 503, '{"detail": "Service Unavailable"}', "503"),
        (answers.status(204), 204, "", "204"),
        (answers.redirect(), 302, "[]", "302"),
        (answers.json_value({"photos": []}), 200, '{"photos": []}', "no array"),
        (answers.raw(b"\xff"), 200, "\ufffd", "not JSON"),
        (answers.slow(answers.rows(ROWS[:1]), 0.05), 200, json.dumps(ROWS[:1]), "rows(1)"),
    ],
    ids=lambda value: value.word if isinstance(value, Answer) else "",
)
def test_whole_answers(lab: Lab, person_id: str, answer: Answer, status: int, text: str, word: str) -> None:
    lab.script_photos(person_id, seeds=[answer])
    received = photos(lab, person_id, seed_only="true")
    assert (received.status_code, received.text) == (status, text)
    call = lab.calls(person_id)[0]
    assert (call.answer, call.scripted) == (word, True)


@pytest.mark.parametrize(
    "answer, error",
    [
        (answers.cut_short(ROWS), "without sending complete message body"),
        (answers.cut_short([], missing=9), r"received 2 bytes, expected 11"),
        (answers.cut_short(ROWS, framing="chunked"), "incomplete chunked read"),
        (answers.cut_short([], framing="chunked", missing=9), "incomplete chunked read"),
        (answers.reset(), "reset by peer"),
        (answers.close(), "without sending a response"),
    ],
    ids=lambda value: value.word if isinstance(value, Answer) else "",
)
def test_broken_answers(lab: Lab, person_id: str, answer: Answer, error: str) -> None:
    lab.script_photos(person_id, seeds=[answer])
    with pytest.raises(httpx.TransportError, match=error):
        photos(lab, person_id, seed_only="true")
    call = lab.calls(person_id)[0]
    assert (call.answer, call.completed) == (answer.word, False)


def test_chunks_for_a_peer_that_knows_none_have_a_length(lab: Lab, person_id: str) -> None:
    lab.script_photos(person_id, seeds=[answers.cut_short([], framing="chunked", missing=9)])
    path = f"/api/v1/screenalytics/people/{person_id}/photos?seed_only=true"
    assert b"content-length: 11\r\n" in raw(lab, f"GET {path} HTTP/1.0\r\n\r\n").lower()


def test_the_last_answer_of_a_sequence_repeats(lab: Lab, person_id: str) -> None:
    lab.script_photos(person_id, seeds=[answers.status(503), answers.status(500), answers.rows(ROWS)])
    assert [photos(lab, person_id, seed_only="true").status_code for _ in range(4)] == [503, 500, 200, 200]


def test_a_list_is_answered_in_pages(lab: Lab, person_id: str) -> None:
    lab.script_photos(person_id, every=[answers.rows(ROWS)])
    pages = [photos(lab, person_id, limit=2, offset=offset).json() for offset in (0, 2, 4, 6)]
    assert pages == [ROWS[0:2], ROWS[2:4], ROWS[4:], []]
    assert [call.answer for call in lab.calls(person_id)] == ["rows(2)", "rows(2)", "rows(1)", "empty"]


def test_the_two_lists_have_scripts_of_their_own(lab: Lab, person_id: str) -> None:
    lab.script_photos(person_id, seeds=[answers.empty()], every=[answers.rows(ROWS)])
    asked = ("true", "false", "1", "False")
    assert [len(photos(lab, person_id, seed_only=value).json()) for value in asked] == [0, 5, 0, 5]
    assert photos(lab, person_id, seed_only="maybe").status_code == 422


def test_an_answer_is_held_until_it_is_released(lab: Lab, person_id: str) -> None:
    lab.script_photos(person_id, seeds=[answers.held(answers.rows(ROWS))])
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(photos(lab, person_id, seed_only="true").status_code))
    thread.start()
    call = lab.calls(person_id, at_least=1, within_s=5)[0]
    assert (call.ended, found) == (None, [])
    lab.release(person_id)
    thread.join(5)
    assert found == [200]


def test_a_peer_that_leaves_ends_the_wait(lab: Lab, person_id: str) -> None:
    lab.script_photos(person_id, seeds=[answers.hold()])
    url = f"{lab.stub_url}/api/v1/screenalytics/people/{person_id}/photos?seed_only=true"
    with pytest.raises(httpx.ReadTimeout):
        HTTP.get(url, timeout=0.1)
    photos(lab, person_id, seed_only="maybe")  # by now the lab has heard of it
    call = lab.calls(person_id)[0]
    assert (call.answer, call.completed) == ("timeout", False)
    assert call.ended is not None


def test_a_toggle_is_echoed(lab: Lab, person_id: str) -> None:
    link_id = str(uuid.uuid4())
    lab.script(link_id, answers.toggled())
    url = f"{lab.stub_url}/api/v1/admin/person/{person_id}/gallery/{link_id.upper()}/facebank-seed"
    assert HTTP.patch(url, json={"facebank_seed": True}).json() == {
        "link_id": link_id.upper(),
        "person_id": person_id,
        "facebank_seed": True,
    }
    assert HTTP.patch(url, json={"facebank_seed": "yes"}).status_code == 422
    assert HTTP.put(url, json={"facebank_seed": True}).status_code == 405
    assert [call.operation for call in lab.calls(link_id)] == ["toggle", "toggle"]


def test_pictures_are_served_and_each_is_another(lab: Lab, person_id: str) -> None:
    first, second = (HTTP.get(lab.image_url(person_id)) for _ in range(2))
    assert first.headers["Content-Type"] == "image/png"
    assert first.content.startswith(b"\x89PNG")
    assert first.content != second.content
    head = HTTP.head(lab.image_url(person_id))
    assert (head.status_code, head.content) == (200, b"")
    assert [call.operation for call in lab.calls(person_id)] == ["image"] * 3


# --- journal ---------------------------------------------------------------------------------------------------------


def test_what_nobody_scripted_is_a_404_and_written_down(lab: Lab, person_id: str) -> None:
    assert photos(lab, person_id, seed_only="true").status_code == 404
    other = HTTP.post(f"{lab.stub_url}/elsewhere/{person_id}?x=%2e%2e", content=b"\xff", headers={"X-Mine": "1"})
    assert (other.status_code, other.json()) == (404, {"detail": "Not Found"})
    first, second = (call for call in lab.calls(UNSCRIPTED) if person_id in call.target)
    assert (first.key, second.key, second.operation) == (person_id, "", "other")
    assert (second.target, second.body, second.header("x-mine")) == (f"/elsewhere/{person_id}?x=%2e%2e", "\xff", "1")
    assert lab.calls_containing(person_id) == [first, second]
    assert [call.number for call in lab.all_calls()] == sorted(call.number for call in lab.all_calls())
    assert lab.count >= second.number > first.number


def test_the_path_is_kept_as_it_was_sent(lab: Lab) -> None:
    link_id = str(uuid.uuid4())
    lab.script(link_id, answers.toggled())
    body = '{"facebank_seed": false}'
    target = f"/api/v1/admin/person/a%2F..%2fb/gallery/{link_id}/facebank-seed?x#y"
    said = raw(lab, f"PATCH {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}", expect=b"}")
    assert b'"person_id": "a/../b"' in said
    assert [call.target for call in lab.calls(link_id)] == [target]


def test_what_is_no_http_is_refused(lab: Lab) -> None:
    assert raw(lab, "nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def raw(lab: Lab, request: str, expect: bytes | None = None) -> bytes:
    """What comes back for these bytes until the connection ends, or until `expect` ends it."""
    host, port = httpx.URL(lab.stub_url).host, httpx.URL(lab.stub_url).port
    received = b""
    with socket.create_connection((host, port or 80), timeout=30) as connection:
        connection.sendall(request.encode("latin-1"))
        while expect is None or not received.endswith(expect):
            chunk = connection.recv(4096)
            if not chunk:
                break
            received += chunk
    return received


# --- process ---------------------------------------------------------------------------------------------------------


def test_an_address_in_use_is_a_usage_error(process: LabProcess) -> None:
    taken = process.urls["stub_backend"].removeprefix("http://")
    with pytest.raises(UsageError, match=f"stub_backend: {taken}"):
        LabProcess({"stub_backend": {"bind": taken}})


def test_the_lab_says_how_the_target_reaches_it() -> None:
    process = LabProcess({"stub_backend": {"bind": "127.0.0.1:0", "url": "http://stub.test:8787"}})
    lab = Lab(process.control_url)
    assert lab.stub_url == "http://stub.test:8787"
    lab.close()
    process.stop()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="waits for the end of a process that is not its child")
def test_the_lab_ends_with_its_parent() -> None:
    program = (
        "from conformance.lab.client import LabProcess; p = LabProcess(); print(p._process.pid, flush=True); input()"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=bundled.variables(),
    )
    assert parent.stdout is not None
    ended = os.pidfd_open(int(parent.stdout.readline()))
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    assert select.select([ended], [], [], 10)[0]
    os.close(ended)
