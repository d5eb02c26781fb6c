from __future__ import annotations

import ipaddress
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from kcpctl.embedded.security.ca import (
    CertificateAuthority,
    load_or_create_key,
    private_key_pem,
)
from kcpctl.embedded.security.private_file import write_private


def test_a_key_file_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sa.key"
    key = ec.generate_private_key(ec.SECP384R1())
    path.write_bytes(private_key_pem(key))
    with pytest.raises(ValueError, match=r"sa\.key does not hold a P-256 key"):
        load_or_create_key(path)
    wrong = rsa.generate_private_key(65537, 2048)
    path.write_bytes(private_key_pem(wrong))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="P-256"):
        load_or_create_key(path)


def test_a_certificate_beside_a_foreign_key_is_refused(tmp_path: Path) -> None:
    CertificateAuthority(tmp_path)
    for content in (CertificateAuthority().pem, b"garbage"):
        (tmp_path / "ca.crt").write_bytes(content)
        with pytest.raises(ValueError, match=r"ca\.crt is not the certificate of the key"):
            CertificateAuthority(tmp_path)


def test_a_kept_authority_is_the_same_after_a_restart(tmp_path: Path) -> None:
    first = CertificateAuthority(tmp_path)
    assert CertificateAuthority(tmp_path).pem == first.pem
    assert CertificateAuthority().pem != first.pem
    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600


def test_a_server_certificate_names_its_hosts() -> None:
    pair = CertificateAuthority().issue_server(["127.0.0.1", "localhost"])
    certificate = x509.load_pem_x509_certificate(pair.certificate_pem)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.IPAddress) == [ipaddress.ip_address("127.0.0.1")]
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]


def test_a_client_certificate_names_user_and_groups() -> None:
    pair = CertificateAuthority().issue_client("jane", ["dev", "ops"])
    subject = x509.load_pem_x509_certificate(pair.certificate_pem).subject
    assert subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "jane"
    groups = subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert {entry.value for entry in groups} == {"dev", "ops"}


def test_a_key_pair_does_not_show_its_key() -> None:
    pair = CertificateAuthority().issue_client("jane")
    assert "PRIVATE" not in repr(pair)


def test_a_private_file_replaces_the_old_one_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    write_private(path, b"one")
    write_private(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_private_file_that_cannot_be_put_in_place_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_private(tmp_path / "file", b"x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
