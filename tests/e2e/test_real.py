"""The whole product on two real clusters, where their binaries are at hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kcpctl.testing.real import missing_binaries

SCRIPT = Path(__file__).parents[2] / "hack" / "e2e-real"


def test_it_works_on_two_real_clusters() -> None:
    if missing := missing_binaries(full=True):
        pytest.skip(missing)
    done = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith("passed")
