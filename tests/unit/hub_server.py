"""A hub on 127.0.0.1: the little of its protocol that a download needs, with every request kept."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import pytest

__all__ = ["LocalHub", "open_to", "serving"]

_LARGE = (".onnx", ".onnx_data", ".safetensors", ".bin")


@dataclass
class LocalHub:
    """What the hub holds, and what it was asked.

    Attributes:
        files: content by commit and name.
        refs: commits by branch.
        claimed: sha256s that the hub says of files, where they are not those of the content.
        asked: method and path of every request.
        status: answered to everything instead, if set.
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    claimed: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    status: int | None = None
    hub_id: str = "owner/name"
    endpoint: str = ""

    def commit(self, number: int, files: Mapping[str, bytes], *, branch: str = "main") -> str:
        """Put a commit on a branch."""
        sha = f"{number:040x}"
        self.files[sha] = dict(files)
        self.refs[branch] = sha
        return sha

    def fetched(self) -> set[str]:
        """The names of the files whose content was asked for."""
        return {
            line.rpartition("/resolve/")[2].partition("/")[2]
            for line in self.asked
            if line.startswith("GET") and "/resolve/" in line
        }

    def describe(self, name: str, content: bytes) -> dict[str, Any]:
        """A file as the hub's lists have it."""
        facts: dict[str, Any] = {"size": len(content), "oid": _git_sha1(content)}
        if name.endswith(_LARGE):
            sha256 = self.claimed.get(name, hashlib.sha256(content).hexdigest())
            facts["lfs"] = {
                "oid": sha256,
                "sha256": sha256,
                "size": len(content),
                "pointerSize": 134,
            }
        return facts


class _Handler(BaseHTTPRequestHandler):
    hub: ClassVar[LocalHub]

    def do_GET(self) -> None:
        """A list of files, or a file."""
        self._answer()

    def do_HEAD(self) -> None:
        """A file's facts."""
        self._answer()

    def log_message(self, *_: Any, **__: Any) -> None:
        """Nothing on the console."""

    def _answer(self) -> None:
        hub, path = self.hub, unquote(urlsplit(self.path).path)
        hub.asked.append(f"{self.command} {path}")
        if hub.status is not None:
            return self._send(hub.status, b"{}")
        api = f"/api/models/{hub.hub_id}"
        if path.startswith(f"/{hub.hub_id}/resolve/"):
            revision, _, name = path.partition("/resolve/")[2].partition("/")
            return self._file(hub.refs.get(revision, revision), name)
        if path.startswith(f"{api}/tree/"):
            return self._list(path.rpartition("/")[2])
        if path == api or path.startswith(f"{api}/revision/"):
            return self._info(path.partition("/revision/")[2] or "main")
        return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def _info(self, revision: str) -> None:
        commit = self.hub.refs.get(revision, revision)
        if commit not in self.hub.files:
            return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        siblings = []
        for name, content in self.hub.files[commit].items():
            facts = self.hub.describe(name, content)
            siblings.append({"rfilename": name, "blobId": facts.pop("oid"), **facts})
        info = {"id": self.hub.hub_id, "sha": commit, "siblings": siblings, "tags": []}
        return self._send(200, json.dumps(info).encode())

    def _list(self, commit: str) -> None:
        files = self.hub.files[commit]
        tree = [
            {"type": "file", "path": n, **self.hub.describe(n, files[n])} for n in sorted(files)
        ]
        self._send(200, json.dumps(tree).encode())

    def _file(self, commit: str, name: str) -> None:
        content = self.hub.files.get(commit, {}).get(name)
        if content is None:
            return self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
        facts = self.hub.describe(name, content)
        headers = {"X-Repo-Commit": commit, "ETag": f'"{facts["oid"]}"'}
        if "lfs" in facts:
            headers |= {
                "X-Linked-Etag": f'"{facts["lfs"]["oid"]}"',
                "X-Linked-Size": str(len(content)),
            }
        return self._send(200, content, headers)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


def _git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@contextmanager
def serving() -> Iterator[LocalHub]:
    """A hub that answers until the block ends."""
    hub = LocalHub()
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def open_to(hub: LocalHub, *, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process's hub client reach that hub and no other, with a cache of its own."""
    url = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    facts = {
        "HF_HUB_OFFLINE": False,
        "ENDPOINT": hub.endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": url,
        "HF_HUB_CACHE": str(cache),
    }
    for name, value in facts.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
