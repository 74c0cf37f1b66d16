"""Rogues of the backend."""
