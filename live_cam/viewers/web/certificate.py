"""The TLS certificate of the server: the user's own, or a self-signed one that is made on first use.

A self-signed certificate is a folder with two PEM files in the user's data directory. It is written under a temporary
name and renamed: processes that start at the same time never mix the certificate of one with the key of another.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import os
import re
import shutil
import ssl
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import platformdirs

from live_cam.errors import SettingError

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as missing:
    raise SettingError(
        'https needs cryptography, which is not installed: pip install ".[web]" in the checkout'
    ) from missing

# Browsers of Apple refuse certificates that are valid for longer than 398 days.
_VALID_DAYS = 397
_RENEW_DAYS = 30
_CERTIFICATE_NAME = "certificate.pem"
_KEY_NAME = "key.pem"
_UNFINISHED_PREFIX = "unfinished-"
_ALWAYS_COVERED = ("localhost", "127.0.0.1", "::1")


def server_certificate(hosts: Iterable[str], root: Path | None = None) -> tuple[Path, Path]:
    """Returns the paths of a self-signed certificate and its key, made now unless a stored one will do.

    A stored certificate is used while it covers all hosts and is valid for 30 days more, so that browsers
    that were told to trust it need not be told again. Damaged and old ones are deleted.

    Args:
        hosts: Host names and IP addresses of the server; localhost, 127.0.0.1 and ::1 are always covered.
        root: The folder of the certificates. Default: in the user's data directory.

    Raises:
        SettingError: A host is neither a name nor an address, or the folder cannot be written.
    """
    names = _subject_names([*_ALWAYS_COVERED, *hosts])
    if root is None:
        root = Path(platformdirs.user_data_dir("livecam", appauthor=False)) / "certificates"
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in sorted(root.iterdir()):
            if folder.name.startswith(_UNFINISHED_PREFIX):
                continue
            certificate, key = folder / _CERTIFICATE_NAME, folder / _KEY_NAME
            stored = _stored_certificate(certificate, key)
            if stored is None:
                shutil.rmtree(folder, ignore_errors=True)
            elif names <= _covered_names(stored):
                return certificate, key
        return _store_new_certificate(names, root)
    except OSError as error:
        raise SettingError(
            f"the certificate of the server cannot be stored in {root}: {error.strerror or error}; "
            "make the folder writable, or give --certificate and --key"
        ) from error


def check_given_certificate(certificate: Path, key: Path) -> None:
    """Checks the PEM files of a certificate, or of a chain that starts with it, and its key.

    Raises:
        SettingError: One cannot be read, they do not belong together, or the certificate is not valid today.
    """
    for path, kind in ((certificate, "certificate"), (key, "key")):
        try:
            path.read_bytes()
        except OSError as error:
            raise SettingError(
                f"the {kind} cannot be read: {error.strerror}: {path}; give the path of a PEM file"
            ) from error
    try:
        first = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except ValueError as error:
        raise SettingError(f"this is no certificate: {certificate}; give a PEM file") from error
    if not first.not_valid_before_utc <= _now() < first.not_valid_after_utc:
        raise SettingError(
            f"the certificate is valid from {first.not_valid_before_utc:%Y-%m-%d} to "
            f"{first.not_valid_after_utc:%Y-%m-%d}, not today: {certificate}; renew it, or set the clock"
        )
    if (problem := _pair_problem(certificate, key)) is not None:
        raise SettingError(f"the key cannot be used with the certificate {certificate}: {problem}: {key}")


def _pair_problem(certificate: Path, key: Path) -> str | None:
    """Returns why a server cannot use two PEM files; None if it can."""
    is_encrypted = False

    def no_password() -> str:
        # Without this OpenSSL asks for the password at the terminal.
        nonlocal is_encrypted
        is_encrypted = True
        return ""

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, no_password)
    except (ssl.SSLError, ValueError) as error:
        if is_encrypted:
            return "it has a password; write it without one (openssl pkey -in KEY -out NEW)"
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            return "it belongs to another certificate; give the key that the certificate was made with"
        return f"{getattr(error, 'reason', None) or 'it is no key'}; give a PEM file"
    return None


def _stored_certificate(certificate: Path, key: Path) -> x509.Certificate | None:
    """Returns a stored certificate; None if it is damaged, does not match its key, or must be renewed."""
    try:
        stored = x509.load_pem_x509_certificate(certificate.read_bytes())
        if stored.not_valid_after_utc < _now() + datetime.timedelta(days=_RENEW_DAYS):
            return None
        return stored if _pair_problem(certificate, key) is None else None
    except (OSError, ValueError):
        return None


def _subject_names(hosts: Sequence[str]) -> set[x509.GeneralName]:
    """Returns the names of a certificate for these hosts."""
    names: set[x509.GeneralName] = set()
    for host in hosts:
        try:
            # Link-local addresses of this machine carry the name of the interface.
            names.add(x509.IPAddress(ipaddress.ip_address(host.strip("[]").partition("%")[0])))
            continue
        except ValueError:
            pass
        name = _ascii_name(host)
        if not re.fullmatch("[a-z0-9._-]+", name):
            raise SettingError(f"this is neither a host name nor an IP address: {host!r:.80}; give one of them")
        names.add(x509.DNSName(name))
    return names


def _ascii_name(host: str) -> str:
    """Returns a host name as it is looked up; "" for what is none."""
    try:
        return host.encode("idna").decode().lower()
    except UnicodeError:
        return ""


def _covered_names(certificate: x509.Certificate) -> set[x509.GeneralName]:
    try:
        return set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except (x509.ExtensionNotFound, ValueError):
        return set()


def _store_new_certificate(names: set[x509.GeneralName], root: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _self_signed(key, names)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED_PREFIX, dir=root))
    try:
        (unfinished / _CERTIFICATE_NAME).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        # Created with its mode: nobody else may read it, not even for a moment.
        descriptor = os.open(unfinished / _KEY_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key_pem)
        folder = root / f"{certificate.serial_number:x}"
        unfinished.rename(folder)
    finally:
        with contextlib.suppress(OSError):
            shutil.rmtree(unfinished)
    return folder / _CERTIFICATE_NAME, folder / _KEY_NAME


def _self_signed(key: ec.EllipticCurvePrivateKey, names: set[x509.GeneralName]) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "livecam")])
    # A phone's clock may be behind.
    start = _now() - datetime.timedelta(days=1)
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign")
        + ("encipher_only", "decipher_only"),
        False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=_VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(sorted(names, key=str)), critical=False)
        # Not an authority: who trusts it trusts this server, and whoever steals its key can pose as no other.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=True, **usage), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)
