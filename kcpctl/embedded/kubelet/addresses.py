"""Addresses of 127.0.0.0/8 for Pods, so that equal ports do not clash."""

from __future__ import annotations

import random
from typing import Final

from kcpctl.runtime import SYSTEM_RANDOM

__all__ = ["AddressPool"]

_HOSTS: Final = range(2, 255)


class AddressPool:
    """Hands out addresses of one random /16 of the loopback network, lowest free first.

    Random, because the Pods of every local cluster of the machine share that network.
    """

    def __init__(self, rng: random.Random = SYSTEM_RANDOM) -> None:
        # 127.0 and 127.1 are left to others: 127.0.0.53 is systemd's resolver, for instance.
        self._network = f"127.{rng.randrange(2, 255)}"
        self._used: dict[str, str] = {}  # owner -> address

    def take(self, owner: str) -> str:
        """Return the address of ``owner``: always the same until it is released."""
        if owner not in self._used:
            taken = set(self._used.values())
            free = (
                f"{self._network}.{high}.{low}"
                for high in range(256)
                for low in _HOSTS
                if f"{self._network}.{high}.{low}" not in taken
            )
            self._used[owner] = next(free)
        return self._used[owner]

    def release(self, owner: str) -> None:
        """Give an address back."""
        self._used.pop(owner, None)
