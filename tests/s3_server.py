"""A real S3 server of one's own: requests go over HTTP, signed, as to any other."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import pytest
from pyarrow import fs
from tests.ports import free_port, listens

__all__ = ["SECRET", "S3Server", "running_s3"]

SECRET = "hidden-s3cr3t"
_KEYS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_EC2_METADATA_DISABLED": "true",
}
_STARTS_WITHIN_S = 60.0


class S3Server:
    """Where it listens, and what it holds; the keys are in the environment."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.files = fs.S3FileSystem(
            endpoint_override=f"127.0.0.1:{port}",
            scheme="http",
            region="us-east-1",
            allow_bucket_creation=True,
        )

    def url(self, path: str) -> str:
        """Of a bucket, or of something in it."""
        return f"s3://{path}?endpoint_override=127.0.0.1:{self.port}&scheme=http&region=us-east-1"

    def names(self, folder: str) -> list[str]:
        """All files below a folder."""
        selector = fs.FileSelector(folder, allow_not_found=True, recursive=True)
        found = self.files.get_file_info(selector)
        return sorted(info.path[len(folder) + 1 :] for info in found if info.is_file)

    def read(self, path: str) -> bytes:
        """A whole file."""
        with self.files.open_input_stream(path) as stream:
            return bytes(stream.read())

    def write(self, path: str, content: bytes) -> None:
        """A whole file; its bucket is made."""
        self.files.create_dir(path.partition("/")[0])
        with self.files.open_output_stream(path) as stream:
            stream.write(content)


@contextmanager
def running_s3(folder: Path) -> Iterator[S3Server]:
    """An empty server on a loopback port, until the end of the context."""
    port = free_port()
    command = [_python(), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with (
        patch.dict(os.environ, _KEYS),
        (folder / "s3.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT) as process,
    ):
        try:
            if not listens(port, within_s=_STARTS_WITHIN_S):
                pytest.fail(f"the S3 server did not start: {(folder / 's3.log').read_text()}")
            yield S3Server(port)
        finally:
            process.kill()


def _python() -> str:
    """One that has moto: this one, or that of the environment without torch."""
    if find_spec("moto") is not None:
        return sys.executable
    beside = Path(__file__).parent.parent / ".venv" / "bin" / "python"
    if beside.exists():
        return str(beside)
    if os.environ.get("CI"):
        pytest.fail("moto is not installed, and CI must run these tests")
    pytest.skip("these tests need an S3 server: pip install -e '.[s3-server]'")
