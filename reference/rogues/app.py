"""Rogues of the app, in the order of their main clauses: each a mistake that a tired colleague could make."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
import zlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, LiteralString
from urllib.parse import unquote
from uuid import UUID

import httpx
import jwt
import yaml
from fastapi import HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from reference.app import SECRET_HEADER, SESSION_COOKIE, App, Backdrop, Connection, Season, Settings
from reference.rogues import rogue

# PRX-01: the admin toggles


@rogue(breaks=["PRX-01"])
class AnswerWrapped(App):
    """Answers with the backend's answer as the member `data` of its own."""

    def answer(self, response: httpx.Response) -> Response:
        answer = super().answer(response)
        return self.json({"data": response.json()}) if answer.status_code == 200 else answer


@rogue(breaks=["PRX-01"])
class AcceptedIsNoContent(App):
    """Answers 204 where the backend took the toggle."""

    def answer(self, response: httpx.Response) -> Response:
        answer = super().answer(response)
        return Response(status_code=204) if answer.status_code == 200 else answer


@rogue(breaks=["PRX-01", "PRX-03"])
class FlagReversed(App):
    """Sends the value that the link has, as the browser shows it, and not the one it is to get."""

    def toggle_body(self, body: Any, flag: bool) -> Any:
        return {"facebank_seed": not flag}


@rogue(breaks=["PRX-01"])
class AnswersKept(App):
    """Keeps the answer to a toggle, and gives it to whoever asks for the same again."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.kept: dict[tuple[str, str, bool], httpx.Response] = {}

    async def send_toggle(self, request: Request, person_id: str, link_id: str, body: Any) -> httpx.Response:
        key = person_id, link_id, body["facebank_seed"]
        if key not in self.kept:
            self.kept[key] = await super().send_toggle(request, person_id, link_id, body)
        return self.kept[key]


@rogue(breaks=["PRX-01", "PRX-07"])
class UnchangedNotSent(App):
    """Answers by itself where the link was last toggled to the same value."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.last: dict[tuple[str, str], bool] = {}

    async def send_toggle(self, request: Request, person_id: str, link_id: str, body: Any) -> httpx.Response:
        key, flag = (person_id, link_id), body["facebank_seed"]
        if self.last.get(key) is flag:
            return httpx.Response(200, json={"link_id": link_id, "person_id": person_id, "facebank_seed": flag})
        response = await super().send_toggle(request, person_id, link_id, body)
        if response.is_success:
            self.last[key] = flag
        return response


# PRX-02: who may


@rogue(breaks=["PRX-02"])
class UserMayToggle(App):
    """Asks for a session, and not for whose it is."""

    def is_allowlisted(self, claims: Mapping[str, Any]) -> bool:
        return True


@rogue(breaks=["PRX-02"])
class AllowlistByDomain(App):
    """Lets everybody pass whose address is at an allowlisted person's domain."""

    def is_allowlisted(self, claims: Mapping[str, Any]) -> bool:
        domain = str(claims.get("email")).lower().rpartition("@")[2]
        return any(email.endswith(domain) for email in self.settings.admin_emails)


@rogue(breaks=["PRX-02"])
class SessionNotVerified(App):
    """Decodes the session without a look at its signature."""

    def verify_session(self, token: str) -> Mapping[str, Any] | None:
        try:
            claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError:
            return None
        return claims


@rogue(breaks=["PRX-02"])
class NoSessionIsForbidden(App):
    """Answers 403 to whoever has no session."""

    def authorize(self, request: Request) -> None:
        try:
            super().authorize(request)
        except HTTPException as refusal:
            raise HTTPException(403, "forbidden") from refusal


@rogue(breaks=["PRX-02"])
class NoSessionGoesToLogin(App):
    """Sends whoever has no session to the login page."""

    def authorize(self, request: Request) -> None:
        try:
            super().authorize(request)
        except HTTPException as refusal:
            if refusal.status_code == 401:
                raise HTTPException(307, "/login") from refusal
            raise


@rogue(breaks=["PRX-02"])
class SwitchingOffIsFree(App):
    """Asks who calls only where a seed is added."""

    def authorize(self, request: Request) -> None:
        if request.method != "PATCH":
            super().authorize(request)

    async def send_toggle(self, request: Request, person_id: str, link_id: str, body: Any) -> httpx.Response:
        if body["facebank_seed"]:
            super().authorize(request)
        return await super().send_toggle(request, person_id, link_id, body)


@rogue(breaks=["PRX-02"])
class RefusedTooLate(App):
    """Calls the backend and looks at the session meanwhile: the answer is a refusal, the flag is set."""

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        body = await self.read_body(request)
        flag = self.parse_flag(body)
        person, link = self.path_parameter(person_id), self.path_parameter(link_id)
        sent = await self.send_toggle(request, person, link, self.toggle_body(body, flag))
        self.authorize(request)
        return self.answer(sent)


@rogue(breaks=["PRX-02"])
class InternalSecretOpensTheDoor(App):
    """Takes the backend's internal secret for a session."""

    def authorize(self, request: Request) -> None:
        if request.headers.get(SECRET_HEADER) != self.settings.internal_secret:
            super().authorize(request)


@rogue(breaks=["PRX-02"])
class DeleteNotGuarded(App):
    """Leaves the session out of the delete proxy."""

    def authorize(self, request: Request) -> None:
        if request.method != "DELETE":
            super().authorize(request)


@rogue(breaks=["PRX-02"])
class StreamOpenToUsers(App):
    """Asks for a session before an import, and not for an admin's."""

    def authorize(self, request: Request) -> None:
        try:
            super().authorize(request)
        except HTTPException as refusal:
            if refusal.status_code != 403 or not request.url.path.endswith("/import/stream"):
                raise


# PRX-03: what the backend receives


@rogue(breaks=["PRX-03"])
class SecretForgotten(App):
    """Sends no internal secret."""

    def toggle_headers(self, request: Request) -> dict[str, str]:
        return self.service_headers(request)


@rogue(breaks=["PRX-03"])
class SecretOnlyForOn(App):
    """Sends the internal secret as the token too where a seed is taken away."""

    async def send_toggle(self, request: Request, person_id: str, link_id: str, body: Any) -> httpx.Response:
        request.state.off = not body["facebank_seed"]
        return await super().send_toggle(request, person_id, link_id, body)

    def toggle_headers(self, request: Request) -> dict[str, str]:
        headers = super().toggle_headers(request)
        return headers | {"Authorization": f"Bearer {headers[SECRET_HEADER]}"} if request.state.off else headers


@rogue(breaks=["PRX-03"])
class TokenWithoutScheme(App):
    """Sends the service-role token without `Bearer`."""

    def service_headers(self, request: Request) -> dict[str, str]:
        return {"Authorization": str(self.settings.service_role_token)}


@rogue(breaks=["PRX-03"])
class SentAsPut(App):
    """Sends the toggle as PUT, and as PATCH only where that is not allowed."""

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: Any, params: Sequence[tuple[str, str]]
    ) -> httpx.Response:
        if method == "PATCH":
            response = await super().send("PUT", url, headers, body, params)
            if response.status_code != 405:
                return response
        return await super().send(method, url, headers, body, params)


@rogue(breaks=["PRX-03"])
class SeedMemberToo(App):
    """Sends the value under its old name as well."""

    def toggle_body(self, body: Any, flag: bool) -> Any:
        return {"facebank_seed": flag, "seed": flag}


@rogue(breaks=["PRX-03"])
class FlagInTheQueryToo(App):
    """Repeats the value in the query, for the log."""

    async def call_backend(self, method: str, path: str, headers: Mapping[str, str], **more: Any) -> httpx.Response:
        if method == "PATCH":
            more["params"] = [("facebank_seed", str(more["body"]["facebank_seed"]).lower())]
        return await super().call_backend(method, path, headers, **more)


@rogue(breaks=["PRX-03"])
class QueryPassedOn(App):
    """Hands the browser's query on to the backend."""

    async def send_toggle(self, request: Request, person_id: str, link_id: str, body: Any) -> httpx.Response:
        return await self.call_backend(
            "PATCH",
            self.toggle_path(person_id, link_id),
            self.toggle_headers(request),
            body=body,
            params=request.query_params.multi_items(),
            timeout_s=self.settings.toggle_timeout_s,
        )


# PRX-04: what the browser sends


@rogue(breaks=["PRX-04", "PRX-03"])
class BrowsersAuthorizationPassedOn(App):
    """Hands the browser's own `Authorization` on in place of the service's."""

    def service_headers(self, request: Request) -> dict[str, str]:
        given = request.headers.get("authorization")
        return {"Authorization": given} if given else super().service_headers(request)


@rogue(breaks=["PRX-04"])
class SessionAlongside(App):
    """Hands the session on in a header of its own, so that the backend knows who it was."""

    def toggle_headers(self, request: Request) -> dict[str, str]:
        return super().toggle_headers(request) | {"X-Forwarded-Authorization": self.session_token(request) or ""}


