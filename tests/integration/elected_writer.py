"""A program of test_leader_election: it writes its name, again and again, while it leads.

python elected_writer.py KUBECONFIG NAME LEASE_SECONDS
"""

from __future__ import annotations

import sys
from functools import partial

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, Client, WriteGate, load_config
from kcpctl.controller import Controller, Request, Result
from kcpctl.errors import KcpctlError
from kcpctl.manager import Election, ElectionOptions, Manager, install
from kcpctl.runtime import IOLoop, Metrics
from kcpctl.runtime.logging import configure


class Scribe:
    """Writes without looking at versions, so that nothing but the gate holds it back."""

    def __init__(self, client: Client, name: str) -> None:
        self._maps = client.resource(CONFIG_MAPS)
        self._name = name
        self._number = 0

    def reconcile(self, request: Request) -> Result:
        self._number += 1
        writer = f"{self._name} {self._number}"
        self._maps.patch("writers", {"data": {"writer": writer}}, namespace="default")
        return Result(requeue_after_seconds=0.01)


def main(kubeconfig: str, name: str, lease_seconds: str) -> int:
    configure()
    config = load_config(kubeconfig)
    metrics, gate = Metrics(), WriteGate()
    options = ElectionOptions(
        name="writers",
        namespace="elections",
        identity=name,
        lease_seconds=float(lease_seconds),
        renew_deadline_seconds=float(lease_seconds) - 1,
        retry_seconds=0.5,
    )
    connect = partial(AsyncClient.plain, config, request_timeout_seconds=1)
    election = Election(connect, options, gate, metrics=metrics)
    with IOLoop() as io_loop:
        client = Client(AsyncClient.plain(config, write_gate=gate), io_loop)
        manager = Manager(client, metrics=metrics, election=election)
        maps = manager.informers.informer(CONFIG_MAPS, namespace="default")
        manager.add(Controller("scribe", Scribe(client, name), workers=1).watches(maps))
        try:
            manager.run(install())
        except KcpctlError as error:
            print(f"{name}: {error}", file=sys.stderr)  # noqa: T201 - the program's last word
            return 1
        finally:
            client.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
