"""Trouble with the log's place or with a source: a row or a clean stop, and a rerun that mends it."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import pytest

from qbo_attach.core.chain import Intent
from qbo_attach.core.errors import StoppedError, StorageError
from qbo_attach.core.tables import RUNLOG, VERIFICATION, RunLogRow, VerificationRow
from qbo_attach.sample import compare, read_expected
from qbo_attach.stages import upload
from qbo_attach.storage.artifacts import read_table
from qbo_attach.storage.files import Store
from qbo_attach.storage.holder import this_holder
from qbo_attach.storage.runlog import read_segments
from tests.conftest import S3Server
from tests.stages.case import REALM, Case, opened
from tests.storage.faulty import Proxy, faulty_proxy

SENDERS = 10
SENTENCE = 400
"""A message for a person is not longer."""


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    yield from opened(tmp_path, latency_ms=5)


def uploads(case: Case) -> int:
    return case.fake.company.state.requests["upload"]


def goes_on_to_the_end(case: Case, **given: Any) -> bool:
    """A later run sends what is left; the one after it nothing; each file is there once."""
    summary = case.run(**given)
    assert (summary.stopped, summary.exit_status) == ("", 1)
    assert case.run(**given).requests_sent == 0
    log = Store(str(given.get("log_dir", case.sample.log_dir)))
    found = compare(
        read_expected(case.sample.expected_url),
        read_table(log, VERIFICATION, VerificationRow),
        read_table(log, RUNLOG, RunLogRow),
        case.attachables(),
        second_run=True,
    )
    assert found == []
    return True


@pytest.fixture
def short_lived(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs of this test are written as those of a process that has ended since."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    ended = replace(this_holder(), pid=process.pid, started="1")
    monkeypatch.setattr(upload, "this_holder", lambda: ended)


def every_request_has_its_intent(case: Case, log_dir: str) -> bool:
    """What the company holds was asked for by requests whose intents the chain has."""
    known = {
        record.request_id
        for _, records in read_segments(Store(log_dir), REALM)
        for record in records
        if isinstance(record, Intent)
    }
    return {str(one["requestid"]) for one in case.attachables()} <= known


# -- a write of the chain fails -------------------------------------------------------------------


class FailingLinks:
    """A disk that takes no segment any more after some, or after one that holds certain bytes."""

    def __init__(self, case: Case, code: int, after: int = 99, holding: bytes = b"none") -> None:
        self.uploads_then = -1
        self._case = case
        self._code = code
        self._left = after
        self._holding = holding
        self._link = os.link

    def __call__(self, source: str, target: str) -> None:
        if target.endswith(".jsonl"):
            self._left -= 1
            if self._left < 0 or self._holding in Path(source).read_bytes():
                if self.uploads_then < 0:
                    self.uploads_then = uploads(self._case)
                raise OSError(self._code, os.strerror(self._code))
        self._link(source, target)


@pytest.mark.parametrize(
    ("nth", "code", "sent"),
    [
        (0, errno.EROFS, range(1)),
        (1, errno.ENOSPC, range(1)),
        (2, errno.EDQUOT, range(10, 93)),
        (3, errno.EIO, range(10, 93)),
    ],
)
def test_after_a_failed_write_of_the_chain_nothing_more_is_sent(
    case: Case,
    monkeypatch: pytest.MonkeyPatch,
    short_lived: None,
    nth: int,
    code: int,
    sent: range,
) -> None:
    links = FailingLinks(case, code, after=nth)
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", links)
        if nth == 0:
            with pytest.raises(StorageError, match=os.strerror(code)):
                case.run(files_per_request=1)
        else:
            summary = case.run(files_per_request=1)
            assert os.strerror(code) in summary.stopped
            assert len(summary.stopped) < SENTENCE
            assert summary.exit_status == 3
    assert uploads(case) <= links.uploads_then + SENDERS
    assert len(case.attachables()) in sent
    assert every_request_has_its_intent(case, case.sample.log_dir)
    assert goes_on_to_the_end(case)


@pytest.mark.parametrize("segment", [b'"r":"end"', b'"is_snapshot":true'])
def test_a_run_that_cannot_write_its_end_says_so_and_the_next_one_sends_nothing(
    case: Case, monkeypatch: pytest.MonkeyPatch, short_lived: None, segment: bytes
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", FailingLinks(case, errno.ENOSPC, holding=segment))
        summary = case.run()
    assert os.strerror(errno.ENOSPC) in summary.stopped
    assert summary.exit_status == 3
    assert summary.outcomes["success"] == case.sample.outcome_counts["success"]
    held = case.attachables()
    assert case.run().outcomes["skipped_already_uploaded"] == len(held)
    assert case.attachables() == held
    assert goes_on_to_the_end(case)


def test_a_plan_copy_that_cannot_be_removed_holds_up_nothing(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    case.run()
    unlink = os.unlink

    def refused(path: str, **how: Any) -> None:
        if "/plan-" in str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        unlink(path, **how)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refused)
        assert case.run().exit_status == 1
    assert goes_on_to_the_end(case)


# -- the real disk under a real process -----------------------------------------------------------


class Place(Protocol):
    """A folder for LOG_DIR that can be spoilt while a process writes there, and mended again."""

    folder: Path
    prefix: tuple[str, ...]
    reason: str

    def spoil(self, process: subprocess.Popen[str], /) -> None: ...

    def mend(self) -> None: ...


class LimitedFiles:
    """From a moment on the process may not write to any file (RLIMIT_FSIZE)."""

    prefix = ()
    reason = "File too large"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def spoil(self, process: subprocess.Popen[str]) -> None:
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, 0))

    def mend(self) -> None:
        """The limit went with its process."""


class FullDisk:
    """A file system of its own that is full."""

    prefix = ()
    reason = "No space left on device"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("this account may not mount a small disk")

    def spoil(self, _: subprocess.Popen[str]) -> None:
        with suppress(OSError), (self.folder / "ballast").open("wb", buffering=0) as stream:
            while True:
                stream.write(bytes(4096))

    def mend(self) -> None:
        (self.folder / "ballast").unlink()


class ReadOnlyFolder:
    """The folder of the run log may not be written to any more."""

    reason = "Permission denied"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.prefix = without_privilege()

    def spoil(self, _: subprocess.Popen[str]) -> None:
        (self.folder / "runlog" / REALM).chmod(0o555)

    def mend(self) -> None:
        (self.folder / "runlog" / REALM).chmod(0o755)


def without_privilege() -> tuple[str, ...]:
    """How to start a process that permissions hold for, also where the tests run as root."""
    if os.geteuid():
        return ()
    if shutil.which("setpriv") is None:
        pytest.skip("root, and there is no setpriv to give up its privilege")
    kept = "-dac_override,-dac_read_search"
    return ("setpriv", "--inh-caps", kept, "--bounding-set", kept, "--")


@contextmanager
def running(
    case: Case, log_dir: Path, prefix: tuple[str, ...], **given: str
) -> Iterator[subprocess.Popen[str]]:
    """`qbo-attach run` as a person starts it."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env = {
        **kept,
        **case.sample.environment(base_url=case.fake.base_url, realm_id=REALM),
        "LOG_DIR": str(log_dir),
        "QBO_REQUESTS_PER_MIN": "2400",
        "QBO_SETTLE_S": "0",
        "FILES_PER_REQUEST": "1",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        **given,
    }
    process = subprocess.Popen(
        [*prefix, sys.executable, "-m", "qbo_attach.cli", "run"],
        env=env,
        cwd=case.sample.url,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def one_sentence(said: str, *words: str) -> bool:
    """The last line of a process tells what happened, for a person."""
    assert "Traceback" not in said
    last = said.splitlines()[-1]
    assert last.startswith("qbo-attach: "), said
    assert all(word in last for word in words), last
    assert len(last) < SENTENCE
    return True


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp())
    yield made
    subprocess.run(["umount", str(made)], capture_output=True, check=False)
    shutil.rmtree(made)


