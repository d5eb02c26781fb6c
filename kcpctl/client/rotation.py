"""Certificates in files that somebody else renews."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, NamedTuple

from kcpctl.client.config import ClientConfig
from kcpctl.client.metrics import ClientMetrics
from kcpctl.client.tls import tls_context
from kcpctl.errors import ConfigError
from kcpctl.runtime.logging import get_logger

__all__ = ["CHECK_SECONDS", "TlsFiles", "TlsMaterial"]

_log = get_logger(__name__)

CHECK_SECONDS: Final = 60.0
"""How often the files are read again: AU-01's figure for tokens, and a kubelet takes about as long
to renew a volume. client-go looks every five minutes (AU-11); the three reads cost 0.1 ms. The
content is compared, not a time stamp: a volume that is switched by a link need not move it."""


class TlsMaterial(NamedTuple):
    """What a TLS context is made of, as PEM."""

    ca: bytes | None
    client_cert: bytes | None
    client_key: bytes | None


class _Unusable(Exception):
    def __init__(self, reason: str, problem: str) -> None:
        super().__init__(problem)
        self.reason = reason


class TlsFiles:
    """The certificate authority and client certificate of a configuration, kept up to date.

    ``material`` is what to use. :meth:`check` reads the files that the configuration names; what
    is new there and good replaces the old, the certificate and its key together. A file that is
    missing, empty or no PEM, or a key that is not the certificate's (one of the two is written
    yet), keeps the old and counts a failure, which is logged once for each problem (AU-12).
    Reading blocks, for the microseconds that small local files take. One owner.
    """

    def __init__(self, config: ClientConfig, metrics: ClientMetrics) -> None:
        self.material = TlsMaterial(config.ca, config.client_cert, config.client_key)
        self._ca_file = None if config.insecure else config.ca_file
        self._cert_file = config.client_cert_file
        self._key_file = config.client_key_file
        self._source = config.source
        self._metrics = metrics
        self._problems: dict[str, str] = {}

    @property
    def are_named(self) -> bool:
        """Whether there are files at all."""
        return any((self._ca_file, self._cert_file, self._key_file))

    def check(self) -> None:
        """Read the files again."""
        old = self.material
        if self._ca_file is not None:
            ca = self._tried("ca", (self._ca_file, None), (old.ca, None))[0]
            self.material = self.material._replace(ca=ca)
        if self._cert_file is not None or self._key_file is not None:
            files = (self._cert_file, self._key_file)
            cert, key = self._tried("certificate", files, (old.client_cert, old.client_key))
            self.material = self.material._replace(client_cert=cert, client_key=key)

    def _tried(
        self,
        what: Literal["ca", "certificate"],
        files: tuple[Path | None, Path | None],
        old: tuple[bytes | None, bytes | None],
    ) -> tuple[bytes | None, bytes | None]:
        """Return what to use from now on."""
        try:
            first, second = (
                before if file is None else _content(file)
                for file, before in zip(files, old, strict=True)
            )
            new = (first, second)
            if new != old:
                self._prove(what, new)
        except _Unusable as error:
            self._metrics.reloaded(what, error.reason)
            self._report(what, str(error))
            return old
        self._problems.pop(what, None)
        if new == old:
            self._metrics.reloaded(what, "unchanged")
            return old
        self._metrics.reloaded(what, "updated")
        _log.info("Read new certificates", what=what, file=files[0] or files[1])
        return new

    def _prove(self, what: str, new: tuple[bytes | None, bytes | None]) -> None:
        try:
            if what == "ca":
                tls_context(ca=new[0], source=self._source)
            else:
                tls_context(
                    client_cert=new[0], client_key=new[1], insecure=True, source=self._source
                )
        except ConfigError as error:
            reason = "ca_parse_error" if what == "ca" else "parse_error"
            raise _Unusable(reason, str(error)) from error

    def _report(self, what: str, problem: str) -> None:
        log = _log.debug if self._problems.get(what) == problem else _log.warning
        self._problems[what] = problem
        log("Kept the old certificates", what=what, problem=problem)


def _content(file: Path) -> bytes:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise _Unusable("read_error", f"{file} cannot be read ({error.strerror})") from error
    if not data.strip():
        raise _Unusable("empty", f"{file} is empty")
    return data
