from __future__ import annotations

import pytest

from kcpctl.testing.certificates import CertificateAuthority


@pytest.fixture(scope="session")
def authority() -> CertificateAuthority:
    return CertificateAuthority()
