"""What the benchmarks run on: seeded trees, mappings, inventories and finished run logs."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from qbo_attach.core.chain import (
    Done,
    GroupFile,
    Holder,
    Intent,
    Record,
    Recorded,
    RunEnded,
    RunStarted,
    SegmentHeader,
    Snapshot,
)
from qbo_attach.core.segments import encode_segment
from qbo_attach.core.tables import (
    INVENTORY,
    MAPPING,
    VERIFICATION,
    InventoryRow,
    MappingRow,
    PlanRow,
    VerificationRow,
    encode_table,
)
from qbo_attach.storage.artifacts import read_table, write_table
from qbo_attach.storage.files import Store

REALM = "1234567890"
_CODE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()
CLIENTS = 200
PART_ROWS = 50_000
"""Done rows in one part of a snapshot; the product makes parts of the same order."""

SEGMENT_FILES = 500
"""Files whose intents stand in one segment: fifty groups, the most there are."""

_WORD = 1 << 32
_ODD = 2_654_435_761
"""Odd, so that multiplying by it modulo 2**32 gives each transaction an id of its own."""


@dataclass(frozen=True)
class Workspace:
    """Folders of one company below a scratch folder.

    `s3` is the URL of a folder that holds the files in place of the disk; "": none does.
    """

    root: Path
    s3: str = ""

    @property
    def files(self) -> str:
        """FILES_DIR."""
        return self.s3 or str(self.root / "files")

    @property
    def data(self) -> Path:
        """DATA_DIR."""
        return self.root / "data"

    @property
    def log(self) -> Path:
        """LOG_DIR."""
        return self.root / "log"

    def env(self, **more: str) -> dict[str, str]:
        """Settings under which a command works here; nobody answers at its QBO."""
        return {
            "FILES_DIR": self.files,
            "DATA_DIR": str(self.data),
            "LOG_DIR": str(self.log),
            "LEGACY_CLIENTS": "*",
            "QBO_REALM_ID": REALM,
            "QBO_ACCESS_TOKEN": "any",
            "QBO_BASE_URL": "http://127.0.0.1:9",
            "MIN_COVERAGE": "0",
            **more,
        }

    def plan_of(self, run_id: str) -> Path:
        """The plan of a run, beside its run log."""
        return self.log / "runlog" / REALM / f"plan-{run_id}.csv"

    def forget_uploads(self) -> None:
        """Remove the run log and what belongs to it, as before a first run; keep the plan."""
        shutil.rmtree(self.log / "runlog", ignore_errors=True)


@dataclass(frozen=True)
class Company:
    """A seeded legacy company: `files` attachments of `files * 5 / 7` transactions of 200 clients.

    In the known case 170,000 files are of 120,000 transactions. `flat` puts a hundred files into
    a folder instead, so that a million cost few folders. `odd` makes files and transactions of
    which every verification status occurs, some 8 % of all.
    """

    files: int
    seed: int = 1
    flat: bool = False
    odd: bool = False

    @property
    def transactions(self) -> int:
        """How many folders there are."""
        return self._transaction(self.files - 1) + 1

    def _transaction(self, number: int) -> int:
        return number // 100 if self.flat else number * 5 // 7

    def _files_of(self, transaction: int) -> range:
        if self.flat:
            first, after = transaction * 100, (transaction + 1) * 100
        else:
            first, after = -(-transaction * 7 // 5), -(-(transaction + 1) * 7 // 5)
        return range(first, min(after, self.files))

    def legacy_id(self, transaction: int) -> str:
        """A Desktop id: a hex number that differs for each, and a time."""
        return f"{(transaction * _ODD + self.seed) % _WORD:08X}-{1_500_000_000 + transaction}"

    def folders(self) -> Iterator[tuple[str, str, int]]:
        """Client, raw folder name and transaction, ordered as an inventory is."""
        for client in range(CLIENTS):
            ids = sorted(
                (f"80{self.legacy_id(transaction)}", transaction)
                for transaction in range(client, self.transactions, CLIENTS)
            )
            for folder, transaction in ids:
                yield f"Client {client:03}", folder, transaction

    def rows(self) -> Iterator[InventoryRow]:
        """The inventory, in order, without a file being there."""
        for client, folder, transaction in self.folders():
            for number in self._files_of(transaction):
                row = InventoryRow(
                    folder[2:],
                    "Txn",
                    folder,
                    f"Scan {number:07}.pdf",
                    f"Attach/{client}/Txn/{folder}/Scan {number:07}.pdf",
                    client,
                    str(50_000 + number % 1_000),
                    "2019-05-05T08:00:00.123456Z",
                )
                yield _odd_file(row, number) if self.odd else row

    def mapping(self, rows: int) -> Iterator[MappingRow]:
        """So many rows: those of the transactions, then such as no folder has, shuffled."""
        made: list[MappingRow] = []
        for transaction in range(max(self.transactions, rows)):
            legacy_id = self.legacy_id(transaction)
            row = MappingRow(legacy_id, "Bill", "Bill", str(transaction + 1))
            made += _odd_mapping(row, transaction) if self.odd else [row]
            if len(made) >= rows:
                break
        random.Random(self.seed).shuffle(made)
        return iter(made)

    def make_tree(self, workspace: Workspace, size_bytes: int) -> None:
        """Files of one size below FILES_DIR, and their mapping.

        No two files are alike unless they are too small for it. A tree that is there already is
        believed if it was made by the same numbers and code.
        """
        ready = workspace.root / "tree-ready"
        made_by = f"{self} {size_bytes} {_CODE}"
        if ready.exists() and ready.read_text() == made_by:
            return
        root = workspace.root / "files"
        ready.unlink(missing_ok=True)
        shutil.rmtree(workspace.root, ignore_errors=True)
        filler = random.Random(self.seed).randbytes(size_bytes)
        for client, folder, transaction in self.folders():
            parent = f"{root}/Attach/{client}/Txn/{folder}"
            os.makedirs(parent, exist_ok=True)  # noqa: PTH103 - a hundred thousand times
            for number in self._files_of(transaction):
                data = (b"%d " % number + filler)[:size_bytes]
                with open(f"{parent}/Scan {number:07}.pdf", "wb") as stream:  # noqa: PTH123
                    stream.write(data)
        self.write_mapping(workspace, self.transactions)
        ready.write_text(made_by)

    def write_mapping(self, workspace: Workspace, rows: int) -> None:
        """DATA_DIR/mapping_export.csv."""
        write_table(Store(str(workspace.data)), MAPPING, MappingRow._fields, self.mapping(rows))

    def write_inventory(self, workspace: Workspace) -> None:
        """DATA_DIR/attachments_inventory.csv."""
        write_table(Store(str(workspace.data)), INVENTORY, InventoryRow._fields, self.rows())

    def write_verified(self, workspace: Workspace) -> None:
        """LOG_DIR/mapping_verification_log.csv in which every file is `ok`."""
        log = Store(str(workspace.log))
        entities = {self.legacy_id(t): str(t + 1) for t in range(self.transactions)}
        rows = (
            VerificationRow(
                *row[:5], "Bill", entities[row[0]], "ok", "", row.client, row.size_bytes,
                row.modified_at,
            )
            for row in self.rows()
        )  # fmt: skip
        write_table(log, VERIFICATION, VerificationRow._fields, rows)


def _odd_file(row: InventoryRow, number: int) -> InventoryRow:
    """One file in 200 of each kind has something the matter with itself."""
    folder = row.file_path[: -len(row.file_name)]
    match number % 200:
        case 1:
            return row._replace(file_name=f"{number}.exe", file_path=f"{folder}{number}.exe")
        case 2:
            return row._replace(size_bytes="0")
        case 3:
            return row._replace(size_bytes="200000000")
        case 4:
            name = f"bell \a {number}.pdf"
            return row._replace(file_name=name, file_path=folder + name)
        case 5:
            path = f"Attach/loose {number}.pdf"
            return InventoryRow("", "", "", path[7:], path, "", "50000", row.modified_at)
        case 6:
            return row._replace(problem="permission denied")
        case 7:
            return row._replace(file_name="Thumbs.db", file_path=f"{folder}Thumbs.db")
        case _:
            return row


def _odd_mapping(row: MappingRow, transaction: int) -> list[MappingRow]:
    """One transaction in 100 of each kind is mapped in an odd way."""
    match transaction % 100:
        case 1:
            return []
        case 2:
            return [row, row._replace(legacy_entity_type="Invoice", qbo_entity_type="Invoice")]
        case 3:
            return [row, row._replace(qbo_entity_id=f"9{row.qbo_entity_id}")]
        case 4:
            return [row._replace(legacy_entity_type="PAYCHECK", qbo_entity_type="PAYROLL_CHECK")]
        case 5:
            return [row, row._replace(legacy_txnid_norm=f"80{row.legacy_txnid_norm}")]
        case _:
            return [row]


def make_finished(workspace: Workspace, *, whole: bool = False) -> int:
    """A run log in which every `ok` file of the verification log is done; returns how many.

    It is the snapshot at a run's end alone, or with `whole` also what the run wrote before it: an
    intent for each ten files, and an outcome for each.
    """
    log = Store(str(workspace.log))
    done = [
        _done(row) for row in read_table(log, VERIFICATION, VerificationRow) if row.status == "ok"
    ]
    workspace.forget_uploads()
    folder = workspace.log / "runlog" / REALM
    folder.mkdir(parents=True)
    before, number = "", 0

    def write(records: Iterable[Record], part: int = 0, parts: int = 1) -> None:
        nonlocal before, number
        number += 1
        data = encode_segment(_header(number, part, parts, before), records)
        before = hashlib.sha256(data).hexdigest()
        (folder / f"{number:08}.jsonl").write_bytes(data)

    if whole:
        for records in _told(workspace, done):
            write(records)
    folds_to, parts, rows = number, max(1, -(-len(done) // PART_ROWS)), iter(done)
    for part in range(1, parts + 1):
        head = [Snapshot(folds_to, "disk", len(done), workspace.files)] if part == 1 else []
        write([*head, *islice(rows, PART_ROWS)], part, parts)
    if whole:
        workspace.plan_of("bench").write_bytes(b"".join(_plan(done)))
    return len(done)


def _told(workspace: Workspace, done: list[Done]) -> Iterator[list[Record]]:
    """What a run that sent them wrote, segment by segment."""
    plan = b"".join(_plan(done))
    at = "2026-01-01T00:00:00.000Z"
    began = RunStarted(
        "bench", at, REALM, "other", "Company", workspace.files, "disk", "1",
        hashlib.sha256(plan).hexdigest(), len(done),
    )  # fmt: skip
    records: list[Record] = [began]
    for first in range(0, len(done), SEGMENT_FILES):
        some = done[first : first + SEGMENT_FILES]
        groups = {f"{first + i:032x}": some[i : i + 10] for i in range(0, len(some), 10)}
        for request_id, group in groups.items():
            files = tuple(_group_file(one) for one in group)
            records.append(Intent(request_id, request_id, 0, at, at, "tag", files))
        yield records
        records = [
            Recorded(
                at, "success", one.key, one.path, request_id, one.attachable_id, one.sha256,
                "200", "", f"1-{request_id}", 1, 800,
            )
            for request_id, group in groups.items()
            for one in group
        ]  # fmt: skip
    yield records
    yield [RunEnded("bench", at, {"success": len(done)}, -(-len(done) // 10))]


def _group_file(done: Done) -> GroupFile:
    _, client, kind, folder, name = done.path.split("/")
    return GroupFile(
        done.key, done.path, done.sent_file_name, "application/pdf", done.size_bytes,
        done.modified_at, done.etag, done.qbo_entity_type, done.qbo_entity_id, folder[2:], kind,
        folder, client, name,
    )  # fmt: skip


def _plan(done: list[Done]) -> Iterator[bytes]:
    """The plan of the run that sent them."""
    rows = (
        PlanRow(
            file.legacy_txnid_norm, file.legacy_entity_type, file.raw_legacy_id, file.file_name,
            file.path, file.qbo_entity_type, file.qbo_entity_id, "send", "", file.sent_file_name,
            file.content_type, file.key, file.client, str(file.size_bytes), file.modified_at,
        )
        for file in map(_group_file, done)
    )  # fmt: skip
    return encode_table(PlanRow._fields, rows)


def _header(seq: int, part: int, parts: int, before: str) -> SegmentHeader:
    return SegmentHeader(
        seq=seq,
        run_id="bench",
        holder=Holder("bench", 1),
        written_at="2026-01-01T00:00:00.000Z",
        lease_until="",
        nonce="nonce",
        prev_sha256=before,
        is_snapshot=part > 0,
        format=2 if parts > 1 else 1,
        part=max(part, 1),
        parts=parts,
    )


def _done(row: VerificationRow) -> Done:
    digest = hashlib.sha256(row.file_path.encode()).hexdigest()
    return Done(
        key=digest,
        path=row.file_path,
        sent_file_name=row.file_name,
        qbo_entity_type=row.qbo_entity_type,
        qbo_entity_id=row.qbo_entity_id,
        size_bytes=int(row.size_bytes),
        modified_at=row.modified_at,
        etag="",
        sha256=digest[::-1],
        attachable_id=str(5_000_000_000_000_000_000 + int(digest[:8], 16)),
        outcome="success",
        run_id="bench",
        store="disk",
    )


def make_files(workspace: Workspace, sizes: Sequence[int], seed: int) -> None:
    """A few files of these sizes, one transaction each, and their mapping."""
    shutil.rmtree(workspace.root, ignore_errors=True)
    company = Company(len(sizes) * 2, seed)
    mapping: list[MappingRow] = []
    draw = random.Random(seed)
    for transaction, size in enumerate(sizes):
        legacy_id = company.legacy_id(transaction)
        parent = workspace.root / "files/Attach/Client 000/Txn" / f"80{legacy_id}"
        parent.mkdir(parents=True)
        with (parent / f"Scan {transaction}.pdf").open("wb") as stream:
            for begin in range(0, size, 1 << 20):
                stream.write(draw.randbytes(min(1 << 20, size - begin)))
        mapping.append(MappingRow(legacy_id, "Bill", "Bill", str(transaction + 1)))
    write_table(Store(str(workspace.data)), MAPPING, MappingRow._fields, mapping)
