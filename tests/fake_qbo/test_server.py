"""The fake company on a socket and as a process: cuts, restarts, memory."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from qbo_attach.fake_qbo import Behaviour, FakeOptions, running
from qbo_attach.fake_qbo.faults import Rule
from qbo_attach.fake_qbo.server import RunningFake
from tests.fake_qbo.asking import multipart, ref

HEADERS = {"Authorization": "Bearer t", "Accept": "application/json"}
FORM = {**HEADERS, "Content-Type": "multipart/form-data; boundary=B"}


def upload(fake: RunningFake, *names: str, **parameters: str) -> httpx.Response:
    body = multipart([(name, name.encode(), ref("Bill", "1")) for name in names])
    url = f"{fake.base_url}/v3/company/{fake.realm}/upload"
    return httpx.post(url, content=body, headers=FORM, params=parameters, timeout=5)


def test_an_upload_a_query_and_a_download_go_over_the_socket(fake_qbo: RunningFake) -> None:
    upload(fake_qbo, "é ü.pdf")
    base = f"{fake_qbo.base_url}/v3/company/{fake_qbo.realm}"
    rows = httpx.get(
        f"{base}/query", params={"query": "select * from Attachable"}, headers=HEADERS
    ).json()
    one = rows["QueryResponse"]["Attachable"][0]
    address = httpx.get(f"{fake_qbo.base_url}{one['FileAccessUri']}", headers=HEADERS).text
    for url in (address, one["TempDownloadUri"]):
        assert httpx.get(url).content == "é ü.pdf".encode()
    assert (
        httpx.get(f"{fake_qbo.base_url}/_fake/attachables/{one['Id']}/bytes").content
        == "é ü.pdf".encode()
    )
    assert fake_qbo.content(one["Id"]) == "é ü.pdf".encode()
    ledger = httpx.get(f"{fake_qbo.base_url}/_fake/ledger").json()
    assert ledger == fake_qbo.ledger()
    assert ledger["requests"]["upload"] == 1


def test_two_companies_never_share_a_state_folder_and_a_dead_one_holds_none(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "state"
    options = FakeOptions(state=str(folder))
    with running(options):
        second = subprocess.run(
            [sys.executable, "-m", "qbo_attach.cli", "fake-qbo", "--port", "0", "--state", str(folder)],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert (second.returncode, second.stdout) == (2, "")
        assert second.stderr.count("\n") == 1
        assert f"process {os.getpid()}" in second.stderr
        with pytest.raises(ValueError, match="is in use by another fake company"), running(options):
            pass
    killed = subprocess.Popen(
        [sys.executable, "-m", "qbo_attach.cli", "fake-qbo", "--port", "0", "--state", str(folder)],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert killed.stdout is not None
    assert killed.stdout.readline().startswith(b"listening")
    killed.kill()
    killed.wait()
    killed.stdout.close()
    with running(options):
        pass


def test_a_long_statement_fits_into_an_address(fake_qbo: RunningFake) -> None:
    ids = ", ".join(f"'{n:064}'" for n in range(400))
    url = f"{fake_qbo.base_url}/v3/company/{fake_qbo.realm}/query"
    reply = httpx.get(
        url, params={"query": f"select * from Attachable where Tag in ({ids})"}, headers=HEADERS
    )
    assert reply.json()["QueryResponse"] == {}


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        ("cut_request", 0),
        ("cut_before", 0),
        ("cut_during", 1),
        ("cut_after", 2),
        ("cut_answer", 2),
        ("late_commit", 0),
    ],
)
def test_a_cut_closes_the_connection_and_the_next_request_is_served(kind: str, stored: int) -> None:
    with running() as fake:
        fake.company.plan.add([Rule(kind, endpoint="upload", times=1, seconds=60.0)])
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError)):
            upload(fake, "a.pdf", "b.pdf")
        assert len(fake.ledger()["attachables"]) == stored
        assert upload(fake, "c.pdf").status_code == 200


def test_a_hang_lasts_until_the_client_goes_and_does_not_hold_up_the_end() -> None:
    with running() as fake:
        fake.company.plan.add([Rule("hang", endpoint="upload", times=1)])
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                f"{fake.base_url}/v3/company/{fake.realm}/upload",
                content=multipart([("a.pdf", b"x", {})]),
                headers=FORM,
                timeout=0.3,
            )
        assert len(fake.ledger()["attachables"]) == 1
        assert upload(fake, "c.pdf").status_code == 200


def test_a_slow_body_and_a_latency_take_their_time() -> None:
    with running(FakeOptions(latency_ms=50)) as fake:
        fake.company.plan.add([Rule("slow_body", endpoint="upload", times=1, seconds=0.4)])
        started = time.monotonic()
        assert upload(fake, "a.pdf").json()["AttachableResponse"]
        assert time.monotonic() - started > 0.4
        started = time.monotonic()
        upload(fake, "b.pdf")
        assert time.monotonic() - started > 0.05


def test_a_body_in_chunks_is_taken(fake_qbo: RunningFake) -> None:
    body = multipart([("a.pdf", b"x" * 300_000, {})])

    def chunks() -> Iterator[bytes]:
        for at in range(0, len(body), 1000):
            yield body[at : at + 1000]

    url = f"{fake_qbo.base_url}/v3/company/{fake_qbo.realm}/upload"
    assert httpx.post(url, content=chunks(), headers=FORM).status_code == 200
    assert fake_qbo.ledger()["attachables"][0]["Size"] == 300_000


def test_a_client_that_goes_away_in_the_middle_leaves_nothing(fake_qbo: RunningFake) -> None:
    import socket

    host, port = fake_qbo.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v3/company/{fake_qbo.realm}/upload HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer t\r\nContent-Type: multipart/form-data; boundary=B\r\nContent-Length: 9999\r\n\r\n"
        connection.sendall(head.encode() + multipart([("a.pdf", b"x", {})]))
        time.sleep(0.05)
    assert upload(fake_qbo, "b.pdf").status_code == 200
    assert [r["FileName"] for r in fake_qbo.ledger()["attachables"]] == ["b.pdf"]


def test_wrong_options_are_refused_in_one_sentence(tmp_path: Path) -> None:
    for options in (
        FakeOptions(realm="abc"),
        FakeOptions(fail_rate=2),
        FakeOptions(limits="some"),
        FakeOptions(mapping=str(tmp_path / "none")),
        FakeOptions(faults=str(tmp_path / "none")),
    ):
        with pytest.raises(ValueError, match=r"must be|cannot be read"), running(options):
            pass
    with running() as fake:
        port = int(fake.base_url.rsplit(":", 1)[1])
        with (
            pytest.raises(ValueError, match=r"choose another port"),
            running(FakeOptions(port=port)),
        ):
            pass


def test_a_company_with_a_state_folder_is_the_same_after_a_restart(tmp_path: Path) -> None:
    options = FakeOptions(state=str(tmp_path), behaviour=Behaviour(rotation="always"))
    big = b"0123456789" * 100_000
    with running(options) as fake:
        first = upload(fake, "a.pdf", "b.pdf", requestid="r").json()
        body = multipart([("big.pdf", big, {})])
        httpx.post(f"{fake.base_url}/v3/company/{fake.realm}/upload", content=body, headers=FORM)
        gone = first["AttachableResponse"][1]["Attachable"]["Id"]
        httpx.delete(f"{fake.base_url}/_fake/attachables/{gone}")
        form = {"grant_type": "refresh_token", "refresh_token": "mine", "client_id": "c"}
        tokens = httpx.post(f"{fake.base_url}/oauth2/v1/tokens/bearer", data=form).json()
        before = fake.ledger()
    with running(options) as fake:
        after = fake.ledger()
        assert after == before
        assert upload(fake, "a.pdf", "b.pdf", requestid="r").json() == first
        assert len(fake.ledger()["attachables"]) == 2
        ids = [r["Id"] for r in after["attachables"]]
        assert [fake.content(i) for i in ids] == [b"a.pdf", big]
        form["refresh_token"] = tokens["refresh_token"]
        again = httpx.post(f"{fake.base_url}/oauth2/v1/tokens/bearer", data=form).json()
        assert again["access_token"] != tokens["access_token"]
        newest = upload(fake, "c.pdf").json()["AttachableResponse"][0]["Attachable"]["Id"]
        assert int(newest) > max(int(i) for i in [*ids, gone])


def test_a_torn_last_line_of_the_journal_is_dropped(tmp_path: Path) -> None:
    options = FakeOptions(state=str(tmp_path))
    with running(options) as fake:
        upload(fake, "a.pdf")
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(b'{"event": "attachable", "realm"')
    with running(options) as fake:
        assert [r["FileName"] for r in fake.ledger()["attachables"]] == ["a.pdf"]
        upload(fake, "b.pdf")
    with running(options) as fake:
        assert len(fake.ledger()["attachables"]) == 2


def test_a_state_folder_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(ValueError, match=r"cannot be used as a state folder"),
        running(FakeOptions(state=str(tmp_path / "file"))),
    ):
        pass
    (tmp_path / "journal.jsonl").write_text("no record\n")
    with (
        pytest.raises(ValueError, match=r"line 1: is not a record"),
        running(FakeOptions(state=str(tmp_path))),
    ):
        pass


def start(*flags: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    command = [sys.executable, "-m", "qbo_attach.cli", "fake-qbo", "--port", "0", *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    first = process.stdout.readline().strip()
    assert first.startswith("listening on http://127.0.0.1:"), first
    lines = [process.stdout.readline().strip() for _ in range(3)]
    return process, dict(line.split("=", 1) for line in lines)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_process_says_where_it_listens_serves_and_ends_with_0(number: signal.Signals) -> None:
    process, env = start("--token", "secret", "--realm", "77", "--limits", "exact", "--seed", "5")
    url = f"{env['QBO_BASE_URL']}/v3/company/{env['QBO_REALM_ID']}/companyinfo/77"
    headers = {"Authorization": f"Bearer {env['QBO_ACCESS_TOKEN']}"}
    assert httpx.get(url, headers=headers).status_code == 200
    assert httpx.get(url, headers=HEADERS).status_code == 401
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")


def test_verbose_tells_each_request_but_no_codes_and_no_signatures() -> None:
    process, env = start("--verbose")
    for path in (
        "v3/company/1234567890/query?query=x",
        "connect/oauth2?code=private",
        "intuit-qbo-files/1/a/2/b?X-Amz-Signature=private",
    ):
        httpx.get(f"{env['QBO_BASE_URL']}/{path}", headers=HEADERS)
    process.terminate()
    _, err = process.communicate(timeout=10)
    assert "GET /v3/company/1234567890/query?query=x 400" in err
    assert "GET /connect/oauth2 400" in err
    assert "private" not in err


def test_a_killed_process_keeps_what_it_answered(tmp_path: Path) -> None:
    process, env = start("--state", str(tmp_path))
    url = f"{env['QBO_BASE_URL']}/v3/company/{env['QBO_REALM_ID']}/upload"
    httpx.post(
        url, content=multipart([("a.pdf", b"x", {})]), headers=FORM, params={"requestid": "r"}
    )
    process.kill()
    process.communicate(timeout=10)
    with running(FakeOptions(state=str(tmp_path))) as fake:
        assert len(fake.ledger()["attachables"]) == 1
        upload(fake, "b.pdf", requestid="r")
        assert len(fake.ledger()["attachables"]) == 1


def test_files_near_100_mb_pass_through_in_bounded_memory() -> None:
    """Ten of them at once would not fit either, were they held: the peak is of the process."""
    code = (
        "import json, sys\n"
        "from qbo_attach.fake_qbo import running\n"
        "import httpx\n"
        "from tests.peak import Peak\n"
        "peak = Peak()\n"
        "def body():\n"
        '    yield b\'--B\\r\\nContent-Disposition: form-data; name="file_content_1"; filename="a.pdf"\\r\\n\\r\\n\'\n'
        "    for n in range(95):\n"
        "        yield bytes([n]) * 2**20\n"
        "    yield b'\\r\\n--B--'\n"
        "with running() as fake:\n"
        "    headers = {'Authorization': 'Bearer t', 'Content-Type': 'multipart/form-data; boundary=B'}\n"
        "    httpx.post(f'{fake.base_url}/v3/company/{fake.realm}/upload', content=body(), headers=headers, timeout=60)\n"
        "    row = fake.ledger()['attachables'][0]\n"
        "json.dump([row['Size'], row['sha256'], peak.grown_bytes()], sys.stdout)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(__file__).parents[2],
    )
    size, sha256, grown = json.loads(done.stdout)
    expected = hashlib.sha256()
    for n in range(95):
        expected.update(bytes([n]) * 2**20)
    assert (size, sha256) == (95 * 2**20, expected.hexdigest())
    assert grown < 24 * 2**20
