"""The CRDs that the controllers need: applied on request, waited for otherwise."""

from __future__ import annotations

import threading
from typing import Final

from kcpctl.apis.crds import all_crds
from kcpctl.apis.resource import CRDS
from kcpctl.apis.tmc import CLUSTER_REGISTRATIONS
from kcpctl.apis.workload import SYNCTARGETS
from kcpctl.client import Client
from kcpctl.errors import Forbidden, KcpctlError
from kcpctl.runtime.clock import SYSTEM_CLOCK, Clock
from kcpctl.runtime.logging import get_logger

__all__ = ["install_crds", "wait_for_crds"]

_log = get_logger(__name__)

_NEEDED: Final = (SYNCTARGETS, CLUSTER_REGISTRATIONS)
_POLL_SECONDS = 0.5
_FIELD_MANAGER: Final = "kcpctl"


def install_crds(client: Client) -> None:
    """Apply the CRDs; raises KcpctlError when the identity may not."""
    crds = client.resource(CRDS)
    for crd in all_crds():
        try:
            crds.apply(crd, field_manager=_FIELD_MANAGER, force=True)
        except Forbidden as error:
            raise KcpctlError(
                f"the CRD {crd['metadata']['name']} cannot be applied at {client.url}: "
                f"{error.message}; apply config/crds with an account that may"
            ) from error


def wait_for_crds(
    client: Client,
    timeout_seconds: float,
    stop: threading.Event | None = None,
    *,
    clock: Clock = SYSTEM_CLOCK,
) -> bool:
    """Wait until the server serves what the controllers watch (decision 19).

    Returns False when ``stop`` was set meanwhile. Raises KcpctlError after ``timeout_seconds``,
    naming what is missing and ``--install-crds``.
    """
    deadline = clock.monotonic() + timeout_seconds
    told = False
    stop = stop or threading.Event()
    while not stop.is_set() and (
        missing := [r.group_resource for r in _NEEDED if not client.has_resource(r)]
    ):
        if clock.monotonic() >= deadline:
            raise KcpctlError(
                f"{client.url} does not serve {' and '.join(missing)}; start with --install-crds, "
                "or apply config/crds"
            )
        if not told:
            _log.info("Waiting for CRDs", missing=",".join(missing), server=client.url)
            told = True
        clock.sleep(_POLL_SECONDS)
    return not stop.is_set()
