"""The kubelet: takes every Pod of the cluster, and runs it or says that it runs."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from kcpctl.embedded.controllers.event_writer import EventWriter
from kcpctl.embedded.controllers.keyed import KeyedLoop
from kcpctl.embedded.kubelet.addresses import AddressPool
from kcpctl.embedded.kubelet.command import is_real, kcpctl_command
from kcpctl.embedded.kubelet.node import NODE_NAME, PODS, NodeReporter
from kcpctl.embedded.kubelet.pod_status import (
    fake_container_status,
    pod_status,
    scheduled_condition,
)
from kcpctl.embedded.kubelet.pod_worker import PodWorker, ServerAccess
from kcpctl.embedded.kubelet.sources import CreateToken, RegistrySources
from kcpctl.embedded.kubelet.volumes import remove_directory
from kcpctl.embedded.registry import Event, Registry
from kcpctl.runtime import SYSTEM_CLOCK, SYSTEM_RANDOM, BlockingPool, Clock, TaskSet, get_logger

__all__ = ["Kubelet"]

Json = dict[str, Any]
_Key = tuple[str, str]  # namespace, name
_log = get_logger(__name__)
_MAX_GRACE_SECONDS: Final = 10.0
"""Nobody waits longer than this for a local process, whatever the Pod's grace period says."""
_FINISHED: Final = ("Succeeded", "Failed")


