from __future__ import annotations

from typing import Any

import msgspec
import pytest

from kcpctl.apis.workload import APIExportReference, SyncTargetSpec, deployment_mode


@pytest.mark.parametrize(
    ("text", "path", "export"),
    [
        ("kubernetes", "", "kubernetes"),
        ("root:compute:kubernetes", "root:compute", "kubernetes"),
        (" root:kubernetes ", "root", "kubernetes"),
    ],
)
def test_row_69_an_export_is_normalised_from_text(text: str, path: str, export: str) -> None:
    assert APIExportReference.parse(text) == APIExportReference(export=export, path=path)


@pytest.mark.parametrize("text", ["", " ", "root:", ":kubernetes"])
def test_half_an_export_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an APIExport"):
        APIExportReference.parse(text)


@pytest.mark.parametrize(
    ("spec", "mode"),
    [
        ({}, "External"),
        ({"kcpCluster": "root:x"}, "External"),
        ({"supportedAPIExports": [{"export": "k"}]}, "External"),
        ({"cluster": "east"}, "Managed"),
        ({"clusterRef": {"name": "east"}}, "Managed"),
        ({"connection": {}}, "Managed"),
        ({"cluster": "east", "deployment": {"mode": "External"}}, "External"),
        ({"cluster": "east", "deployment": {"image": "x"}}, "Managed"),
    ],
)
def test_the_mode_is_as_stated_or_follows_from_a_named_cluster(
    spec: dict[str, Any], mode: str
) -> None:
    assert deployment_mode(msgspec.convert(spec, SyncTargetSpec)) == mode
