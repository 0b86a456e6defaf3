"""Sources that are not what was planned: they get their row, their neighbours go on."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from qbo_attach.core.errors import StorageError
from qbo_attach.storage.place import SourceChangedError, SourceMissingError
from tests.matrix.world import World

LARGE = b"x" * (3 * 1024 * 1024)
"""More than is read before a slot, so that it streams."""


def planned_otherwise(world: World, number: int, content: bytes) -> None:
    """The plan read this file's digest, then it was altered to `content`, of equal size."""
    file = world.files[number]
    was = hashlib.sha256(b"what the plan read").hexdigest()
    world.files[number] = replace(file, sha256=was, size_bytes=len(content))
    world.sources.contents[file.path] = content


@pytest.mark.parametrize("content", [b"altered", LARGE], ids=["read_ahead", "streamed"])
def test_bytes_that_are_not_those_the_plan_read_are_never_in_qbo(content: bytes) -> None:
    world = World(3)
    planned_otherwise(world, 1, content)
    result = world.run(3)
    assert result.counts == {"success": 2, "source_changed": 1}
    assert world.ledger()[world.files[1].key] == 0
    assert sum(world.ledger().values()) == 2


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (SourceMissingError("x", "is not there any more"), "file_missing"),
        (SourceChangedError("x", "changed its size"), "source_changed"),
    ],
)
def test_a_file_that_cannot_be_read_as_planned_holds_up_no_neighbour(
    error: Exception, outcome: str
) -> None:
    world = World(10)
    world.sources.contents[world.files[4].path] = error
    result = world.run(10)
    assert result.counts == {"success": 9, outcome: 1}
    assert result.reasons[world.files[4].path]
    assert result.requests == {"upload": 1}


def test_a_place_that_cannot_be_read_stops_the_run_with_nothing_in_doubt() -> None:
    world = World(3)
    world.sources.contents[world.files[1].path] = StorageError("files", "the disk is gone")
    result = world.run(1)
    assert "the disk is gone" in str(result.stopped)
    assert "in_doubt" not in result.counts
    world.sources.contents.clear()
    assert world.run(1).exit_status == 0
    assert (world.lost, world.doubled) == (0, 0)


def test_a_file_of_another_length_than_planned_is_told_and_not_sent() -> None:
    world = World(2)
    world.sources.contents[world.files[0].path] = b"longer than it was when it was planned"
    assert world.run(2).counts == {"success": 1, "source_changed": 1}