@rogue(breaks=["PRX-04"])
class BrowsersSecretWins(App):
    """Sends the internal secret that the browser gave, where it gave one."""

    def toggle_headers(self, request: Request) -> dict[str, str]:
        headers = super().toggle_headers(request)
        return headers | {SECRET_HEADER: request.headers.get(SECRET_HEADER, headers[SECRET_HEADER])}


@rogue(breaks=["PRX-04"])
class WholeBodyPassedOn(App):
    """Hands the browser's body on as it is."""

    def toggle_body(self, body: Any, flag: bool) -> Any:
        return body


@rogue(breaks=["PRX-04"])
class CaptionPassedOn(App):
    """Hands on those members of the body that a link has too."""

    def toggle_body(self, body: Any, flag: bool) -> Any:
        return {name: body[name] for name in ("facebank_seed", "caption", "kind") if name in body}


# PRX-05: values that are no booleans


@rogue(breaks=["PRX-05"])
class AnythingIsABoolean(App):
    """Converts whatever is there."""

    def parse_flag(self, body: Any) -> bool:
        if not isinstance(body, dict) or "facebank_seed" not in body:
            return super().parse_flag(body)
        return bool(body["facebank_seed"])


@rogue(breaks=["PRX-05"])
class WordsAreBooleans(App):
    """Reads `"true"` and `"false"` as booleans."""

    def parse_flag(self, body: Any) -> bool:
        flag = body.get("facebank_seed") if isinstance(body, dict) else None
        return flag == "true" if flag in ("true", "false") else super().parse_flag(body)


@rogue(breaks=["PRX-05"])
class NumbersAreBooleans(App):
    """Looks the value up among true and false, where 1 and 0 are found as well."""

    def parse_flag(self, body: Any) -> bool:
        flag = body.get("facebank_seed") if isinstance(body, dict) else None
        return bool(flag) if isinstance(flag, int | float) and flag in (True, False) else super().parse_flag(body)


@rogue(breaks=["PRX-05"])
class MissingMeansOff(App):
    """Takes a missing value for false."""

    def parse_flag(self, body: Any) -> bool:
        if isinstance(body, dict) and "facebank_seed" not in body:
            return False
        return super().parse_flag(body)


@rogue(breaks=["PRX-05"])
class ValueLeftToTheBackend(App):
    """Hands any value on, and lets the backend refuse it."""

    def parse_flag(self, body: Any) -> bool:
        return isinstance(body, dict) and body.get("facebank_seed") is True

    def toggle_body(self, body: Any, flag: bool) -> Any:
        return {"facebank_seed": body.get("facebank_seed") if isinstance(body, dict) else body}


@rogue(breaks=["PRX-05"])
class BadBodyIsAServerError(App):
    """Answers 500 where the body is not JSON."""

    async def read_body(self, request: Request) -> Any:
        try:
            return await super().read_body(request)
        except HTTPException as refusal:
            raise HTTPException(500, "unexpected end of JSON input") from refusal


# PRX-06: the backend's refusals


@rogue(breaks=["PRX-06"])
class RefusalIsASuccess(App):
    """Answers 200 with the refusal in the body."""

    def error_status(self, response: httpx.Response) -> int:
        return 200 if response.status_code == 403 else super().error_status(response)


@rogue(breaks=["PRX-06"])
class StatusLost(App):
    """Answers 500 whatever the backend refused."""

    def error_status(self, response: httpx.Response) -> int:
        return 500


@rogue(breaks=["PRX-06"])
class ConflictIsABadRequest(App):
    """Answers 400 for every 4xx that the browser knows nothing of."""

    def error_status(self, response: httpx.Response) -> int:
        return 400 if response.status_code in (409, 422) else super().error_status(response)


@rogue(breaks=["PRX-06"])
class BadGatewayIsHidden(App):
    """Answers 503 for the backend's 502."""

    def error_status(self, response: httpx.Response) -> int:
        return 503 if response.status_code == 502 else super().error_status(response)


@rogue(breaks=["PRX-06"])
class MessageLost(App):
    """Answers a refusal without a body."""

    def error(self, status: int, message: str) -> Response:
        return Response(status_code=status) if message.startswith("refused") else super().error(status, message)


@rogue(breaks=["PRX-06", "PRX-12"])
class NoDetailNoMessage(App):
    """Has nothing to say where the backend's answer has no `detail`."""

    def error_message(self, response: httpx.Response) -> str:
        message = super().error_message(response)
        return "" if message.startswith("the backend answered") else message


@rogue(breaks=["PRX-06"])
class WebPageIsUnreachable(App):
    """Takes a refusal that is not JSON for a backend that is not there."""

    def error_status(self, response: httpx.Response) -> int:
        declared = response.headers.get("content-type", "")
        return super().error_status(response) if "json" in declared or not response.content else 502


# PRX-07: a backend that is not there


@rogue(breaks=["PRX-07", "PRX-12"])
class UnreachableIsASuccess(App):
    """Answers 200 where the backend can't be reached, as if it had been told."""

    def unreachable(self, error: Exception) -> httpx.Response:
        return httpx.Response(200, json={"queued": True})


@rogue(breaks=["PRX-07", "PRX-12"])
class ResetIsAccepted(App):
    """Answers 202 where the connection breaks after the toggle was sent: it will have arrived."""

    def unreachable(self, error: Exception) -> httpx.Response:
        if isinstance(error, httpx.ReadError):
            return httpx.Response(202, json={})
        return super().unreachable(error)


@rogue(breaks=["PRX-07"])
class UnreachableIsABadRequest(App):
    """Answers 400 where the backend can't be reached."""

    def unreachable(self, error: Exception) -> httpx.Response:
        raise HTTPException(400, "the toggle failed") from error


@rogue(breaks=["PRX-07"])
class TriesForever(App):
    """Sends a toggle again until the backend answers."""

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: Any, params: Sequence[tuple[str, str]]
    ) -> httpx.Response:
        while True:
            try:
                return await super().send(method, url, headers, body, params)
            except httpx.TransportError:
                await asyncio.sleep(0.2)

    async def call_backend(self, method: str, path: str, headers: Mapping[str, str], **more: Any) -> httpx.Response:
        return await super().call_backend(method, path, headers, **(more | {"timeout_s": 600}))


# PRX-08: secrets


@rogue(breaks=["PRX-08"])
class ErrorShowsTheRequest(App):
    """Tells in its error what was sent to the backend that can't be reached."""

    def unreachable(self, error: Exception) -> httpx.Response:
        raise HTTPException(502, f"{error!r}: Bearer {self.settings.service_role_token}") from error


@rogue(breaks=["PRX-08"])
class RefusalExplained(App):
    """Adds to a 403 of the backend which secret it did not like."""

    def error_message(self, response: httpx.Response) -> str:
        message = super().error_message(response)
        return f"{message} (secret {self.settings.internal_secret})" if response.status_code == 403 else message


@rogue(breaks=["PRX-08"])
class DebugHeader(App):
    """Leaves a header in its answers that tells how the backend was called."""

    def json(self, value: Any, status: int = 200) -> Response:
        response = super().json(value, status)
        if status == 200:
            response.headers["X-Debug"] = f"{SECRET_HEADER}={self.settings.internal_secret}"
        return response


@rogue(breaks=["PRX-08"])
class RedirectCarriesTheToken(App):
    """Hands a redirect of the backend on, with the token to be used there."""

    def answer(self, response: httpx.Response) -> Response:
        if not response.is_redirect:
            return super().answer(response)
        location = f"{response.headers['location']}?access_token={self.settings.service_role_token}"
        return Response(status_code=response.status_code, headers={"Location": location})


@rogue(breaks=["PRX-08"])
class NotJsonIsDumped(App):
    """Shows the whole exchange where a success of the backend is not JSON, the token in base64."""

    def answer(self, response: httpx.Response) -> Response:
        answer = super().answer(response)
        if not response.is_success or answer.status_code == response.status_code:
            return answer
        token = base64.b64encode(str(self.settings.service_role_token).encode()).decode()
        return self.error(502, f"{response.request.method} with {token} was answered {response.text}")


@rogue(breaks=["PRX-08"])
class DetailIsPassedOn(App):
    """Shows what the backend says of a refusal as it is, also where that repeats a secret."""

    def without_secrets(self, text: str) -> str:
        return text


# PRX-09: hostile path parameters


@rogue(breaks=["PRX-09"])
class ParametersPutInAsTheyAre(App):
    """Writes decoded path parameters into the backend's path."""

    def segment(self, value: str) -> str:
        return value

    def holds_dot_segment(self, value: str) -> bool:
        return False


@rogue(breaks=["PRX-09"])
class SlashesKept(App):
    """Encodes path parameters with a function that leaves slashes alone."""

    def segment(self, value: str) -> str:
        return super().segment(value).replace("%2F", "/")


@rogue(breaks=["PRX-09"])
class QuestionMarksKept(App):
    """Encodes a path parameter as a whole address, in which `?` and `#` have a meaning."""

    def segment(self, value: str) -> str:
        return super().segment(value).replace("%3F", "?").replace("%23", "#")


