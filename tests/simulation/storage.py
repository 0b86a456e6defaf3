"""LOG_DIR and FILES_DIR in memory, with their faults, as one process sees them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from qbo_attach.core.chain import GroupFile
from qbo_attach.core.errors import StorageError
from qbo_attach.core.planning import CHANGED, MISSING, same_facts
from qbo_attach.engine.ports import SourceState
from qbo_attach.storage.place import SourceChangedError, SourceMissingError, read_each
from tests.simulation.scenario import Source
from tests.simulation.world import Process, World

_LANDS_LATE_S = 20.0


class LogFolder:
    """The durable folder of the run log. It outlives every process."""

    def __init__(self) -> None:
        self.leftovers: list[str] = []
        self._segments: dict[str, bytes] = {}

    def put(self, name: str, data: bytes) -> bool:
        """Create a segment unless it exists; all or nothing."""
        return self._segments.setdefault(name, data) is data

    def names(self) -> list[str]:
        """All names in the folder."""
        return [*self._segments, *self.leftovers]

    def read(self, name: str) -> bytes:
        """A segment's bytes."""
        return self._segments[name]

    def clear(self) -> None:
        """The trial is over."""
        self._segments.clear()

    def leave_torn(self) -> None:
        """On a disk, a temporary file stays of a put that died on its way."""
        self.leftovers.append(f".qbo-attach-{len(self.leftovers):032x}.tmp")


class SimSegments:
    """Implements storage.runlog.Segments for one process. `fault_rate`: share of failing calls."""

    url = "memory://log/runlog"

    def __init__(self, process: Process, folder: LogFolder, fault_rate: float) -> None:
        self._process = process
        self._world = process.world
        self._folder = folder
        self._fault_rate = fault_rate

    async def names(self) -> list[str]:
        await self._process.sleep(0.01)
        self._may_fail("list")
        return self._folder.names()

    async def read(self, name: str) -> bytes:
        await self._process.sleep(0.01)
        self._may_fail(f"read {name}")
        return self._folder.read(name)

    def _may_fail(self, what: str) -> None:
        if self._fault_rate and self._world.chance() < self._fault_rate / 4:
            self._world.say(f"the store fails to {what}")
            raise StorageError(self.url, f"cannot {what}")

    async def create_once(self, name: str, data: bytes) -> bool:
        """Lands at one moment, all or nothing; the writer learns it at another, or never."""
        process, world = self._process, self._world
        await process.at("before the put")
        fails = bool(self._fault_rate) and world.chance() < self._fault_rate
        lands = not fails or world.chance() < 0.6
        landed: list[bool] = []

        def land() -> None:
            landed.append(self._folder.put(name, data))
            world.say(f"{name} lands, of process {process.holder.pid}: {landed[0]}")
            process.reach("after the put")

        up_s = 0.002 + 0.05 * world.chance()
        if fails and world.chance() < 0.3:
            up_s = _LANDS_LATE_S * world.chance()
        await process.sleep(0.001)
        under_way = world.chance() < 0.5
        if under_way and lands:
            world.later(up_s, land)
        if process.reach("amid the put"):
            if not under_way:
                self._folder.leave_torn()
            await process.create_future()
        if not under_way and lands:
            world.later(up_s, land)
        if fails:
            await process.sleep(0.05)
            world.say(f"process {process.holder.pid} is told that {name} failed")
            raise StorageError(self.url, f"{name} cannot be written")
        await process.sleep(up_s + 0.001 + 0.005 * world.chance())
        return landed[0]


class SourceFolder:
    """FILES_DIR: what is there now, every version that ever was, former paths and when, by new ones."""

    def __init__(self, files: tuple[Source, ...]) -> None:
        self.files = {one.path: one for one in files}
        self.versions = {one.facts: one for one in files}
        self.renamed: dict[str, tuple[str, float]] = {}

    def put(self, one: Source) -> None:
        """Write a file."""
        self.files[one.path] = one
        self.versions[one.facts] = one

    def digest(self, listed: Source) -> str:
        """Reads a file as listed: its sha256, or MISSING, or CHANGED."""
        now = self.files.get(listed.path)
        if now is None:
            return MISSING
        return now.sha256 if now == listed else CHANGED

    def drop(self, path: str) -> None:
        """Remove a file."""
        del self.files[path]


class SimSources:
    """Implements engine.ports.Sources for one process."""

    def __init__(self, process: Process, folder: SourceFolder, fault_rate: float) -> None:
        self._process = process
        self._world: World = process.world
        self._folder = folder
        self._fault_rate = fault_rate

    async def pieces(self, file: GroupFile) -> AsyncIterator[bytes]:
        """Refuses another version both before and after its bytes."""
        before = self._planned(file)
        if self._fault_rate and self._world.chance() < self._fault_rate / 4:
            raise StorageError("memory://files", f"{file.path} cannot be read")
        await self._process.sleep(0.003)
        half = len(before.content) // 2
        if half:
            yield before.content[:half]
        self._planned(file)
        yield before.content[half:]

    async def read_all(self, files: Sequence[GroupFile]) -> list[bytes | Exception]:
        """See engine.ports.Sources."""
        return await read_each(self.pieces, files)

    def _planned(self, file: GroupFile) -> Source:
        now = self._folder.files.get(file.path)
        if now is None:
            raise SourceMissingError(file.path, "is gone")
        if _state(file, now) is not SourceState.UNCHANGED:
            raise SourceChangedError(file.path, "is another")
        return now

    async def state(self, file: GroupFile) -> SourceState:
        """See engine.ports.Sources."""
        await self._process.sleep(0.003)
        return _state(file, self._folder.files.get(file.path))


def _state(file: GroupFile, now: Source | None) -> SourceState:
    if now is None:
        return SourceState.MISSING
    same = same_facts(
        (len(now.content), now.modified_at, now.etag),
        (file.size_bytes, file.modified_at, file.etag),
        etags_compare=True,
    )
    return SourceState.UNCHANGED if same else SourceState.CHANGED
