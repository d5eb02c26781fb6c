"""The house plan: floors, launchers and packaging."""

from __future__ import annotations

import ast
import cmd
import configparser
import sysconfig
import tomllib
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "kcpctl"

# Architecture 2: what lives on which floor. An import that goes up is a bug.
FLOORS = {
    "errors": 0,
    "logicalcluster": 0,
    "runtime": 0,
    "workqueue": 0,
    "apis": 1,
    "client": 2,
    "informers": 3,
    "clusters": 3,
    "controller": 4,
    "manager": 5,
    "reconcilers": 6,
    "syncer": 6,
    "synctargets": 7,
}
# Besides itself. It must never share code with the client that is tested against it.
EMBEDDED_MAY_IMPORT = {"runtime", "logicalcluster", "apis"}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the room (kcpctl.<room>) of each import of ours."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "kcpctl" and len(parts) > 1:
                yield node.lineno, parts[1]


def rooms() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        yield room, path


def test_no_import_goes_up_a_floor() -> None:
    wrong = []
    for room, path in rooms():
        for line, other in imports(path):
            where = f"{path.relative_to(ROOT)}:{line} imports kcpctl.{other}"
            if (
                room in FLOORS
                and FLOORS.get(other, 0 if other == "__version__" else 99) > FLOORS[room]
            ):
                wrong.append(where)
            if room == "embedded" and other not in EMBEDDED_MAY_IMPORT | {
                "embedded",
                "__version__",
            }:
                wrong.append(where)
            if other == "cli" and room not in {"cli", "__main__"}:
                wrong.append(where)
    assert not wrong, "\n".join(wrong)


def test_every_room_has_a_floor() -> None:
    known = {*FLOORS, "embedded", "testing", "cli", "__init__", "__main__"}
    assert {room for room, _ in rooms()} <= known


def test_cmd_does_not_shadow_the_standard_module() -> None:
    assert not (ROOT / "cmd" / "__init__.py").exists()
    assert Path(cmd.__file__).is_relative_to(sysconfig.get_path("stdlib"))


def test_metadata_lives_in_pyproject_only() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert not {"metadata", "options"} & set(setup.sections())


def test_only_the_package_is_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["tool"]["setuptools"]["packages"]["find"]["include"] == ["kcpctl*"]


def test_dependencies_have_lower_bounds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    every = [
        *project["dependencies"],
        *chain.from_iterable(project["optional-dependencies"].values()),
    ]
    assert [item for item in every if ">=" not in item and not item.startswith("kcpctl")] == []


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=str)
def test_a_module_is_not_longer_than_600_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 600
