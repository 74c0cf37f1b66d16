"""Rogues of the app, in the order of their main clauses: each a mistake that a tired colleague could make."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import httpx
import jwt
from fastapi import HTTPException, Request, Response

from reference.app import SECRET_HEADER, App, Settings
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


@rogue(breaks=["PRX-01"])
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


@rogue(breaks=["PRX-06"])
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


@rogue(breaks=["PRX-07"])
class UnreachableIsASuccess(App):
    """Answers 200 where the backend can't be reached, as if it had been told."""

    def unreachable(self, error: Exception) -> httpx.Response:
        return httpx.Response(200, json={"queued": True})


@rogue(breaks=["PRX-07"])
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
