"""The write gate is asked when the first byte is about to leave, and not only before."""

from __future__ import annotations

import pytest

from kcpctl.apis.resource import CONFIG_MAPS
from kcpctl.client import AsyncClient, WriteGate
from kcpctl.errors import NotLeading
from kcpctl.testing import ControlPlane


class ClosingGate(WriteGate):
    """One that closes after it was asked so often: as when the process is paused there."""

    def __init__(self, passes: int) -> None:
        super().__init__()
        self.passes = passes

    @property
    def remaining_seconds(self) -> float:
        self.passes -= 1
        return float(self.passes >= 0)


@pytest.mark.parametrize("size", [10, 300 * 1024], ids=["small", "large"])
@pytest.mark.parametrize("passes", [0, 1, 2])
async def test_a_gate_that_closes_on_the_way_lets_nothing_out(
    control_plane: ControlPlane, size: int, passes: int
) -> None:
    name = f"gated-{size}-{passes}"
    body = {"metadata": {"name": name}, "data": {"a": "b" * size}}
    gate = ClosingGate(passes)
    client = AsyncClient.plain(control_plane.config, write_gate=gate)
    maps = client.resource(CONFIG_MAPS)
    try:
        with pytest.raises(NotLeading, match=r"POST .*was not sent"):
            await maps.create(body, namespace="default")
        gate.passes = 100
        made = await maps.create(body, namespace="default")  # there was none so far
    finally:
        await client.close()
    assert made["metadata"]["name"] == name
