"""All services of the reference as one world: each on a port of its own, and all knowing each other's secrets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from fastapi import FastAPI

from reference import app, backend, environment, screenalytics, states
from reference.serving import Service, listen

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
        rogue: Rogue | None = None,
    ) -> None:
        """Make the named services on their databases, one of them with a rogue's fault.

        The app and Screenalytics call the backend at `trr_api_url`, or else the one that is made here.
        """
        self._databases = databases
        self._rogue = rogue
        self._settings, self._credentials = environment.fresh_settings()
        listeners = {service: listen() for service in services}
        addresses = {service: base_url for service, (_, base_url) in listeners.items()}
        self._trr_api_url = trr_api_url or addresses["backend"]
        self.environment = environment.describe(addresses, databases, self._credentials, trr_api_url)
        make: Mapping[str, Callable[[], FastAPI]] = {
            "backend": self._backend,
            "app": self._app,
            "screenalytics": self._screenalytics,
        }
        self.services = [Service(make[service](), *listeners[service]) for service in services]

    def _implementation(self, service: str, true: type[T]) -> type[T]:
        return self._rogue.implementation if self._rogue is not None and self._rogue.target == service else true

    def _backend(self) -> FastAPI:
        settings = backend.Settings(
            jwt_secret=self._settings.jwt_secret,
            internal_secret=self._credentials["internal_admin_secret"],
            screenalytics_token=self._credentials["screenalytics_token"],
            admin_emails=self._settings.admin_emails,
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
        )
        return app.create_app(self._implementation("app", app.App)(settings))

    def _screenalytics(self) -> FastAPI:
        settings = screenalytics.Settings(
            trr_api_url=self._trr_api_url,
            service_token=self._credentials["screenalytics_token"],
            database_url=self._databases["screenalytics"],
        )
        return screenalytics.create_app(self._implementation("screenalytics", screenalytics.Screenalytics)(settings))
