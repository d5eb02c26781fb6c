from __future__ import annotations

import pytest

from kcpctl.embedded.exports.directory import Place
from kcpctl.embedded.http.export_paths import ExportPath, parse_export_path

HEAD = "/services/apiexport/abc/widgets/clusters"


@pytest.mark.parametrize(
    ("path", "consumer", "rest"),
    [
        (f"{HEAD}/*/api/v1/secrets", "*", "/api/v1/secrets"),
        (f"{HEAD}/xyz/apis", "xyz", "/apis"),
        (f"{HEAD}/xyz/", "xyz", "/"),
        (f"{HEAD}/xyz", "xyz", "/"),
    ],
)
def test_a_path_names_an_export_and_a_consumer(path: str, consumer: str, rest: str) -> None:
    assert parse_export_path(path) == ExportPath(Place("abc", "widgets"), consumer, rest)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/secrets",
        "/services/apiexport",
        "/services/apiexport/abc/widgets",
        "/services/apiexport/abc/widgets/api/v1",
        "/services/apiexport//widgets/clusters/*/api",
        "/services/apiexport/abc//clusters/*/api",
        f"{HEAD}//api",
        f"{HEAD}/root:tenant/api",  # a path is no name
        "/services/initializingworkspaces/abc/widgets/clusters/*/api",
    ],
)
def test_other_paths_are_not_of_a_virtual_workspace(path: str) -> None:
    assert parse_export_path(path) is None
