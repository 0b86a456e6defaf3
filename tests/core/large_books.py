"""A large company for measuring: `make FOLDER ROWS` writes its tables, `match FOLDER ROWS` matches.

`match` prints the seconds of processor time that the stage took, and the most MiB that the process
held.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import json
import random
import sys
import time
from pathlib import Path

from qbo_attach.core.matching.forms import plain_amount
from qbo_attach.core.matching.groups import QboRow
from qbo_attach.settings import Settings, load_settings
from qbo_attach.stages.matching import run_matching
from tests.peak import peak_bytes

KINDS = (("Bill", "Bill"), ("Invoice", "Invoice"), ("Check", "Purchase"))


def make(folder: Path, rows: int) -> None:
    """One side's damage each: of ten rows one has no number in QBO, one no name, one is twinned."""
    folder.mkdir(parents=True)
    chance = random.Random(1)
    names = [f"Firm {place} Trading" for place in range(rows // 100)]
    with (
        (folder / "desktop.csv").open("w", newline="") as mine,
        (folder / "qbo_entities.csv").open("w", newline="") as theirs,
    ):
        desktop, qbo = (
            csv.writer(mine, lineterminator="\n"),
            csv.writer(theirs, lineterminator="\n"),
        )
        desktop.writerow(["TxnID", "TxnType", "TxnDate", "RefNumber", "Name", "Amount"])
        qbo.writerow(QboRow._fields)
        date, amount, name = "2020-01-01", "1.5", names[0]
        for place in range(rows):
            kind, entity_type = KINDS[place // 2 % 3]
            if chance.random() > 0.1:
                day = dt.date(2015, 1, 1) + dt.timedelta(chance.randrange(3_000))
                date, amount, name = (
                    day.isoformat(),
                    f"{chance.randrange(100, 900_000) / 100:.2f}",
                    chance.choice(names),
                )
            desktop.writerow([f"{place:X}-14{place:08}", kind, date, place, name, amount])
            silent = chance.random()
            number = "" if silent > 0.9 else place
            qbo.writerow(
                [
                    entity_type,
                    place,
                    number,
                    date,
                    plain_amount(amount),
                    "" if silent < 0.1 else name,
                    "",
                ]
            )
    facts = {
        "realm_id": "1", "environment": "sandbox", "types": ["Bill", "Invoice", "Purchase"], "rows": rows, "queries": 0,
        "read_at": "", "sha256": hashlib.sha256((folder / "qbo_entities.csv").read_bytes()).hexdigest(),
    }  # fmt: skip
    (folder / "qbo_entities.json").write_text(json.dumps(facts))


def settings(folder: Path) -> Settings:
    given = {
        "data_dir": str(folder), "desktop_export": str(folder / "desktop.csv"), "mapping_source": "match",
        "qbo_realm_id": "1", "match_known": "none",
    }  # fmt: skip
    return load_settings(given, env_file=None)


def main() -> None:
    step, folder, rows = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    if step == "make":
        make(folder, rows)
        return
    before = time.process_time()
    result = run_matching(settings(folder))
    assert result.counts["rows"] > 0.5 * rows, result.counts
    print(f"{time.process_time() - before:.2f} {peak_bytes() / 2**20:.0f}")


if __name__ == "__main__":
    main()
