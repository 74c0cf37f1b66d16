"""Checks whether a system keeps the promises in `contracts`: the harness, and the suites by target."""

__version__: str


def __getattr__(name: str) -> str:
    """`__version__`, looked up when it is asked for: that takes longer than to trace a log of many thousand lines."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("trr-conformance")
    except PackageNotFoundError:  # a checkout that is not installed
        return "0+checkout"