@pytest.mark.parametrize(
    "kind", [LimitedFiles, FullDisk, pytest.param(ReadOnlyFolder, marks=pytest.mark.proof)]
)
def test_a_disk_that_takes_no_more_stops_the_run_and_a_later_run_ends_it(
    case: Case, folder: Path, kind: Callable[[Path], Place]
) -> None:
    place = kind(folder)
    with running(case, place.folder, place.prefix) as process:
        until = time.monotonic() + 30
        while uploads(case) < 10 and process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
        place.spoil(process)
        _, said = process.communicate(timeout=40)
    assert process.returncode == 3, said
    assert one_sentence(said, str(place.folder), place.reason)
    assert 0 < len(case.attachables()) < case.sample.outcome_counts["success"]
    assert every_request_has_its_intent(case, str(place.folder))
    place.mend()
    assert goes_on_to_the_end(case, log_dir=str(place.folder))


def test_a_log_folder_that_may_not_be_written_starts_nothing(case: Case, folder: Path) -> None:
    folder.chmod(0o555)
    with running(case, folder, without_privilege()) as process:
        _, said = process.communicate(timeout=40)
    assert process.returncode == 2, said
    assert one_sentence(said, str(folder), "Permission denied", "access")
    assert uploads(case) == 0
    folder.chmod(0o755)
    assert goes_on_to_the_end(case, log_dir=str(folder))


