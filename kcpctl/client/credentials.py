"""Who we are: bearer tokens from a string, a file or a plugin, and passwords."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kcpctl.client.config import ClientConfig, ExecPlugin
from kcpctl.client.plugins import run_plugin
from kcpctl.errors import ConfigError
from kcpctl.runtime.clock import SYSTEM_CLOCK, Clock, parse_time
from kcpctl.runtime.logging import get_logger

__all__ = ["Credential", "Credentials", "credentials_of"]

_log = get_logger(__name__)

_TOKEN_FILE_SECONDS = 60.0
_EXPIRY_LEEWAY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Credential:
    """What goes into one request: a header, and perhaps a client certificate of a plugin."""

    authorization: str = field(default="", repr=False)
    client_cert: bytes | None = field(default=None, repr=False)
    client_key: bytes | None = field(default=None, repr=False)


class Credentials(Protocol):
    """A source of credentials, on the I/O loop."""

    async def current(self) -> Credential:
        """Return what to send now; raises ConfigError when there is nothing to send."""

    async def renew(self, rejected: Credential) -> bool:
        """The server answered 401 to ``rejected``: whether there is another one now (AU-05)."""


class Fixed:
    """Credentials that never change."""

    def __init__(self, authorization: str = "") -> None:
        self._credential = Credential(authorization)

    async def current(self) -> Credential:
        """Return it."""
        return self._credential

    async def renew(self, rejected: Credential) -> bool:
        """There is no other one."""
        return False


class TokenFile:
    """A token in a file that somebody else renews.

    Read again when 60 s old (AU-01) and after a 401; while it cannot be read the last one stays
    in use. Reading blocks the loop, for the microseconds that a small local file takes.
    """

    def __init__(self, path: Path, *, source: str = "", clock: Clock = SYSTEM_CLOCK) -> None:
        self._path = path
        self._source = source
        self._clock = clock
        self._credential: Credential | None = None
        self._read_at = 0.0

    async def current(self) -> Credential:
        """Return the token, at most 60 s old."""
        age = self._clock.monotonic() - self._read_at
        if self._credential is None or age >= _TOKEN_FILE_SECONDS:
            self._read()
        assert self._credential is not None
        return self._credential

    async def renew(self, rejected: Credential) -> bool:
        """Read the file again."""
        self._read()
        return self._credential != rejected

    def _read(self) -> None:
        try:
            token = self._path.read_text(encoding="utf-8").strip()
            problem = "" if token else "is empty"
        except (OSError, UnicodeDecodeError) as error:
            token = ""
            problem = f"cannot be read ({getattr(error, 'strerror', None) or 'not text'})"
        self._read_at = self._clock.monotonic()
        if token:
            self._credential = Credential(f"Bearer {token}")
        elif self._credential is None:
            raise ConfigError(
                f"{self._source or 'the configuration'}: the token file {self._path} {problem}; "
                "whoever writes it must do so before we start"
            )
        else:
            _log.warning("Kept the old token", file=self._path, problem=problem)


class ExecPluginCredentials:
    """Credentials of a plugin that the kubeconfig names.

    One run at a time; what it gave is used until it expires, or until a 401 when it does not say
    (AU-04). Cancelling the call that runs it kills it, and the next call runs it again.
    """

    def __init__(self, plugin: ExecPlugin, *, source: str, clock: Clock = SYSTEM_CLOCK) -> None:
        self._plugin = plugin
        self._source = source
        self._clock = clock
        self._lock = asyncio.Lock()
        self._credential: Credential | None = None
        self._expires_at: float | None = None

    async def current(self) -> Credential:
        """Return what the plugin gave, running it when that has expired."""
        async with self._lock:
            if self._credential is None or self._expired():
                await self._run()
            assert self._credential is not None
            return self._credential

    async def renew(self, rejected: Credential) -> bool:
        """Run the plugin, unless another request has done it meanwhile."""
        async with self._lock:
            if self._credential == rejected:
                await self._run()
            return self._credential != rejected

    def _expired(self) -> bool:
        leeway = self._clock.time() + _EXPIRY_LEEWAY_SECONDS
        return self._expires_at is not None and leeway >= self._expires_at

    async def _run(self) -> None:
        status = await run_plugin(self._plugin, self._source)
        credential = _credential_of(status, self._plugin, self._source)
        expiry = status.get("expirationTimestamp")
        try:
            self._expires_at = parse_time(str(expiry)) if expiry else None
        except ValueError as error:
            raise ConfigError(
                f"{self._source}: the credential plugin {self._plugin.command!r} gave an "
                "expirationTimestamp that is no time"
            ) from error
        self._credential = credential
        _log.debug("Ran the credential plugin", command=self._plugin.command)


def _credential_of(status: Mapping[str, Any], plugin: ExecPlugin, source: str) -> Credential:
    """AU-06: there must be a token, or a certificate with its key."""
    token = status.get("token")
    cert, key = status.get("clientCertificateData"), status.get("clientKeyData")
    if not token and not (cert and key):
        raise ConfigError(
            f"{source}: the credential plugin {plugin.command!r} gave neither a token nor a "
            "certificate with its key"
        )
    return Credential(
        authorization=f"Bearer {token}" if token else "",
        client_cert=cert.encode() if cert and key else None,
        client_key=key.encode() if cert and key else None,
    )


def credentials_of(config: ClientConfig, clock: Clock = SYSTEM_CLOCK) -> Credentials:
    """Return the source that a configuration asks for."""
    if config.token:
        return Fixed(f"Bearer {config.token}")
    if config.token_file is not None:
        return TokenFile(config.token_file, source=config.source, clock=clock)
    if config.exec_plugin is not None:
        return ExecPluginCredentials(config.exec_plugin, source=config.source, clock=clock)
    if config.username:
        pair = f"{config.username}:{config.password}".encode()
        return Fixed(f"Basic {base64.b64encode(pair).decode()}")
    return Fixed()
