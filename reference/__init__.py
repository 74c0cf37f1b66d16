"""A small system that keeps every promise of the contracts, on a real PostgreSQL, and the rogues that break one each.

`python -m reference` starts it and prints where it listens. One module per service: `backend` is TRR-Backend;
the app's proxy and Screenalytics join it here under their own names and share the supervisor, the database and
the provider states.
"""
