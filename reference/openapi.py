"""What the reference's own OpenAPI documents are made of, where FastAPI can't tell it from the handlers."""

from __future__ import annotations

import http
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

REF = "#/components/schemas/{model}"


class Problem(BaseModel):
    """The body of every refusal."""

    detail: str


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The responses of these statuses."""
    return {status: {"model": Problem, "description": http.HTTPStatus(status).phrase} for status in statuses}


def path_id(name: str) -> dict[str, Any]:
    """A path parameter that is a UUID."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}


def query(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """A query parameter that may be left out."""
    return {"name": name, "in": "query", "required": False, "schema": schema}


def body(model: type[BaseModel]) -> dict[str, Any]:
    """A JSON request body, whose model `declare` is told of."""
    schema = {"$ref": REF.format(model=model.__name__)}
    return {"required": True, "content": {"application/json": {"schema": schema}}}


def declare(app: FastAPI, security: Mapping[str, Any], *models: type[BaseModel]) -> None:
    """Add security schemes, and models that no handler names, to an application's document."""
    _, schemas = models_json_schema([(model, "validation") for model in models], ref_template=REF)
    generate = app.openapi

    def document() -> dict[str, Any]:
        # generated anew whenever a route is added
        generated = generate()
        components = generated.setdefault("components", {})
        components["securitySchemes"] = dict(security)
        components["schemas"] = {**schemas["$defs"], **components.get("schemas", {})}
        return generated

    app.openapi = document  # type: ignore[method-assign]
