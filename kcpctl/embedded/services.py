"""Cluster IPs and node ports of Services."""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Iterable
from typing import Any, Final

from kcpctl.embedded.status import Cause

__all__ = ["SERVICE_NETWORK", "Allocation", "allocate"]

Json = dict[str, Any]
SERVICE_NETWORK: Final = ipaddress.ip_network("10.0.0.0/24")
_NODE_PORTS: Final = range(30000, 32768)
_NODE_PORT_TYPES: Final = ("NodePort", "LoadBalancer")


class Allocation:
    """What the other Services of a cluster use."""

    def __init__(self, services: Iterable[Json]) -> None:
        self.addresses: set[str] = set()
        self.ports: set[int] = set()
        for service in services:
            spec = service.get("spec") or {}
            self.addresses.update(spec.get("clusterIPs") or ())
            self.ports.update(
                port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")
            )

    def address(self, rng: random.Random) -> str:
        """Return a free address; the lower sixteenth of the range is kept for static ones."""
        hosts = [str(host) for host in SERVICE_NETWORK.hosts()]
        free = [host for host in hosts[16:] if host not in self.addresses]
        free = free or [host for host in hosts if host not in self.addresses]
        return rng.choice(free) if free else ""

    def port(self, rng: random.Random) -> int:
        """Return a free node port."""
        free = [port for port in _NODE_PORTS if port not in self.ports]
        port = rng.choice(free) if free else 0
        self.ports.add(port)
        return port


def _needs_address(spec: Json) -> bool:
    return bool(spec.get("type", "ClusterIP") != "ExternalName" and not spec.get("clusterIP"))


def _address_causes(spec: Json, old: Json | None, taken: set[str]) -> list[Cause]:
    wanted = spec.get("clusterIP") or ""
    if wanted in ("", "None") or (old is not None and wanted == old.get("clusterIP")):
        return []
    try:
        inside = ipaddress.ip_address(wanted) in SERVICE_NETWORK
    except ValueError:
        return []  # the schema's validation has better words for it
    value = spec.get("clusterIPs") or [wanted]
    if not inside:
        detail = (
            f"failed to allocate IP {wanted}: the provided network does not match the current range"
        )
        return [Cause.invalid("spec.clusterIPs", value, detail)]
    if wanted in taken:
        detail = f"failed to allocate IP {wanted}: provided IP is already allocated"
        return [Cause.invalid("spec.clusterIPs", value, detail)]
    return []


def _allocate_ports(
    spec: Json, old: Json | None, allocation: Allocation, rng: random.Random
) -> list[Cause]:
    causes: list[Cause] = []
    wants = spec.get("type") in _NODE_PORT_TYPES
    known = {
        (port.get("name"), port.get("port")): port.get("nodePort")
        for port in (old or {}).get("ports") or ()
    }
    ports = []
    for index, port in enumerate(spec.get("ports") or ()):
        before = known.get((port.get("name"), port.get("port")))
        number = port.get("nodePort")
        if wants and not number:
            port = {**port, "nodePort": before or allocation.port(rng)}
        elif number and number != before and number in allocation.ports:
            path = f"spec.ports[{index}].nodePort"
            causes.append(Cause.invalid(path, number, "provided port is already allocated"))
        elif number and number not in _NODE_PORTS:
            path = f"spec.ports[{index}].nodePort"
            detail = (
                "provided port is not in the valid range. The range of valid ports is 30000-32767"
            )
            causes.append(Cause.invalid(path, number, detail))
        elif not wants and number and number == before:
            port = {key: value for key, value in port.items() if key != "nodePort"}
        ports.append(port)
    if ports:
        spec["ports"] = ports
    return causes


def allocate(
    obj: Json, old: Json | None, others: Iterable[Json], rng: random.Random
) -> list[Cause]:
    """Give a Service (whose spec is replaced) its address and node ports; returns the problems."""
    spec = obj["spec"] = dict(obj.get("spec") or {})
    old_spec = None if old is None else old.get("spec") or {}
    allocation = Allocation(others)
    if spec.get("type") == "ExternalName":
        if old_spec is not None and spec.get("clusterIP") == old_spec.get("clusterIP"):
            for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                spec.pop(field, None)
        return []
    if old_spec is not None and old_spec.get("clusterIP") and not spec.get("clusterIP"):
        spec["clusterIP"] = old_spec["clusterIP"]
        spec["clusterIPs"] = old_spec.get("clusterIPs") or [old_spec["clusterIP"]]
    causes = _address_causes(spec, old_spec, allocation.addresses)
    if _needs_address(spec):
        spec["clusterIP"] = allocation.address(rng)
    spec.setdefault("clusterIPs", [spec["clusterIP"]])
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    return causes + _allocate_ports(spec, old_spec, allocation, rng)
