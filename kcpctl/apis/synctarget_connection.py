"""The parts of a SyncTarget's spec that say how its physical cluster is reached."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from kcpctl.apis.common import ConfigSecretReference, SecretReference
from kcpctl.apis.meta import ApiStruct
from kcpctl.apis.schema import doc

__all__ = ["Connection", "Credentials"]


class Connection(ApiStruct):
    """How the controller reaches the physical cluster: a stored kubeconfig or a server's URL."""

    server: Annotated[
        str,
        doc(
            "URL of the cluster's API server. https, unless insecureSkipTLSVerify is on.",
            {"maxLength": 2048},
        ),
    ] = ""
    ca_bundle: Annotated[
        str,
        doc(
            "PEM certificates, in base64, that server's certificate is checked with.",
            {"format": "byte"},
        ),
    ] = ""
    server_name: Annotated[
        str,
        doc(
            "Name that server's certificate is checked for, if not the URL's host.",
            {"maxLength": 253},
        ),
    ] = ""
    insecure_skip_tls_verify: Annotated[
        bool, doc("Do not check server's certificate. For development only.")
    ] = msgspec.field(default=False, name="insecureSkipTLSVerify")
    proxy_url: Annotated[str, doc("Proxy for connections to server.", {"maxLength": 2048})] = (
        msgspec.field(default="", name="proxyURL")
    )
    kubeconfig_secret_ref: Annotated[
        ConfigSecretReference | None,
        doc("The Secret that holds a kubeconfig for the cluster; instead of server."),
    ] = None

    schema_extra: ClassVar[dict[str, Any]] = {
        "x-kubernetes-validations": [
            {
                "rule": "!(has(self.server) && self.server != '' && has(self.kubeconfigSecretRef))",
                "message": "server and kubeconfigSecretRef are two sources of one connection; "
                "set one of them",
            },
            {
                "rule": "!has(self.server) || self.server == '' || "
                "self.server.startsWith('https://') || (has(self.insecureSkipTLSVerify) && "
                "self.insecureSkipTLSVerify && self.server.startsWith('http://'))",
                "message": "server must be an https URL, unless insecureSkipTLSVerify is on",
            },
        ]
    }


class Credentials(ApiStruct):
    """How the controller authenticates itself to ``connection.server``."""

    type: Annotated[
        str,
        doc(
            "What the Secret holds: a token (key token), a client certificate (keys tls.crt and "
            "tls.key), the token of a ServiceAccount (key token), or a whole kubeconfig (key "
            "kubeconfig, the default).",
            {"enum": ["token", "certificate", "serviceAccount", "kubeconfig"]},
        ),
    ] = ""
    secret_ref: Annotated[SecretReference | None, doc("The Secret; every type needs one.")] = None

    schema_extra: ClassVar[dict[str, Any]] = {
        "x-kubernetes-validations": [
            {
                "rule": "!has(self.type) || self.type == '' || has(self.secretRef)",
                "message": "secretRef is required for the type",
            }
        ]
    }
