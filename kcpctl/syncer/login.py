"""The upstream server as one identity of the syncer: the kubeconfig's own, or a certificate."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from kcpctl.apis.resource import CERTIFICATE_SIGNING_REQUESTS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import AsyncClient, ClientConfig, Transport
from kcpctl.client.credentials import Credential, Credentials
from kcpctl.client.http import HttpTransport
from kcpctl.errors import Forbidden, NotFound
from kcpctl.runtime import Clock
from kcpctl.syncer.keeper import CertificateKeeper, SigningRequests
from kcpctl.syncer.options import SyncerOptions
from kcpctl.syncer.reloading import ReloadingTransport

__all__ = ["ClientLogin", "MakeTransport", "Upstream", "certified", "without_credentials"]


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


class MakeTransport(Protocol):
    """Makes the transport of a configuration, or of other credentials for it."""

    def __call__(
        self, config: ClientConfig, *, credentials: Credentials | None = None
    ) -> HttpTransport:
        """Make a transport."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """Where upstream is: a kubeconfig, the logical cluster's name in keys and its URL prefix."""

    path: Path
    name: str
    prefix: str
    load: Callable[[Path | None], ClientConfig]
    make: MakeTransport
    clock: Clock

    def client(self, transport: Transport) -> AsyncClient:
        """Return a client of the logical cluster."""
        return AsyncClient(transport, cluster_name=self.name, prefix=self.prefix)

    def config(self, path: Path | None = None) -> ClientConfig:
        """Return the server as the file has it now, and nobody who talks to it."""
        return without_credentials(self.load(path or self.path))


async def certified(
    options: SyncerOptions, upstream: Upstream, plain: Transport, rng: random.Random
) -> tuple[CertificateKeeper, Transport]:
    """Return a keeper that has begun to ask by ``plain``, and the transport of its certificates."""

    def login(credential: Credential | None) -> ClientLogin:
        transport = plain
        if credential is not None:
            cert, key = credential.client_cert, credential.client_key
            transport = upstream.make(replace(upstream.config(), client_cert=cert, client_key=key))
        return ClientLogin(upstream.client(transport), options.sync_target_name)

    assert options.certificate_seconds is not None
    keeper = CertificateKeeper(
        options.sync_target_name,
        options.sync_target_uid,
        seconds=options.certificate_seconds,
        login=login,
        clock=upstream.clock,
        rng=rng,
    )
    await keeper.start()
    certified = ReloadingTransport(
        upstream.path,
        upstream.config(),
        load=upstream.config,
        make=lambda config: upstream.make(config, credentials=keeper),
        clock=upstream.clock,
    )
    return keeper, certified
