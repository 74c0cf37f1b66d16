"""`python -m reference`: the reference in one process, and a warden that removes every trace of it afterwards."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from reference.warden import Warden


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop (0); 4 for a database or a rogue that can't be had."""
    parser = argparse.ArgumentParser(prog="python -m reference", description="Run the reference system.")
    parser.add_argument("--rogue", metavar="NAME", help="run it with this one fault")
    parser.add_argument("--list-rogues", action="store_true", help="print the rogues and stop")
    parser.add_argument(
        "--database-url", metavar="URL", help="create a database on this server, and drop it at the end"
    )
    parser.add_argument("--json", action="store_true", help="print JSON on one line instead of an environment file")
    options = parser.parse_args(arguments)
    if options.list_rogues:
        return list_rogues(options.json)
    return run(options.rogue, options.database_url, options.json)


def list_rogues(as_json: bool) -> int:
    """Print every rogue: its name, target, clauses and what it does."""
    from reference.rogues import ROGUES

    if as_json:
        keys = ("name", "target", "breaks", "summary")
        print(json.dumps([{key: getattr(rogue, key) for key in keys} for rogue in ROGUES.values()]))
    else:
        width = max(map(len, ROGUES), default=0)
        for rogue in ROGUES.values():
            print(f"{rogue.name:{width}}  {rogue.target}  {', '.join(rogue.breaks):24}  {rogue.summary}")
    return 0


def run(rogue: str | None, database_url: str | None, as_json: bool) -> int:
    """Start the database and the services, print the environment once they answer, and serve."""
    from reference.serving import listen, serve, stop_with_parent

    stop_with_parent()
    # Left in this order: the warden ends whatever still starts, and the background task with it.
    with ThreadPoolExecutor(1) as background, Warden() as warden:
        from reference import database

        # The database starts while the services are imported.
        if database_url is None:
            starting = background.submit(database.embedded, warden)
        else:
            starting = background.submit(database.on_server, database_url, warden)

        from reference import environment, states
        from reference.backend import create_app
        from reference.rogues import implementation

        try:
            backend_class = implementation(rogue)
            own_url = starting.result()
        except (KeyError, database.DatabaseError) as error:
            print(f"python -m reference: {error.args[0]}", file=sys.stderr)
            return 4
        settings, credentials = environment.fresh_settings()
        listener, base_url = listen()
        described = environment.describe(base_url, own_url, credentials)
        app = create_app(backend_class(settings, own_url))
        app.include_router(states.router(own_url))
        text = described.json() if as_json else described.toml()
        serve(app, listener, base_url, lambda: print(text, end="", flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