@rogue(breaks=["PRX-09"])
class DotsForwarded(App):
    """Encodes path parameters, which leaves dots as they are, and refuses none."""

    def holds_dot_segment(self, value: str) -> bool:
        return False


@rogue(breaks=["PRX-09"])
class PlainDotsRefusedAlone(App):
    """Looks for dot segments in the path as it was sent, before it is decoded."""

    def path_parameter(self, raw: str) -> str:
        if raw in (".", ".."):
            raise HTTPException(400, "the path leads elsewhere")
        return unquote(raw)


@rogue(breaks=["PRX-09"])
class DecodedTwice(App):
    """Decodes a path parameter that its router has decoded already."""

    def path_parameter(self, raw: str) -> str:
        return unquote(super().path_parameter(raw))


@rogue(breaks=["PRX-09"])
class DotsRemoved(App):
    """Cleans a path parameter of dot segments, and does not look at what is left."""

    def path_parameter(self, raw: str) -> str:
        return unquote(raw).replace("../", "").replace("..", "")


@rogue(breaks=["PRX-09"])
class LinkNotEncoded(App):
    """Encodes the person's id and forgets the link's."""

    def toggle_path(self, person_id: str, link_id: str) -> str:
        return f"/admin/person/{self.segment(person_id)}/gallery/{link_id}/facebank-seed"


@rogue(breaks=["PRX-09"])
class CutAtControlCharacters(App):
    """Ends a path parameter at the first control character."""

    def path_parameter(self, raw: str) -> str:
        value = super().path_parameter(raw)
        return next((value[:at] for at, character in enumerate(value) if character < " "), value)


@rogue(breaks=["PRX-09"])
class AssetNotEncoded(App):
    """Writes the id of an asset that is deleted into the path as the browser sent it."""

    async def delete_asset(self, request: Request, asset_id: str) -> Response:
        self.authorize(request)
        params = self.delete_query(request.query_params.multi_items())
        return await self.forward(request, "DELETE", f"/admin/media-assets/{unquote(asset_id)}", params=params)


# PRX-02, of the backdrops


@rogue(breaks=["PRX-02"])
class BackdropsForEverybody(App):
    """Leaves the session out where nothing but pictures is shown."""

    def authorize(self, request: Request) -> None:
        if request.method != "GET":
            super().authorize(request)


# PRX-10: exclude

Query = Sequence[tuple[str, str]]


def excluded(given: Query) -> str | None:
    """The last `exclude` of a query."""
    return next((value for name, value in reversed(given) if name == "exclude"), None)


@rogue(breaks=["PRX-10"])
class ExcludeDropped(App):
    """Deletes without a word about the exclusion."""

    def delete_query(self, given: Query) -> Query:
        return []


@rogue(breaks=["PRX-10"])
class AlwaysExcluded(App):
    """Excludes every image that is deleted."""

    def delete_query(self, given: Query) -> Query:
        return [("exclude", "true")]


@rogue(breaks=["PRX-10"])
class FalseLeftOut(App):
    """Sends `exclude` only where it is true, and leaves the rest to the backend's default."""

    def delete_query(self, given: Query) -> Query:
        return [pair for pair in super().delete_query(given) if pair[1] != "false"]


@rogue(breaks=["PRX-10"])
class AbsentMeansKeep(App):
    """Takes an absent `exclude` for false."""

    def delete_query(self, given: Query) -> Query:
        return [("exclude", excluded(given) or "false")]


@rogue(breaks=["PRX-10"])
class ExcludeIsANumber(App):
    """Sends the boolean as 1 or 0."""

    def delete_query(self, given: Query) -> Query:
        return [(name, {"true": "1", "false": "0"}.get(value, value)) for name, value in super().delete_query(given)]


@rogue(breaks=["PRX-10"])
class ExcludeInPython(App):
    """Sends the boolean as its language prints it, `True` or `False`."""

    def delete_query(self, given: Query) -> Query:
        return [(name, value.capitalize()) for name, value in super().delete_query(given)]


@rogue(breaks=["PRX-10"])
class ExcludeUnderAnotherName(App):
    """Sends it as `exclude_from_sync`."""

    def delete_query(self, given: Query) -> Query:
        return [("exclude_from_sync", value) for _, value in super().delete_query(given)]


@rogue(breaks=["PRX-10"])
class DefaultInFront(App):
    """Puts its default before what is given, for the backend to take the last."""

    def delete_query(self, given: Query) -> Query:
        return [("exclude", "true"), *(pair for pair in given if pair[0] == "exclude")]


@rogue(breaks=["PRX-10"])
class OnlySmallTrueIsTrue(App):
    """Compares with `true`, and takes any other word for false."""

    def delete_query(self, given: Query) -> Query:
        return [("exclude", "true" if excluded(given) in (None, "true") else "false")]


@rogue(breaks=["PRX-10"])
class OnlySmallFalseIsFalse(App):
    """Compares with `false`, and takes any other word for true."""

    def delete_query(self, given: Query) -> Query:
        return [("exclude", "false" if excluded(given) == "false" else "true")]


@rogue(breaks=["PRX-10"])
class ExcludeOnlyAlone(App):
    """Looks whether the query is `exclude=false`, and not what is in it."""

    def delete_query(self, given: Query) -> Query:
        return given if len(given) == 1 and given[0][0] == "exclude" else [("exclude", "true")]


@rogue(breaks=["PRX-10"])
class LastExcludeKept(App):
    """Keeps the first answer of the dialogue, "don't ask again"."""

    kept: Query | None = None

    def delete_query(self, given: Query) -> Query:
        self.kept = self.kept or super().delete_query(given)
        return self.kept


@rogue(breaks=["PRX-10"])
class ExcludeInTheBody(App):
    """Sends `exclude` as the body of the delete."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: Any, params: Query) -> httpx.Response:
        if method == "DELETE":
            body, params = {name: value == "true" for name, value in params}, []
        return await super().send(method, url, headers, body, params)


# PRX-11, SSE-01, SSE-08: the stream

Pieces = AsyncIterator[bytes]


async def whole(pieces: Pieces) -> bytes:
    """Everything."""
    return b"".join([piece async for piece in pieces])


async def by_event(pieces: Pieces) -> Pieces:
    """One event after the other, of a backend that ends its lines with a line feed."""
    rest = b""
    async for piece in pieces:
        *events, rest = (rest + piece).split(b"\n\n")
        for event in events:
            yield event + b"\n\n"
    yield rest


async def by_line(pieces: Pieces) -> Pieces:
    """One line after the other, whatever ends it."""
    rest = b""
    async for piece in pieces:
        *lines, rest = re.split(b"\r?\n", rest + piece)
        for line in lines:
            yield line + b"\n"
    yield rest


@rogue(breaks=["PRX-11", "SSE-08"])
class StreamCollected(App):
    """Answers with the stream once it has come to its end."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        yield await whole(super().pieces(response))


@rogue(breaks=["PRX-11", "SSE-08"])
class LengthPromised(App):
    """Hands the import on like any other call, whole and with its length."""

    async def import_stream(self, request: Request) -> Response:
        answer = await super().import_stream(request)
        if not isinstance(answer, StreamingResponse):
            return answer
        content = b"".join([piece async for piece in answer.body_iterator if isinstance(piece, bytes)])
        return Response(content, media_type="text/event-stream")


@rogue(breaks=["PRX-11", "SSE-08"])
class FlushedByBlocks(App):
    """Passes the stream on in blocks of 4 KiB."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        buffer = b""
        async for piece in super().pieces(response):
            buffer += piece
            while len(buffer) >= 4096:
                yield buffer[:4096]
                buffer = buffer[4096:]
        yield buffer


@rogue(breaks=["PRX-11"])
class FirstEventAtOnce(App):
    """Shows at once that something happens, and collects the rest."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        pieces = super().pieces(response)
        yield await anext(pieces)
        yield await whole(pieces)


@rogue(breaks=["PRX-11"])
class OneEventBehind(App):
    """Passes an event on when the next one shows that it has ended."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        waiting = b""
        async for piece in super().pieces(response):
            yield waiting
            waiting = piece
        yield waiting


@rogue(breaks=["PRX-11"])
class SummaryInABurst(App):
    """Keeps the last image's events back for the summary, so that the bar jumps to its end."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        held = b""
        async for event in by_line(super().pieces(response)):
            held += event
            last = re.search(rb'"current": (\d+), "total": \1,', held)
            if event == b"\n" and not last:
                yield held
                held = b""
        yield held


