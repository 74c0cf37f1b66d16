"""Mutants: the reference with a small change to one of its functions, made by the mutation tester cosmic-ray.

`python -m reference.mutation FOLDER` writes a fixed sample of them, a file each, and `--mutant FILE` has the reference
serve one. Where rogues are faults that a colleague would make, these are faults that nobody chose.
"""

from __future__ import annotations

import argparse
import difflib
import gc
import importlib
import inspect
import json
import random
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import CodeType, FunctionType
from typing import NamedTuple

MODULES = {
    **dict.fromkeys(("access", "backend", "fetching", "media", "media_api", "page"), "backend"),
    "app": "app",
    "screenalytics": "screenalytics",
}
"""The modules that hold what the services decide, and the target that each belongs to."""

_LEFT_OUT = ("core/NoOp", "core/RemoveDecorator")


class Position(NamedTuple):
    """Where a change can be made: the n-th place of an operator of cosmic-ray in a module."""

    module: str
    operator: str
    number: int


@dataclass(frozen=True)
class Mutant:
    """A changed module; `function` is what of it does otherwise, and `diff` the lines that differ."""

    name: str
    target: str
    module: str
    function: str
    diff: str
    source: str


def positions(modules: Iterable[str] = MODULES) -> list[Position]:
    """Every place of the modules at which something can be changed."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    usable = [name for name in operator_names() if name not in _LEFT_OUT and not get_operator(name).arguments()]
    found = []
    for module in modules:
        nodes = list(ast_nodes(get_ast(_true(module))))
        for name in usable:
            operator = get_operator(name)()
            count = sum(1 for node in nodes for _ in operator.mutation_positions(node))
            found += [Position(module, name, number) for number in range(count)]
    return found


def mutant(position: Position) -> Mutant | None:
    """The mutant of a position; None where no function's code changes, as in an annotation, or it is no code."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    true = _true(position.module)
    try:
        source = mutate_code(true, get_operator(position.operator)(), position.number)
        changed = [] if source is None else list(_changed(position.module, source))
    except (SyntaxError, AttributeError):  # the latter where cosmic-ray meets an exception with a dotted name
        return None
    if source is None or not changed:
        return None
    lines = difflib.unified_diff(true.splitlines(), source.splitlines(), lineterm="", n=0)
    diff = "\n".join(line for line in lines if not line.startswith(("---", "+++")))
    name = "-".join(re.findall(r"[A-Za-z]+", position.operator.removeprefix("core/"))).lower()
    return Mutant(
        name=f"{position.module}-{name}-{position.number}",
        target=MODULES[position.module],
        module=position.module,
        function=changed[0][0].co_qualname,
        diff=diff,
        source=source,
    )


def sample(size: int, seed: int) -> Iterator[Mutant]:
    """So many mutants, always the same for a seed as long as the reference is the same."""
    found = positions()
    random.Random(seed).shuffle(found)
    made = 0
    for each in map(mutant, found):
        if made == size:
            return
        if each is not None:
            made += 1
            yield each


def apply(path: Path) -> None:
    """Give the functions of this process the code of the mutant in the file; raises KeyError where it is none."""
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        module, source = str(written["module"]), str(written["source"])
        changed = dict(_changed(module, source)) if module in MODULES else {}
    except (OSError, ValueError, KeyError, TypeError, SyntaxError):
        changed = {}
    if not changed:
        raise KeyError(f"--mutant {path}: is no mutant")
    importlib.import_module(f"reference.{module}")
    gc.unfreeze()  # a fork's functions are frozen, and nothing finds what is
    functions = [each for each in gc.get_objects() if isinstance(each, FunctionType) and each.__code__ in changed]
    if not functions:
        raise KeyError(f"--mutant {path}: nothing of what it changes is there")
    for function in functions:
        function.__code__ = changed[function.__code__]


def _true(module: str) -> str:
    return Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")


def _changed(module: str, source: str) -> Iterator[tuple[CodeType, CodeType]]:
    """The code of each function that differs in a changed module: what it is, and what it becomes."""
    # compiled as the import system does, so that equal code compares equal to what functions have
    file = str(Path(__file__).with_name(f"{module}.py"))
    with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
        codes = compile(_true(module), file, "exec"), compile(source, file, "exec")
    yield from _differing(*codes)


def _differing(true: CodeType, changed: CodeType) -> Iterator[tuple[CodeType, CodeType]]:
    def functions(code: CodeType) -> list[CodeType]:
        return [each for each in code.co_consts if isinstance(each, CodeType)]

    if true.co_flags & inspect.CO_NEWLOCALS:  # a function, and no module or class
        if _without_lines(true) != _without_lines(changed):
            yield true, changed
        return
    for old, new in zip(functions(true), functions(changed), strict=False):
        yield from _differing(old, new)


def _without_lines(code: CodeType) -> tuple[object, ...]:
    """What a function does: its code, but not where that stands in the file."""
    constants = tuple(
        _without_lines(each) if isinstance(each, CodeType) else (type(each), repr(each)) for each in code.co_consts
    )
    return code.co_code, constants, code.co_names, code.co_varnames


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a sample of the mutants into a folder."""
    parser = argparse.ArgumentParser(prog="python -m reference.mutation", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--size", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    for each in sample(options.size, options.seed):
        (options.folder / f"{each.name}.json").write_text(json.dumps(asdict(each)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
