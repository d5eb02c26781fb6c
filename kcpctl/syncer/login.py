"""The upstream server as one identity of the syncer: the kubeconfig's own, or a certificate."""

from __future__ import annotations

from dataclasses import replace

from kcpctl.apis.resource import CERTIFICATE_SIGNING_REQUESTS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import AsyncClient, ClientConfig
from kcpctl.errors import Forbidden, NotFound
from kcpctl.syncer.keeper import SigningRequests

__all__ = ["ClientLogin", "without_credentials"]


class ClientLogin:
    """A :class:`kcpctl.syncer.keeper.Login` over a client that it owns."""

    def __init__(self, client: AsyncClient, sync_target_name: str) -> None:
        self._client = client
        self._sync_target_name = sync_target_name

    @property
    def requests(self) -> SigningRequests:
        """The signing requests of the workspace."""
        return self._client.resource(CERTIFICATE_SIGNING_REQUESTS)

    async def prove(self) -> None:
        """Read the SyncTarget. What the server says of it is no matter, if it knows who asks."""
        try:
            await self._client.resource(SYNCTARGETS).get(self._sync_target_name)
        except (NotFound, Forbidden):
            return

    async def close(self) -> None:
        """End every connection."""
        await self._client.close()


def without_credentials(config: ClientConfig) -> ClientConfig:
    """Return the same server without who we are."""
    return replace(
        config,
        client_cert=None,
        client_cert_file=None,
        client_key=None,
        client_key_file=None,
        token="",
        token_file=None,
        exec_plugin=None,
        username="",
        password="",
    )
