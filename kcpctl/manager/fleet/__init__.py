"""All logical clusters that bind an APIExport of a kcp, however many endpoints serve them."""

from kcpctl.manager.fleet.endpoint import EndpointStatus, explain
from kcpctl.manager.fleet.fleet import Fleet

__all__ = ["EndpointStatus", "Fleet", "explain"]
