"""Where task results live: beside the run log, on the same storage."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.context import FlowRunContext
from prefect.filesystems import LocalFileSystem, RemoteFileSystem


@contextmanager
def results_at(url: str) -> Iterator[None]:
    """Within the block, tasks of this flow run keep their results below `url`.

    Results hold small facts (URLs, digests, counts). Whoever can write there can run code in a
    worker, so the place must be as private as the worker. Credentials come from the environment:
    what stood in the block's settings would be shown in clear.
    """
    files = RemoteFileSystem(basepath=url) if "://" in url else LocalFileSystem(basepath=url)
    context = FlowRunContext.get()
    if context is None:
        raise RuntimeError("results_at belongs into a flow")
    store = context.result_store.model_copy(update={"result_storage": files})
    with context.model_copy(update={"result_store": store}):
        yield
