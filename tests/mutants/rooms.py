"""Mutants of the run log, its store, the wire and the tables."""

from __future__ import annotations

from tests.mutants.trial import Mutant

_DISK = "qbo_attach/storage/disk.py"
_RUNLOG = "qbo_attach/storage/runlog.py"
_SEGMENTS = "qbo_attach/core/segments.py"
_HISTORY = "qbo_attach/core/history.py"
DURABILITY = "tests/storage/test_durability.py"
RUNLOG = "tests/storage/test_runlog.py"
CHAIN = "tests/core/test_chain.py"
HISTORY = "tests/core/test_history.py"

MUTANTS = (
    Mutant(
        "no_fsync_of_the_segment",
        "a segment is linked into the chain before its bytes are durable",
        _DISK,
        """                stream.write(data)
                self._made_durable(path, stream)
""",
        """                stream.write(data)
                stream.flush()
""",
        (DURABILITY,),
    ),
    Mutant(
        "no_fsync_of_the_folder",
        "a new segment's name is not made durable",
        _DISK,
        """                return self.read_bytes(path) == data
            _sync_folder(os.path.dirname(target))  # noqa: PTH120
""",
        """                return self.read_bytes(path) == data
""",
        (DURABILITY,),
    ),
    Mutant(
        "no_fsync_of_a_new_folder",
        "the folder of a new run log is not made durable in its parent",
        _DISK,
        "    folder.mkdir(exist_ok=True)\n    _sync_folder(str(folder.parent))\n",
        "    folder.mkdir(exist_ok=True)\n",
        (DURABILITY,),
    ),
    Mutant(
        "a_table_is_replaced_before_it_is_durable",
        "a table, or the tokens, take their name before their bytes are durable",
        _DISK,
        """                yield stream
                self._made_durable(path, stream)
""",
        """                yield stream
""",
        (DURABILITY,),
    ),
    Mutant(
        "create_once_replaces",
        "a segment that is there is replaced",
        _DISK,
        "os.link(temporary, target)",
        "os.replace(temporary, target)",
        (DURABILITY,),
    ),
    Mutant(
        "lost_lease_is_not_seen",
        "a run whose next number is taken goes on to send",
        _RUNLOG,
        "        if not created:\n",
        "        if not created and not name:\n",
        (RUNLOG,),
    ),
    Mutant(
        "takeover_without_waiting",
        "a lease of an unknown holder is taken at once",
        _RUNLOG,
        "while self._clock.monotonic() < first_read + self._lease_s:",
        "while self._clock.monotonic() < first_read:",
        (RUNLOG,),
    ),
    Mutant(
        "takeover_from_a_living_process",
        "a holder that lives loses its lease after a while",
        _RUNLOG,
        "        if life is Life.ALIVE:\n            raise LeaseHeldError(who)\n",
        "",
        (RUNLOG,),
    ),
    Mutant(
        "a_torn_segment_is_read",
        "a segment without its closing line is taken for whole",
        _SEGMENTS,
        'if json.loads(data[end:-1]) != {"r": "close", "records": data.count(b"\\n", begin, end)}:',
        "if not json.loads(data[end:-1]):",
        (CHAIN,),
    ),
    Mutant(
        "an_altered_segment_is_read",
        "a segment need not follow the one before it",
        _RUNLOG,
        "if self.seq and header.prev_sha256 != self.sha256:",
        "if self.seq and not header.prev_sha256:",
        (RUNLOG,),
    ),
    Mutant(
        "a_snapshot_forgets_refusals",
        "what was refused is forgotten at the end of a run",
        _HISTORY,
        "        yield from sorted(self.refused.values(), key=lambda refused: refused.path)\n",
        "",
        (HISTORY,),
    ),
    Mutant(
        "a_snapshot_forgets_looks",
        "settled looks are counted anew after each run",
        _HISTORY,
        "            for _ in range(doubt.settled_looks):",
        "            for _ in range(0):",
        (HISTORY,),
    ),
    Mutant(
        "a_snapshot_forgets_doubts",
        "groups in doubt are forgotten at the end of a run",
        _HISTORY,
        "        for doubt in self.doubts.values():\n            intent = doubt.intent",
        "        for doubt in ():\n            intent = doubt.intent",
        (HISTORY,),
    ),
    Mutant(
        "the_marker_is_dropped",
        "an upload does not carry its key",
        "qbo_attach/qbo/multipart.py",
        'if part.marker and marker_field != "none":',
        'if part.marker and marker_field == "none":',
        ("tests/qbo/test_multipart.py",),
    ),
    Mutant(
        "a_500_is_a_refusal",
        "a server's error is taken for a refusal without effect",
        "qbo_attach/qbo/faults.py",
        "_BROKEN = Rule(_IN_DOUBT, _LOOK)",
        "_BROKEN = Rule(_REFUSED, _LOOK)",
        ("tests/qbo/test_wire.py", "tests/qbo/test_samples.py"),
    ),
    Mutant(
        "an_empty_200_is_not_done",
        "an upload that got an empty answer is sent again at once",
        "qbo_attach/qbo/faults.py",
        "UNREADABLE: Rule(_IN_DOUBT, _LOOK),",
        "UNREADABLE: Rule(_NOT_DONE, _AGAIN),",
        ("tests/qbo/test_wire.py", "tests/qbo/test_samples.py"),
    ),
    Mutant(
        "a_cut_is_no_connection",
        "a request that was cut after its bytes had left is sent again at once",
        "qbo_attach/qbo/exchange.py",
        "if isinstance(error, never) or not begun:",
        "if isinstance(error, (*never, httpx.RemoteProtocolError)) or not begun:",
        ("tests/engine/test_protocol.py",),
    ),
    Mutant(
        "conservation_is_not_checked",
        "a run whose outcomes do not add up is told as good",
        "qbo_attach/core/reporting.py",
        "    if total != planned:\n",
        "    if total != planned and planned < 0:\n",
        ("tests/core/test_conservation.py",),
    ),
    Mutant(
        "s3_replaces_a_segment",
        "on S3 a segment that is there is replaced",
        "qbo_attach/storage/s3.py",
        'self._run(self._put(path, data, IfNoneMatch="*"), left_s)',
        "self._run(self._put(path, data), left_s)",
        (
            "tests/storage/test_store.py::TestCreateOnce::test_the_second_create_finds_the_first[moto]",
        ),
    ),
    Mutant(
        "pages_are_cut_by_position",
        "a row that moves up because another is deleted is never seen",
        "qbo_attach/qbo/paging.py",
        "lost = bool(known) and not met",
        "lost = bool(known) and not rows",
        ("tests/qbo/test_paging.py",),
    ),
    Mutant(
        "a_twin_of_a_refused_file_is_dealt_with",
        "content that QBO refused counts as there under another path",
        "qbo_attach/core/planned.py",
        "return _outcome_of_twin(row, ended, history)",
        "return planned.value",
        ("tests/core/test_planned.py",),
    ),
)
