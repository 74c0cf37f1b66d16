"""The kinds of change, each with an id that stays: `<direction>-<subject>-<action>`.

A rule of one direction has its mirror in the other, unless `ONE_SIDED` says why not.
"""

from __future__ import annotations

from typing import Final, Literal

Direction = Literal["request", "response"]
DIRECTIONS: Final[tuple[Direction, Direction]] = ("request", "response")

BOUNDS: Final = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
)


def kebab(keyword: str) -> str:
    """A keyword as it stands in a rule id."""
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in keyword)


_CHANGED: Final = ("added", "removed", "changed")
SUBJECTS: Final[dict[str, tuple[str, ...]]] = {
    "schema": ("changed", "forbidden", "allowed"),
    "type": _CHANGED,
    "null": ("added", "removed"),
    "enum": ("added", "removed", "value-added", "value-removed"),
    "const": ("changed",),
    "property": ("added", "removed"),
    "required": ("added", "removed"),
    **{kebab(bound): ("added", "removed", "raised", "lowered") for bound in BOUNDS},
    **{
        kebab(keyword): _CHANGED
        for keyword in (
            *("multipleOf", "pattern", "format", "uniqueItems", "contains", "prefixItems", "items"),
            *("propertyNames", "patternProperties", "dependentRequired"),
            *("unevaluatedItems", "unevaluatedProperties", "allOf", "anyOf", "oneOf", "not", "if"),
        )
    },
    "additional-properties": ("closed", "opened", "changed"),
    "unknown-keyword": _CHANGED,
    "media-type": ("added", "removed"),
    "body": ("added", "removed"),
}
"""What can change about a schema or body, and how; each in both directions."""

ONE_SIDED: Final[dict[str, str]] = {
    "operation-added": "An operation is request and response at once.",
    "operation-removed": "An operation is request and response at once.",
    "request-body-became-required": "A response's body is there or not as its status says; there is no such member.",
    "request-body-became-optional": "A response's body is there or not as its status says; there is no such member.",
    "request-parameter-added": "A response has no parameters.",
    "request-parameter-removed": "A response has no parameters.",
    "request-parameter-became-required": "A response has no parameters.",
    "request-parameter-became-optional": "A response has no parameters.",
    "response-status-added": "A request has no status.",
    "response-status-removed": "A request has no status.",
}
"""The rules without a mirror, and why."""

RULES: Final = frozenset(
    {
        f"{direction}-{subject}-{action}"
        for direction in DIRECTIONS
        for subject, all_ in SUBJECTS.items()
        for action in all_
    }
    | ONE_SIDED.keys()
)


def rule(direction: Direction, subject: str, action: str) -> str:
    """The id of a rule; an unknown one is a mistake of ours."""
    name = f"{direction}-{subject}-{action}"
    if name not in RULES:
        raise KeyError(name)
    return name


def mirror(name: str) -> str | None:
    """The same rule for the other direction; None where there is none."""
    if name in ONE_SIDED:
        return None
    direction, _, rest = name.partition("-")
    return f"{'response' if direction == 'request' else 'request'}-{rest}"
