from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_flags_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "hack" / "update-flags", "--check"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
