"""Which servers the contract was checked against."""

from __future__ import annotations

import pytest

from kcpctl.testing.real import missing_binaries


def test_the_contract_is_checked_against_a_real_server_too() -> None:
    if missing := missing_binaries():
        pytest.skip(f"only the embedded server was checked: {missing}")
