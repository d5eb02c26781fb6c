from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.exports.naming import Names, conflict, names_of_infos
from tests.unit.embedded.exports.conftest import World

TAKEN = Names("CRD", "farm", "cows", "cow", ("cw",), "Cow", "CowList")
FREE = Names("", "farm", "pigs", "pig", ("pg",), "Pig", "PigList")


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ({"plural": "cw"}, "plural=cw"),
        ({"singular": "cows"}, "singular=cows"),
        ({"short_names": ("pg", "cow")}, "shortNames=[pg cow]"),
        ({"kind": "CowList"}, "kind=CowList"),
        ({"list_kind": "Cow"}, "listKind=Cow"),
    ],
)
def test_no_name_may_be_one_of_another_resource(names: dict[str, Any], problem: str) -> None:
    expected = f"naming conflict with CRD: spec.names.{problem} is forbidden"
    assert conflict(FREE._replace(**names), [FREE._replace(group="zoo"), TAKEN]) == expected


def test_names_of_another_group_are_free() -> None:
    assert conflict(TAKEN, [TAKEN._replace(group="zoo")]) == ""
    assert conflict(FREE, [TAKEN]) == ""


@pytest.mark.parametrize(
    ("path", "where"),
    [("root:provider", "APIExport root:provider:widgets"), ("", 'local APIExport "widgets"')],
)
def test_a_binding_is_named_with_its_export(world: World, path: str, where: str) -> None:
    world.bound()
    export = {"name": "widgets", **({"path": path} if path else {})}
    binding = {"metadata": {"name": "b"}, "spec": {"reference": {"export": export}}}
    (names,) = names_of_infos(binding, [world.widgets()])
    assert names.holder == f'APIBinding "b" bound to {where}'
    assert (names.plural, names.list_kind) == ("widgets", "WidgetList")
