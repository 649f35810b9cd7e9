"""The server's certificate, judged by real TLS handshakes."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import environment_with, running
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from live_cam.errors import SettingError
from live_cam.viewers.web.certificate import check_given_certificate, server_certificate

HOSTS = ["192.168.1.5", "RaspberryPi.local", "fe80::1%eth0", "[2001:db8::5]", "bücher.example"]


@contextlib.contextmanager
def tls_server(certificate: Path, key: Path) -> Iterator[int]:
    """Completes one TLS handshake after the other on the loopback interface, and says "hello"; gives its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secured:
                        secured.sendall(b"hello")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def greeting(port: int, host: str, trusted: Path) -> bytes:
    """What the server says to a client that trusts one certificate, and checks it and the host strictly."""
    context = ssl.create_default_context(cafile=trusted)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as connection,
        context.wrap_socket(connection, server_hostname=host) as secured,
    ):
        return secured.recv(16)


def load(certificate: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificate.read_bytes())


def write_pair(folder: Path, first_day: float, last_day: float, password: bytes | None = None) -> tuple[Path, Path]:
    """Writes a certificate that is valid between two days, counted from now, and its key: as openssl would."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "camera")])
    now = datetime.datetime.now(datetime.timezone.utc)
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in ("127.0.0.1", "::1")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + datetime.timedelta(days=first_day))
        .not_valid_after(now + datetime.timedelta(days=last_day))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), *addresses]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    return paths


# The certificate that livecam makes


def test_a_browser_that_trusts_it_reaches_every_host(tmp_path: Path):
    certificate, key = server_certificate(HOSTS, tmp_path)
    with tls_server(certificate, key) as port:
        for host in ("localhost", "127.0.0.1", "::1", "192.168.1.5", "raspberrypi.local", "fe80::1", "2001:db8::5"):
            assert greeting(port, host, certificate) == b"hello"
        assert greeting(port, "bücher.example", certificate) == b"hello"
        for host in ("192.168.1.6", "evil.example", "x.raspberrypi.local"):
            with pytest.raises(ssl.SSLCertVerificationError, match="mismatch|not valid for"):
                greeting(port, host, certificate)
        other, _ = server_certificate([], tmp_path / "other")
        with pytest.raises(ssl.SSLCertVerificationError, match="self-signed|unable to get local issuer"):
            greeting(port, "localhost", other)


def test_its_contents(tmp_path: Path):
    certificate, key = server_certificate(HOSTS, tmp_path)
    made = load(certificate)
    # Apple's limit is 398 days; a day more than today on both sides for clocks that are wrong.
    assert made.not_valid_after_utc - made.not_valid_before_utc == datetime.timedelta(days=397)
    assert made.not_valid_before_utc < datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=23)
    assert isinstance(made.public_key().curve, ec.SECP256R1)
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(key.parent.stat().st_mode) == 0o700
    assert b"PRIVATE" not in certificate.read_bytes()
    if shutil.which("openssl"):
        command = ["openssl", "x509", "-in", certificate, "-noout", "-text", "-checkhost", "raspberrypi.local"]
        text = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
        assert "DNS:localhost" in text
        assert "IP Address:192.168.1.5" in text
        assert "TLS Web Server Authentication" in text
        assert "does match certificate" in text


def test_the_key_is_private_whatever_the_umask(tmp_path: Path):
    folder = tmp_path / "certificates"
    code = f"""
import os
from live_cam.viewers.web.certificate import *
os.umask(0)
server_certificate([], Path({str(folder)!r}))
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert [stat.S_IMODE(key.stat().st_mode) for key in tmp_path.rglob("key.pem")] == [0o600]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_it_is_kept_in_the_data_directory_of_the_user(tmp_path: Path):
    code = "from live_cam.viewers.web.certificate import *; print(*server_certificate(['192.168.1.5']), sep='\\n')"
    environment = environment_with({"XDG_DATA_HOME": str(tmp_path), "HOME": str(tmp_path)})
    runs = [
        subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert runs[0].stdout == runs[1].stdout
    for line in runs[0].stdout.splitlines():
        assert Path(line).is_relative_to(tmp_path)
        assert "livecam" in Path(line).parts


def test_it_is_used_again_while_it_covers_the_hosts(tmp_path: Path):
    first = server_certificate(["192.168.1.5", "pi.local"], tmp_path)
    assert server_certificate(["pi.local", "192.168.1.5"], tmp_path) == first
    assert server_certificate(["PI.local"], tmp_path) == first
    assert server_certificate(["localhost", "127.0.0.1"], tmp_path) == first

    second = server_certificate(["192.168.1.6", "pi.local"], tmp_path)
    assert second != first
    with tls_server(*second) as port:
        assert greeting(port, "192.168.1.6", second[0]) == b"hello"
    # Back in the first network: what the browsers there trust.
    assert server_certificate(["192.168.1.5"], tmp_path) == first


def test_it_is_renewed_thirty_days_before_it_expires(tmp_path: Path):
    kept = write_pair(tmp_path / "kept", -300, 30.1)
    assert server_certificate([], tmp_path) == kept
    old = write_pair(tmp_path / "kept", -300, 29.9)
    renewed = server_certificate([], tmp_path)
    assert renewed != old
    assert not old[0].exists()
    with tls_server(*renewed) as port:
        assert greeting(port, "localhost", renewed[0]) == b"hello"


@pytest.mark.parametrize("damaged_file", ["certificate.pem", "key.pem"])
@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "garbage", "another's"])
def test_a_damaged_one_is_replaced(tmp_path: Path, damaged_file: str, damage: str):
    certificate, _ = server_certificate([], tmp_path / "mine")
    damaged = certificate.with_name(damaged_file)
    content = damaged.read_bytes()
    if damage == "gone":
        damaged.unlink()
    else:
        another = server_certificate([], tmp_path / "other")[0].with_name(damaged_file)
        contents = {"empty": b"", "cut": content[:80], "garbage": b"\0\xff" * 99, "another's": another.read_bytes()}
        damaged.write_bytes(contents[damage])
    replaced = server_certificate([], tmp_path / "mine")
    assert replaced[0] != certificate
    assert not certificate.parent.exists()
    with tls_server(*replaced) as port:
        assert greeting(port, "localhost", replaced[0]) == b"hello"
    assert server_certificate([], tmp_path / "mine") == replaced


