from __future__ import annotations

import io

from kcpctl.cli.progress import Progress
from kcpctl.testing.clock import FakeClock


def test_a_line_has_the_time_since_the_start() -> None:
    clock, out = FakeClock(), io.StringIO()
    progress = Progress(started_at=clock.monotonic(), clock=clock, out=out)
    clock.step(1.25)
    progress.say("cluster east", "up")
    assert out.getvalue() == "   1.2s  cluster east           up\n"
    assert progress.elapsed_seconds == 1.25


def test_a_closed_output_is_no_error() -> None:
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    progress = Progress(started_at=0, clock=FakeClock(), out=Closed())
    progress.line("gone")
    progress.line("still no error")
