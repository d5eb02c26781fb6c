# ruff: noqa: ASYNC240 - small files of a test may be written on its loop
from __future__ import annotations

import base64
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from kcpctl.client.config import ClientConfig, ExecPlugin
from kcpctl.client.credentials import ExecPluginCredentials, TokenFile, credentials_of
from kcpctl.errors import ConfigError
from kcpctl.runtime.clock import format_time
from kcpctl.runtime.ioloop import IOLoop
from kcpctl.runtime.tasks import gather_all
from kcpctl.testing.clock import FakeClock

VERSION = "client.authentication.k8s.io/v1"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


# Fixed ones.


async def test_a_token_is_a_bearer_header() -> None:
    credentials = credentials_of(ClientConfig(server="https://h", token="t"))
    assert (await credentials.current()).authorization == "Bearer t"


async def test_a_password_is_a_basic_header() -> None:
    credentials = credentials_of(ClientConfig(server="https://h", username="me", password="pä"))
    header = (await credentials.current()).authorization
    assert base64.b64decode(header.removeprefix("Basic ")).decode() == "me:pä"


async def test_fixed_credentials_have_no_other_after_a_401() -> None:
    credentials = credentials_of(ClientConfig(server="https://h", token="t"))
    assert not await credentials.renew(await credentials.current())


async def test_nothing_configured_sends_nothing() -> None:
    assert (await credentials_of(ClientConfig(server="https://h")).current()).authorization == ""


# Token files.


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("one\n")
    return path


async def header(credentials: TokenFile | ExecPluginCredentials) -> str:
    return (await credentials.current()).authorization


async def test_a_token_file_is_read_again_after_60_seconds_au_01(
    token_file: Path, clock: FakeClock
) -> None:
    """AU-01."""
    credentials = TokenFile(token_file, clock=clock)
    assert await header(credentials) == "Bearer one"
    token_file.write_text("two")
    clock.step(59)
    assert await header(credentials) == "Bearer one"
    clock.step(1)
    assert await header(credentials) == "Bearer two"


@pytest.mark.parametrize("content", [None, "", "\n"])
async def test_while_it_cannot_be_read_the_old_token_stays_au_01(
    token_file: Path, clock: FakeClock, content: str | None
) -> None:
    """AU-01."""
    credentials = TokenFile(token_file, clock=clock)
    await header(credentials)
    token_file.unlink()
    if content is not None:
        token_file.write_text(content)
    clock.step(61)
    assert await header(credentials) == "Bearer one"


