from __future__ import annotations

from typing import Any

from kcpctl.cli.session import _in_cluster


def test_the_kubeconfig_of_a_workspace_differs_in_the_url_alone() -> None:
    root: dict[str, Any] = {
        "clusters": [
            {"name": "c", "cluster": {"server": "https://h:1/clusters/root", "ca": "x"}},
        ],
        "users": [{"name": "u", "user": {}}],
    }
    made = _in_cluster(root, "root:demo")
    assert made["clusters"][0]["cluster"] == {"server": "https://h:1/clusters/root:demo", "ca": "x"}
    assert made["users"] == root["users"]
    assert root["clusters"][0]["cluster"]["server"] == "https://h:1/clusters/root"
