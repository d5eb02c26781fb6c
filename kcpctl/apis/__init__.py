"""API types as msgspec structs, and the CustomResourceDefinitions made from them.

An object is a typed struct, a dict (:data:`Unstructured`) or bytes; :mod:`kcpctl.apis.convert`
goes between them.
"""

from kcpctl.apis.conditions import Condition, get_condition, is_false, is_true, set_condition
from kcpctl.apis.convert import decode, encode, to_unstructured
from kcpctl.apis.meta import (
    ApiObject,
    ApiStruct,
    ObjectMeta,
    OwnerReference,
    Unstructured,
    owner_of,
)
from kcpctl.apis.resource import Resource
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS, ClusterRegistration
from kcpctl.apis.workload import SYNCTARGETS, SyncTarget

__all__ = [
    "CLUSTER_REGISTRATIONS",
    "SYNCTARGETS",
    "ApiObject",
    "ApiStruct",
    "ClusterRegistration",
    "Condition",
    "ObjectMeta",
    "OwnerReference",
    "Resource",
    "SyncTarget",
    "Unstructured",
    "decode",
    "encode",
    "get_condition",
    "is_false",
    "is_true",
    "owner_of",
    "set_condition",
    "to_unstructured",
]
