"""The client: kubeconfigs, connections, and the verbs of resources, async and blocking."""

from kcpctl.client.blocking import Client, ResourceClient
from kcpctl.client.client import AsyncClient, ClientOptions
from kcpctl.client.config import ClientConfig, ExecPlugin, Impersonation
from kcpctl.client.confinement import check_reach, confine, reaching
from kcpctl.client.conflicts import retry_on_conflict, retry_on_conflict_async
from kcpctl.client.gate import WriteGate
from kcpctl.client.kubeconfig import config_from_kubeconfig, load_config
from kcpctl.client.limiter import TokenBucket
from kcpctl.client.objects import ItemList, PatchType, RawEvent, RawPage, WatchEvent
from kcpctl.client.resource import AsyncResourceClient
from kcpctl.client.routing import Route, Routes, RoutingClient
from kcpctl.client.transport import Call, Response, Transport
from kcpctl.client.writes import Write, WriteLog

__all__ = [
    "AsyncClient",
    "AsyncResourceClient",
    "Call",
    "Client",
    "ClientConfig",
    "ClientOptions",
    "ExecPlugin",
    "Impersonation",
    "ItemList",
    "PatchType",
    "RawEvent",
    "RawPage",
    "ResourceClient",
    "Response",
    "Route",
    "Routes",
    "RoutingClient",
    "TokenBucket",
    "Transport",
    "WatchEvent",
    "Write",
    "WriteGate",
    "WriteLog",
    "check_reach",
    "config_from_kubeconfig",
    "confine",
    "load_config",
    "reaching",
    "retry_on_conflict",
    "retry_on_conflict_async",
]
