from __future__ import annotations

from typing import Any

import pytest

from kcpctl.embedded.tables.jsonpath import find

OBJ: dict[str, Any] = {
    "metadata": {"annotations": {"example.com/key": "v", "plain": "p"}},
    "status": {
        "conditions": [
            {"type": "Ready", "status": "True", "n": 1},
            {"type": "Valid", "status": "False", "n": 2},
        ],
        "list": [1, 2, 3],
    },
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (".status.list[0]", [1]),
        (".status.list[-1]", [3]),
        (".status.list[7]", []),
        (".status.list[*]", [1, 2, 3]),
        ("{.status.list[1]}", [2]),
        ("status.list[1]", [2]),
        (r".metadata.annotations.example\.com/key", ["v"]),
        (".metadata.annotations['example.com/key']", ["v"]),
        ('.metadata.annotations["plain"]', ["p"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type=='Valid')].status", ["False"]),
        (".status.conditions[?(@.n==2)].type", ["Valid"]),
        (".status.conditions[?(@.type!='Ready')].type", ["Valid"]),
        ('.status.conditions[?(@.type=="None")].status', []),
        (".nothing.at.all", []),
        (".status..x", []),
        (".status.list[", []),
        (".status.list[?(broken)]", []),
    ],
)
def test_paths_find_what_they_name_and_nothing_else(path: str, found: list[Any]) -> None:
    assert find(path, OBJ) == found
