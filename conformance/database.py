"""A read-only look at a target's database, where the environment gives its address."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from conformance.errors import NotVerified

_IS_BLIND = """
select exists (
  select from pg_class c
  where c.relkind in ('r', 'p') and row_security_active(c.oid) and has_table_privilege(c.oid, 'select')
  and (
    not exists (
      select from pg_policy p
      where p.polrelid = c.oid and p.polpermissive and p.polcmd in ('r', '*')
      and pg_get_expr(p.polqual, p.polrelid) = 'true'
      and (0 = any (p.polroles) or exists (select from unnest(p.polroles) r where pg_has_role(r, 'usage')))
    )
    or exists (select from pg_policy p where p.polrelid = c.oid and not p.polpermissive and p.polcmd in ('r', '*'))
  )
) as is_blind
"""
"""Whether row level security may hide rows of some table that this role may read."""


class Database:
    """A Postgres that is only ever read: every query is a read-only transaction.

    A pooler such as PgBouncer may stand before it: nothing is asked of the session, nothing is kept in it, and one that
    was ended since the last query is made anew.
    """

    def __init__(self, url: str, key: str) -> None:
        self._url, self._key = url, key
        self._connection: psycopg.Connection[dict[str, Any]] | None = None
        self._begin = ""

    def rows(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        """The rows of a query; raises NotVerified where it can't be reached, lacks the table or hides rows."""
        was_connected = self._connection is not None
        try:
            connection = self._connected()
            cursor = connection.execute(f"{self._begin}{query}; commit".encode(), parameters)
            while cursor.description is None and cursor.nextset():
                pass
            return cursor.fetchall()
        except psycopg.Error as error:
            # a session that idled may be ended by its host: only a fresh one's end says anything
            ended = self._connection is not None and self._connection.closed
            self.close()
            if was_connected and ended:
                return self.rows(query, **parameters)
            first_line = str(error).strip().splitlines()[:1]
            raise NotVerified(f"{self._key}: {first_line[0] if first_line else type(error).__name__}") from None

    def _connected(self) -> psycopg.Connection[dict[str, Any]]:
        if self._connection is None:
            # the client binds the parameters: nothing is prepared, and a transaction is one round trip
            self._connection = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=5,
                row_factory=dict_row,
                cursor_factory=psycopg.ClientCursor[dict[str, Any]],
            )
            (found,) = self._connection.execute(_IS_BLIND).fetchall()
            # rows that a policy hides would look as if they had never been written: an error instead
            self._begin = "begin read only; " + ("set local row_security = off; " if found["is_blind"] else "")
        return self._connection

    def close(self) -> None:
        """Closes the connection, if one was opened."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
