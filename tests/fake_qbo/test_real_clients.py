"""Real QuickBooks clients against the fake, unchanged but for the base address."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qbo_attach.fake_qbo.server import RunningFake

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

CONTENT = bytes(range(256)) * 300 + b"\r\n--\r\n"
NAME = "Ünï 日本.pdf"

PYTHON = """
import json, sys
from pathlib import Path

import requests
from intuitlib import config
from intuitlib.client import AuthClient
from quickbooks import QuickBooks
from quickbooks.batch import batch_create
from quickbooks.exceptions import ObjectNotFoundException
from quickbooks.objects.attachable import Attachable
from quickbooks.objects.base import AttachableRef, Ref
from quickbooks.objects.company_info import CompanyInfo

base, realm, file, name = sys.argv[1:]
for key in config.DISCOVERY_URL:
    config.DISCOVERY_URL[key] = base + "/.well-known/openid_configuration/"
auth = AuthClient("id", "secret", "http://localhost/cb", "sandbox", refresh_token="any")
QuickBooks.sandbox_api_url_v3 = base + "/v3"
qb = QuickBooks(auth_client=auth, refresh_token="any", company_id=realm, minorversion=75)

one = Attachable()
link = AttachableRef()
link.EntityRef = Ref()
link.EntityRef.type, link.EntityRef.value = "Invoice", "75"
one.AttachableRef.append(link)
one.FileName, one.ContentType, one._FilePath = name, "application/pdf", file
made = one.save(qb=qb)
found = Attachable.where("AttachableRef.EntityRef.value = '75'", qb=qb)
assert [f.Id for f in found] == [made.Id], found
made = Attachable.get(made.Id, qb=qb)
made.Note = "it's here"
made.save(qb=qb)
assert Attachable.filter(Note="it's here", qb=qb)[0].FileName == name
assert Attachable.count(qb=qb) == 1
address = qb.session.get(f"{base}/v3/company/{realm}/download/{made.Id}").text
assert requests.get(address).content == Path(file).read_bytes()
note = Attachable()
note.Note = "a note"
assert batch_create([note], qb=qb).successes
assert CompanyInfo.get(1, qb=qb).CompanyName
other = Attachable()
other.Note = "gone soon"
other = other.save(qb=qb)
other.delete(qb=qb)
try:
    Attachable.get(other.Id, qb=qb)
except ObjectNotFoundException:
    pass
else:
    raise AssertionError("deleted, and still there")
