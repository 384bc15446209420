"""Self-signed certificates: inside the stack, and of the log-in proxy."""

import datetime
import ipaddress
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

# The key never leaves the machine or its namespace. `make clean` removes it with the state, so the
# certificate need not expire before that.
VALID_DAYS = 20 * 365


def self_signed(
    common_name: str, host_names: Sequence[str] = (), addresses: Sequence[str] = ()
) -> tuple[bytes, bytes]:
    """Make a certificate and its private key.

    Args:
        common_name: the subject; no client resolves it.
        host_names: names that the certificate holds for, beside localhost.
        addresses: IP addresses that it holds for, beside loopback.

    Returns:
        The certificate and the unencrypted key, both as PEM.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    names: list[x509.GeneralName] = []
    for address in dict.fromkeys(["127.0.0.1", *addresses]):
        names.append(x509.IPAddress(ipaddress.ip_address(address)))
    for host_name in dict.fromkeys(["localhost", *host_names]):
        names.append(x509.DNSName(host_name))
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # The certificate stays valid when the clock is set back by up to a day.
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), False)
        .sign(key, hashes.SHA256())
    )
    return (
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
