"""A read-only look at a target's database, where the environment gives its address."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from conformance.errors import NotVerified


class Database:
    """A Postgres that is only ever read: every transaction is a read-only one."""

    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = url, key
        self._connection: psycopg.Connection[dict[str, Any]] | None = None

    def rows(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a query; raises NotVerified where the database cannot be reached or lacks the table."""
        try:
            if self._connection is None:
                self._connection = psycopg.connect(
                    self._url,
                    autocommit=True,
                    row_factory=dict_row,
                    connect_timeout=5,
                    options="-c default_transaction_read_only=on",
                )
            return self._connection.execute(query.encode(), parameters).fetchall()
        except psycopg.Error as error:
            self.close()
            first_line = str(error).strip().splitlines()[:1]
            raise NotVerified(f"{self._key}: {first_line[0] if first_line else type(error).__name__}") from None

    def close(self) -> None:
        """Closes the connection, if one was opened."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
