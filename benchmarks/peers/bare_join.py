# ruff: noqa: ANN001, ANN201, C901, PLR0911, PTH123, RUF059
"""The script that one would write: inventory and mapping joined by `csv` and `dict`.

bare_join.py INVENTORY MAPPING OUT all|two: reads both, writes a row for each file. With `all` it
tells the same statuses as qbo-attach, in the plainest way; with `two` only whether the id is there.
"""

import csv
import sys

TYPES = {"pdf", "jpg", "jpeg", "png", "gif", "tif", "doc", "docx", "xls", "xlsx", "csv", "txt"}
LISTS = {"Customer", "Vendor", "Employee", "Account", "Item"}
TAKEN = {"Bill", "Invoice", "Purchase", "Estimate", "Payment", "Deposit"}


def judged(row, entities):
    """Status and entity of one file."""
    norm, kind, raw, name, path, client, size, modified, etag, problem = row
    if name.lower() in {"thumbs.db", "desktop.ini", ".ds_store"} or name.startswith("~$"):
        return "excluded", "", ""
    if problem:
        return "unreadable", "", ""
    if not kind:
        return "unrecognized_path", "", ""
    if not name.isprintable() or len(name) > 1_000:
        return "invalid_file_name", "", ""
    if name.rpartition(".")[2].lower() not in TYPES:
        return "unsupported_file_type", "", ""
    if size == "0":
        return "empty_file", "", ""
    if int(size) > 99_995_904:
        return "file_too_large", "", ""
    found = entities.get(norm)
    if found is None:
        return "missing_mapping", "", ""
    found = [one for one in found if (one[0] in LISTS) == (kind == "List")]
    if raw != norm and raw in entities:
        return "ambiguous_identifier", "", ""
    if len(found) > 1:
        same = len({one[0] for one in found}) < len(found)
        return "duplicate_mapping" if same else "ambiguous_mapping", "", ""
    if not found or found[0][0] not in TAKEN:
        return "unsupported_entity_type", "", ""
    return "ok", found[0][0], found[0][1]


def looked_up(row, entities):
    """Whether the mapping has the file's id."""
    found = entities.get(row[0])
    if found is None:
        return "missing_mapping", "", ""
    return "ok", found[0][0], found[0][1]


def entities_of(mapping):
    """The mapping as a dict: legacy id to its entities, each once."""
    entities = {}
    with open(mapping, encoding="utf-8", newline="") as stream:
        rows = csv.reader(stream)
        next(rows)
        for legacy_id, _, kind, entity_id in rows:
            one = (kind, entity_id)
            before = entities.get(legacy_id)
            if before is None:
                entities[legacy_id] = [one]
            elif one not in before:
                before.append(one)
    return entities


def main():
    """Read the mapping into a dict, then the inventory row by row."""
    inventory, mapping, out, how = sys.argv[1:5]
    judge = judged if how == "all" else looked_up
    entities = entities_of(mapping)
    with (
        open(inventory, encoding="utf-8", newline="") as stream,
        open(out, "w", encoding="utf-8", newline="") as written,
    ):
        rows = csv.reader(stream)
        writer = csv.writer(written, lineterminator="\n")
        head = next(rows)
        writer.writerow((*head[:5], "qbo_entity_type", "qbo_entity_id", "status", *head[5:]))
        for row in rows:
            status, kind, entity_id = judge(row, entities)
            writer.writerow((*row[:5], kind, entity_id, status, *row[5:]))


if __name__ == "__main__":
    main()
