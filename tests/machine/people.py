"""The world of the state machine, and what people do to files, mapping, QBO and LOG_DIR."""

from __future__ import annotations

import base64
import hashlib
from collections import Counter, deque
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from qbo_attach.core.history import History
from qbo_attach.core.naming import digest_name, folded
from qbo_attach.fake_qbo.company import FakeCompany
from qbo_attach.fake_qbo.options import Behaviour
from tests.machine.invariants import Memory, ledger, refs_of
from tests.machine.runs import Client, Plan, ScriptedNetwork, Tokens
from tests.simulation.run import Trial
from tests.simulation.scenario import REALM, Source, draw, version
from tests.simulation.storage import LogFolder, SourceFolder
from tests.simulation.world import World

SEEN: Counter[str] = Counter()
"""What all machines of this process went through."""

FILES_AT_MOST = 8
BY_SIZE = (b"a", b"bb", b"ccc", b"dddd")
EQUAL_SIZES = (b"a", b"b", b"cc", b"dd")
NAMES = ("scan.pdf", "Scan.PDF", "bill.pdf", "caf\u00e9.txt", "cafe\u0301.txt")
ENTITIES = (("Bill", "1"), ("Bill", "2"), ("Invoice", "7"), ("Bill;Invoice", "1;8"))
FOLDERS = ("p", "q", "r")

INDEX = st.integers(0, FILES_AT_MOST - 1)
CONTENT = st.integers(0, len(BY_SIZE) - 1)
ENTITY = st.sampled_from(ENTITIES)
FOLDER = st.sampled_from(FOLDERS)
NAME = st.sampled_from(NAMES)

has_files = precondition(lambda self: bool(self.sources.files))


