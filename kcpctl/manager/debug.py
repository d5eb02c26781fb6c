"""What the pages below /debug/ answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from kcpctl.clusters import ClusterPool
from kcpctl.informers import SharedInformer
from kcpctl.manager.fleet.endpoint import EndpointStatus
from kcpctl.manager.stacks import Stack, tasks_and_frames, threads_and_frames
from kcpctl.runtime import IOLoop, format_time
from kcpctl.workqueue import QueueSnapshot

__all__ = ["Page", "pages"]

_PARTS: Final = ("processing", "queued", "waiting")
_FEW: Final = 5


class Page(Protocol):
    """One page. Called on any thread but the I/O thread: with many keys it takes its time."""

    def data(self) -> object:
        """Return what there is to tell, for programs."""

    def text(self) -> str:
        """Return the same for people."""


class HasQueues(Protocol):
    """What the pages need of a controller, or of several."""

    def snapshots(self) -> Mapping[str, QueueSnapshot[str]]:
        """What the queue of each controller holds."""


class HasInformers(Protocol):
    """What the pages need of an informer factory."""

    def all_informers(self) -> Sequence[SharedInformer[Any]]:
        """The informers there are."""


class HasEndpoints(Protocol):
    """What the pages need of a fleet."""

    def problem(self) -> str:
        """Why it serves nobody."""

    def endpoints(self) -> Sequence[EndpointStatus]:
        """How each endpoint is."""


def pages(
    io_loop: IOLoop,
    *,
    pools: Iterable[ClusterPool],
    controllers: Iterable[HasQueues],
    factories: Iterable[HasInformers],
    fleet: HasEndpoints | None = None,
) -> dict[str, Page]:
    """Return the pages by path. What is iterated over is asked again for each answer."""
    return {
        **({} if fleet is None else {"/debug/fleet": _Fleet(fleet)}),
        "/debug/clusters": _Clusters(pools),
        "/debug/queues": _Queues(controllers),
        "/debug/informers": _Informers(factories),
        "/debug/stacks": _Stacks(io_loop),
    }


class _Clusters:
    def __init__(self, pools: Iterable[ClusterPool]) -> None:
        self._pools = pools

    def data(self) -> list[dict[str, object]]:
        statuses = [status for pool in self._pools for status in pool.statuses()]
        return [
            {
                "key": status.key,
                "state": status.state,
                "since": format_time(status.since),
                "reason": status.reason,
                "message": status.message,
                "version": status.version,
                "nextAttemptSeconds": _rounded(status.next_attempt_in_seconds),
                "cachedObjects": status.cached_objects,
            }
            for status in sorted(statuses, key=lambda status: status.key)
        ]

    def text(self) -> str:
        return _table(
            ("KEY", "STATE", "SINCE", "REASON", "NEXT ATTEMPT", "MESSAGE"),
            (
                (
                    row["key"],
                    row["state"],
                    row["since"],
                    row["reason"],
                    _seconds(row["nextAttemptSeconds"], "in "),
                    row["message"],
                )
                for row in self.data()
            ),
        )


class _Queues:
    def __init__(self, controllers: Iterable[HasQueues]) -> None:
        self._controllers = controllers

    def data(self) -> dict[str, dict[str, dict[str, dict[str, float | None]]]]:
        """By controller, logical cluster, part of the queue and key: seconds."""
        return {
            name: {
                cluster: {
                    part: {
                        key: _rounded(seconds)
                        for key, seconds in sorted(getattr(held, part).items(), key=_by_seconds)
                    }
                    for part in _PARTS
                }
                for cluster, held in sorted(snapshot.by_cluster().items())
            }
            for one in self._controllers
            for name, snapshot in one.snapshots().items()
        }

    def text(self) -> str:
        lines = []
        for name, clusters in self.data().items():
            lines.append(f"controller {name}: {_counts(clusters.values())}")
            for cluster, parts in clusters.items():
                lines.append(f"  logical cluster {cluster or '(none)'}: {_counts([parts])}")
                for part, words in zip(_PARTS, ("for ", "for ", "due in "), strict=True):
                    lines += [
                        f"    {part} {words}{_seconds(seconds)}  {key}"
                        for key, seconds in parts[part].items()
                    ]
        return "\n".join([*lines, ""]) if lines else "no controllers\n"


class _Informers:
    def __init__(self, factories: Iterable[HasInformers]) -> None:
        self._factories = factories

    def data(self) -> list[dict[str, object]]:
        # Two factories may tell of the same informer: those that discover use another one's.
        informers = dict.fromkeys(one for each in self._factories for one in each.all_informers())
        statuses = sorted((one.status() for one in informers), key=lambda one: one.description)
        return [
            {
                "description": status.description,
                "synced": status.synced,
                "objects": status.objects,
                "resourceVersion": status.resource_version,
                "silenceSeconds": _rounded(status.silence_seconds),
                "streamed": status.streamed,
                "lastError": status.last_error,
            }
            for status in statuses
        ]

    def text(self) -> str:
        return _table(
            ("INFORMER", "SYNCED", "OBJECTS", "VERSION", "SILENT FOR", "STATE BY", "LAST ERROR"),
            (
                (
                    row["description"],
                    "yes" if row["synced"] else "no",
                    row["objects"],
                    row["resourceVersion"],
                    _seconds(row["silenceSeconds"]),
                    ("stream" if row["streamed"] else "list") if row["synced"] else "",
                    row["lastError"],
                )
                for row in self.data()
            ),
        )


class _Fleet:
    def __init__(self, fleet: HasEndpoints) -> None:
        self._fleet = fleet

    def data(self) -> dict[str, object]:
        return {
            "problem": self._fleet.problem(),
            "endpoints": [
                {
                    "url": one.url,
                    "state": one.state,
                    "engaged": list(one.engaged),
                    "parked": list(one.parked),
                    "lastError": one.last_error,
                }
                for one in self._fleet.endpoints()
            ],
        }

    def text(self) -> str:
        table = _table(
            ("ENDPOINT", "STATE", "ENGAGED", "PARKED", "PARKED CLUSTERS", "LAST ERROR"),
            (
                (
                    one.url,
                    one.state,
                    len(one.engaged),
                    len(one.parked),
                    _few(one.parked),
                    one.last_error,
                )
                for one in self._fleet.endpoints()
            ),
        )
        problem = self._fleet.problem()
        return f"problem: {problem}\n\n{table}" if problem else table


class _Stacks:
    def __init__(self, io_loop: IOLoop) -> None:
        self._io_loop = io_loop

    def _parts(self) -> dict[str, list[Stack]]:
        return {
            "threads": threads_and_frames(),
            "tasks": tasks_and_frames(self._io_loop.tasks()),
        }

    def data(self) -> dict[str, list[dict[str, object]]]:
        return {
            kind: [{"name": name, "stack": lines} for name, lines in stacks]
            for kind, stacks in self._parts().items()
        }

    def text(self) -> str:
        lines = []
        for kind, stacks in self._parts().items():
            for name, stack in stacks:
                lines += [f"{kind[:-1]} {name}", *(f"    {line}" for line in stack), ""]
        return "\n".join(lines)


def _by_seconds(item: tuple[str, float]) -> float:
    return item[1]


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _seconds(value: object, word: str = "") -> str:
    return f"{word}{value:.1f}s" if isinstance(value, float) else ""


def _few(names: Sequence[str]) -> str:
    return ",".join(names[:_FEW]) + (",..." if len(names) > _FEW else "")


def _counts(parts: Iterable[Mapping[str, Mapping[str, object]]]) -> str:
    held = list(parts)
    return ", ".join(f"{sum(len(one[part]) for one in held)} {part}" for part in _PARTS)


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Columns as kubectl writes them: upper-case headers, three spaces, no borders."""
    cells = [list(header), *(["" if one is None else str(one) for one in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = [
        "   ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    return "\n".join([*lines, ""])