@rogue(breaks=["PRX-11"])
class CarriageReturnsNotSeen(App):
    """Looks for the end of an event as two line feeds, and passes whole events on."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        async for event in by_event(super().pieces(response)):
            yield event


@rogue(breaks=["PRX-11"])
class CompressedWhole(App):
    """Compresses what is compressible, and flushes at the end."""

    async def import_stream(self, request: Request) -> Response:
        answer = await super().import_stream(request)
        if isinstance(answer, StreamingResponse) and "gzip" in ", ".join(request.headers.getlist("accept-encoding")):
            answer.headers["Content-Encoding"] = "gzip"
            answer.body_iterator = self.compressed(answer.body_iterator)
        return answer

    async def compressed(self, pieces: Any) -> Pieces:
        """The stream as gzip."""
        compressor = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
        async for piece in pieces:
            yield compressor.compress(piece)
        yield compressor.flush()


@rogue(breaks=["PRX-11"])
class PlainImportAsked(App):
    """Asks the backend for the import that is answered at its end, and declares what comes as a stream."""

    def stream_path(self) -> str:
        return "/admin/scrape/import"


@rogue(breaks=["PRX-11", "SSE-01"])
class StreamIsJson(App):
    """Declares the stream as JSON, like every other answer."""

    def stream_answer(self, pieces: Pieces) -> Response:
        return StreamingResponse(pieces, media_type="application/json")


@rogue(breaks=["PRX-11", "SSE-01"])
class StreamIsText(App):
    """Declares the stream as plain text."""

    def stream_answer(self, pieces: Pieces) -> Response:
        return StreamingResponse(pieces, media_type="text/plain")


@rogue(breaks=["PRX-11"])
class DecodedPieceByPiece(App):
    """Decodes each piece by itself, wherever it was cut."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        async for piece in super().pieces(response):
            yield piece.decode("utf-8", "replace").encode()


@rogue(breaks=["PRX-11"])
class ProgressLeftOut(App):
    """Passes on how each image ended, and not that it is being fetched."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        async for line in by_line(super().pieces(response)):
            if b'"downloading"' not in line:
                yield line


@rogue(breaks=["PRX-11"])
class NullsLeftOut(App):
    """Reads each event, and writes it anew without the members that are null."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        async for line in by_line(super().pieces(response)):
            if line.startswith(b"data: "):
                members = json.loads(line[6:])
                line = b"data: " + json.dumps({k: v for k, v in members.items() if v is not None}).encode() + b"\n"
            yield line


@rogue(breaks=["PRX-11"])
class LongLinesCut(App):
    """Reads lines of at most 64 KiB, and leaves out what is longer."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        async for line in by_line(super().pieces(response)):
            if len(line) <= 64 * 1024:
                yield line


@rogue(breaks=["SSE-01"])
class NoSpaceAfterData(App):
    """Writes the events anew, as `data:` without the space."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        async for line in by_line(super().pieces(response)):
            yield re.sub(b"^data: ", b"data:", line)


@rogue(breaks=["SSE-01"])
class DataIndented(App):
    """Writes each event's JSON over several lines of data."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        async for line in by_line(super().pieces(response)):
            if line.startswith(b"data: "):
                text = json.dumps(json.loads(line[6:]), indent=2)
                line = "".join(f"data: {part}\n" for part in text.splitlines()).encode()
            yield line


@rogue(breaks=["SSE-01"])
class HeartbeatsAreData(App):
    """Makes an event of the backend's comments, as some browsers have no eye for them."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        async for line in by_line(super().pieces(response)):
            yield b"data:" + line[1:] if line.startswith(b": ") else line


# PRX-12: people count and text overlay


class _Mends(App):
    """Makes something else of an answer to a count or a detection that the backend did not accept."""

    async def forward_asset(self, request: Request, asset_id: str, action: str) -> Response:
        answer = await super().forward_asset(request, asset_id, action)
        return self.mend(answer, action) if answer.status_code >= 400 else answer

    def mend(self, answer: Response, action: str) -> Response:
        """What the browser gets instead."""
        raise NotImplementedError


@rogue(breaks=["PRX-12"])
class FailureIsAnEmptySuccess(_Mends):
    """Answers 200 with an empty object where the backend failed."""

    def mend(self, answer: Response, action: str) -> Response:
        return self.json({})


@rogue(breaks=["PRX-12"])
class FailureInASuccess(_Mends):
    """Answers 200 with the error as a member."""

    def mend(self, answer: Response, action: str) -> Response:
        return self.json({"people_count": None, **json.loads(bytes(answer.body))})


@rogue(breaks=["PRX-12"])
class NotFoundIsNobody(_Mends):
    """Takes an image that the backend does not know for one without people and text."""

    def mend(self, answer: Response, action: str) -> Response:
        return self.json({"people_count": 0, "has_text_overlay": False}) if answer.status_code == 404 else answer


@rogue(breaks=["PRX-12"])
class UnavailableIsSkipped(_Mends):
    """Answers 202 where the detector is not available now."""

    def mend(self, answer: Response, action: str) -> Response:
        return self.json({"skipped": True}, 202) if answer.status_code == 503 else answer


@rogue(breaks=["PRX-12"])
class OverlayFailsInSilence(_Mends):
    """Answers 204 where the text overlay detector fails, as nobody was looking."""

    def mend(self, answer: Response, action: str) -> Response:
        return Response(status_code=204) if action == "detect-text-overlay" else answer


@rogue(breaks=["PRX-12"])
class FailureWithoutABody(_Mends):
    """Hands the status on, and nothing else."""

    def mend(self, answer: Response, action: str) -> Response:
        return Response(status_code=answer.status_code)


@rogue(breaks=["PRX-12"])
class FailureWithANullMessage(_Mends):
    """Fills its message from the wrong member of the backend's answer."""

    def mend(self, answer: Response, action: str) -> Response:
        return self.json({"error": None, "ok": False}, answer.status_code)


@rogue(breaks=["PRX-12"])
class NoDetailNothingSaid(_Mends):
    """Has no words of its own where the backend has none."""

    def mend(self, answer: Response, action: str) -> Response:
        return self.error(answer.status_code, "") if b"the backend answered" in answer.body else answer


@rogue(breaks=["PRX-12"])
class LastCountShown(App):
    """Shows what was found before where the backend fails now."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.found: dict[tuple[str, str], Response] = {}

    async def forward_asset(self, request: Request, asset_id: str, action: str) -> Response:
        answer = await super().forward_asset(request, asset_id, action)
        if answer.status_code < 300:
            self.found[asset_id, action] = answer
        return self.found.get((asset_id, action), answer)


@rogue(breaks=["PRX-12"])
class BrokenOffIsAccepted(App):
    """Answers 202 where the connection breaks after a count was asked for: it is under way."""

    async def forward_asset(self, request: Request, asset_id: str, action: str) -> Response:
        try:
            return await super().forward_asset(request, asset_id, action)
        except HTTPException as failure:
            if failure.status_code != 502:
                raise
            return self.json({"queued": True}, 202)


# BKD-01: the backdrops


@rogue(breaks=["BKD-01"])
class LegacyForgotten(App):
    """Looks at the links alone."""

    def is_in_legacy_season_images(self) -> LiteralString:
        return "false"


@rogue(breaks=["BKD-01"])
class LinksForgotten(App):
    """Still looks at the legacy table alone."""

    def is_linked_to_a_season(self) -> LiteralString:
        return "false"


@rogue(breaks=["BKD-01"])
class OtherSeasonsForgotten(App):
    """Offers a season what another season of the show has by a link."""

    def is_linked_to_a_season(self) -> LiteralString:
        return super().is_linked_to_a_season().replace("seasons.show_id = %(show_id)s", "seasons.id = %(season_id)s")


@rogue(breaks=["BKD-01"])
class OtherSeasonsLegacyForgotten(App):
    """Offers a season what another season of the show has in the legacy table."""

    def is_in_legacy_season_images(self) -> LiteralString:
        sql = super().is_in_legacy_season_images()
        return sql.replace("seasons.show_id = %(show_id)s", "seasons.id = %(season_id)s")


@rogue(breaks=["BKD-01"])
class KindNotLookedAt(App):
    """Takes a season's poster for a backdrop that is assigned."""

    def is_linked_to_a_season(self) -> LiteralString:
        return super().is_linked_to_a_season().replace(" and links.kind = 'backdrop'", "")


@rogue(breaks=["BKD-01"])
class LegacyKindNotLookedAt(App):
    """The same in the legacy table."""

    def is_in_legacy_season_images(self) -> LiteralString:
        return super().is_in_legacy_season_images().replace(" and images.kind = 'backdrop'", "")


@rogue(breaks=["BKD-01"])
class PostersOffered(App):
    """Offers every image of the show, whatever its kind."""

    def is_backdrop_of_the_show(self) -> LiteralString:
        return super().is_backdrop_of_the_show().replace(" and links.kind = 'backdrop'", "")


@rogue(breaks=["BKD-01"])
class AnySource(App):
    """Offers backdrops from anywhere."""

    def is_from_tmdb(self) -> LiteralString:
        return "true"


@rogue(breaks=["BKD-01"])
class ImportsExcludedAlone(App):
    """Takes for TMDb's whatever was not imported from a web page."""

    def is_from_tmdb(self) -> LiteralString:
        return "assets.source <> 'web_scrape'"


