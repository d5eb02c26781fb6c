"""What an informer tells about itself."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["InformerStatus"]


@dataclass(frozen=True, slots=True)
class InformerStatus:
    """An informer at one moment.

    ``silence_seconds`` is how long ago the server last showed a sign of life; ``streamed`` whether
    the last full state came as a stream and not as a list; ``last_error`` why lists or watches fail
    right now, None while they work.
    """

    description: str
    synced: bool
    objects: int
    resource_version: str
    silence_seconds: float
    streamed: bool
    last_error: str | None
