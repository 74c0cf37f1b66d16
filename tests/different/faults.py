"""Why the different backend refuses, whatever is asked of it."""

from __future__ import annotations

from enum import Enum
from typing import NoReturn


class Fault(Enum):
    """Every reason to refuse, with the status of a personality that does not choose another."""

    MALFORMED_HTTP = 400, "The request is not well-formed HTTP."
    REQUEST_TIMEOUT = 408, "The request did not arrive in time."
    BODY_TOO_LARGE = 413, "The body is too large."
    HEAD_TOO_LARGE = 431, "The request line or a header is too large."
    NO_ROUTE = 404, "There is nothing at this path."
    METHOD_NOT_ALLOWED = 405, "The resource does not take this method."
    NO_TOKEN = 401, "The request carries no token."
    BAD_TOKEN = 401, "The token is not valid."
    NOT_ADMIN = 403, "The token's owner is no admin."
    SECRET_MISSING = 403, "The internal secret is missing."
    SECRET_WRONG = 403, "The internal secret is wrong."
    SECRET_UNREADABLE = 403, "The internal secret is no short ASCII text."
    BAD_ID = 422, "An id is no UUID."
    BAD_MEDIA_TYPE = 415, "The body is not declared as JSON."
    BAD_BODY = 422, "The body is no JSON object with a boolean facebank_seed."
    BAD_QUERY = 422, "A query parameter is malformed."
    UNKNOWN_LINK = 404, "The link does not exist."
    OTHER_PERSONS_LINK = 409, "The link belongs to another person."
    NOT_A_GALLERY_LINK = 409, "The link is no person gallery image."
    UNKNOWN_PERSON = 404, "The person does not exist."
    UNDER_WAY = 409, "Another toggle of the link is under way."
    STORAGE_FAILED = 502, "The flag could not be stored."
    BAD_PREVIEW = 422, "The body is no JSON object that names a page to preview."
    BAD_ADDRESS = 422, "The page's address is not http(s)."
    NO_PAGE = 400, "The page could not be fetched."
    NO_HTML = 400, "There is no web page at that address."
    BAD_IMPORT = 422, "The body is no JSON object that names images, their kinds and whom they are for."
    NO_IMAGES = 424, "None of the images could be fetched."
    UNKNOWN_ENTITY = 404, "There is no such season, show or person."
    UNKNOWN_ASSET = 404, "The media asset does not exist."
    ASSET_GONE = 404, "The media asset was deleted."
    VISION_FAILED = 502, "The vision service did not say how many people there are."
    OVERLAY_FAILED = 502, "The text overlay detector failed."
    BAD_PURGE = 422, "The body names no show, season and page."
    UNKNOWN_STATE = 404, "There is no such provider state."
    BAD_STATE = 400, "The provider state's action or params are malformed."

    @property
    def owes_a_message(self) -> bool:
        """Whether the contract asks for a message in the answer's body."""
        return self in (Fault.NO_PAGE, Fault.NO_HTML, Fault.VISION_FAILED, Fault.OVERLAY_FAILED)


class Refusal(Exception):
    """Ends the handling of a request with a fault's answer."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.name)
        self.fault = fault


class HangUp(Exception):
    """Ends the handling of a request by closing the connection without an answer."""


def refuse(fault: Fault) -> NoReturn:
    raise Refusal(fault)
