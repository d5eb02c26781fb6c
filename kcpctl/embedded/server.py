"""The embedded control plane as one server: TLS, security, controllers, kubelet."""

from __future__ import annotations

import asyncio
import errno
import random
import ssl
from asyncio import sslproto
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from kcpctl.embedded.controllers.deployments import DeploymentController
from kcpctl.embedded.controllers.event_writer import EventWriter
from kcpctl.embedded.controllers.garbage import GarbageCollector
from kcpctl.embedded.controllers.namespaces import NamespaceController
from kcpctl.embedded.controllers.replicasets import ReplicaSetController
from kcpctl.embedded.controllers.signing import DEFAULT_SIGNING_SECONDS, SigningController
from kcpctl.embedded.controllers.token_secrets import TokenSecretController
from kcpctl.embedded.database import Database, DataDirError
from kcpctl.embedded.http.context import ServerContext
from kcpctl.embedded.http.server import ApiServer
from kcpctl.embedded.kubeconfig import Context, kubeconfig
from kcpctl.embedded.registry import Registry
from kcpctl.embedded.security.admission import Admission
from kcpctl.embedded.security.authn import Authenticator
from kcpctl.embedded.security.bootstrap import bootstrap_rbac
from kcpctl.embedded.security.ca import CertificateAuthority, KeyPair, load_or_create_key
from kcpctl.embedded.security.rbac import Authorizer
from kcpctl.embedded.security.reviews import Reviews
from kcpctl.embedded.security.tokens import ServiceAccountTokens
from kcpctl.embedded.user import MASTERS
from kcpctl.logicalcluster import ROOT
from kcpctl.runtime import SYSTEM_CLOCK, SYSTEM_RANDOM, Clock

__all__ = ["RunningServer", "ServerOptions", "running_server", "serve"]

Json = dict[str, Any]
_HOSTS: Final = ("127.0.0.1", "localhost")
# Who sends half a body is not waited for: what comes after the end began is not read any more.
_SHUTDOWN_SECONDS: Final = 2.0
_TLS_BUFFER_BYTES: Final = 32 * 1024
"""asyncio's default, 256 KiB for each connection, is for few and busy ones; a TLS record has at
most 16 KiB."""


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """How to run a server.

    host: the loopback address to listen at. port: 0 is a free one, or where the kept objects were
    served last. workspaces: logical clusters
    under ``/clusters/``; otherwise one ordinary cluster. system_crds: every cluster has kcpctl's
    CRDs; without them a workspace begins bare, as kcp's do. kubelet: run Deployments (ordinary
    cluster only). state_dir: keeps the CA and the token key, so that a server that is started
    again on the same port is trusted, and trusts. keeps_objects: the objects are in ``state_dir``
    too, and a request is answered when they are safe there from the end of the process;
    otherwise they are in memory only. signing_seconds: longest life of a certificate that is signed
    for a CertificateSigningRequest.
    """

    host: str = "127.0.0.1"
    port: int = 0
    workspaces: bool = True
    system_crds: bool = True
    kubelet: bool = False
    state_dir: Path | None = None
    keeps_objects: bool = False
    signing_seconds: float = DEFAULT_SIGNING_SECONDS

    def __post_init__(self) -> None:
        if self.keeps_objects and self.state_dir is None:
            raise ValueError("objects are kept in state_dir, and there is none")
        if self.kubelet and self.workspaces:
            raise ValueError("the kubelet needs an ordinary cluster: a workspace has no Nodes")


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that answers. ``url`` has no path; ``registry`` is for the loop's thread only."""

    url: str
    port: int
    ca_pem: bytes
    admin: KeyPair
    registry: Registry

    def context(self, name: str = ROOT) -> Context:
        """Return a kubeconfig context: a workspace's path, or any name of an ordinary cluster."""
        path = f"/clusters/{name}" if self.registry.workspaces else ""
        return Context(name, f"{self.url}{path}")

    def admin_kubeconfig(self, *contexts: str) -> Json:
        """Return the administrator's kubeconfig (``system:masters``), by default for ``root``.

        The first context is the current one.
        """
        named = [self.context(name) for name in contexts or (ROOT,)]
        return kubeconfig(named, ca_pem=self.ca_pem, client=self.admin)


async def serve(
    options: ServerOptions,
    *,
    ready: Callable[[RunningServer], None],
    stop: asyncio.Event,
    clock: Clock = SYSTEM_CLOCK,
    rng: random.Random = SYSTEM_RANDOM,
) -> None:
    """Run a server until ``stop`` is set; ``ready`` is called once it answers.

    Raises OSError when the port cannot be had, and DataDirError for a ``state_dir`` whose files do
    not fit, or that cannot be written any more. Returns when watches, controllers and child
    processes have ended.
    """
    running = running_server(options, clock=clock, rng=rng, on_disk_failure=stop.set)
    async with running as server:
        ready(server)
        await stop.wait()
        server.registry.store.flush()  # raises what ended the server, if that was its disk


@asynccontextmanager
async def running_server(
    options: ServerOptions,
    *,
    clock: Clock = SYSTEM_CLOCK,
    rng: random.Random = SYSTEM_RANDOM,
    on_disk_failure: Callable[[], object] = lambda: None,
) -> AsyncIterator[RunningServer]:
    """Run a server for the length of a ``with`` block, on this event loop.

    After ``on_disk_failure`` was called every request fails; the server should end.
    """
    async with AsyncExitStack() as stack:
        database = _open_database(stack, options, on_disk_failure)
        yield await _start(stack, options, database, clock, rng)


