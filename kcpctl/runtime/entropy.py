"""Randomness, behind a seam: a seeded :class:`random.Random` makes a whole run repeatable."""

from __future__ import annotations

import random
import uuid
from typing import Final

__all__ = ["SYSTEM_RANDOM", "new_uid", "random_suffix"]

SYSTEM_RANDOM: Final[random.Random] = random.SystemRandom()

# The letters that Kubernetes uses for generated names: no vowels, nothing that looks alike.
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def new_uid(rng: random.Random = SYSTEM_RANDOM) -> str:
    """Return a version 4 UUID drawn from ``rng``."""
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def random_suffix(length: int = 5, rng: random.Random = SYSTEM_RANDOM) -> str:
    """Return ``length`` letters fit for the end of an object's name."""
    return "".join(rng.choice(_SUFFIX_ALPHABET) for _ in range(length))