class Kubelet:
    """Scheduler and kubelet of one cluster with the Node ``local`` (decision 21).

    The Node takes as many Pods as it says; more stay Pending until one of those goes.
    Ordinary images are Running and Ready at once. A container that runs ``kcpctl syncer`` (or has
    the image ``kcpctl-syncer:local``) is a child process, which ends with this process at the
    latest. ``close`` returns when every child has ended. Event loop's thread only.

    Parameters
    ----------
    directory: where Pods' files go; what an earlier life left there is removed. None: a
        temporary directory, removed at the end.
    command: makes the command line of a real container from the arguments after ``kcpctl``.
    """

    def __init__(
        self,
        registry: Registry,
        cluster: str,
        *,
        access: ServerAccess,
        create_token: CreateToken,
        directory: Path | None = None,
        command: Callable[[Sequence[str]], list[str]] = kcpctl_command,
        clock: Clock = SYSTEM_CLOCK,
        rng: random.Random = SYSTEM_RANDOM,
    ) -> None:
        self._registry = registry
        self._cluster = cluster
        self._access = access
        self._create_token = create_token
        self._command = command
        self._clock = clock
        self._addresses = AddressPool(rng)
        self._node = NodeReporter(registry, cluster, clock=clock)
        self._pods = registry.info(cluster, "", "v1", "pods")
        self._events = EventWriter(registry, "kubelet", clock=clock, rng=rng)
        self._scheduler_events = EventWriter(registry, "default-scheduler", clock=clock, rng=rng)
        self._workers: dict[_Key, PodWorker] = {}
        self._stopping: dict[str, PodWorker] = {}  # by uid
        self._placed: dict[_Key, str] = {}  # the uids of those that the Node has
        self._waiting: dict[_Key, None] = {}  # for a place; a set that keeps the order
        self._loop: KeyedLoop[_Key] = KeyedLoop("kubelet", self.reconcile, clock=clock)
        self._tasks = TaskSet("kubelet")
        self._pool = BlockingPool("kubelet", threads=4)
        if directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="kcpctl-pods-"))
        else:
            remove_directory(directory)
            directory.mkdir(mode=0o700, parents=True)
            self._directory = directory
        registry.subscribe(self._changed)

    def start(self) -> None:
        """Register the Node and begin to take Pods."""
        self._node.report()
        self._tasks.spawn(self._node.run(), name="heartbeat")
        for pod in self._registry.list(self._pods, self._cluster):
            self._loop.add((pod["metadata"]["namespace"], pod["metadata"]["name"]))
        self._loop.start()

    async def close(self) -> None:
        """Stop every process and remove every file."""
        await self._loop.close()
        await self._tasks.close()
        workers = [*self._workers.values(), *self._stopping.values()]
        self._workers.clear()
        stopping = TaskSet("kubelet-stop")
        tasks = [
            stopping.spawn(worker.close(_MAX_GRACE_SECONDS / 2), name=worker.uid)
            for worker in workers
        ]
        for task in tasks:
            await task
        self._pool.close()
        remove_directory(self._directory)

    def read_log(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        *,
        tail_lines: int | None = None,
        previous: bool = False,
    ) -> bytes:
        """Return a container's output; "" is the first container. Empty for pretended ones."""
        worker = self._workers.get((namespace, pod))
        if worker is None or not worker.containers:
            return b""
        found = worker.containers.get(container or next(iter(worker.containers)))
        if found is None:
            return b""
        path = found.previous_log_path if previous else found.log_path
        data = path.read_bytes() if path.exists() else b""
        if tail_lines is not None:
            lines = data.splitlines(keepends=True)
            data = b"".join(lines[len(lines) - tail_lines :] if tail_lines < len(lines) else lines)
        return data

    def _changed(self, event: Event) -> None:
        if event.cluster != self._cluster:
            return
        if event.info.storage_key == "pods":
            self._loop.add((event.namespace, event.name))
        elif event.info.storage_key in ("secrets", "configmaps", "serviceaccounts"):
            for key in self._workers:
                if key[0] == event.namespace:
                    self._loop.add(key)
        elif event.info.storage_key == "nodes" and event.name == NODE_NAME:
            for pod in self._registry.list(self._pods, self._cluster):
                if not pod["spec"].get("nodeName"):
                    self._loop.add((pod["metadata"]["namespace"], pod["metadata"]["name"]))

    def reconcile(self, key: _Key) -> float | None:
        """Bring one Pod to what it should be."""
        pod = self._registry.find(self._pods, self._cluster, *key)
        worker = self._workers.get(key)
        if worker is not None and (pod is None or pod["metadata"]["uid"] != worker.uid):
            self._stop(key, worker, None)
            worker = None
        self._account(key, pod)
        if pod is None:
            pass
        elif pod["metadata"].get("deletionTimestamp"):
            self._delete(key, pod, worker)
        elif not pod["spec"].get("nodeName"):
            self._schedule(key, pod)
        elif pod["spec"]["nodeName"] == NODE_NAME:
            self._run(key, pod, worker)
        self._let_in()
        return None

    def _account(self, key: _Key, pod: Json | None) -> None:
        """Keep the books of who has a place, and take back the address of who had one."""
        self._waiting.pop(key, None)
        before, now = self._placed.pop(key, ""), ""
        if pod is not None and pod["spec"].get("nodeName") == NODE_NAME:
            now = pod["metadata"]["uid"]
            if (pod.get("status") or {}).get("phase") not in _FINISHED:
                self._placed[key] = now
        if before and before != now and before not in self._stopping:
            self._addresses.release(before)

    def _let_in(self) -> None:
        """Look again at the first that waits, which brings the next, while there is room."""
        if self._waiting and len(self._placed) < PODS:
            key = next(iter(self._waiting))
            del self._waiting[key]
            self._loop.add(key)

    def _schedule(self, key: _Key, pod: Json) -> None:
        metadata = pod["metadata"]
        old = pod.get("status") or {}
        now = self._clock.time()
        why_not = "" if self._node.schedulable else "node(s) were unschedulable"
        if not why_not and len(self._placed) >= PODS:
            why_not = "Too many pods"
            self._waiting[key] = None
        condition = scheduled_condition(old, why_not=why_not, now=now)
        if condition in (old.get("conditions") or ()):
            return
        others = [entry for entry in old.get("conditions") or () if entry["type"] != "PodScheduled"]
        status = {**old, "phase": "Pending", "conditions": [*others, condition]}
        if why_not:
            self._write_status(pod, status)
            return
        self._placed[key] = metadata["uid"]
        spec = {**pod["spec"], "nodeName": NODE_NAME}
        # A Pod's node is not a field that an update may change; the Binding endpoint puts it
        # there in the same way.
        bound = {**pod, "metadata": {**metadata}, "spec": spec, "status": status}
        self._registry.backend.put(self._pods, self._cluster, bound)
        message = f"Successfully assigned {metadata['namespace']}/{metadata['name']} to {NODE_NAME}"
        self._scheduler_events.event(self._cluster, pod, "Scheduled", message)

    def _run(self, key: _Key, pod: Json, worker: PodWorker | None) -> None:
        if (pod.get("status") or {}).get("phase") in _FINISHED:
            return
        if worker is None and any(is_real(spec) for spec in pod["spec"]["containers"]):
            worker = self._workers[key] = self._new_worker(key, pod)
            worker.start()
        elif worker is not None:
            worker.refresh()
        status = worker.status(pod) if worker is not None else self._fake_status(pod)
        if status != pod.get("status"):
            self._write_status(pod, status)

    def _fake_status(self, pod: Json) -> Json:
        old, now = pod.get("status") or {}, self._clock.time()
        spec = pod["spec"]
        containers = [
            fake_container_status(entry, old, now, init=False) for entry in spec["containers"]
        ]
        init = [
            fake_container_status(entry, old, now, init=True)
            for entry in spec.get("initContainers") or ()
        ]
        address = self._addresses.take(pod["metadata"]["uid"])
        return pod_status(pod, address, containers, now, init_containers=init)

    def _new_worker(self, key: _Key, pod: Json) -> PodWorker:
        uid = pod["metadata"]["uid"]

        def record(reason: str, message: str, warning: bool) -> None:
            self._events.event(self._cluster, pod, reason, message, warning=warning)

        return PodWorker(
            pod,
            directory=self._directory / uid,
            address=self._addresses.take(uid),
            access=self._access,
            sources=RegistrySources(
                self._registry, self._cluster, pod, self._create_token, clock=self._clock
            ),
            command=self._command,
            changed=lambda: self._loop.add(key),
            record=record,
            pool=self._pool,
            clock=self._clock,
        )

    def _delete(self, key: _Key, pod: Json, worker: PodWorker | None) -> None:
        if worker is not None:
            self._events.event(self._cluster, pod, "Killing", "Stopping the Pod's containers")
            self._stop(key, worker, pod)
        elif pod["metadata"]["uid"] not in self._stopping:
            self._finish(pod)

    def _stop(self, key: _Key, worker: PodWorker, pod: Json | None) -> None:
        """Stop a worker in the background; ``pod`` is then removed, None: it is gone already."""
        del self._workers[key]
        self._stopping[worker.uid] = worker
        grace = 0.0
        if pod is not None:
            wanted = pod["metadata"].get("deletionGracePeriodSeconds")
            grace = min(float(_MAX_GRACE_SECONDS if wanted is None else wanted), _MAX_GRACE_SECONDS)

        async def stop() -> None:
            await worker.close(grace)
            del self._stopping[worker.uid]
            remove_directory(worker.directory)
            self._addresses.release(worker.uid)
            self._loop.add(key)

        self._tasks.spawn(stop(), name=f"stop-{worker.uid}")

    def _finish(self, pod: Json) -> None:
        """Remove the object of a Pod that has nothing running any more."""
        metadata = pod["metadata"]
        self._addresses.release(metadata["uid"])
        if metadata.get("deletionGracePeriodSeconds") == 0 and metadata.get("finalizers"):
            return  # it goes when its finalizers do
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        self._registry.delete(
            self._pods, self._cluster, metadata["namespace"], metadata["name"], options=options
        )

    def _write_status(self, pod: Json, status: Json) -> None:
        changed = {**pod, "status": status}
        self._registry.update(
            self._pods, self._cluster, changed, subresource="status", field_manager="kubelet"
        )
