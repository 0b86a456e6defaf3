"""Where task results live: beside the run log, on the same storage."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prefect.context import FlowRunContext
from prefect.filesystems import LocalFileSystem, RemoteFileSystem
from prefect.results import ResultStore


@contextmanager
def results_at(url: str, options: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Within the block, tasks of this flow run keep their results below `url`.

    A storage block that somebody configured (PREFECT_RESULTS_DEFAULT_STORAGE_BLOCK, the server's
    default, or the flow's own) wins. Results hold small facts (URLs, digests, counts). Whoever can
    write there can run code in a worker, so the place must be as private as the worker.

    Args:
        url: an absolute path or an fsspec URL.
        options: fsspec options. The block that holds them is never saved at the server, which would
            show them in clear.
    """
    context = FlowRunContext.get()
    if context is None:
        raise RuntimeError("results_at belongs into a flow")
    store = placed_at(context.result_store, url, options)
    with context.model_copy(update={"result_store": store}):
        yield


def placed_at(store: ResultStore, url: str, options: Mapping[str, Any] | None) -> ResultStore:
    """A result store with its results below `url`, or the same one where a block is configured."""
    if store.result_storage_block_id is not None:
        return store
    files = (
        RemoteFileSystem(basepath=url, settings=dict(options or {}))
        if "://" in url
        else LocalFileSystem(basepath=url)
    )
    return store.model_copy(update={"result_storage": files})
