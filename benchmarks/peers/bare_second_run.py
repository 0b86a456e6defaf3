# ruff: noqa: ANN001, ANN201, PTH118, PTH123, PTH207
"""The script that one would write for a run after the last: who is done already, and the tables.

bare_second_run.py INVENTORY MAPPING RUNLOG OUT: joins inventory and mapping as bare_join.py does,
reads the run log's folder once, and writes into OUT the verification log, the plan, the run log
table and the duplicates, by `csv`, `dict` and orjson. It expects every file to be done, and
compares size, time and entity alone: no digest, no chain, no snapshot, no page, nothing synced.
"""

import csv
import glob
import os
import sys

import orjson
from bare_join import entities_of, judged

TYPES = {"pdf": "application/pdf"}
VERIFIED = (
    "legacy_txnid_norm,legacy_entity_type,raw_legacy_id,file_name,file_path,qbo_entity_type,"
    "qbo_entity_id,status,reason,client,size_bytes,modified_at,etag,match_rule\n"
)
PLANNED = (
    "legacy_txnid_norm,legacy_entity_type,raw_legacy_id,file_name,file_path,qbo_entity_type,"
    "qbo_entity_id,action,reason,sent_file_name,content_type,idempotency_key,client,size_bytes,"
    "modified_at,etag,sha256,qbo_attachable_id,gone_attachable_id,match_rule\n"
)
TOLD = (
    "ts,legacy_txnid_norm,legacy_entity_type,raw_legacy_id,qbo_entity_type,qbo_entity_id,"
    "file_name,file_path,status_code,error,intuit_tid,outcome,client,size_bytes,modified_at,"
    "sha256,sent_file_name,qbo_attachable_id,request_id,idempotency_key,run_id,attempt,"
    "duration_ms,match_rule\n"
)


def read_run_log(folder, told):
    """Write what was sent, and return it: by path the attachment and its outcome."""
    sent, done, run_id = {}, {}, ""
    for name in sorted(glob.glob(os.path.join(folder, "*.jsonl"))):
        with open(name, "rb") as stream:
            for line in stream:
                if line.startswith(b'{"r":"done"'):
                    continue
                record = orjson.loads(line)
                kind = record["r"]
                if kind == "run":
                    run_id = record["run_id"]
                elif kind == "intent":
                    for file in record["files"]:
                        sent[file["key"]] = file
                elif kind == "outcome":
                    file = sent[record["key"]]
                    done[record["path"]] = (file, record)
                    told.writerow(
                        (
                            record["at"], file["legacy_txnid_norm"], file["legacy_entity_type"],
                            file["raw_legacy_id"], file["qbo_entity_type"], file["qbo_entity_id"],
                            file["file_name"], file["path"], record["status_code"],
                            record["error"], record["intuit_tid"], record["outcome"],
                            file["client"], file["size_bytes"], file["modified_at"],
                            record["sha256"], file["sent_file_name"], record["attachable_id"],
                            record["request_id"], record["key"], run_id, record["attempt"],
                            record["duration_ms"], file["match_rule"],
                        )
                    )  # fmt: skip
    return done


def table(out, name, header, files):
    """A writer for a table whose header stands."""
    stream = open(os.path.join(out, name), "w", encoding="utf-8", newline="")  # noqa: SIM115
    files.append(stream)
    stream.write(header)
    return csv.writer(stream, lineterminator="\n")


def main():
    """All tables in two passes: the run log, then the inventory."""
    inventory, mapping, runlog, out = sys.argv[1:5]
    files = []
    told = table(out, "told.csv", TOLD, files)
    dups = table(out, "dups.csv", TOLD, files)
    planned = table(out, "planned.csv", PLANNED, files)
    verified = table(out, "verified.csv", VERIFIED, files)
    done = read_run_log(runlog, told)
    entities = entities_of(mapping)
    with open(inventory, encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream)
        next(rows)
        for row in rows:
            status, kind, entity_id = judged(row, entities)
            facts = row[5:9]
            verified.writerow((*row[:5], kind, entity_id, status, "", *facts, ""))
            if status != "ok":
                continue
            norm, entity_type, raw, name, path, client, size, modified, etag, _ = row
            file, record = done[path]
            before = (str(file["size_bytes"]), file["modified_at"], file["etag"])
            if before != (size, modified, etag) or file["qbo_entity_id"] != entity_id:
                raise SystemExit(f"{path} is not what was sent")
            sent_name, key = file["sent_file_name"], record["key"]
            digest, attachable_id = record["sha256"], record["attachable_id"]
            content_type = TYPES[name.rpartition(".")[2].lower()]
            planned.writerow(
                (
                    *row[:5], kind, entity_id, "skip", "done", sent_name, content_type, key, *facts,
                    digest, attachable_id, "", "",
                )
            )  # fmt: skip
            skipped = (
                "2026-01-01T00:00:00.000Z", norm, entity_type, raw, kind, entity_id, name, path,
                "", "done", "", "skipped_already_uploaded", client, size, modified, digest,
                sent_name, attachable_id, "", key, "second", "", "", "",
            )  # fmt: skip
            told.writerow(skipped)
            dups.writerow(skipped)
    for stream in files:
        stream.close()


main()
