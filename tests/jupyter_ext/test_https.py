"""A server with a certificate of its own and a password: what programs on the same machine see."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jupyter_server.auth import passwd

import ollmlx
from ollmlx import servers
from tests.jupyter_ext.process import Server, serving


def certify(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate, made out to `name` alone, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


@pytest.fixture
def server(tmp_path, monkeypatch):
    certificate, key = certify(tmp_path, "notebooks.example.org")
    settings = {
        "ServerApp": {
            "ip": "127.0.0.1",
            "port": 0,
            "open_browser": False,
            "allow_root": True,
            "certfile": str(certificate),
            "keyfile": str(key),
            "jpserver_extensions": {"jupyter_ext": False, "tests.jupyter_ext.echoing": True},
        },
        "PasswordIdentityProvider": {"hashed_password": passwd("a password")},
    }
    with serving(tmp_path, settings) as started:
        monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(started.runtime))
        monkeypatch.setattr(servers, "DEFAULT_URL", "http://127.0.0.1:1")
        yield started


def test_a_kernel_finds_its_server_behind_a_certificate_made_out_to_another_name(
    server: Server, monkeypatch
):
    assert server.note["mount"].startswith("https://127.0.0.1:")
    monkeypatch.setenv("JPY_PARENT_PID", str(server.process.pid))
    with ollmlx.Client() as found:
        assert found.server.rule == "the Jupyter server of this kernel"
        assert [model.model for model in found.list().models] == ["echo:latest"]


def test_another_certificate_is_not_accepted(server: Server, tmp_path):
    other, _ = certify(tmp_path, "somebody.example.org")
    here = ollmlx.Server(server.note["url"], "its note", certificate=str(other))
    assert not here.answers()
    assert ollmlx.Server(here.url, "", certificate=server.note["certificate"]).answers()
    os.unlink(other)
    assert not here.answers()
