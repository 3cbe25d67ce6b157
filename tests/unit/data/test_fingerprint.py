"""What tells cheaply that a source may have changed."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pytest

from hedonic.data.fingerprint import ABSENT, content_digest, fingerprint, is_being_written, lacks_its_end
from tests.waiting import wait_for


class TaggedFiles(SimpleHTTPRequestHandler):
    """Serves files with an ETag made of their content."""

    def end_headers(self) -> None:
        path = Path(self.translate_path(self.path))
        if path.is_file():
            self.send_header("ETag", f'"{hash(path.read_bytes())}"')
        super().end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(TaggedFiles, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_local_fingerprint_changes_with_every_write_even_one_that_hides_its_time(tmp_path: Path) -> None:
    file = tmp_path / "cars.csv"
    file.write_text("old")
    known, stat = fingerprint(str(file)), file.stat()
    assert fingerprint(f"file://{file}") == known
    wait_for(lambda: time.time() - stat.st_ctime > 0.05, "the clock moves")
    file.write_text("new")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert fingerprint(str(file)) != known


def test_a_file_that_is_not_there_is_absent_here_and_across_the_network(tmp_path: Path, site: str) -> None:
    assert fingerprint(str(tmp_path / "none.csv")) == ABSENT
    assert fingerprint(f"{site}/none.csv") == ABSENT
    assert fingerprint("memory://none.csv") == ABSENT


def test_a_remote_fingerprint_follows_the_etag_and_not_the_time(tmp_path: Path, site: str) -> None:
    file = tmp_path / "cars.csv"
    file.write_text("a,b\n")
    known = fingerprint(f"{site}/cars.csv")
    assert known is not None
    os.utime(file, (1, 1))
    assert fingerprint(f"{site}/cars.csv") == known
    file.write_text("a,c\n")
    assert fingerprint(f"{site}/cars.csv") != known


def test_any_file_system_of_fsspec_will_do() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/cars.csv", b"old")
    known = fingerprint("memory://cars.csv")
    assert known == fingerprint("memory://cars.csv")
    memory.pipe("/cars.csv", b"new")
    assert fingerprint("memory://cars.csv") != known


def test_a_file_system_that_is_not_known_has_no_fingerprint() -> None:
    assert fingerprint("nosuchprotocol://cars.csv") is None


def test_a_file_that_a_process_holds_open_to_write_is_being_written(tmp_path: Path) -> None:
    file = tmp_path / "cars.csv"
    with file.open("w") as writer:
        writer.write("half")
        writer.flush()
        assert is_being_written(file, quiet_s=0)
    assert not is_being_written(file, quiet_s=0)
    with file.open() as _:
        assert not is_being_written(file, quiet_s=0)


def test_a_file_is_being_written_for_as_long_as_it_is_not_quiet(tmp_path: Path) -> None:
    file = tmp_path / "cars.csv"
    file.write_text("a\n")
    assert is_being_written(file, quiet_s=60)
    os.utime(file, (1, 1))  # as a copy that keeps its times
    assert is_being_written(file, quiet_s=60)
    wait_for(lambda: not is_being_written(file, quiet_s=0.05), "the file is quiet")
    assert not is_being_written(tmp_path / "none.csv", quiet_s=60)


@pytest.mark.parametrize(
    ("name", "content", "cut"),
    [("a.csv", "x\n1\n", False), ("a.csv", "x\n1", True), ("a.csv", "", True), ("a.parquet", "PAR", False)],
)
def test_a_csv_without_a_last_line_end_may_be_cut(tmp_path: Path, name: str, content: str, cut: bool) -> None:
    (tmp_path / name).write_text(content)
    assert lacks_its_end(tmp_path / name) is cut


def test_the_digest_of_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x\n")
    assert content_digest(str(tmp_path / "a.csv")) == content_digest(f"file://{tmp_path}/a.csv")
    assert content_digest(str(tmp_path / "none.csv")) is None
