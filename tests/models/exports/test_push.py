import http.server
import json
import sys
import threading
from typing import ClassVar

import pytest

from limbeck.errors import InputError, LimbeckError, MissingExtraError
from limbeck.models import export_state_dict, push

hub = pytest.importorskip("huggingface_hub")


class Api:
    """What would be sent to the hub."""

    calls: ClassVar[list] = []
    public = False

    def create_repo(self, *arguments, **settings):
        self.calls.append(("create_repo", arguments, settings))

    def repo_info(self, *arguments, **settings):
        return type("Info", (), {"private": not self.public})()

    def upload_folder(self, **settings):
        self.calls.append(("upload_folder", (), settings))
        return "https://huggingface.co/me/net/commit/1"


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setattr(Api, "calls", [])
    monkeypatch.setattr(Api, "public", False)
    monkeypatch.setattr(hub, "HfApi", Api)
    monkeypatch.setattr(hub, "get_token", lambda: "hf_token")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
    return Api


@pytest.fixture
def written(saved, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/private-notes.txt").write_text("mine")
    return export_state_dict(saved("resnet8", tmp_path).path, tmp_path / "out", force=True)


def test_what_was_written_is_uploaded_and_nothing_else(api, written):
    assert push(written, "me/net", private=True) == "https://huggingface.co/me/net/commit/1"
    (made, arguments, settings), (uploaded, _, sent) = api.calls
    assert (made, arguments, settings["private"]) == ("create_repo", ("me/net",), True)
    assert uploaded == "upload_folder"
    assert sent["repo_id"] == "me/net"
    assert sent["folder_path"] == written.path
    assert sent["allow_patterns"] == ["README.md", "model.safetensors"]


def test_a_public_repository_is_not_pushed_to_as_private(api, written, monkeypatch):
    monkeypatch.setattr(Api, "public", True)
    with pytest.raises(InputError, match=r"me/net exists and is public.*nothing was uploaded"):
        push(written, "me/net", private=True)
    assert [name for name, *_ in api.calls] == ["create_repo"]


def test_nobody_logged_in(api, written, monkeypatch):
    monkeypatch.setattr(hub, "get_token", lambda: None)
    with pytest.raises(InputError, match=r"nobody is logged in.*hf auth login.*HF_TOKEN"):
        push(written, "me/net")
    assert api.calls == []


def test_offline(api, written, monkeypatch):
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"HF_HUB_OFFLINE is set"):
        push(written, "me/net")


@pytest.mark.parametrize(
    "name", ["net", "me/", "me/net/more", "../me/net", "me/a--b", "https://huggingface.co/me/net"]
)
def test_what_no_repository_is_called(api, written, name):
    with pytest.raises(InputError, match=r"a repository is owner/name"):
        push(written, name)
    assert api.calls == []


def test_a_file_has_no_card(api, saved, tmp_path):
    written = export_state_dict(saved("resnet8", tmp_path).path, tmp_path / "out.safetensors")
    with pytest.raises(InputError, match=r"uploads a folder with a model card"):
        push(written, "me/net")


def test_the_package_is_named_where_it_is_missing(written, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'limbeck\[hf\]'"):
        push(written, "me/net")


@pytest.fixture
def server(monkeypatch):
    """A hub on this machine that answers every request in one way, and keeps what it was asked."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        status = 403

        def do_POST(self):
            length = int(self.headers.get("Content-Length", 0))
            asked.append((self.path, self.headers["Authorization"], json.loads(self.rfile.read(length))))
            self.send_response(self.status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        endpoint = f"http://127.0.0.1:{running.server_port}"
        real = hub.HfApi
        monkeypatch.setattr(hub, "HfApi", lambda: real(endpoint=endpoint, token="hf_token"))
        monkeypatch.setattr(hub, "get_token", lambda: "hf_token")
        monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", False)
        yield Handler, asked
        running.shutdown()
        thread.join()


def test_a_hub_that_refuses(server, written):
    handler, asked = server
    with pytest.raises(InputError, match=r"the hub refused me/net: the token may not write there \(403\)"):
        push(written, "me/net", private=True)
    handler.status = 401
    with pytest.raises(InputError, match=r"the token is not accepted \(401\)"):
        push(written, "me/net")
    path, token, sent = asked[0]
    assert path == "/api/repos/create"
    assert token == "Bearer hf_token"
    assert (sent["name"], sent["organization"]) == ("net", "me")


def test_a_hub_that_is_broken(server, written):
    handler, _ = server
    handler.status = 400
    with pytest.raises(LimbeckError, match=r"pushing to me/net failed: .*The folder is complete"):
        push(written, "me/net")