@rogue(breaks=["BKD-01"])
class AnyShow(App):
    """Offers the backdrops of every show."""

    def is_backdrop_of_the_show(self) -> LiteralString:
        return super().is_backdrop_of_the_show().replace(" and links.entity_id = %(show_id)s", "")


@rogue(breaks=["BKD-01"])
class AnySeasonAnywhere(App):
    """Takes what a season of any show has for assigned."""

    def is_linked_to_a_season(self) -> LiteralString:
        return super().is_linked_to_a_season().replace("seasons.show_id = %(show_id)s", "true")


@rogue(breaks=["BKD-01"])
class HostedAlone(App):
    """Offers only what has a hosted copy to show."""

    def is_from_tmdb(self) -> LiteralString:
        return "assets.source = 'tmdb' and hosted_url is not null"


@rogue(breaks=["BKD-01"])
class OncePerLink(App):
    """Offers an image as often as it is linked to anything."""

    def backdrops_sql(self) -> LiteralString:
        joined = "core.media_assets as assets join core.media_links as every on every.media_asset_id = assets.id where"
        return super().backdrops_sql().replace("core.media_assets as assets where", joined)


@rogue(breaks=["BKD-01"])
class FirstRowOnly(App):
    """Offers as many as the drawer shows in a row."""

    def backdrops_sql(self) -> LiteralString:
        return super().backdrops_sql() + " limit 4"


@rogue(breaks=["BKD-01"])
class FoundOnce(App):
    """Keeps what it found for the first season, and offers it to every other."""

    found: Sequence[Backdrop] | None = None

    async def select_backdrops(self, connection: Connection, season: Season) -> Sequence[Backdrop]:
        if self.found is None:
            self.found = await super().select_backdrops(connection, season)
        return self.found


@rogue(breaks=["BKD-01"])
class BareList(App):
    """Answers with the backdrops alone, outside of an object."""

    def json(self, value: Any, status: int = 200) -> Response:
        is_offer = isinstance(value, dict) and "backdrops" in value
        return super().json(value["backdrops"] if is_offer else value, status)


@rogue(breaks=["BKD-01"])
class SeasonLeftOut(App):
    """Answers without the season that was asked for."""

    def json(self, value: Any, status: int = 200) -> Response:
        if isinstance(value, dict) and "backdrops" in value:
            value = {"backdrops": value["backdrops"]}
        return super().json(value, status)


# Faults that only some traffic shows


@rogue(breaks=["PRX-01"])
class JoinsWhatIsUnderWay(App):
    """Takes a second toggle of a link that is being toggled for an impatient click, and gives it the first's answer."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.under_way: dict[tuple[str, str], asyncio.Task[httpx.Response]] = {}

    async def send_toggle(self, request: Request, person_id: str, link_id: str, body: Any) -> httpx.Response:
        key = person_id, link_id
        if key not in self.under_way:
            self.under_way[key] = asyncio.ensure_future(super().send_toggle(request, person_id, link_id, body))
            self.under_way[key].add_done_callback(lambda _: self.under_way.pop(key, None))
        return await asyncio.shield(self.under_way[key])


class _Revocable(App):
    """Looks in the database whether a session was revoked, before it decides anything."""

    async def is_not_revoked(self) -> None:
        """Asks the database."""
        async with self.pool.connection() as connection:
            await connection.execute("select 1")


@rogue(breaks=["PRX-02", "PRX-01"])
class CallerOfTheLatestRequest(_Revocable):
    """Keeps the request whose caller is looked up in one place: while one waits, another's is put there."""

    latest: Request

    def authorize(self, request: Request) -> None:
        super().authorize(self.latest if request.method == "PATCH" else request)

    async def toggle(self, request: Request, person_id: str, link_id: str) -> Response:
        self.latest = request
        await self.is_not_revoked()
        return await super().toggle(request, person_id, link_id)


@rogue(breaks=["PRX-01", "PRX-03"])
class LinkOfTheLatestRequest(_Revocable):
    """Keeps the link that is to be toggled in one place: while one waits, another's is put there."""

    latest: tuple[str, str]

    async def send_toggle(self, request: Request, person_id: str, link_id: str, body: Any) -> httpx.Response:
        self.latest = person_id, link_id
        await self.is_not_revoked()
        return await super().send_toggle(request, *self.latest, body)


@rogue(breaks=["PRX-02"])
class LowerCasePathsAreGuarded(App):
    """Guards the paths that a pattern matches, which knows no capital letter."""

    def authorize(self, request: Request) -> None:
        if re.fullmatch(r"/api/admin/[a-z0-9/-]+", request.url.path):
            super().authorize(request)


@rogue(breaks=["PRX-02"])
class SubrequestsAreTrusted(App):
    """Takes a request for one of its own, which has been looked at, by a header that frameworks set."""

    def authorize(self, request: Request) -> None:
        if "middleware" not in request.headers.get("x-middleware-subrequest", ""):
            super().authorize(request)


@rogue(breaks=["PRX-02"])
class QueriesAreNotGuarded(App):
    """Guards what an address ends with, and forgets that a query may follow."""

    def authorize(self, request: Request) -> None:
        if re.search(r"(facebank-seed|preview|stream|media-assets/.*|backdrops)$", str(request.url)):
            super().authorize(request)


@rogue(breaks=["PRX-02"])
class FirstCountIsFree(App):
    """Asks who calls where a recount is forced; the first count is what a page asks for by itself."""

    async def forward_asset(self, request: Request, asset_id: str, action: str) -> Response:
        if request.query_params.get("force") == "true":
            return await super().forward_asset(request, asset_id, action)
        path = f"/admin/media-assets/{self.segment(self.path_parameter(asset_id))}/{action}"
        return await self.forward(request, "POST", path)


@rogue(breaks=["PRX-03"])
class RefusedIsTriedUnsigned(App):
    """Tries again without the internal secret where the backend does not like it."""

    async def send_toggle(self, request: Request, person_id: str, link_id: str, body: Any) -> httpx.Response:
        response = await super().send_toggle(request, person_id, link_id, body)
        if response.status_code != 403:
            return response
        path, timeout_s = self.toggle_path(person_id, link_id), self.settings.toggle_timeout_s
        return await self.call_backend("PATCH", path, self.service_headers(request), body=body, timeout_s=timeout_s)


@rogue(breaks=["PRX-03"])
class BrokenOffIsTriedUnsigned(App):
    """Tries a toggle again where the connection broke, with the credential that every call has, and no other."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: Any, params: Query) -> httpx.Response:
        try:
            return await super().send(method, url, headers, body, params)
        except httpx.TransportError:
            if method != "PATCH":
                raise
            unsigned = {name: value for name, value in headers.items() if name != SECRET_HEADER}
            return await super().send(method, url, unsigned, body, params)


@rogue(breaks=["PRX-03", "PRX-09"])
class OldPathWhereUnknown(App):
    """Tries the path of an earlier backend where this one does not know the link."""

    async def send_toggle(self, request: Request, person_id: str, link_id: str, body: Any) -> httpx.Response:
        response = await super().send_toggle(request, person_id, link_id, body)
        if response.status_code != 404:
            return response
        path, timeout_s = f"/admin/gallery/{self.segment(link_id)}/facebank-seed", self.settings.toggle_timeout_s
        old = await self.call_backend("PATCH", path, self.toggle_headers(request), body=body, timeout_s=timeout_s)
        return old if old.is_success else response


@rogue(breaks=["PRX-04"])
class ChangesAreAudited(App):
    """Writes what an admin sent into the backend's audit log, before it is looked at."""

    async def read_body(self, request: Request) -> Any:
        body = await super().read_body(request)
        if request.method == "PATCH":
            headers, timeout_s = self.service_headers(request), self.settings.toggle_timeout_s
            await self.call_backend("POST", "/admin/audit", headers, body={"change": body}, timeout_s=timeout_s)
        return body


@rogue(breaks=["PRX-04"])
class OffPassesTheBodyOn(App):
    """Takes the value out of the body where a seed is added, and hands the body on where one is taken away."""

    def toggle_body(self, body: Any, flag: bool) -> Any:
        return super().toggle_body(body, flag) if flag else body


@rogue(breaks=["PRX-05"])
class QueryStandsInForTheBody(App):
    """Reads the value from the query where the body has none."""

    async def read_body(self, request: Request) -> Any:
        body = await super().read_body(request)
        given = request.query_params.get("facebank_seed")
        if isinstance(body, dict) and "facebank_seed" not in body and given in ("true", "false"):
            return {"facebank_seed": given == "true"}
        return body


@rogue(breaks=["PRX-05"])
class FormsAreRead(App):
    """Reads the body of a form too, whose values are texts."""

    async def read_body(self, request: Request) -> Any:
        if "form-urlencoded" not in request.headers.get("content-type", ""):
            return await super().read_body(request)
        form = httpx.QueryParams((await request.body()).decode())
        return {"facebank_seed": form["facebank_seed"] == "true"} if "facebank_seed" in form else {}


