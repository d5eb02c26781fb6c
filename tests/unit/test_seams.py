"""Nothing goes around the seams: time, randomness, threads and tasks come from kcpctl.runtime."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "kcpctl"

# Architecture 3 and decision 17. A trailing dot bans every function of the module.
BANNED = (
    "time.sleep",
    "time.time",
    "time.monotonic",
    "time.perf_counter",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.now",
    "random.",
    "uuid.uuid4",
    "uuid.uuid1",
    "os.urandom",
    "threading.Thread",
    "threading.Timer",
    "asyncio.create_task",
    "asyncio.ensure_future",
    "asyncio.sleep",
    "asyncio.to_thread",
    "subprocess.Popen",
    # Two threads that meet a struct for the first time end the process: kcpctl.apis.convert.decode.
    "msgspec.convert",
)
# random.Random is the type of an injected generator, not a draw.
ALLOWED = ("random.Random",)
# The modules that implement the seams.
IMPLEMENTATIONS = (
    PACKAGE / "runtime",
    PACKAGE / "testing" / "clock.py",
    PACKAGE / "apis" / "convert.py",
)


def inside_annotations(tree: ast.AST) -> set[int]:
    """Return the ids of all nodes inside annotations: to name a type is not to use it."""
    roots: list[ast.AST | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign):
            roots.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            roots.append(node.returns)
    return {id(inner) for root in roots if root is not None for inner in ast.walk(root)}


def names_used(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the dotted name of every attribute chain and every from-import."""
    aliases: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                aliases[alias.asname or alias.name] = f"{node.module}.{alias.name}"
                yield node.lineno, f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                aliases[alias.asname or alias.name.partition(".")[0]] = alias.name
    named = inside_annotations(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in named:
            chain, inner = [node.attr], node.value
            while isinstance(inner, ast.Attribute):
                chain.append(inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name):
                head = aliases.get(inner.id, inner.id)
                yield node.lineno, ".".join([head, *reversed(chain)])


def violations(source: str) -> list[str]:
    found = []
    for line, name in names_used(ast.parse(source)):
        if name.startswith(ALLOWED):
            continue
        if any(name == ban or (ban.endswith(".") and name.startswith(ban)) for ban in BANNED):
            found.append(f"{line}: {name}")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import time\ntime.sleep(1)",
        "from time import monotonic",
        "import time as t\nt.time()",
        "import random\nrandom.choice([1])",
        "import asyncio\nasyncio.create_task(x())",
        "from threading import Thread",
        "from datetime import datetime\ndatetime.now()",
        "import uuid\nuuid.uuid4()",
    ],
)
def test_the_check_sees_a_way_around(source: str) -> None:
    assert violations(source)


def test_the_check_lets_a_type_be_named() -> None:
    assert not violations("import threading\nthread: threading.Thread | None = None")


def test_the_check_lets_injected_generators_pass() -> None:
    assert not violations("import random\ndef f(rng: random.Random) -> float: return rng.random()")


def test_nothing_goes_around_the_seams() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{violation}"
        for path in sorted(PACKAGE.rglob("*.py"))
        if not any(path == seam or seam in path.parents for seam in IMPLEMENTATIONS)
        for violation in violations(path.read_text())
    ]
    assert not found, "use the seams of kcpctl.runtime instead:\n" + "\n".join(found)