# -- S3 -------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(s3_moto: S3Server, use_s3: Callable[[S3Server], None]) -> Iterator[Proxy]:
    """An S3 server that refuses what it is told to."""
    with faulty_proxy(s3_moto.endpoint) as made:
        use_s3(replace(s3_moto, endpoint=made.endpoint))
        yield made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores wait two seconds for their server, and not a minute."""
    defaults = dict(Store.__init__.__kwdefaults__ or {})
    monkeypatch.setattr(Store.__init__, "__kwdefaults__", {**defaults, "deadline_s": 2.0})


@pytest.mark.proof
def test_an_s3_server_that_asks_for_fewer_requests_now_and_then_holds_up_nothing(
    case: Case, proxy: Proxy, s3_moto: S3Server
) -> None:
    log_dir = f"{s3_moto.new_bucket()}/log"
    proxy.faults += [("PUT", "refuse"), ("GET", "refuse"), ("PUT", "refuse")]
    summary = case.run(log_dir=log_dir)
    assert (summary.stopped, proxy.faults) == ("", [])
    assert goes_on_to_the_end(case, log_dir=log_dir)


@pytest.mark.proof
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("refuse", "fewer requests|no whole answer"),
        ("deny", "access is denied"),
    ],
)
def test_an_s3_server_that_takes_no_more_stops_the_run_and_a_later_run_ends_it(
    case: Case,
    proxy: Proxy,
    s3_moto: S3Server,
    short_lived: None,
    impatient: None,
    fault: str,
    said: str,
) -> None:
    log_dir = f"{s3_moto.new_bucket()}/log"
    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(case.run, log_dir=log_dir, files_per_request=1, qbo_requests_per_min=1800)
        until = time.monotonic() + 30
        while uploads(case) < 10 and not run.done() and time.monotonic() < until:
            time.sleep(0.005)
        proxy.faults += [("PUT", fault)] * 1_000
        with pytest.raises(StoppedError, match=said) as stopped:
            run.result(timeout=40)
    assert len(str(stopped.value)) < SENTENCE
    assert 0 < len(case.attachables()) < case.sample.outcome_counts["success"]
    proxy.faults.clear()
    assert every_request_has_its_intent(case, log_dir)
    assert goes_on_to_the_end(case, log_dir=log_dir)


def test_an_s3_server_that_denies_the_log_starts_nothing(
    case: Case, proxy: Proxy, s3_moto: S3Server
) -> None:
    proxy.faults += [("PUT", "deny")] * 1_000
    with pytest.raises(StorageError, match=r"access is denied .* right to it"):
        case.run(log_dir=f"{s3_moto.new_bucket()}/log")
    assert uploads(case) == 0