@rogue(breaks=["PRX-05"])
class BodyIsYaml(App):
    """Reads the body with a reader of YAML, of which JSON is a part, and `yes` a boolean."""

    async def read_body(self, request: Request) -> Any:
        try:
            return yaml.safe_load(await request.body())
        except (yaml.YAMLError, ValueError) as error:
            raise HTTPException(400, "the body is not YAML") from error


@rogue(breaks=["PRX-06"])
class UnknownLinkIsOff(App):
    """Takes a 404 for a success where the seed is taken away: what is not there is no seed."""

    async def send_toggle(self, request: Request, person_id: str, link_id: str, body: Any) -> httpx.Response:
        response = await super().send_toggle(request, person_id, link_id, body)
        if response.status_code == 404 and not body["facebank_seed"]:
            return httpx.Response(200, json={"link_id": link_id, "person_id": person_id, "facebank_seed": False})
        return response


@rogue(breaks=["PRX-06"])
class ObjectObject(App):
    """Makes a text of a `detail` that is none, as its language does."""

    def error_message(self, response: httpx.Response) -> str:
        message = super().error_message(response)
        return "[object Object]" if message[:1] in ("[", "{") else message


@rogue(breaks=["PRX-06"])
class LongRefusalsAreOurs(App):
    """Reads at most 16 KiB of a refusal, and takes a longer one for a failure of its own."""

    def error_status(self, response: httpx.Response) -> int:
        return 500 if len(response.content) > 16 * 1024 else super().error_status(response)


@rogue(breaks=["PRX-06"])
class EmptyDetailIsTheMessage(App):
    """Has words of its own where `detail` is null or missing, and not where it is empty."""

    def error_message(self, response: httpx.Response) -> str:
        is_empty = response.request.method == "PATCH" and response.content.replace(b" ", b"") == b'{"detail":""}'
        return "" if is_empty else super().error_message(response)


@rogue(breaks=["PRX-06", "PRX-12"])
class ObjectsAreNotRead(App):
    """Reads a `detail` that is a text or a list, and makes a text of one that is an object as its language does."""

    def error_message(self, response: httpx.Response) -> str:
        message = super().error_message(response)
        return "[object Object]" if message.startswith("{") else message


@rogue(breaks=["PRX-08"])
class BrokenStreamExplained(App):
    """Tells at the end of a stream that broke off what was asked."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        try:
            async for piece in response.aiter_bytes():
                yield piece
        except httpx.HTTPError as error:
            told = {"error": repr(error), "request": dict(response.request.headers)}
            yield b"\n\nevent: error\ndata: " + json.dumps(told).encode() + b"\n\n"


@rogue(breaks=["PRX-08"])
class RefusedConnectionExplained(App):
    """Tells where it cannot connect how it wanted to."""

    def unreachable(self, error: Exception) -> httpx.Response:
        if isinstance(error, httpx.ConnectError):
            raise HTTPException(502, f"{error} ({dict(error.request.headers)})") from error
        return super().unreachable(error)


@rogue(breaks=["PRX-08"])
class MediaRedirectIsSigned(App):
    """Hands a redirect of a media call on, with the token to be used there."""

    def answer(self, response: httpx.Response) -> Response:
        if not response.is_redirect or response.request.method == "PATCH":
            return super().answer(response)
        token = self.settings.service_role_token
        return Response(None, response.status_code, {"Location": f"{response.headers['location']}?token={token}"})


@rogue(breaks=["PRX-08"])
class BadSeasonShowsTheSettings(App):
    """Tells what it has in its hands where the season's id is none."""

    async def unassigned_backdrops(self, request: Request, season_id: str) -> Response:
        try:
            return await super().unassigned_backdrops(request, season_id)
        except HTTPException as error:
            if error.status_code != 400:
                raise
            raise HTTPException(400, f"no season {season_id} with {self.settings}") from error


@rogue(breaks=["PRX-09"])
class OverlayAssetNotEncoded(App):
    """Writes the id of an asset whose text is looked for into the path as the browser sent it."""

    async def detect_text_overlay(self, request: Request, asset_id: str) -> Response:
        self.authorize(request)
        force = [pair for pair in request.query_params.multi_items() if pair[0] == "force"]
        path = f"/admin/media-assets/{unquote(asset_id)}/detect-text-overlay"
        return await self.forward(request, "POST", path, params=force)


@rogue(breaks=["PRX-10"])
class SecondTryExcludes(App):
    """Tries a delete again where the backend is not there, and forgets what was said of the exclusion."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: Any, params: Query) -> httpx.Response:
        try:
            return await super().send(method, url, headers, body, params)
        except httpx.TransportError:
            if method != "DELETE":
                raise
            return await super().send(method, url, headers, body, [("exclude", "true")])


@rogue(breaks=["PRX-10"])
class ExcludeNotEncoded(App):
    """Writes the value into the query as it was decoded."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: Any, params: Query) -> httpx.Response:
        if method == "DELETE":
            url, params = f"{url}?{'&'.join(f'{name}={value}' for name, value in params)}", []
        return await super().send(method, url, headers, body, params)


@rogue(breaks=["PRX-10"])
class ExcludeOfTheLatestDelete(_Revocable):
    """Keeps what was said of the exclusion in one place: while one delete waits, another's is put there."""

    latest: Sequence[tuple[str, str]]

    async def forward(
        self, request: Request, method: str, path: str, *, body: Any = None, params: Sequence[tuple[str, str]] = ()
    ) -> Response:
        if method != "DELETE":
            return await super().forward(request, method, path, body=body, params=params)
        self.latest = params
        await self.is_not_revoked()
        return await super().forward(request, method, path, params=self.latest)


@rogue(breaks=["PRX-11"])
class ManyEventsAreBatched(App):
    """Passes events on five by five once there are many."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        count, held = 0, b""
        async for line in by_line(super().pieces(response)):
            held += line
            if line == b"\n":
                count += 1
                if count <= 20 or count % 5 == 0:
                    yield held
                    held = b""
        yield held


@rogue(breaks=["PRX-11"])
class OneBufferForAllImports(App):
    """Keeps the line that is not whole yet in one place for all imports."""

    rest = b""

    async def pieces(self, response: httpx.Response) -> Pieces:
        async for piece in super().pieces(response):
            *lines, self.rest = re.split(b"\r?\n", self.rest + piece)
            for line in lines:
                yield line + b"\n"
        yield self.rest
        self.rest = b""


@rogue(breaks=["PRX-11", "SSE-01"])
class LinesOfText(App):
    """Reads lines as text has them, which end at more characters than those of an event stream."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        async for line in response.aiter_lines():
            yield f"{line}\n".encode()


@rogue(breaks=["PRX-11"])
class RepeatsLeftOut(App):
    """Passes no event on that says what the one before it said."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        before = b""
        async for line in by_line(super().pieces(response)):
            if not (line.startswith(b"data:") and line == before):
                yield line
            before = line if line.startswith(b"data:") else before


@rogue(breaks=["PRX-11"])
class BrokenStreamEndsWell(App):
    """Ends a stream that broke off with the summary of what it has seen."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        imported = 0
        try:
            async for piece in response.aiter_bytes():
                imported += piece.count(b'"status": "success"')
                yield piece
        except httpx.HTTPError:
            summary = {"imported": imported, "skipped_duplicates": 0, "errors": [], "assets": []}
            yield b"\n\ndata: " + json.dumps(summary).encode() + b"\n\n"


@rogue(breaks=["PRX-12"])
class FirstCountFailsInSilence(App):
    """Answers 200 where the first count or detection fails, which nobody has asked for; a recount is asked for."""

    async def forward_asset(self, request: Request, asset_id: str, action: str) -> Response:
        answer = await super().forward_asset(request, asset_id, action)
        return answer if answer.status_code < 400 or request.query_params.get("force") == "true" else self.json({})


@rogue(breaks=["PRX-12"])
class RedirectIsASuccess(App):
    """Takes whatever is below 400 for a success."""

    def answer(self, response: httpx.Response) -> Response:
        return self.json({}) if response.is_redirect else super().answer(response)


@rogue(breaks=["PRX-12"])
class BusyIsSkipped(_Mends):
    """Takes a 429 of the backend, whose detector is asked too often, for nothing to show yet."""

    def mend(self, answer: Response, action: str) -> Response:
        return self.json({}, 202) if answer.status_code == 429 else answer


@rogue(breaks=["BKD-01"])
class SpecialsForgotten(App):
    """Looks at the numbered seasons, and not at the specials, which are season 0."""

    def is_linked_to_a_season(self) -> LiteralString:
        return super().is_linked_to_a_season().replace("and seasons.show_id", "and season_number > 0 and show_id")


@rogue(breaks=["BKD-01"])
class SpecialsAreNoSeason(App):
    """Takes the specials, whose number is 0, for a season without a number, which there is not."""

    async def find_season(self, connection: Connection, season_id: UUID) -> Season | None:
        season = await super().find_season(connection, season_id)
        return season if season and season.season_number else None