def test_processes_that_start_at_once_each_get_a_whole_pair(tmp_path: Path):
    code = f"""
from live_cam.viewers.web.certificate import *
print("ready", flush=True)
input()
print(*server_certificate([], Path({str(tmp_path)!r})), sep="\\n")
"""
    with contextlib.ExitStack() as stack:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        processes = [stack.enter_context(running([sys.executable, "-c", code], **pipes)) for _ in range(4)]
        assert [process.stdout.readline() for process in processes] == ["ready\n"] * 4
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        pairs = [tuple(map(Path, process.communicate(timeout=60)[0].split())) for process in processes]
    for certificate, key in pairs:
        with tls_server(certificate, key) as port:
            assert greeting(port, "localhost", certificate) == b"hello"
    assert server_certificate([], tmp_path) in pairs
    assert not list(tmp_path.glob("unfinished-*"))


def test_what_another_process_is_writing_is_left_alone(tmp_path: Path):
    half_written = tmp_path / "unfinished-abc" / "certificate.pem"
    half_written.parent.mkdir()
    half_written.write_text("-----BEGIN CERTIFICATE-----")
    server_certificate([], tmp_path)
    assert half_written.exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(SettingError, match="cannot be stored in .*file.*give --certificate and --key"):
        server_certificate([], tmp_path / "file" / "certificates")


@pytest.mark.parametrize("host", ["", "two words", "a..b", "http://pi.local", "pi.local:8000", "x" * 300, "*"])
def test_what_is_no_host_is_refused(tmp_path: Path, host: str):
    with pytest.raises(SettingError, match="neither a host name nor an IP address"):
        server_certificate([host], tmp_path)


# A certificate of the user


def test_a_valid_pair_is_accepted_and_works(tmp_path: Path):
    certificate, key = write_pair(tmp_path, -1, 1)
    check_given_certificate(certificate, key)
    with tls_server(certificate, key) as port:
        assert greeting(port, "localhost", certificate) == b"hello"
    # A chain begins with the server's own; one file may hold both.
    chain = tmp_path / "chain.pem"
    expired, _ = write_pair(tmp_path / "authority", -9, -8)
    chain.write_bytes(certificate.read_bytes() + expired.read_bytes() + key.read_bytes())
    check_given_certificate(chain, chain)


def test_a_pair_that_cannot_serve_is_refused_in_one_line(tmp_path: Path):
    certificate, key = write_pair(tmp_path / "mine", -1, 1)
    _, other_key = write_pair(tmp_path / "other", -1, 1)
    _, locked_key = write_pair(tmp_path / "locked", -1, 1, password=b"secret")
    text = tmp_path / "text.pem"
    text.write_text("no PEM\n")

    def problem(certificate: Path, key: Path) -> str:
        with pytest.raises(SettingError, match="certificate") as refused:
            check_given_certificate(certificate, key)
        message = str(refused.value)
        assert "\n" not in message
        return message

    assert "certificate cannot be read: No such file" in problem(tmp_path / "none.pem", key)
    assert "certificate cannot be read: Is a directory" in problem(tmp_path, key)
    with pytest.raises(SettingError, match="the key cannot be read: No such file.*none.key"):
        check_given_certificate(certificate, tmp_path / "none.key")
    assert "this is no certificate" in problem(text, key)
    assert "this is no certificate" in problem(key, key)
    assert "belongs to another certificate" in problem(certificate, other_key)
    assert "has a password" in problem(certificate, locked_key)
    assert "give a PEM file" in problem(certificate, text)
    assert "give a PEM file" in problem(certificate, certificate)
    assert "not today" in problem(*write_pair(tmp_path / "expired", -9, -0.01))
    assert "not today" in problem(*write_pair(tmp_path / "future", 0.01, 9))


def test_without_cryptography_the_extra_is_named():
    code = """
import sys
sys.modules["cryptography"] = None
from live_cam.errors import SettingError
try:
    import live_cam.viewers.web.certificate
except SettingError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert 'pip install ".[web]"' in done.stdout
