from __future__ import annotations

import asyncio.sslproto
import gc
import ssl

import pytest

from kcpctl.client import tls
from kcpctl.client.tls import shrink_read_buffers, tls_context
from kcpctl.errors import ConfigError
from kcpctl.testing.certificates import CertificateAuthority


def test_equal_settings_share_one_context_au_13(authority: CertificateAuthority) -> None:
    """AU-13."""
    assert tls_context(ca=authority.pem) is tls_context(ca=authority.pem)


def test_other_settings_do_not(authority: CertificateAuthority) -> None:
    cert, key = authority.issue("me")
    contexts = {
        tls_context(ca=authority.pem),
        tls_context(ca=authority.pem, client_cert=cert, client_key=key),
        tls_context(ca=CertificateAuthority().pem),
        tls_context(insecure=True),
    }
    assert len(contexts) == 4


def test_a_context_goes_with_its_last_user_au_14(authority: CertificateAuthority) -> None:
    """AU-14."""
    cert, key = authority.issue("nobody else")
    context = tls_context(ca=authority.pem, client_cert=cert, client_key=key)
    gc.collect()
    before = len(tls._contexts)
    del context
    gc.collect()
    assert len(tls._contexts) == before - 1


def test_only_the_given_ca_is_trusted(authority: CertificateAuthority) -> None:
    context = tls_context(ca=authority.pem)
    assert len(context.get_ca_certs()) == 1
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_insecure_trusts_anybody() -> None:
    context = tls_context(insecure=True)
    assert context.verify_mode is ssl.CERT_NONE
    assert not context.check_hostname


@pytest.mark.parametrize("ca", [b"", b"garbage", b"\xff", b"-----BEGIN CERTIFICATE-----\nAA\n"])
def test_a_ca_that_is_no_pem_names_its_source(ca: bytes) -> None:
    with pytest.raises(ConfigError, match="kubeconfig x: the certificate authority"):
        tls_context(ca=ca, source="kubeconfig x")


def test_a_key_with_a_passphrase_does_not_ask_for_it(authority: CertificateAuthority) -> None:
    from cryptography.hazmat.primitives import serialization

    cert, key = authority.issue("me")
    encrypted = serialization.load_pem_private_key(key, None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    with pytest.raises(ConfigError, match="have no passphrase"):
        tls_context(client_cert=cert, client_key=encrypted, insecure=True)


def test_without_memory_files_a_private_one_is_used_and_removed(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.memfd_create")
    cert, key = authority.issue("me")
    context = tls_context(ca=authority.pem, client_cert=cert, client_key=key)
    assert isinstance(context, ssl.SSLContext)


def test_read_buffers_are_shrunk_once_and_never_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio.sslproto.SSLProtocol, "max_size", 256 * 1024)
    shrink_read_buffers()
    assert asyncio.sslproto.SSLProtocol.max_size == 16 * 1024
    monkeypatch.setattr(asyncio.sslproto.SSLProtocol, "max_size", 8 * 1024)
    shrink_read_buffers()
    assert asyncio.sslproto.SSLProtocol.max_size == 8 * 1024


def test_a_python_without_that_buffer_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers 2.2: the attribute is asyncio's own and may go."""
    monkeypatch.delattr(asyncio.sslproto.SSLProtocol, "max_size")
    shrink_read_buffers()
    assert not hasattr(asyncio.sslproto.SSLProtocol, "max_size")
    monkeypatch.delattr(asyncio.sslproto, "SSLProtocol")
    shrink_read_buffers()