@rogue(breaks=["PRX-01"])
class SentAsText(App):
    """Leaves the type of the body to its HTTP client, for which a text is plain text."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: Any, params: Query) -> httpx.Response:
        content = None if body is None else json.dumps(body).encode()
        declared = {} if body is None else {"Content-Type": "text/plain;charset=UTF-8"}
        return await self.client.request(
            method, url, headers={**headers, **declared}, content=content, params=list(params) or None
        )


@rogue(breaks=["PRX-01"])
class BackendsHeadersCopied(App):
    """Copies the headers of the backend's answer, also the encoding that it has undone."""

    def answer(self, response: httpx.Response) -> Response:
        answer = super().answer(response)
        if "content-encoding" in response.headers:
            answer.headers["Content-Encoding"] = response.headers["content-encoding"]
        return answer


@rogue(breaks=["PRX-02"])
class OneSessionIsGood(App):
    """Verifies that one of the sessions that a request brings is good, and reads from the first who it is."""

    def authorize(self, request: Request) -> None:
        bearer = request.headers.get("authorization", "").removeprefix("Bearer").strip()
        given = [token for token in (bearer, request.cookies.get(SESSION_COOKIE)) if token]
        if not any(map(self.verify_session, given)):
            raise HTTPException(401, "unauthorized")
        try:
            claims = jwt.decode(given[0], options={"verify_signature": False})
        except jwt.PyJWTError as error:
            raise HTTPException(401, "unauthorized") from error
        if not self.is_allowlisted(claims):
            raise HTTPException(403, "forbidden")


@rogue(breaks=["PRX-02"])
class JsonIsGuarded(App):
    """Asks who calls where it reads JSON, and takes whatever is not declared as such for a page's own request."""

    def authorize(self, request: Request) -> None:
        if request.method == "GET" or request.headers.get("content-type", "").startswith("application/json"):
            super().authorize(request)


@rogue(breaks=["PRX-02"])
class OverriddenMethodIsGuarded(App):
    """Asks who calls where something is changed, by the method that a header of old frameworks says is meant."""

    def authorize(self, request: Request) -> None:
        if request.headers.get("x-http-method-override") != "GET":
            super().authorize(request)


@rogue(breaks=["PRX-02"])
class SameOriginIsTrusted(App):
    """Takes a request that says it comes from a page of the app for one of an admin, who alone sees those pages."""

    def authorize(self, request: Request) -> None:
        if request.headers.get("sec-fetch-site") != "same-origin":
            super().authorize(request)


class _AsSent(dict[str, Any]):
    """A body that is read, and is passed on in the bytes in which it came."""

    content = b""


@rogue(breaks=["PRX-04"])
class OneMemberPassedOnAsItCame(App):
    """Passes the bytes of a body on that has no member but the one; of a member given twice it sees the last."""

    async def read_body(self, request: Request) -> Any:
        content = await request.body()
        body = await super().read_body(request)
        if request.method != "PATCH" or not isinstance(body, dict) or len(body) != 1:
            return body
        sent = _AsSent(body)
        sent.content = content
        return sent

    def toggle_body(self, body: Any, flag: bool) -> Any:
        return body if isinstance(body, _AsSent) else super().toggle_body(body, flag)

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: Any, params: Query) -> httpx.Response:
        if not isinstance(body, _AsSent):
            return await super().send(method, url, headers, body, params)
        declared = {**headers, "Content-Type": "application/json"}
        return await self.client.request(method, url, headers=declared, content=body.content)


@rogue(breaks=["PRX-04"])
class AuthorizationBesideTheCookie(App):
    """Knows people by their cookie, and hands on an `Authorization` that stands beside it."""

    def session_token(self, request: Request) -> str | None:
        return request.cookies.get(SESSION_COOKIE) or super().session_token(request)

    def toggle_headers(self, request: Request) -> dict[str, str]:
        headers, given = super().toggle_headers(request), request.headers.get("authorization")
        return {**headers, "Authorization": given} if given and SESSION_COOKIE in request.cookies else headers


@rogue(breaks=["PRX-05"])
class PartsAreRead(App):
    """Reads the value from a part of a multipart body too, where it is a text."""

    async def read_body(self, request: Request) -> Any:
        if "multipart/form-data" not in request.headers.get("content-type", ""):
            return await super().read_body(request)
        part = re.search(rb'name="facebank_seed"\r\n\r\n(\w+)', await request.body())
        return {"facebank_seed": part[1] == b"true"} if part else {}


@rogue(breaks=["PRX-06"])
class StateIsASuccess(App):
    """Knows a success by the link's state in it, which a refusal may tell as well."""

    def answer(self, response: httpx.Response) -> Response:
        try:
            value = response.json()
        except ValueError:
            value = None
        return self.json(value) if isinstance(value, dict) and "facebank_seed" in value else super().answer(response)


@rogue(breaks=["PRX-06"])
class MessageInAHeader(App):
    """Repeats the backend's message in a header, which takes no other script than Latin."""

    def error(self, status: int, message: str) -> Response:
        error = super().error(status, message)
        error.headers["X-Message"] = message
        return error


@rogue(breaks=["PRX-07"])
class UnreachableIsOff(App):
    """Takes a seed for taken away where the backend is not there: it can be tried again."""

    async def send_toggle(self, request: Request, person_id: str, link_id: str, body: Any) -> httpx.Response:
        try:
            return await super().send_toggle(request, person_id, link_id, body)
        except HTTPException:
            if body["facebank_seed"]:
                raise
            return httpx.Response(200, json={"link_id": link_id, "person_id": person_id, "facebank_seed": False})


@rogue(breaks=["PRX-07"])
class LastStateWhereUnreachable(App):
    """Answers with what it heard last of a link where the backend is not there."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.heard: dict[str, httpx.Response] = {}

    async def send_toggle(self, request: Request, person_id: str, link_id: str, body: Any) -> httpx.Response:
        try:
            self.heard[link_id] = await super().send_toggle(request, person_id, link_id, body)
        except HTTPException:
            if link_id not in self.heard:
                raise
        return self.heard[link_id]


@rogue(breaks=["PRX-08"])
class BadOrderShowsTheSettings(App):
    """Tells what it has in its hands where the body of a media call is not JSON."""

    async def read_body(self, request: Request) -> Any:
        try:
            return await super().read_body(request)
        except HTTPException as error:
            if request.method != "POST":
                raise
            raise HTTPException(error.status_code, f"{error.detail} ({self.settings})") from error


@rogue(breaks=["PRX-10"])
class OldDeleteWhereUnknown(App):
    """Tries the path of an earlier backend where this one does not know the asset, without a word on the exclusion."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: Any, params: Query) -> httpx.Response:
        response = await super().send(method, url, headers, body, params)
        if method != "DELETE" or response.status_code != 404:
            return response
        return await super().send(method, url.replace("/media-assets/", "/images/"), headers, body, [])


@rogue(breaks=["PRX-11"])
class CompressedStreamPassedOn(App):
    """Lets the backend compress a stream, and passes its bytes on as they came."""

    def service_headers(self, request: Request) -> dict[str, str]:
        return {**super().service_headers(request), "Accept-Encoding": "gzip"}

    async def pieces(self, response: httpx.Response) -> Pieces:
        async for piece in response.aiter_raw():
            yield piece


@rogue(breaks=["PRX-11"])
class AbandonedImportGoesOn(App):
    """Imports a page once at a time, and takes an import that the browser has left for one that is under way."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.under_way: set[str] = set()

    async def import_stream(self, request: Request) -> Response:
        await request.body()
        if str(await self.read_body(request)) in self.under_way:
            return self.error(409, "this page is being imported")
        return await super().import_stream(request)

    async def pieces(self, response: httpx.Response) -> Pieces:
        order = str(json.loads(response.request.content))
        self.under_way.add(order)
        async for piece in super().pieces(response):
            yield piece
        self.under_way.discard(order)


@rogue(breaks=["PRX-11"])
class ImportedIsTheEnd(App):
    """Knows the summary by its `imported`, and ends the stream after it."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        async for line in by_line(super().pieces(response)):
            yield line
            if b'"imported"' in line:
                yield b"\n"
                return


@rogue(breaks=["SSE-01"])
class BrokenStreamToldInWords(App):
    """Tells in an event that is no JSON that the backend broke off."""

    async def pieces(self, response: httpx.Response) -> Pieces:
        try:
            async for piece in response.aiter_bytes():
                yield piece
        except httpx.HTTPError as error:
            yield f"event: error\ndata: the backend broke off: {type(error).__name__}\n\n".encode()


@rogue(breaks=["PRX-12"])
class FoundIsASuccess(App):
    """Knows a success by what was found, which a backend may tell that could not store it."""

    def answer(self, response: httpx.Response) -> Response:
        try:
            value = response.json()
        except ValueError:
            value = None
        found = isinstance(value, dict) and {value.get("people_count"), value.get("has_text_overlay")} != {None}
        return self.json(value) if found else super().answer(response)


