"""Informers: a local copy of what an API server holds, and news of its changes."""

from kcpctl.informers.aggregate import AggregateInformer
from kcpctl.informers.aggregate_factory import AggregateFactory
from kcpctl.informers.discovering import DiscoveringInformers, ResourceSubscriber
from kcpctl.informers.factory import InformerFactory
from kcpctl.informers.handlers import AsyncEventHandler, EventHandler, HandlerFuncs, Registration
from kcpctl.informers.ignoring import Ignore
from kcpctl.informers.indexes import (
    CLUSTER_AND_NAMESPACE_INDEX,
    CLUSTER_INDEX,
    IndexFunction,
    cluster_and_namespace,
)
from kcpctl.informers.informer import SharedInformer
from kcpctl.informers.interfaces import Informer, InformerOptions, Informers
from kcpctl.informers.lister import ClusterLister, Lister, NamespaceLister
from kcpctl.informers.objects import BadObject, CachedObject, ObjectMetadata, Transform
from kcpctl.informers.options import ReflectorOptions
from kcpctl.informers.scope import Cache
from kcpctl.informers.source import (
    ClientSource,
    ListerWatcher,
    StateStreamer,
    StreamingClientSource,
)
from kcpctl.informers.view import ClusterView

__all__ = [
    "CLUSTER_AND_NAMESPACE_INDEX",
    "CLUSTER_INDEX",
    "AggregateFactory",
    "AggregateInformer",
    "AsyncEventHandler",
    "BadObject",
    "Cache",
    "CachedObject",
    "ClientSource",
    "ClusterLister",
    "ClusterView",
    "DiscoveringInformers",
    "EventHandler",
    "HandlerFuncs",
    "Ignore",
    "IndexFunction",
    "Informer",
    "InformerFactory",
    "InformerOptions",
    "Informers",
    "Lister",
    "ListerWatcher",
    "NamespaceLister",
    "ObjectMetadata",
    "ReflectorOptions",
    "Registration",
    "ResourceSubscriber",
    "SharedInformer",
    "StateStreamer",
    "StreamingClientSource",
    "Transform",
    "cluster_and_namespace",
]
