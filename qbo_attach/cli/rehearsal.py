"""Commands for rehearsals: `sample`, `fake-qbo`."""

from __future__ import annotations

from qbo_attach.cli.terminal import Flag, app


@app.command
def sample(
    destination: str = "work/sample", *, seed: int = 1, files: int = 300, clients: int = 20
) -> int:
    """Make a synthetic legacy tree, its mapping, and the result expected of each file.

    Also what Desktop and QBO say of its transactions, to rehearse a mapping by matching.

    Args:
        destination: folder or fsspec URL.
        seed: decides everything that is drawn.
        files: how many.
        clients: of how many clients.
    """
    from qbo_attach.sample import make_sample

    made = make_sample(
        destination, seed=seed, files=files, clients=clients, with_desktop_export=True
    )
    print(f"# {files:,} files of {clients:,} clients. Set:")
    for name, value in made.environment().items():
        print(f"export {name}={value!r}")
    return 0


@app.command(name="fake-qbo")
def fake_qbo(  # noqa: PLR0913 - the contract's flags
    *,
    port: int = 8765,
    host: str = "127.0.0.1",
    realm: str = "1234567890",
    mapping: str = "",
    entities: str = "",
    state: str = "",
    seed: int = 1,
    fail_rate: float = 0.0,
    latency_ms: float = 0.0,
    limits: str = "off",
    token: str = "",
    faults: str = "",
    no_qbdt_mapping: Flag = False,
    verbose: Flag = False,
) -> int:
    """Serve a QuickBooks Online company for rehearsals.

    Args:
        port: 0 takes a free one.
        host: address to listen on.
        realm: the company's id.
        mapping: URL of a mapping table whose entities exist; without one every entity exists.
        entities: URL of JSON lines with entities in full (sample makes them), for queries.
        state: folder that keeps the company across restarts.
        seed: of its chances.
        fail_rate: share of uploads that meet a fault.
        latency_ms: before each answer.
        limits: off, slack or exact.
        token: demand this bearer token.
        faults: a JSON file of fault rules.
        no_qbdt_mapping: a company without QbdtEntityIdMapping.
        verbose: a line a request.
    """
    from qbo_attach.core.errors import NotStartedError
    from qbo_attach.fake_qbo import FakeOptions, serve

    try:
        options = FakeOptions(
            port=port,
            host=host,
            realm=realm,
            mapping=mapping,
            entities=entities,
            state=state,
            seed=seed,
            fail_rate=fail_rate,
            latency_ms=latency_ms,
            limits=limits,
            token=token,
            faults=faults,
            qbdt_mapping=not no_qbdt_mapping,
            verbose=verbose,
        )
        serve(options)
    except ValueError as error:
        raise NotStartedError(str(error)) from error
    return 0