before = auth.access_token
auth.refresh()
assert auth.access_token != before
print(json.dumps({"id": made.Id}))
"""

NODE = """
const QuickBooks = require('node-quickbooks'), fs = require('fs'), util = require('util');
const [base, realm, file, name] = process.argv.slice(2);
QuickBooks.TOKEN_URL = base + '/oauth2/v1/tokens/bearer';
const qb = new QuickBooks('id', 'secret', 'any', false, realm, true, false, 75, '2.0', 'any');
qb.endpoint = base + '/v3/company/';
const call = (method, ...args) => util.promisify(qb[method].bind(qb))(...args);
const equal = (a, b) => { if (a !== b) throw new Error(`${a} is not ${b}`); };
(async () => {
  const made = await call('upload', name, 'application/pdf', fs.createReadStream(file), 'Invoice', '75');
  equal(made.FileName, name);
  equal(made.AttachableRef[0].EntityRef.value, '75');
  const found = await call('findAttachables', { FileName: name });
  equal(found.QueryResponse.Attachable.length, 1);
  const tokens = await call('refreshAccessToken');
  equal(typeof tokens.access_token, 'string');
  const note = await call('createAttachable', { Note: 'gone soon' });
  await call('deleteAttachable', note.Id);
  const info = await call('getCompanyInfo', realm);
  equal(info.Id, '1');
  console.log(JSON.stringify({ id: made.Id }));
})().catch((error) => { console.error(error); process.exit(1); });
"""


PROMISE = """
const OAuthClient = require('intuit-oauth'), Quickbooks = require('quickbooks-node-promise');
const fs = require('fs');
const [base, realm, file, name] = process.argv.slice(2);
const equal = (a, b) => { if (a !== b) throw new Error(`${a} is not ${b}`); };
OAuthClient.authorizeEndpoint = base + '/connect/oauth2';
OAuthClient.tokenEndpoint = base + '/oauth2/v1/tokens/bearer';
OAuthClient.revokeEndpoint = base + '/v2/oauth2/tokens/revoke';
(async () => {
  const auth = new OAuthClient({
    clientId: 'id', clientSecret: 'secret', environment: 'sandbox', redirectUri: 'http://localhost/cb',
  });
  const page = auth.authorizeUri({ scope: [OAuthClient.scopes.Accounting], state: 'st' });
  const consent = await fetch(page + '&answer=connect', { redirect: 'manual' });
  await auth.createToken(consent.headers.get('location'));
  const before = auth.getToken().access_token;
  await auth.refresh();
  equal(auth.getToken().access_token === before, false);
  const Class = Quickbooks.default || Quickbooks;
  Class.V3_ENDPOINT_BASE_URL = base + '/v3/company/';
  const qb = new Class({
    useProduction: false, accessToken: auth.getToken().access_token, appKey: 'id',
    appSecret: 'secret', redirectUrl: 'http://localhost/cb', scope: [], minorversion: 75,
  }, realm);
  const made = await qb.upload(name, 'application/pdf', fs.readFileSync(file), 'Invoice', '75');
  const found = await qb.findAttachables({ FileName: name });
  equal(found.QueryResponse.Attachable.length, 1);
  await auth.revoke();
  console.log(JSON.stringify({ id: found.QueryResponse.Attachable[0].Id }));
})().catch((error) => { console.error(error); process.exit(1); });
"""


@pytest.fixture
def sent(tmp_path: Path) -> Path:
    file = tmp_path / "sent.pdf"
    file.write_bytes(CONTENT)
    return file


def run(command: list[str], cwd: Path) -> str:
    # requests-oauthlib refuses plain http, localhost too, unless told.
    env = {**os.environ, "OAUTHLIB_INSECURE_TRANSPORT": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def assert_kept(fake: RunningFake, told: str) -> None:
    made = json.loads(told.strip().splitlines()[-1])["id"]
    row = next(r for r in fake.ledger()["attachables"] if r["Id"] == made)
    assert (row["FileName"], row["refs"]) == (NAME, [{"type": "Invoice", "value": "75"}])
    assert fake.content(made) == CONTENT


def test_python_quickbooks_with_intuit_oauth_works_unchanged(
    fake_qbo: RunningFake, tmp_path: Path, sent: Path
) -> None:
    run([sys.executable, "-m", "venv", "env"], tmp_path)
    python = str(tmp_path / "env" / "bin" / "python")
    run(
        [python, "-m", "pip", "install", "-q", "python-quickbooks>=0.9.12", "intuit-oauth"],
        tmp_path,
    )
    assert_kept(
        fake_qbo,
        run([python, "-c", PYTHON, fake_qbo.base_url, fake_qbo.realm, str(sent), NAME], tmp_path),
    )


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
def test_node_quickbooks_works_unchanged(fake_qbo: RunningFake, tmp_path: Path, sent: Path) -> None:
    (tmp_path / "package.json").write_text("{}")
    run(["npm", "install", "--silent", "node-quickbooks@2"], tmp_path)
    (tmp_path / "client.js").write_text(NODE)
    assert_kept(
        fake_qbo,
        run(["node", "client.js", fake_qbo.base_url, fake_qbo.realm, str(sent), NAME], tmp_path),
    )


@pytest.mark.skipif(shutil.which("npm") is None, reason="needs npm")
def test_quickbooks_node_promise_with_intuit_oauth_works_unchanged(
    fake_qbo: RunningFake, tmp_path: Path, sent: Path
) -> None:
    (tmp_path / "package.json").write_text("{}")
    run(["npm", "install", "--silent", "quickbooks-node-promise@3", "intuit-oauth@4"], tmp_path)
    (tmp_path / "client.js").write_text(PROMISE)
    assert_kept(
        fake_qbo,
        run(["node", "client.js", fake_qbo.base_url, fake_qbo.realm, str(sent), NAME], tmp_path),
    )
