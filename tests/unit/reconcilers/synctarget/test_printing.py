"""The printed text against golden files; KCPCTL_UPDATE_GOLDEN=1 rewrites those."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from kcpctl.reconcilers.synctarget.manifests import SyncerInputs, downstream_objects
from kcpctl.reconcilers.synctarget.printing import as_text, printable_objects

GOLDEN = Path(__file__).parent / "golden"
INPUTS = SyncerInputs(
    id="kcp-syncer-us-west1-1nuzj7pw",
    name="us-west1",
    uid="syncTargetUID",
    cluster="1x2y3z",
    namespace="kcp-syncer-us-west1-1nuzj7pw",
    image="kcpctl-syncer:local",
    server="https://upstream:6443/clusters/1x2y3z",
    ca=b"CA",
    token="TOKEN",
    token_renew_at="2026-01-01T19:12:00Z",
)


@pytest.mark.parametrize("form", ["yaml", "json"])
def test_the_text_is_the_golden_one(form: str) -> None:
    text = as_text(printable_objects(INPUTS), form)
    path = GOLDEN / f"printed.{form}"
    if os.environ.get("KCPCTL_UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


def test_both_forms_are_what_the_controller_applies() -> None:
    printed = printable_objects(INPUTS)
    assert printed == downstream_objects(INPUTS)
    assert list(yaml.safe_load_all(as_text(printed, "yaml"))) == printed
    assert json.loads(as_text(printed, "json"))["items"] == printed


def test_objects_that_share_a_part_are_written_out_in_full() -> None:
    shared = {"a": "b"}
    assert "&" not in as_text([{"x": shared, "y": shared}], "yaml")


def test_a_namespace_that_may_be_somebody_elses_is_not_marked() -> None:
    """The mark would have it deleted with the SyncTarget."""
    namespace, account, *_ = printable_objects(replace(INPUTS, namespace="shared"))
    assert namespace["metadata"] == {"name": "shared"}
    assert account["metadata"]["labels"]


def test_without_a_token_there_is_no_secret() -> None:
    printed = printable_objects(replace(INPUTS, token=""))
    assert [obj["kind"] for obj in printed] == [
        "Namespace",
        "ServiceAccount",
        "ClusterRole",
        "ClusterRoleBinding",
        "Deployment",
    ]