def _open_database(
    stack: AsyncExitStack, options: ServerOptions, on_failure: Callable[[], object]
) -> Database | None:
    if options.state_dir is None or not options.keeps_objects:
        return None
    database = Database(
        options.state_dir,
        workspaces=options.workspaces,
        schedule=asyncio.get_running_loop().call_soon,
        on_failure=on_failure,
    )
    stack.callback(database.close)
    return database


def _load_keys(
    state: Path | None, clock: Clock
) -> tuple[CertificateAuthority, ec.EllipticCurvePrivateKey]:
    try:
        authority = CertificateAuthority(state, clock=clock)
        return authority, load_or_create_key(state / "sa.key" if state else None)
    except ValueError as error:
        raise DataDirError(str(error)) from error


async def _start(
    stack: AsyncExitStack,
    options: ServerOptions,
    database: Database | None,
    clock: Clock,
    rng: random.Random,
) -> RunningServer:
    authority, token_key = _load_keys(options.state_dir, clock)
    registry = Registry(
        workspaces=options.workspaces,
        system_crds=_system_crds if options.system_crds else list,
        database=database,
        clock=clock,
        rng=rng,
    )
    authorizer = Authorizer(registry)
    tokens = ServiceAccountTokens(token_key, clock=clock, rng=rng)
    authenticator = Authenticator(registry, authorizer, tokens)
    reviews = Reviews(registry, authenticator, authorizer, tokens, clock=clock)
    registry.on_cluster(lambda record: bootstrap_rbac(registry, record.name))
    context = ServerContext(
        registry,
        authenticator,
        authorizer,
        reviews,
        clock=clock,
        admission=Admission(registry, authorizer),
    )
    api = ApiServer(context, rng=rng)
    port = await _listen(stack, options, authority, api, database)
    url = f"https://{options.host}:{port}"
    context.server_url = url
    registry.serve_at(url)
    await _start_controllers(stack, options, registry, authority, tokens, clock, rng)
    if options.kubelet:
        await _start_kubelet(stack, options, context, reviews, url, authority.pem, clock, rng)
    if database is not None:
        registry.backend.replay()
    admin = authority.issue_client("admin", [MASTERS])
    return RunningServer(url, port, authority.pem, admin, registry)


async def _listen(
    stack: AsyncExitStack,
    options: ServerOptions,
    authority: CertificateAuthority,
    api: ApiServer,
    database: Database | None,
) -> int:
    sslproto.SSLProtocol.max_size = _TLS_BUFFER_BYTES
    runner = web.ServerRunner(api.web_server(), shutdown_timeout=_SHUTDOWN_SECONDS)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    stack.push_async_callback(api.close)
    hosts = tuple(dict.fromkeys((options.host, *_HOSTS)))
    context = authority.server_context(hosts)
    if database is None:
        await web.TCPSite(runner, options.host, options.port, ssl_context=context).start()
    else:
        await _listen_again(runner, options, context, database)
    port: int = runner.addresses[0][1]
    if database is not None:
        database.port = port
    return port


async def _listen_again(
    runner: web.ServerRunner, options: ServerOptions, context: ssl.SSLContext, database: Database
) -> None:
    """Listen where kubeconfigs of an earlier life lead, unless the options say where."""
    if database.port and not options.port:
        try:
            await web.TCPSite(runner, options.host, database.port, ssl_context=context).start()
            return
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    await web.TCPSite(runner, options.host, options.port, ssl_context=context).start()


async def _start_controllers(
    stack: AsyncExitStack,
    options: ServerOptions,
    registry: Registry,
    authority: CertificateAuthority,
    tokens: ServiceAccountTokens,
    clock: Clock,
    rng: random.Random,
) -> None:
    controllers: list[Any] = [
        NamespaceController(registry, ca_pem=authority.pem, clock=clock),
        GarbageCollector(registry, clock=clock),
        SigningController(
            registry, authority, longest_seconds=options.signing_seconds, clock=clock
        ),
        TokenSecretController(registry, tokens, ca_pem=authority.pem, clock=clock),
    ]
    if options.kubelet:
        deployments = EventWriter(registry, "deployment-controller", clock=clock, rng=rng)
        replica_sets = EventWriter(registry, "replicaset-controller", clock=clock, rng=rng)
        controllers += [
            DeploymentController(registry, deployments, clock=clock),
            ReplicaSetController(registry, replica_sets, clock=clock),
        ]
    for controller in controllers:
        controller.start()
        stack.push_async_callback(controller.close)


async def _start_kubelet(
    stack: AsyncExitStack,
    options: ServerOptions,
    context: ServerContext,
    reviews: Reviews,
    url: str,
    ca_pem: bytes,
    clock: Clock,
    rng: random.Random,
) -> None:
    from kcpctl.embedded.kubelet import Kubelet, ServerAccess

    kubelet = Kubelet(
        context.registry,
        ROOT,
        access=ServerAccess(url, ca_pem),
        create_token=reviews.create_token,
        directory=options.state_dir / "pods" if options.state_dir else None,
        clock=clock,
        rng=rng,
    )
    context.read_log = kubelet.read_log
    stack.push_async_callback(kubelet.close)
    kubelet.start()


def _system_crds() -> list[Json]:
    """Return the CRDs that every logical cluster serves (decision 19)."""
    from kcpctl.apis.crds import all_crds

    return all_crds()
