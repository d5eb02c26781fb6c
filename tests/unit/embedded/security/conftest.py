from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from kcpctl.embedded.registry import Registry
from kcpctl.embedded.security.authn import Authenticator
from kcpctl.embedded.security.bootstrap import bootstrap_rbac
from kcpctl.embedded.security.rbac import Authorizer
from kcpctl.embedded.security.reviews import Reviews
from kcpctl.embedded.security.tokens import ServiceAccountTokens
from kcpctl.embedded.user import UserInfo
from kcpctl.testing.clock import FakeClock

RBAC = "rbac.authorization.k8s.io"
_KEY = ec.generate_private_key(ec.SECP256R1())


class World:
    """A registry with the security of a server, and short ways to fill it."""

    def __init__(self, *, workspaces: bool = False) -> None:
        self.clock = FakeClock()
        self.registry = Registry(workspaces=workspaces, clock=self.clock)
        self.registry.on_cluster(lambda record: bootstrap_rbac(self.registry, record.name))
        self.authorizer = Authorizer(self.registry)
        self.tokens = ServiceAccountTokens(_KEY, clock=self.clock)
        self.authenticator = Authenticator(self.registry, self.authorizer, self.tokens)
        self.reviews = Reviews(
            self.registry, self.authenticator, self.authorizer, self.tokens, clock=self.clock
        )

    def create(
        self, group: str, plural: str, obj: dict[str, Any], *, cluster: str = "root"
    ) -> dict[str, Any]:
        version = "v1alpha1" if group == "tenancy.kcp.io" else "v1"
        info = self.registry.info(cluster, group, version, plural)
        namespace = obj["metadata"].get("namespace", "")
        return self.registry.create(info, cluster, namespace, obj)

    def delete(self, group: str, plural: str, namespace: str, name: str) -> None:
        info = self.registry.info("root", group, "v1", plural)
        self.registry.delete(info, "root", namespace, name)

    def workspace(self, name: str) -> str:
        """Create a workspace below the root; returns its logical cluster's name."""
        self.create("tenancy.kcp.io", "workspaces", {"metadata": {"name": name}})
        return self.registry.resolve_cluster(f"root:{name}")

    def role(self, name: str, *rules: dict[str, Any], namespace: str = "") -> None:
        plural = "roles" if namespace else "clusterroles"
        metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
        self.create(RBAC, plural, {"metadata": metadata, "rules": list(rules)})

    def bind(
        self,
        name: str,
        role: str,
        subject: dict[str, str],
        *,
        namespace: str = "",
        kind: str = "",
        cluster: str = "root",
    ) -> None:
        plural = "rolebindings" if namespace else "clusterrolebindings"
        metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
        kind = kind or ("Role" if namespace else "ClusterRole")
        if subject["kind"] != "ServiceAccount":
            subject = {"apiGroup": RBAC, **subject}
        binding = {
            "metadata": metadata,
            "roleRef": {"apiGroup": RBAC, "kind": kind, "name": role},
            "subjects": [subject],
        }
        self.create(RBAC, plural, binding, cluster=cluster)

    def account(self, name: str, *, cluster: str = "root") -> dict[str, Any]:
        metadata = {"name": name, "namespace": "default"}
        return self.create("", "serviceaccounts", {"metadata": metadata}, cluster=cluster)

    def token(
        self, account: dict[str, Any], spec: dict[str, Any] | None = None, *, cluster: str = "root"
    ) -> str:
        admin = UserInfo("admin", groups=("system:masters",))
        answer = self.reviews.create_token(cluster, "default", account, {"spec": spec or {}}, admin)
        return str(answer["status"]["token"])


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def workspaces() -> World:
    return World(workspaces=True)
