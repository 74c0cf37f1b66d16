"""Checks whether a system keeps the promises in `contracts`: the harness, and the suites by target."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("trr-conformance")
except PackageNotFoundError:  # a checkout that is not installed
    __version__ = "0+checkout"
