# ruff: noqa: PTH123, SLF001
"""The script that people write instead: python-quickbooks, one file after another.

quickbooks_loop.py BASE_URL REALM PLAN FILES_DIR HOW_MANY; runs in an environment of its own.
"""

import csv
import sys
from itertools import islice
from pathlib import Path

from intuitlib import config
from intuitlib.client import AuthClient
from quickbooks import QuickBooks
from quickbooks.objects.attachable import Attachable
from quickbooks.objects.base import AttachableRef, Ref

base, realm, plan, files, how_many = sys.argv[1:6]
for key in config.DISCOVERY_URL:
    config.DISCOVERY_URL[key] = base + "/.well-known/openid_configuration/"
auth = AuthClient(
    "id", "secret", "http://localhost/cb", "sandbox", access_token="any", refresh_token="any"
)
QuickBooks.sandbox_api_url_v3 = base + "/v3"
qb = QuickBooks(auth_client=auth, company_id=realm, minorversion=75)

with open(plan, encoding="utf-8", newline="") as stream:
    for row in islice(csv.DictReader(stream), int(how_many)):
        one = Attachable()
        link = AttachableRef()
        link.EntityRef = Ref()
        link.EntityRef.type = row["qbo_entity_type"]
        link.EntityRef.value = row["qbo_entity_id"]
        one.AttachableRef.append(link)
        one.FileName = row["sent_file_name"]
        one.ContentType = row["content_type"]
        one._FilePath = str(Path(files, row["file_path"]))
        one.save(qb=qb)
        if not one.Id:
            raise SystemExit(f"{row['file_path']} got no id")
