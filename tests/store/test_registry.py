"""Who we are to a registry, and who is not told."""

import base64
import hashlib
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from ollmlx import names
from ollmlx.errors import OllmlxError
from ollmlx.store.ollama.blobs import Blobs
from ollmlx.store.ollama.layers import PREFIX, Layer
from ollmlx.store.transfer import keys
from ollmlx.store.transfer.download import Download
from ollmlx.store.transfer.registry import BlobSource, NoSuchFile, Registry, Unauthorized
from ollmlx.store.transfer.transport import HungUp, Session
from ollmlx.store.transfer.upload import Upload
from tests.misbehaving import Handler, misbehaving
from tests.registry import docker_registry

SCOPE = "repository:me/m:pull repository:me/other:pull"


@pytest.fixture
def server():
    with misbehaving() as running:
        running.add("me/m", "1", {}, model=b"weights")
        running.challenge = f'Bearer realm="{running.url}/token",service="reg",scope="{SCOPE}"'
        yield running


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "home" / ".ollama" / "id_ed25519"


def registry(server, key: Path, tag: str = "1") -> Registry:
    name = names.parse(f"{server.host}/me/m:{tag}")
    return Registry(name, Session(), insecure=True, key=key)


def test_a_challenge_is_answered_with_the_key_of_the_user(server, key):
    server.token = "secret"
    manifest, _ = registry(server, key).manifest()
    assert manifest.layers
    ((path, authorization),) = server.signed
    public, _, signature = authorization.partition(":")
    loaded = load_ssh_public_key(f"ssh-ed25519 {public}".encode())
    assert isinstance(loaded, Ed25519PublicKey)
    nothing = base64.b64encode(hashlib.sha256(b"").hexdigest().encode())
    text = f"GET,{server.url}{path},".encode() + nothing
    loaded.verify(base64.b64decode(signature), text)
    assert path.count("scope=") == 2
    assert "service=reg" in path
    assert key.with_suffix(".pub").read_text().split()[1] == public


def test_a_key_is_made_once_and_private(key):
    made = keys.load(key).private_bytes_raw()
    assert keys.load(key).private_bytes_raw() == made
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    key.write_text("nonsense")
    with pytest.raises(keys.BadKey, match="cannot read the key"):
        keys.load(key)


def test_a_token_that_does_not_help_is_not_asked_for_again(server, key):
    server.token, server.granted = "secret", "another"
    with pytest.raises(Unauthorized, match=r"^unauthorized: access denied$"):
        registry(server, key).manifest()
    assert len(server.signed) == 1


@pytest.mark.parametrize(
    "challenge", ["", "Basic realm=x", "Bearer", 'Bearer realm=""', "Bearer " + "a" * 60_000]
)
def test_a_challenge_we_cannot_answer_is_a_refusal(server, key, challenge):
    server.token, server.challenge = "secret", challenge
    with pytest.raises(Unauthorized, match=r"^unauthorized: access denied$"):
        registry(server, key).manifest()


def test_another_host_gets_no_signature(server, key):
    server.token, server.challenge = "secret", 'Bearer realm="http://evil.example/token"'
    text = f'realm host "evil.example" does not match original host "{server.host}"'
    with pytest.raises(Unauthorized, match=text):
        registry(server, key).manifest()
    assert not key.exists()


def test_a_redirect_to_another_host_takes_no_token_along(server, key):
    server.token = "secret"
    with misbehaving() as storage:
        seen = []

        def keep(handler: Handler, content: bytes) -> None:
            seen.append(handler.headers["Authorization"])
            handler.send_range(content)

        digest = storage.add_blob(b"weights")
        storage.behave = keep
        server.behave = lambda handler, _: handler.refuse(
            307, Location=f"{storage.url}/data/{digest}?signature=x"
        )
        session = Session()
        source = BlobSource(registry(server, key), session, digest)
        for _ in range(2):
            with source.open(0, 6) as response:
                assert response.read() == b"weights"
    assert seen == [None, None]
    assert len(server.asked) == 1, "where the redirect led is remembered"


