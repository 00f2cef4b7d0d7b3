"""get_url, uri and wait_for against servers on loopback."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from opsplay.agent.host import Host
from tests.modules.harness import StubAgent, leftovers, picture, run
from tests.modules.webserver import Server, SocketServer, make_certificate, secured, serving

DATA = b"content of the file\n"
SHA1, SHA256, MD5 = (hashlib.new(name, DATA).hexdigest() for name in ("sha1", "sha256", "md5"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)
    with serving(Server(("127.0.0.1", 0))) as made:
        made.files["/f"] = DATA
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "d").mkdir()
    return tmp_path / "d"


# --- get_url ---


def get(server: Server, folder: Path, path: str = "/f", check: bool = False, **params: Any) -> dict[str, Any]:
    result = run("network.get_url", {"url": server.url + path, "dest": f"{folder}/g", **params}, check=check)
    assert leftovers(folder) == []
    return result


def test_a_file_is_fetched_once(server: Server, folder: Path) -> None:
    before = picture(folder)
    preview = get(server, folder, check=True)
    assert preview["changed"] and picture(folder) == before
    result = get(server, folder, mode="0640")
    expected = {
        "changed": True, "status_code": 200, "checksum_src": SHA1, "checksum_dest": None, "md5sum": MD5,
        "url": server.url + "/f", "dest": f"{folder}/g", "size": len(DATA), "mode": "0640", "elapsed": 0,
        "msg": f"OK ({len(DATA)} bytes)", "state": "file",
    }  # fmt: skip
    assert {name: result[name] for name in expected} == expected
    assert (folder / "g").read_bytes() == DATA
    server.paths()
    # The server is asked whether it has a newer one.
    again = get(server, folder)
    assert (again["changed"], again["status_code"], again["msg"]) == (False, 304, "HTTP Error 304: Not Modified")
    assert "If-Modified-Since" in server.asked[0][2]
    assert get(server, folder, mode="0600")["changed"]


def test_force_fetches_and_replaces_only_what_differs(server: Server, folder: Path) -> None:
    (folder / "g").write_bytes(DATA)
    for check in (True, False):
        result = get(server, folder, check=check, force=True)
        assert not result["changed"] and result["checksum_dest"] == SHA1
    assert server.asked[0][2]["Cache-Control"] == "no-cache"
    (folder / "g").write_bytes(DATA.upper())
    assert get(server, folder, check=True, force=True)["changed"]
    result = get(server, folder, force=True, backup=True)
    assert result["changed"] and Path(result["backup_file"]).read_bytes() == DATA.upper()


CHECKSUMS: list[tuple[str, str]] = [
    (f"sha256:{SHA256}", ""),
    (f"sha1:{SHA1.upper()}", ""),
    (f"sha1:{'0' * 40}", "did not match"),
    ("sha1", "has to be in format"),
    ("none:00000000", "no algorithm"),
    ("sha1:nothing", "format is invalid"),
    ("sha256:@/SUMS", ""),
    ("sha256:@/BSD", ""),
    ("sha256:@/alone", ""),
    ("sha256:@/others", "Unable to find a checksum"),
    ("sha256:@/none", "HTTP 404"),
]


@pytest.mark.parametrize(("checksum", "fails"), CHECKSUMS, ids=lambda value: str(value)[:24])
def test_checksum(checksum: str, fails: str, server: Server, folder: Path) -> None:
    server.files["/SUMS"] = f"{'0' * 64}  other\n{SHA256} *./f\n".encode()
    server.files["/BSD"] = f"SHA256 (f) = {SHA256}\n".encode()
    server.files["/alone"] = f"{SHA256}\n".encode()
    server.files["/others"] = f"{SHA256}  other\n{SHA256}  ff\n".encode()
    (folder / "g").write_text("old")
    result = get(server, folder, checksum=checksum.replace("@", server.url))
    if fails:
        assert result["failed"] and fails in result["msg"], result
        assert (folder / "g").read_text() == "old"
        return
    assert result["changed"], result
    server.paths()
    again = get(server, folder, checksum=checksum.replace("@", server.url))
    assert not again["changed"] and again["msg"] == "file already exists"
    assert ("GET", "/f") not in server.paths()


def test_into_a_directory_by_the_name_that_the_server_gives(server: Server, folder: Path) -> None:
    assert get(server, folder, "/named", dest=str(folder))["dest"] == f"{folder}/the name.txt"
    assert get(server, folder, "/f?x=1", dest=f"{folder}/")["dest"] == f"{folder}/f"
    assert sorted(os.listdir(folder)) == ["f", "the name.txt"]


def test_what_is_kept_elsewhere_until_it_is_whole(server: Server, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    assert get(server, folder, tmp_dest=f"{tmp_path}/t")["changed"]
    assert (folder / "g").read_bytes() == DATA and os.listdir(tmp_path / "t") == []


def test_failures_leave_what_was_there(server: Server, folder: Path) -> None:
    (folder / "g").write_text("old")
    gone = get(server, folder, "/none")
    assert (gone["status_code"], gone["response"]) == (404, "HTTP Error 404: Not Found")
    assert "ended after 9 of 1000 bytes" in get(server, folder, "/cut", force=True)["msg"]
    nobody = run("network.get_url", {"url": "http://127.0.0.1:1/f", "dest": f"{folder}/g"})
    assert "Connection refused" in nobody["msg"]
    assert "does not exist" in get(server, folder, dest="/nowhere/f")["msg"]
    assert run("network.get_url", {"url": "nonsense", "dest": f"{folder}/g"})["failed"]
    assert picture(folder)["g"][-1] == b"old"


def test_packed_content_is_unpacked(server: Server, folder: Path) -> None:
    get(server, folder, "/zipped")
    assert (folder / "g").read_bytes() == b"plain text" * 1000
    get(server, folder, "/zipped", force=True, decompress=False)
    assert (folder / "g").read_bytes()[:2] == b"\x1f\x8b"


def test_large_files_are_never_whole_in_memory(server: Server, folder: Path) -> None:
    import resource

    server.files["/large"] = os.urandom(1 << 20) * 96
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = get(server, folder, "/large")
    assert result["size"] == 96 << 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 60 << 10


def test_a_server_that_an_earlier_task_would_start(folder: Path) -> None:
    host, params = Host(StubAgent()), {"url": "http://127.0.0.1:1/f", "dest": f"{folder}/g"}
    assert run("network.get_url", params, host, check=True)["failed"]
    run("commands.command", {"cmd": "true"}, host, check=True)
    result = run("network.get_url", params, host, check=True)
    assert result["changed"] and "Connection refused" in result["warnings"][0]
    assert run("files.stat", {"path": f"{folder}/g"}, host, check=True)["stat"]["exists"]


# --- who asks ---

LOGINS: list[tuple[dict[str, Any], int]] = [
    ({}, 401),
    ({"url_username": "ann", "url_password": "s3cret"}, 200),
    ({"url_username": "ann", "url_password": "s3cret", "force_basic_auth": True}, 200),
    ({"url_username": "ann", "url_password": "wrong"}, 401),
]


@pytest.mark.parametrize(("params", "status"), LOGINS, ids=lambda value: str(value))
def test_login(params: dict[str, Any], status: int, server: Server) -> None:
    result = run("network.uri", {"url": server.url + "/private", "return_content": True, **params})
    assert result["status"] == status
    assert bool(result.get("failed")) is (status != 200)
    if params.get("force_basic_auth"):
        assert len(server.asked) == 1


def test_login_from_the_address_and_from_netrc(server: Server, tmp_path: Path) -> None:
    with_user = server.url.replace("://", "://ann:s3cret@") + "/private"
    result = run("network.uri", {"url": with_user})
    assert result["status"] == 200 and "s3cret" not in result["url"]
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login ann password s3cret\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert run("network.uri", {"url": server.url + "/private"})["status"] == 200
    assert run("network.uri", {"url": server.url + "/private", "use_netrc": False})["status"] == 401


def test_a_password_does_not_follow_to_another_server(server: Server) -> None:
    with serving(Server(("127.0.0.1", 0))) as other:
        params = {"url_username": "ann", "url_password": "s3cret", "force_basic_auth": True}
        for target, given in ((f"{other.url}/echo", False), ("/echo", True)):
            headers = {"X-To": target, "X-Seen": "yes", "X-Kept": "no"}
            asked = {"url": server.url + "/moved", "headers": headers, "unredirected_headers": ["x-kept"], **params}
            said = run("network.uri", asked)["json"]["headers"]
            assert ("Authorization" in said) is given
            assert said["X-Seen"] == "yes" and "X-Kept" not in said


def test_tls(folder: Path, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    with serving(secured(Server(("127.0.0.1", 0)), tmp_path)) as server:
        server.files["/f"] = DATA
        url = {"url": server.url + "/f"}
        refused = run("network.uri", url)
        assert refused["failed"] and refused["status"] == -1 and "CERTIFICATE_VERIFY_FAILED" in refused["msg"]
        assert "CERTIFICATE_VERIFY_FAILED" in get(server, folder)["msg"]
        assert run("network.uri", {**url, "validate_certs": False})["status"] == 200
        assert run("network.uri", {**url, "ca_path": str(certificate)})["status"] == 200
        assert get(server, folder, ca_path=str(certificate))["changed"]
    with serving(secured(Server(("127.0.0.1", 0)), tmp_path, client_ca=certificate)) as server:
        server.files["/f"] = DATA
        url = {"url": server.url + "/f", "ca_path": str(certificate)}
        assert run("network.uri", url)["failed"]
        with_own = {"client_cert": str(certificate), "client_key": f"{tmp_path}/key.pem"}
        assert run("network.uri", {**url, **with_own})["status"] == 200


def test_a_unix_socket(tmp_path: Path) -> None:
    with serving(SocketServer(f"{tmp_path}/s")) as server:
        server.files["/f"] = DATA
        params = {"url": "http://docker/f", "unix_socket": f"{tmp_path}/s", "return_content": True}
        result = run("network.uri", params)
        assert (result["status"], result["content"]) == (200, DATA.decode())
        assert server.asked[0][2]["Host"] == "docker"


# --- uri ---


def test_what_uri_returns(server: Server) -> None:
    result = run("network.uri", {"url": server.url + "/f", "return_content": True})
    expected = {
        "changed": False, "status": 200, "redirected": False, "url": server.url + "/f", "content": DATA.decode(),
        "content_length": str(len(DATA)), "msg": f"OK ({len(DATA)} bytes)", "elapsed": 0, "cookies": {},
        "cookies_string": "",
    }  # fmt: skip
    assert {name: result[name] for name in expected} == expected
    assert "content" not in run("network.uri", {"url": server.url + "/f"})
    cookie = run("network.uri", {"url": server.url + "/cookie"})
    assert (cookie["cookies"], cookie["cookies_string"]) == ({"session": "abc"}, "session=abc")


def test_failures_say_what_the_service_said(server: Server) -> None:
    result = run("network.uri", {"url": server.url + "/fails"})
    assert result["failed"] and result["json"] == {"error": "broken"} and result["content"] == '{"error": "broken"}'
    assert result["msg"] == "Status code was 500 and not [200]: HTTP Error 500: Internal Server Error"
    assert not run("network.uri", {"url": server.url + "/fails", "status_code": [500]}).get("failed")
    nobody = run("network.uri", {"url": "http://127.0.0.1:1/"})
    assert nobody["status"] == -1 and "Connection refused" in nobody["msg"]


BODIES: list[tuple[dict[str, Any], str, str]] = [
    ({"body": {"a": 1}, "body_format": "json"}, "application/json", '{"a": 1}'),
    ({"body": '{"a": 2}', "body_format": "json"}, "application/json", '{"a": 2}'),
    ({"body": {"a": "1 2", "b": ["x", "y"]}, "body_format": "form-urlencoded"}, "urlencoded", "a=1+2&b=x&b=y"),
    ({"body": [["a", "1"], ["b", "ü"]], "body_format": "form-urlencoded"}, "urlencoded", "a=1&b=%C3%BC"),
    ({"body": "raw text"}, "", "raw text"),
    ({"body": {"a": 1}, "body_format": "json", "headers": {"content-type": "text/x"}}, "text/x", '{"a": 1}'),
    ({"_content": b"from a file"}, "", "from a file"),
]


@pytest.mark.parametrize(("params", "kind", "body"), BODIES, ids=lambda value: str(value)[:40])
def test_bodies(params: dict[str, Any], kind: str, body: str, server: Server) -> None:
    said = run("network.uri", {"url": server.url + "/echo", "method": "post", **params})["json"]
    assert (said["method"], said["body"]) == ("POST", body)
    assert kind in said["headers"]["Content-Type"]


def test_multipart(server: Server) -> None:
    body = {
        "text": "field",
        "file": {"filename": "a.json", "content": "{}"},
        "data": {"filename": "/x/b.bin", "content": b"\x00\xff", "mime_type": "application/x-own"},
    }
    result = run("network.uri", {"url": server.url + "/echo", "method": "POST", "body": body,
                                 "body_format": "form-multipart"})  # fmt: skip
    from email import message_from_string

    kind = result["json"]["headers"]["Content-Type"]
    message = message_from_string(f"Content-Type: {kind}\r\n\r\n{result['json']['body']}")
    parts = {part.get_param("name", header="content-disposition"): part for part in message.walk()}
    assert parts["text"].get_payload(decode=True) == b"field"
    assert parts["file"].get_content_type() == "application/json" and parts["file"].get_filename() == "a.json"
    assert parts["data"].get_payload(decode=True) == b"\x00\xff" and parts["data"].get_filename() == "b.bin"
    assert parts["data"].get_content_type() == "application/x-own"


REDIRECTS = [
    ("/moved", "GET", "safe", 200, "GET"),
    ("/moved", "POST", "safe", 302, None),
    ("/moved", "POST", "all", 200, "GET"),
    ("/kept", "POST", "all", 200, "POST"),
    ("/moved", "GET", "none", 302, None),
    ("/moved", "POST", "urllib2", 200, "GET"),
]


@pytest.mark.parametrize(("path", "method", "policy", "status", "then"), REDIRECTS)
def test_redirects(path: str, method: str, policy: str, status: int, then: str | None, server: Server) -> None:
    params = {"url": server.url + path, "method": method, "follow_redirects": policy, "status_code": [status]}
    result = run("network.uri", {**params, "body": "b"} if method == "POST" else params)
    assert result["status"] == status, result
    assert result["redirected"] is (then is not None)
    if then is not None:
        assert result["json"]["method"] == then and result["json"]["body"] == ("b" if then == "POST" else "")


def test_an_answer_is_kept_in_a_file(server: Server, folder: Path) -> None:
    params = {"url": server.url + "/f", "dest": str(folder), "mode": "0600"}
    result = run("network.uri", params)
    assert result["changed"] and result["path"] == f"{folder}/f" and result["mode"] == "0600"
    assert not run("network.uri", params)["changed"]
    assert leftovers(folder) == []


def test_uri_is_spared_and_previewed(server: Server, folder: Path) -> None:
    created = run("network.uri", {"url": server.url + "/f", "creates": str(folder)})
    assert created["stdout"] == f"skipped, since '{folder}' exists"
    removed = run("network.uri", {"url": server.url + "/f", "removes": "/nowhere"})
    assert removed["stdout"] == "skipped, since '/nowhere' does not exist"
    assert run("network.uri", {"url": server.url + "/f"}, check=True)["skipped"]
    assert server.asked == []


# --- wait_for ---


def wait(**params: Any) -> dict[str, Any]:
    return run("network.wait_for", {"sleep": 0.05, **params})


def later(seconds: float, action: Any, *arguments: Any) -> None:
    threading.Timer(seconds, action, arguments).start()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def test_wait_for_a_port(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    result = wait(port=port)
    assert (result["state"], result["port"], result["elapsed"], result["changed"]) == ("started", port, 0, False)
    later(0.3, listener.close)
    assert wait(port=port, state="stopped", timeout=5)["elapsed"] in (0, 1)
    gone = wait(port=port, timeout=1)
    assert gone["failed"] and gone["msg"] == f"Timeout when waiting for 127.0.0.1:{port}" and gone["elapsed"] in (1, 2)
    assert wait(port=port, timeout=0, msg="mine")["msg"] == "mine"


def test_wait_for_what_a_port_says(listener: socket.socket) -> None:
    def greet() -> None:
        connection, _ = listener.accept()
        for part in (b"SSH-2.0-", b"Test\r\n"):
            connection.sendall(part)
            time.sleep(0.1)

    later(0, greet)
    result = wait(port=listener.getsockname()[1], search_regex=r"^SSH-(?P<version>\S+?)-(\w+)", timeout=5)
    assert (result["match_groups"], result["match_groupdict"]) == (["2.0", "Test"], {"version": "2.0"})
    failed = wait(port=listener.getsockname()[1], search_regex="never", timeout=1)
    assert "search string never" in failed["msg"] and failed["elapsed"] in (1, 2)


def test_wait_for_a_file(tmp_path: Path) -> None:
    path = tmp_path / "f"
    later(0.3, path.write_text, "half\nready 7\n")
    result = wait(path=str(path), search_regex=r"^ready (\d)", timeout=5)
    assert result["match_groups"] == ["7"] and result["state"] == "file" and result["path"] == str(path)
    later(0.3, path.unlink)
    assert wait(path=str(path), state="absent", timeout=5)["state"] == "absent"
    assert wait(path=str(path), timeout=0)["msg"] == f"Timeout when waiting for file {path}"


def test_wait_until_nobody_is_connected(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    served, _ = listener.accept()
    busy = wait(port=port, state="drained", timeout=1)
    assert busy["msg"] == f"Timeout when waiting for 127.0.0.1:{port} to drain"
    assert not wait(port=port, state="drained", timeout=1, exclude_hosts=["127.0.0.1"]).get("failed")
    later(0.3, client.close)
    later(0.3, served.close)
    states = ["ESTABLISHED", "SYN_SENT"]
    assert not wait(port=port, host="0.0.0.0", state="drained", timeout=5, active_connection_states=states).get("failed")


def test_wait_simply() -> None:
    started = time.monotonic()
    agent = StubAgent()
    assert run("network.wait_for", {"timeout": 1}, Host(agent))["elapsed"] in (1, 2)
    assert time.monotonic() - started < 3 and agent.sent


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"port": 1, "path": "/x"}, "can not both be passed"),
    ({"path": "/x", "state": "drained"}, "only be used for checking a port"),
    ({"port": 1, "exclude_hosts": ["x"]}, "only be with state=drained"),
    ({"port": 1, "search_regex": "("}, "not a regular expression"),
    ({"port": 1, "state": "drained", "active_connection_states": ["OPEN"]}, "no state OPEN"),
]


@pytest.mark.parametrize(("params", "message"), WRONG, ids=lambda value: str(value)[:40])
def test_wait_for_refuses(params: dict[str, Any], message: str) -> None:
    assert message in wait(**params)["msg"]


def test_nothing_is_waited_for_in_a_preview() -> None:
    assert run("network.wait_for", {"timeout": 60}, check=True)["skipped"]
