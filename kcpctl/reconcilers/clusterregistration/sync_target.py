"""The SyncTarget that is made from a ClusterRegistration on request."""

from __future__ import annotations

import hashlib
import re
from typing import Final

import msgspec

from kcpctl.apis.common import DNS_LABEL, LABEL_VALUE
from kcpctl.apis.meta import Unstructured
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS, ClusterRegistration
from kcpctl.apis.workload import SYNCTARGETS

__all__ = ["FIELD_MANAGER", "HASH_ANNOTATION", "made_by", "name_problem", "sync_target"]

FIELD_MANAGER: Final = "kcpctl-clusterregistration"
HASH_ANNOTATION: Final = "tmc.kcp.io/registration-hash"
"""Of what was applied, so that nothing is applied that is there already."""

_MAX_NAME: Final = 63  # a SyncTarget's name becomes part of label values


def name_problem(name: str) -> str:
    """Return why no SyncTarget can have this name, or ""."""
    if len(name) <= _MAX_NAME and re.fullmatch(DNS_LABEL, name):
        return ""
    return (
        f"{name!r} cannot be the name of a SyncTarget (at most {_MAX_NAME} letters, digits and "
        "dashes); create one with spec.clusterRef by hand"
    )


def made_by(registration: ClusterRegistration, obj: Unstructured) -> bool:
    """Whether a SyncTarget was made from this registration, and not from a namesake."""
    owners = obj["metadata"].get("ownerReferences") or ()
    return any(one.get("uid") == registration.metadata.uid for one in owners)


def _cell(registration: ClusterRegistration) -> str:
    """Return the location if it can be a label's value; people may write what they like there."""
    location = registration.spec.location
    if re.fullmatch(LABEL_VALUE, location):
        return location
    return registration.metadata.name[:_MAX_NAME].rstrip("-.")


def sync_target(registration: ClusterRegistration) -> Unstructured:
    """Return the manifest, with its hash. Pure."""
    spec = registration.spec
    wanted: Unstructured = {
        "clusterRef": {"name": registration.metadata.name},
        "cells": {"location": _cell(registration)},
        "location": spec.location,
    }
    if spec.capacity:
        wanted["capacity"] = dict(spec.capacity)
    if spec.taints:
        wanted["taints"] = msgspec.to_builtins(spec.taints)
    owner = {
        "apiVersion": CLUSTER_REGISTRATIONS.api_version,
        "kind": CLUSTER_REGISTRATIONS.kind,
        "name": registration.metadata.name,
        "uid": registration.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    metadata: Unstructured = {
        "name": f"synctarget-{registration.metadata.name}",
        "ownerReferences": [owner],
    }
    if spec.labels:
        metadata["labels"] = dict(spec.labels)
    made = {
        "apiVersion": SYNCTARGETS.api_version,
        "kind": SYNCTARGETS.kind,
        "metadata": metadata,
        "spec": wanted,
    }
    encoded = msgspec.json.encode(made, order="deterministic")
    metadata["annotations"] = {HASH_ANNOTATION: hashlib.sha256(encoded).hexdigest()[:32]}
    return made