class People(RuleBasedStateMachine):
    """The world, and what people do in it between runs."""

    # -- the beginning --------------------------------------------------------------------------

    @initialize(
        seed=st.integers(0, 2**16),
        per_request=st.sampled_from((1, 3, 10)),
        marker=st.sampled_from(("tag", "note", "none")),
        sizes_tell=st.booleans(),
        etags=st.booleans(),
        replay=st.sampled_from(("on", "off")),
        items_order=st.sampled_from(("sent", "shuffled")),
        upload_faults=st.sampled_from(("item", "http")),
        query_lag_s=st.sampled_from((0.0, 4.0)),
        clock_offset_s=st.sampled_from((0.0, 40.0, -40.0)),
        files=st.lists(st.tuples(ENTITY, FOLDER, NAME, CONTENT), max_size=5),
    )
    def begin(
        self,
        seed: int,
        files: list[tuple[tuple[str, str], str, str, int]],
        per_request: int,
        marker: Any,
        sizes_tell: bool,
        etags: bool,
        **behaviour: Any,
    ) -> None:
        self.world = World(seed, self.told)
        self.sizes_tell, self.etags = sizes_tell, etags
        scenario = replace(
            draw(Random(0)),
            per_request=per_request,
            marker=marker,
            settle_s=120.0,
            lease_s=60.0,
            behaviour=Behaviour(**behaviour),
            late=False,
            batch_size=5,
        )
        self.company = FakeCompany(
            clock=self.world.unix, seed=seed, realms=(REALM,), behaviour=scenario.behaviour
        )
        self.network = ScriptedNetwork(self.world, self.company, scenario)
        self.network.coming = {True: deque(), False: deque()}
        self.network.tokens = Tokens(self.company)
        self.sources = SourceFolder(())
        self.trial = Trial(self.world, scenario, LogFolder(), self.sources, self.network, Client)
        self.memory = Memory()
        self.plan: Plan | None = None
        self.moment = 0
        self.pids = 100
        self.history = History()
        for file in files:
            self.new_file(*file)

    def told(self, line: str) -> None:
        """Take a line of the trace."""

    # -- people and files -----------------------------------------------------------------------

    def _files(self) -> list[Source]:
        return [self.sources.files[path] for path in sorted(self.sources.files)]

    def _one(self, index: int) -> Source:
        files = self._files()
        return files[index % len(files)]

    def _content(self, index: int) -> bytes:
        return (BY_SIZE if self.sizes_tell else EQUAL_SIZES)[index]

    def _put(self, one: Source) -> None:
        self.moment += 1
        self.memory.names.add(folded(one.name))
        self.sources.put(version(one, self.moment, etags=self.etags))

    def _goes(self, what: str, seconds: float = 10.0) -> None:
        SEEN[what] += 1
        self.world.say(what)
        self.world.let_pass(seconds)

    @precondition(lambda self: len(self.sources.files) < FILES_AT_MOST)
    @rule(entity=ENTITY, folder=FOLDER, name=NAME, content=CONTENT)
    def new_file(self, entity: tuple[str, str], folder: str, name: str, content: int) -> None:
        path = f"{entity[1].replace(';', '-')}/{folder}/{name}"
        self._put(Source(path, name, self._content(content), "", "", entity))
        self._goes("new file")

    @has_files
    @rule(index=INDEX, content=CONTENT)
    def literal_file_of_a_digest_name(self, index: int, content: int) -> None:
        one = self._one(index)
        shown = hashlib.sha256(self._content(content)).hexdigest()
        name = digest_name(one.name, shown)
        if len(self.sources.files) < FILES_AT_MOST and len(name) < 40:
            folder = one.path.rpartition("/")[0]
            self._put(replace(one, path=f"{folder}/{name}", name=name))
            self._goes("literal file of a digest name")

    @has_files
    @rule(index=INDEX, content=CONTENT)
    def changed_file(self, index: int, content: int) -> None:
        self._put(replace(self._one(index), content=self._content(content)))
        self._goes("changed file")

    @has_files
    @rule(index=INDEX)
    def touched_file(self, index: int) -> None:
        self._put(self._one(index))
        self._goes("touched file")

    @has_files
    @rule(index=INDEX)
    def removed_file(self, index: int) -> None:
        self._leave(self._one(index))
        self._goes("removed file")

    @has_files
    @rule(index=INDEX, folder=FOLDER, name=NAME)
    def renamed_file(self, index: int, folder: str, name: str) -> None:
        one = self._one(index)
        self._leave(one)
        self._move(one, folder, name)
        self._goes("renamed file")

    @has_files
    @rule(start=FOLDER, end=FOLDER)
    def moved_folder(self, start: str, end: str) -> None:
        moved = [one for one in self._files() if one.path.split("/")[1] == start]
        for one in moved:
            self._leave(one)
        for one in moved:
            self._move(one, end, one.name)
        self._goes("moved folder")

    def _leave(self, one: Source) -> None:
        self.memory.left.add(one.path)
        if one.path in self.history.doubt_of_path:
            self.memory.left_in_doubt.add(one.path)
        self.sources.drop(one.path)

    def _move(self, one: Source, folder: str, name: str) -> None:
        path = f"{one.path.split('/')[0]}/{folder}/{name}"
        self.memory.left.add(path)
        self.memory.names.add(folded(name))
        self.sources.put(replace(one, path=path, name=name))

    @has_files
    @rule(index=INDEX, entity=ENTITY)
    def changed_mapping(self, index: int, entity: tuple[str, str]) -> None:
        folder = self._one(index).path.split("/")[0]
        for one in self._files():
            if one.path.split("/")[0] == folder:
                self.sources.put(replace(one, entity=entity))
        self._goes("changed mapping")

    @precondition(lambda self: bool(ledger(self.trial)))
    @rule(index=st.integers(0, 20))
    def remote_deletion(self, index: int) -> None:
        held = ledger(self.trial)
        one = held[index % len(held)]
        self.company.state.delete(one)
        self.memory.deleted.add((refs_of(one), one.sha256))
        self.memory.deleted_ids.add(one.id)
        self._goes("remote deletion")

    @precondition(lambda self: self.sizes_tell and bool(self.sources.files))
    @rule(index=INDEX, content=st.none() | CONTENT, copies=st.sampled_from((1, 1, 2)))
    def foreign_attachable(self, index: int, content: int | None, copies: int) -> None:
        """A person, or Intuit's conversion, adds the file itself, or another under its name."""
        one = self._one(index)
        data = one.content if content is None else self._content(content)
        doubtful = {
            folded(file.sent_file_name)
            for doubt in self.history.doubts.values()
            for file in doubt.open.values()
        }
        if self.trial.scenario.marker == "none" and folded(one.name) in doubtful:
            return
        if self.plan and any(
            folded(row.file_name) == folded(one.name) for row in self.plan.renamed
        ):
            self.plan = None
        types, ids = (cell.split(";") for cell in one.entity)
        for _ in range(copies):
            made = self.company.control.seed(
                {
                    "FileName": one.name,
                    "ContentType": "application/pdf",
                    "AttachableRef": [
                        {"EntityRef": {"type": kind, "value": value}}
                        for kind, value in zip(types, ids, strict=True)
                    ],
                    "content_base64": base64.b64encode(data).decode(),
                },
                REALM,
            )
            self.memory.strangers.add(str(made["Id"]))
        self._goes("foreign attachable")

    @precondition(lambda self: self.sizes_tell and bool(self.trial.log.names()))
    @rule()
    def log_dir_lost(self) -> None:
        self.world.let_pass(300.0)
        self.company.state.settle()
        self.trial.log = LogFolder()
        self.plan = None
        self.memory.strangers |= {one.id for one in ledger(self.trial)}
        self.history = History()
        self._goes("LOG_DIR lost")