def test_no_proxy_stands_before_this_machine(server, key, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    manifest, _ = registry(server, key).manifest()
    assert manifest.layers
    with pytest.raises(OllmlxError, match="connection refused"):  # the proxy's
        Session().open("GET", "http://192.0.2.1/")


def test_what_is_not_there_is_told(server, key):
    with pytest.raises(NoSuchFile, match=r"^file does not exist$"):
        registry(server, key, "none").manifest()


def test_a_session_that_was_hung_up_asks_no_more(server, key):
    session = Session()
    session.hang_up()
    with pytest.raises(HungUp):
        Registry(names.parse(f"{server.host}/me/m:1"), session, insecure=True).manifest()


def test_a_blob_of_another_model_is_taken_over_there(tmp_path, key):
    blobs = Blobs(tmp_path / "blobs")
    blob = blobs.add(b"shared weights")
    with docker_registry(tmp_path) as running:
        running.add_blob("me/base", b"shared weights")
        session = Session()
        target = Registry(names.parse(f"{running.host}/me/new:1"), session, True, key)
        layer = Layer(f"{PREFIX}model", blob.digest, blob.size, f"{running.host}/me/base:1")
        assert not target.has(blob.digest)
        blobs.path(blob.digest).unlink()  # so that it cannot have been sent
        upload = Upload(blobs.path(blob.digest), layer, target, session)
        upload.run()
        assert upload.completed == blob.size
        assert target.has(blob.digest)


def test_a_registry_that_sends_uploads_elsewhere_gets_them_there(server, key, tmp_path):
    server.token = "secret"
    blob = Blobs(tmp_path).add(b"weights to push")
    session = Session()
    layer = Layer(f"{PREFIX}model", blob.digest, blob.size)
    upload = Upload(tmp_path / blob.digest.replace(":", "-"), layer, registry(server, key), session)
    with misbehaving() as storage:
        server.storage = f"{storage.url}/part"
        upload.run()
        assert storage.received == [("PUT", "/part", None, b"weights to push")]
    (begun, chunk, committed) = server.received
    assert begun[:2] == ("POST", "/v2/me/m/blobs/uploads/")
    assert chunk[0] == "PATCH"
    assert committed[0] == "PUT"
    assert f"digest=sha256%3A{blob.digest[7:]}" in committed[1]
    md5 = hashlib.md5(hashlib.md5(b"weights to push").digest()).hexdigest()
    assert committed[1].endswith(f"&etag={md5}-1")
    assert upload.completed == upload.total == blob.size


@pytest.mark.parametrize(
    "place", ["file:///etc/passwd", "ftp://127.0.0.1/x", "//", "http://[", "x"]
)
def test_a_redirect_that_leads_nowhere_is_an_error_of_ours(server, key, place):
    server.behave = lambda handler, _: handler.refuse(302, Location=place)
    (digest, *_) = server.blobs
    source = BlobSource(registry(server, key), Session(), digest)
    with pytest.raises(OllmlxError):
        source.open(0, 1)


@pytest.mark.parametrize(
    ("present", "told"),
    [
        (lambda handler, content: handler.refuse(500, "down"), "500: down"),
        (lambda handler, content: handler.refuse(429, "slower"), "429: slower"),
        (lambda handler, content: handler.refuse(307, Location=handler.path), "10 redirects"),
        (Handler.cut, "unexpected EOF"),
        (lambda handler, content: handler.wfile.write(b"no HTTP\r\n\r\n"), "no HTTP"),
    ],
)
def test_a_manifest_that_does_not_come_is_told_at_once(server, key, present, told):
    server.present = present
    with pytest.raises(OllmlxError, match=told):
        registry(server, key).manifest()


def test_a_length_that_is_no_number_is_no_length(server, key, tmp_path):
    def answer(handler, content):
        handler.refuse(200, content.decode(), Content_Length="many")
        handler.close_connection = True

    server.behave = answer
    (digest,) = (d for d, content in server.blobs.items() if content == b"weights")
    session, target = Session(), tmp_path / "target"
    source = BlobSource(registry(server, key), session, digest)
    Download(target, digest, 7, source, session, patience=()).run()
    assert target.read_bytes() == b"weights"
