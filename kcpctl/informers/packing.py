"""Objects in little memory: compressed, with what is alike in all of them said once."""

from __future__ import annotations

import zlib
from typing import Final, NamedTuple

__all__ = ["Dictionary", "Packed", "Packer"]

# How far back a text is looked for, as a power of two. A larger window costs time for each object
# (its memory is copied) and finds nothing more in objects of a few kilobytes.
_WINDOW_BITS: Final = 14
_MEMORY_LEVEL: Final = 6
# The cheapest that uses the dictionary well: higher ones take 30 % longer for 10 % less.
_LEVEL: Final = 2
_MAX_SAMPLE_BYTES: Final = 4 * 1024
_MAX_DICTIONARY_BYTES: Final = 12 * 1024


class Packed(NamedTuple):
    """Compressed bytes and the dictionary that they need."""

    by: Dictionary
    data: bytes


class Dictionary:
    """Text that objects of a kind have in common, and what unpacks objects packed with it.

    Immutable but for the last text, which is kept: who reads an object often reads it again, and
    handlers read it right after it came. Safe from any thread.
    """

    __slots__ = ("_last", "text")

    def __init__(self, text: bytes) -> None:
        self.text = text
        self._last = (b"", b"")

    def unpack(self, data: bytes) -> bytes:
        """Return the bytes that were packed."""
        # One tuple, so that no thread sees half of a change.
        packed, raw = self._last
        if packed is not data:
            raw = zlib.decompressobj(-_WINDOW_BITS, self.text).decompress(data)
            self._last = (data, raw)
        return raw

    def remember(self, packed: bytes, raw: bytes) -> None:
        """Note what one object unpacks to."""
        self._last = (packed, raw)


class Packer:
    """Packs the objects of one resource. One owner.

    It learns while it packs: the 1st, 2nd, 4th, 8th ... object is a sample, and the dictionary is
    made of the latest samples. So the first objects may be of any kind, and there are never more
    dictionaries than doublings; each lives as long as an object that needs it.
    """

    def __init__(self) -> None:
        self._count = 0
        self._samples: list[bytes] = []
        self._learn(b"")

    def pack(self, raw: bytes) -> Packed:
        """Return ``raw`` in fewer bytes."""
        compressor = self._primed.copy()
        data = compressor.compress(raw) + compressor.flush()
        dictionary = self._dictionary
        dictionary.remember(data, raw)
        self._count += 1
        if self._count & (self._count - 1) == 0:
            self._sample(raw)
        return Packed(dictionary, data)

    def _sample(self, raw: bytes) -> None:
        self._samples.append(raw[:_MAX_SAMPLE_BYTES])
        while sum(map(len, self._samples)) > _MAX_DICTIONARY_BYTES:
            del self._samples[0]
        self._learn(b"".join(self._samples))

    def _learn(self, text: bytes) -> None:
        self._dictionary = Dictionary(text)
        self._primed = zlib.compressobj(
            _LEVEL, zlib.DEFLATED, -_WINDOW_BITS, _MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY, text
        )
