"""Flags of run-controllers that do not go together."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from kcpctl.cli.run_controllers import command
from kcpctl.errors import UsageError


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--embedded"], "leave one of them out"),
        (["--cluster-name=root"], "has the name that kcp gave it"),
        (["--syncer-auth=certificate"], "a kcp has no signer"),
    ],
)
def test_a_fleet_is_of_a_kcp_and_names_its_workspaces_itself(flags: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        CliRunner().invoke(
            command, ["--apiexport=root:kcpctl:kcpctl", *flags], catch_exceptions=False
        )
