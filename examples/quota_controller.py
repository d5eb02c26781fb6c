"""A sibling of the SyncTarget controller: how much of each SyncTarget is asked for.

It adds up what the Deployments ask for that are assigned to a SyncTarget, writes that into
status.allocated and status.available, and sets the condition ResourcesAvailable, which is False
from 90 % on. It needs nothing of kcpctl but its public interface.

It takes $KUBECONFIG or ~/.kube/config, of a server with SyncTargets.
"""

from collections.abc import Iterable
from decimal import Decimal

from kcpctl.apis.conditions import WARNING, false, true
from kcpctl.apis.naming import state_label, sync_target_key
from kcpctl.apis.quantity import parse, total
from kcpctl.apis.resource import DEPLOYMENTS
from kcpctl.controller import Controller, Request
from kcpctl.errors import NotFound
from kcpctl.informers import CLUSTER_INDEX, CachedObject
from kcpctl.manager import Manager, install
from kcpctl.synctargets import SyncTargets

HIGH = Decimal("0.9")


class Quota:
    def __init__(self, manager: Manager) -> None:
        self.targets = SyncTargets(manager)
        self.deployments = manager.informers.informer(DEPLOYMENTS)

    def targets_around(self, deployment: CachedObject) -> Iterable[str]:
        """Whatever a Deployment is assigned to is one of the SyncTargets of its cluster."""
        lister = self.targets.informer.lister
        return [obj.key for obj in lister.cached_by_index(CLUSTER_INDEX, deployment.cluster)]

    def reconcile(self, request: Request) -> None:
        try:
            target = self.targets.get(request.key)
        except NotFound:
            return
        label = state_label(sync_target_key(request.cluster, request.name))
        lister = self.deployments.lister.cluster(request.cluster)
        requests: dict[str, list[str]] = {}
        for deployment in lister.list(f"{label}=Sync"):
            spec = deployment["spec"]
            for container in spec["template"]["spec"]["containers"]:
                asked = (container.get("resources") or {}).get("requests") or {}
                for name, quantity in asked.items():
                    requests.setdefault(name, []).extend([quantity] * spec.get("replicas", 1))
        allocated = {name: total(quantities) for name, quantities in requests.items()}
        whole = target.status.allocatable or target.status.capacity
        available, crowded = {}, []
        for name, quantity in whole.items():
            asked, has = parse(allocated.get(name, "0")), parse(quantity)
            available[name] = total([str(max(has - asked, Decimal(0)))])
            if asked >= has * HIGH and asked:
                crowded.append(name)
        if crowded:
            message = f"At least 90 % is asked for of: {', '.join(sorted(crowded))}"
            condition = false("ResourcesAvailable", WARNING, "HighUtilization", message)
        else:
            condition = true("ResourcesAvailable", "Available", "There is room for more")
        self.targets.report(
            request.key, allocated=allocated, available=available, conditions=[condition]
        )


def main() -> None:
    with Manager.connect() as manager:
        quota = Quota(manager)
        controller = Controller("quota", quota)
        controller.watches(quota.targets.informer)
        controller.watches(quota.deployments, map_to=quota.targets_around)
        manager.add(controller)
        manager.run(install())


if __name__ == "__main__":
    main()
