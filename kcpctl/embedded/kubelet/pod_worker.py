"""One Pod with real containers: its files, its processes, its status."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from kcpctl.embedded.kubeconfig import Context, kubeconfig, write_kubeconfig
from kcpctl.embedded.kubelet.command import arguments, environment, is_real
from kcpctl.embedded.kubelet.container import Container, Launch
from kcpctl.embedded.kubelet.fields import expand
from kcpctl.embedded.kubelet.pod_status import fake_container_status, pod_status
from kcpctl.embedded.kubelet.sources import RegistrySources
from kcpctl.embedded.kubelet.volumes import Missing, mount_paths, rewrite, write_volumes
from kcpctl.embedded.security.private_file import write_private
from kcpctl.runtime import SYSTEM_CLOCK, BlockingPool, Clock, TaskSet

__all__ = ["PodWorker", "ServerAccess"]

Json = dict[str, Any]
_REFRESH_SECONDS: Final = 60.0
_TOKEN_SECONDS: Final = 3600


class ServerAccess:
    """Where a Pod finds the API server: what the in-cluster files and variables say."""

    def __init__(self, url: str, ca_pem: bytes) -> None:
        self.url = url
        self.ca_pem = ca_pem


class PodWorker:
    """Runs the real containers of a Pod; the others are said to run.

    Its files live below ``directory`` (0700): volumes, logs, and a kubeconfig whose token file
    is renewed in place. ``changed`` is called when the status differs. Event loop's thread only.
    """

    def __init__(
        self,
        pod: Json,
        *,
        directory: Path,
        address: str,
        access: ServerAccess,
        sources: RegistrySources,
        command: Callable[[Sequence[str]], list[str]],
        changed: Callable[[], None],
        record: Callable[[str, str, bool], None],
        pool: BlockingPool,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        # The Pod as its processes see it: with its address, whatever the stored one says yet.
        self._pod = {**pod, "status": {**(pod.get("status") or {}), "podIP": address}}
        self.uid: str = pod["metadata"]["uid"]
        self.directory = directory
        self._volumes = directory / "volumes"
        self._address = address
        self._access = access
        self._sources = sources
        self._command = command
        self._clock = clock
        self._tasks = TaskSet(f"pod-{pod['metadata']['name']}")
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        restart = (pod["spec"].get("restartPolicy") or "Always") == "Always"
        self.containers = {
            spec["name"]: Container(
                spec,
                directory=directory,
                address=address,
                prepare=self._preparation(spec),
                changed=changed,
                record=record,
                pool=pool,
                restart=restart,
                clock=clock,
            )
            for spec in pod["spec"]["containers"]
            if is_real(spec)
        }

    def start(self) -> None:
        """Start the containers."""
        for container in self.containers.values():
            container.start()
        self._tasks.spawn(self._renew(), name="renew")

    async def close(self, grace_seconds: float) -> None:
        """Stop the containers; their files stay until the Pod is gone."""
        await self._tasks.close()
        for container in self.containers.values():
            await container.close(grace_seconds)

    def refresh(self) -> None:
        """Bring volumes and tokens up to date; what is missing now keeps its last content."""
        try:
            self._write_files()
        except Missing:
            return

    async def _renew(self) -> None:
        while True:
            await self._clock.asleep(_REFRESH_SECONDS)
            self.refresh()

    def status(self, pod: Json) -> Json:
        """Return the status that belongs to the Pod now."""
        old, now = pod.get("status") or {}, self._clock.time()
        entries: list[Json] = []
        codes: list[int | None] = []
        for spec in pod["spec"]["containers"]:
            container = self.containers.get(spec["name"])
            if container is None:
                entries.append(fake_container_status(spec, old, now, init=False))
                codes.append(None)
            else:
                entries.append(container.status)
                codes.append(container.finished)
        init = [
            fake_container_status(spec, old, now, init=True)
            for spec in pod["spec"].get("initContainers") or ()
        ]
        return pod_status(pod, self._address, entries, now, init_containers=init, exit_codes=codes)

    def _write_files(self) -> None:
        write_volumes(self._pod, self._volumes, self._sources)
        token = self._sources.token("", _TOKEN_SECONDS).encode()
        path = self.directory / "token"
        if not path.exists() or path.read_bytes() != token:
            write_private(path, token)

    def _preparation(self, container: Json) -> Callable[[], Launch]:
        def prepare() -> Launch:
            self._write_files()
            path = self.directory / "kubeconfig"
            namespace = self._pod["metadata"]["namespace"]
            context = Context("in-cluster", self._access.url, namespace=namespace)
            config = kubeconfig(
                [context],
                ca_pem=self._access.ca_pem,
                token_file=str(self.directory / "token"),
                user="pod",
            )
            write_kubeconfig(path, config)
            extra = {"HOME": str(self.directory), "KCPCTL_TO_KUBECONFIG": str(path)}
            env = environment(self._pod, container, self._volumes, self._sources, extra)
            paths = mount_paths(self._pod, container, self._volumes)
            words = [rewrite(expand(word, env), paths) for word in arguments(container)]
            return Launch(self._command(words), env)

        return prepare