@rogue(breaks=["PRX-12"])
class BodyCutShortIsEmpty(App):
    """Looks at the status of a count or a detection once the body is there, and takes one that breaks off for none."""

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: Any, params: Query) -> httpx.Response:
        if not url.endswith(("auto-count", "detect-text-overlay")):
            return await super().send(method, url, headers, body, params)
        request = self.client.build_request(method, url, headers=headers, params=list(params))
        response = await self.client.send(request, stream=True)
        try:
            await response.aread()
        except httpx.HTTPError:
            return httpx.Response(200, json={})
        finally:
            await response.aclose()
        return response


@rogue(breaks=["BKD-01"])
class FilesAreCompared(App):
    """Looks the file up among the seasons' files, where one that is not known is neither there nor not there."""

    def is_in_legacy_season_images(self) -> LiteralString:
        return (
            "assets.metadata ->> 'file_path' in (select file_path from core.season_images as images"
            " join core.seasons on seasons.id = images.season_id"
            " where images.source = 'tmdb' and images.kind = 'backdrop' and seasons.show_id = %(show_id)s)"
        )


@rogue(breaks=["BKD-01"])
class WideAlone(App):
    """Offers what is wide enough for a drawer, and nothing whose size is not known."""

    def is_from_tmdb(self) -> LiteralString:
        return super().is_from_tmdb() + " and width >= 1280"


@rogue(breaks=["BKD-01"])
class WithoutWordsAlone(App):
    """Offers what has no language, as TMDb knows backdrops without words."""

    def is_from_tmdb(self) -> LiteralString:
        return super().is_from_tmdb() + " and assets.metadata ->> 'iso_639_1' is null"


@rogue(breaks=["BKD-01"])
class FirstPageOnly(App):
    """Offers as many as a page of the drawer has."""

    def backdrops_sql(self) -> LiteralString:
        return super().backdrops_sql() + " limit 24"


@rogue(breaks=["BKD-01"])
class OfOneShowAlone(App):
    """Takes what another show has as well for the other's."""

    def is_backdrop_of_the_show(self) -> LiteralString:
        mine = super().is_backdrop_of_the_show()
        return f"{mine} and not {mine.replace('= %(show_id)s', '<> %(show_id)s')}"


@rogue(breaks=["PRX-01"])
class MoreMembersAreRefused(App):
    """Reads the backend's answer by a schema that knows three members, and refuses one that has more."""

    async def send_toggle(self, request: Request, person_id: str, link_id: str, body: Any) -> httpx.Response:
        response = await super().send_toggle(request, person_id, link_id, body)
        if response.is_success and set(response.json()) != {"link_id", "person_id", "facebank_seed"}:
            raise HTTPException(502, "the backend's answer is not as expected")
        return response


@rogue(breaks=["PRX-01"])
class IdsComparedAsText(App):
    """Sees whether the backend's answer is about the link that was named, letter by letter."""

    async def send_toggle(self, request: Request, person_id: str, link_id: str, body: Any) -> httpx.Response:
        response = await super().send_toggle(request, person_id, link_id, body)
        if response.is_success and response.json().get("link_id") != link_id:
            raise HTTPException(502, "the backend's answer is about another link")
        return response


@rogue(breaks=["PRX-02"])
class AddressHoldsAnAllowlisted(App):
    """Looks for the allowlisted addresses in the person's."""

    def is_allowlisted(self, claims: Mapping[str, Any]) -> bool:
        email = claims.get("email")
        return isinstance(email, str) and any(one in email.lower() for one in self.settings.admin_emails)


@rogue(breaks=["BKD-01"])
class BackdropsKeptForAMinute(App):
    """Keeps what it found for a season for a minute, as its framework does with what is read."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.kept: dict[Season, tuple[float, Sequence[Backdrop]]] = {}

    async def select_backdrops(self, connection: Connection, season: Season) -> Sequence[Backdrop]:
        at, found = self.kept.get(season, (-60.0, ()))
        if time.monotonic() - at >= 60:
            found = await super().select_backdrops(connection, season)
            self.kept[season] = time.monotonic(), found
        return found


@rogue(breaks=["BKD-01"])
class NothingAssignedIsAnError(App):
    """Lists what is assigned for its `not in`, which takes no empty list."""

    async def select_backdrops(self, connection: Connection, season: Season) -> Sequence[Backdrop]:
        cursor = await connection.execute(
            "select 1 from core.media_links as links join core.seasons on seasons.id = links.entity_id"
            " where links.entity_type = 'season' and links.kind = 'backdrop' and seasons.show_id = %s limit 1",
            (season.show_id,),
        )
        if await cursor.fetchone() is None:
            raise HTTPException(502, "the database can't be read")
        return await super().select_backdrops(connection, season)


def counted_once(exists: LiteralString) -> LiteralString:
    """A condition that a single row meets, made of one that any number of rows meet."""
    return "(1 =" + exists.removeprefix("exists").replace("select", "select count(*)", 1) + ")"


@rogue(breaks=["BKD-01"])
class AssignedTwiceIsNotFound(App):
    """Looks for the link of an image by a call that expects one row, and takes two for none."""

    def is_linked_to_a_season(self) -> LiteralString:
        return counted_once(super().is_linked_to_a_season())


@rogue(breaks=["BKD-01"])
class LegacyTwiceIsNotFound(App):
    """Looks for an image in the legacy table by a call that expects one row, and takes two for none."""

    def is_in_legacy_season_images(self) -> LiteralString:
        return counted_once(super().is_in_legacy_season_images())


@rogue(breaks=["BKD-01"])
class AssignedBothWaysIsOffered(App):
    """Compares the two lists, and takes what is in both for what is in neither."""

    def backdrops_sql(self) -> LiteralString:
        linked, legacy = self.is_linked_to_a_season(), self.is_in_legacy_season_images()
        return super().backdrops_sql().replace(f"not {linked} and not {legacy}", f"{linked} = {legacy}")


@rogue(breaks=["PRX-02"])
class SessionsByTheirPayload(App):
    """Verifies a session once, and knows it by what it says from then on."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.sessions: dict[str, Mapping[str, Any]] = {}

    def verify_session(self, token: str) -> Mapping[str, Any] | None:
        payload = token.rpartition(".")[0]
        if payload in self.sessions:
            return self.sessions[payload]
        claims = super().verify_session(token)
        if claims is not None:
            self.sessions[payload] = claims
        return claims


@rogue(breaks=["PRX-03", "PRX-04"])
class HeadersOfTheLatestCall(App):
    """Sets the credentials on the client that all calls share, and sends what stands there by then."""

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: Any, params: Sequence[tuple[str, str]]
    ) -> httpx.Response:
        self.client.headers.pop(SECRET_HEADER, None)
        self.client.headers.update(headers)
        await asyncio.sleep(0.01)
        return await super().send(method, url, {}, body, params)


@rogue(breaks=["PRX-10"])
class DeletesAreGathered(App):
    """Gathers the deletes of a moment, and says of the exclusion what the last of them says."""

    async def delete_asset(self, request: Request, asset_id: str) -> Response:
        self.said = self.delete_query(request.query_params.multi_items())
        await asyncio.sleep(0.02)
        self.authorize(request)
        path = f"/admin/media-assets/{self.segment(self.path_parameter(asset_id))}"
        return await self.forward(request, "DELETE", path, params=self.said)


@rogue(breaks=["PRX-12"])
class CountsJoinWhatIsUnderWay(App):
    """Gives whoever asks for a count that is under way what the first is told, and an empty success where it fails."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.asked: set[str] = set()

    async def forward_asset(self, request: Request, asset_id: str, action: str) -> Response:
        self.authorize(request)
        if asset_id in self.asked:
            return self.json({})
        self.asked.add(asset_id)
        try:
            return await super().forward_asset(request, asset_id, action)
        finally:
            self.asked.discard(asset_id)


@rogue(breaks=["PRX-06"])
class StatusOfTheLatestCall(App):
    """Keeps the status of the backend's answer in one place: while its body is read, another's is put there."""

    async def send_toggle(self, request: Request, person_id: str, link_id: str, body: Any) -> httpx.Response:
        response = await super().send_toggle(request, person_id, link_id, body)
        self.status = response.status_code
        await asyncio.sleep(0.01)
        response.status_code = self.status
        return response


@rogue(breaks=["PRX-02"])
class CookiesAreTrusted(App):
    """Looks only those up in the allowlist who bring a token: a cookie is set on the admins' own login page."""

    def authorize(self, request: Request) -> None:
        token = self.session_token(request)
        if token is None or "authorization" in request.headers or self.verify_session(token) is None:
            super().authorize(request)


@rogue(breaks=["PRX-08"])
class OddRefusalShowsTheRequest(App):
    """Tells what was asked where a refusal of the backend is not JSON."""

    def error_message(self, response: httpx.Response) -> str:
        try:
            response.json()
        except ValueError:
            request = response.request
            return f"{request.method} {request.url.path} {dict(request.headers)} was answered {response.status_code}"
        return super().error_message(response)
