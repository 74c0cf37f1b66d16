"""All services of the reference as one world: each on a port of its own, and all knowing each other's secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from fastapi import FastAPI

from reference import access, app, appstates, backend, environment, purge, screenalytics, states
from reference.accesslog import AccessLog
from reference.serving import Service, listen
from reference.tracing import Note, traced

if TYPE_CHECKING:
    from reference.rogues import Rogue

T = TypeVar("T")


class World:
    """The services, ready to be served, and the environment in which they are found."""

    def __init__(
        self,
        services: Sequence[str],
        databases: Mapping[str, str],
        trr_api_url: str | None = None,
        vision_url: str | None = None,
        rogue: Rogue | None = None,
        note: Note | None = None,
    ) -> None:
        """Make the named services on their databases, one of them with a rogue's fault, or all of them traced.

        The app and Screenalytics call the backend at `trr_api_url`, or else the one that is made here. The backend has
        people counted at `vision_url`, or else not at all.
        """
        self._databases = databases
        self._rogue = rogue
        self._note = note
        self._settings, self._credentials = environment.fresh_settings()
        listeners = {service: listen() for service in services}
        addresses = {service: base_url for service, (_, base_url) in listeners.items()}
        self._trr_api_url = trr_api_url or addresses["backend"]
        self._vision_url = vision_url
        self._addresses = addresses
        purge_rogue = rogue.name if rogue is not None and issubclass(rogue.implementation, purge.Purge) else None
        self.environment = environment.describe(
            addresses, databases, self._credentials, trr_api_url, vision_url, purge_rogue
        )
        make: Mapping[str, Callable[[], FastAPI]] = {
            "backend": self._backend,
            "app": self._app,
            "screenalytics": self._screenalytics,
        }
        self.services = [Service(make[service](), *listeners[service]) for service in services]

    def keep_access_log(self, path: Path) -> None:
        """Have the backend append its requests to a file."""
        backend_url = self._addresses["backend"]
        for service in self.services:
            if service.base_url == backend_url:
                service.app.add_middleware(AccessLog, path=path)
        self.environment = replace(
            self.environment, table={**self.environment.table, "access_log": {"path": str(path)}}
        )

    def _implementation(self, service: str, true: type[T]) -> type[T]:
        rogue = self._rogue
        if rogue is not None and rogue.target == service and issubclass(rogue.implementation, true):
            return rogue.implementation
        return true if self._note is None else traced(true, self._note)

    def _backend(self) -> FastAPI:
        settings = access.Settings(
            jwt_secret=self._settings.jwt_secret,
            internal_secret=self._credentials["internal_admin_secret"],
            screenalytics_token=self._credentials["screenalytics_token"],
            admin_emails=self._settings.admin_emails,
            public_url=self._addresses["backend"],
            vision_url=self._vision_url,
        )
        database_url = self._databases["backend"]
        api = backend.create_app(self._implementation("backend", backend.Backend)(settings, database_url))
        api.include_router(states.router(database_url))
        return api

    def _app(self) -> FastAPI:
        settings = app.Settings(
            session_secret=self._settings.session_secret,
            admin_emails=self._settings.admin_emails,
            backend_url=self._trr_api_url,
            service_role_token=self._credentials["service_role_token"],
            internal_secret=self._credentials["internal_admin_secret"],
            database_url=self._databases["backend"],
        )
        api = app.create_app(self._implementation("app", app.App)(settings))
        api.include_router(states.router(settings.database_url, appstates.STATES))
        return api

    def _screenalytics(self) -> FastAPI:
        settings = screenalytics.Settings(
            trr_api_url=self._trr_api_url,
            service_token=self._credentials["screenalytics_token"],
            database_url=self._databases["screenalytics"],
        )
        return screenalytics.create_app(self._implementation("screenalytics", screenalytics.Screenalytics)(settings))