@pytest.mark.parametrize(
    ("content", "says"), [(None, "cannot be read"), (b"", "is empty"), (b"\xff", "not text")]
)
async def test_a_file_that_never_had_a_token_is_named(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    with pytest.raises(ConfigError, match=f"kubeconfig x: the token file .*{says}"):
        await TokenFile(tmp_path / "token", source="kubeconfig x").current()


async def test_after_a_401_the_file_is_read_at_once_au_05(
    token_file: Path, clock: FakeClock
) -> None:
    """AU-05."""
    credentials = TokenFile(token_file, clock=clock)
    old = await credentials.current()
    assert not await credentials.renew(old)
    token_file.write_text("two")
    assert await credentials.renew(old)
    assert await header(credentials) == "Bearer two"


# Plugins, run for real.


def plugin(directory: Path, body: str, **more: Any) -> ExecPlugin:
    """Return a plugin that notes each run in a file and prints what ``body`` prints."""
    script = directory / "plugin"
    script.write_text(f"#!/bin/sh\necho run >> {directory}/runs\n{body}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return ExecPlugin({"apiVersion": VERSION, "command": str(script), **more}, {}, directory)


def status(**fields: str) -> str:
    inner = ",".join(f'"{key}":"{value}"' for key, value in fields.items())
    return f'echo \'{{"apiVersion":"{VERSION}","kind":"ExecCredential","status":{{{inner}}}}}\''


def runs(directory: Path) -> int:
    return len((directory / "runs").read_text().splitlines())


async def using(spec: ExecPlugin, clock: FakeClock) -> ExecPluginCredentials:
    return ExecPluginCredentials(spec, source="kubeconfig x", clock=clock)


async def test_a_plugins_token_is_kept_until_it_expires_au_04(
    tmp_path: Path, clock: FakeClock
) -> None:
    """AU-04."""
    expiry = format_time(clock.time() + 3600)
    body = status(
        token="t$(wc -l < runs)".replace("$", "'$").replace(")", ")'"), expirationTimestamp=expiry
    )
    credentials = await using(plugin(tmp_path, f"cd {tmp_path}\n{body}"), clock)
    first = await header(credentials)
    clock.step(3500)
    assert await header(credentials) == first
    assert runs(tmp_path) == 1
    clock.step(95)
    assert await header(credentials) != first
    assert runs(tmp_path) == 2


async def test_without_an_expiry_it_is_kept_until_a_401_au_04(
    tmp_path: Path, clock: FakeClock
) -> None:
    """AU-04."""
    credentials = await using(plugin(tmp_path, status(token="t")), clock)
    old = await credentials.current()
    clock.step(10**6)
    await credentials.current()
    assert runs(tmp_path) == 1
    await credentials.renew(old)
    assert runs(tmp_path) == 2


async def test_many_callers_share_one_run_au_04(tmp_path: Path, clock: FakeClock) -> None:
    """AU-04."""
    credentials = await using(plugin(tmp_path, status(token="t")), clock)
    await gather_all(*(credentials.current() for _ in range(20)))
    assert runs(tmp_path) == 1


async def test_a_plugin_may_give_a_certificate(tmp_path: Path, clock: FakeClock) -> None:
    body = status(clientCertificateData="CERT", clientKeyData="KEY")
    credentials = await using(plugin(tmp_path, body), clock)
    credential = await credentials.current()
    assert (credential.client_cert, credential.client_key) == (b"CERT", b"KEY")
    assert credential.authorization == ""


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("echo s3cret; exit 3", "it ended with 3"),
        ("echo not json", "not an ExecCredential in JSON"),
        (status(), "neither a token nor a certificate"),
        (status(clientCertificateData="CERT"), "neither a token nor a certificate"),
        (status(token="s3cret").replace("/v1", "/v9"), "the kubeconfig asks for ExecCredential"),
    ],
)
async def test_a_plugin_that_fails_is_named_au_06(
    tmp_path: Path, clock: FakeClock, body: str, says: str
) -> None:
    """AU-06."""
    credentials = await using(plugin(tmp_path, body), clock)
    with pytest.raises(ConfigError) as caught:
        await credentials.current()
    assert says in str(caught.value)
    assert str(caught.value).startswith("kubeconfig x: the credential plugin")
    assert "s3cret" not in str(caught.value)


async def test_a_missing_plugin_gives_its_install_hint_au_08(
    tmp_path: Path, clock: FakeClock
) -> None:
    """AU-08."""
    spec = {"apiVersion": VERSION, "command": "kcpctl-no-such", "installHint": "brew it"}
    credentials = await using(ExecPlugin(spec, {}, tmp_path), clock)
    with pytest.raises(ConfigError, match=r"'kcpctl-no-such' cannot be run .*; brew it"):
        await credentials.current()


async def test_arguments_and_environment_reach_the_plugin(tmp_path: Path, clock: FakeClock) -> None:
    body = status(token="'$1-$WHO'")
    spec = plugin(tmp_path, body, args=["a"], env=[{"name": "WHO", "value": "b"}])
    credentials = await using(spec, clock)
    assert await header(credentials) == "Bearer a-b"
    assert "WHO" not in os.environ


def test_a_plugin_runs_from_any_thread_with_a_loop(tmp_path: Path, clock: FakeClock) -> None:
    """AU-04: blocking clients have their loop on a thread of its own."""

    async def current() -> str:
        return await header(await using(plugin(tmp_path, status(token="t")), clock))

    with IOLoop("test-io") as loop:
        assert loop.run(current()) == "Bearer t"


async def test_an_expiry_that_is_no_time_is_said(tmp_path: Path, clock: FakeClock) -> None:
    """AU-06."""
    spec = plugin(tmp_path, status(token="t", expirationTimestamp="soon"))
    with pytest.raises(ConfigError, match="expirationTimestamp that is no time"):
        await (await using(spec, clock)).current()


async def test_a_plugin_is_told_of_its_cluster_when_it_asks(
    tmp_path: Path, clock: FakeClock
) -> None:
    extension = {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "a"}}
    cluster = {"server": "https://h", "extensions": [extension]}
    body = f'echo "$KUBERNETES_EXEC_INFO" > {tmp_path}/info\n' + status(token="t")
    made = plugin(tmp_path, body, provideClusterInfo=True)
    await (await using(ExecPlugin(made.spec, cluster, tmp_path), clock)).current()
    assert json.loads((tmp_path / "info").read_text()) == {
        "apiVersion": VERSION,
        "kind": "ExecCredential",
        "spec": {
            "interactive": False,
            "cluster": {"server": "https://h", "config": {"audience": "a"}},
        },
    }
