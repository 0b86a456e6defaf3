"""The command line: one command a stage, and `run`, `sample`, `fake-qbo`, `config`.

Exit status: 0 nothing left to do; 1 finished, rows need a person; 2 not started: settings or input;
3 stopped or unfinished: run again to go on.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import App, Parameter

from qbo_attach import __version__

if TYPE_CHECKING:
    from qbo_attach.core.model import StageResult
    from qbo_attach.settings import Settings
    from qbo_attach.stages.whole import RunSummary

app = App(
    name="qbo-attach",
    version=__version__,
    help=(
        "Moves the file attachments of a QuickBooks Desktop company into QuickBooks Online, each "
        "exactly once. Settings come from the environment and .env: see `qbo-attach config`."
    ),
)

Json = Annotated[
    bool, Parameter(name="--json", negative="", help="Print one JSON object at the end.")
]
Flag = Annotated[bool, Parameter(negative="")]


def main() -> None:
    """Entry point of the console script."""
    from qbo_attach.core.errors import QboAttachError

    debug = "--debug" in sys.argv
    argv = [word for word in sys.argv[1:] if word != "--debug"]
    try:
        status = app(argv, exit_on_error=True, result_action="return_value")
    except QboAttachError as error:
        if debug:
            raise
        print(f"qbo-attach: {_plain(error)}", file=sys.stderr)
        sys.exit(error.exit_status)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        sys.stdout = None
        sys.exit(3)
    except KeyboardInterrupt:
        print("qbo-attach: stopped; run again to go on", file=sys.stderr)
        sys.exit(3)
    sys.exit(status if isinstance(status, int) else 0)


def _plain(text: object) -> str:
    """Text for a terminal: what could steer it is shown, not sent."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in str(text))


def _settings(**given: Any) -> Settings:  # noqa: ANN401 - settings by name
    from qbo_attach.settings import load_settings

    return load_settings({name: value for name, value in given.items() if value is not False})


def _tell(name: str, result: StageResult) -> None:
    """A stage's counts and notes, for a person, on stderr."""
    counts = ", ".join(f"{key} {count:,}" for key, count in sorted(result.counts.items()))
    print(f"{name}: {counts or 'nothing'}", file=sys.stderr)
    for note in result.notes:
        print(f"  {_plain(note)}", file=sys.stderr)


def _stage(
    stage: Callable[[Settings], StageResult], name: str, *, as_json: bool, **given: bool | str
) -> int:
    settings = _settings(**given)
    result = stage(settings)
    _tell(name, result)
    files = {artifact.name: artifact.url for artifact in result.artifacts}
    if as_json:
        kind = "verification" if name == "verify" else "outcome" if name == "report" else name
        counts: dict[str, dict[str, int]] = {"outcome": {}, "verification": {}}
        counts[kind] = result.counts
        print(json.dumps({"run_id": "", "counts": counts, "requests_sent": 0, "files": files}))
    else:
        for file, url in files.items():
            print(f"{file}: {_plain(url)}")
    return 0


@app.command
def inventory(*, json: Json = False, allow_shrink: Flag = False) -> int:
    """List FILES_DIR into DATA_DIR/attachments_inventory.csv.

    Args:
        json: one JSON object on stdout.
        allow_shrink: accept an inventory less than half as large as the last one.
    """
    from qbo_attach.stages.inventory import run_inventory

    return _stage(run_inventory, "inventory", as_json=json, allow_shrink=allow_shrink)


@app.command
def mapping(*, json: Json = False, from_: Annotated[str, Parameter(name="--from")] = "") -> int:
    """Read MAPPING_SOURCE into DATA_DIR/mapping_export.csv.

    Args:
        json: one JSON object on stdout.
        from_: another source than MAPPING_SOURCE: a URL, or qbo for QBO's own table.
    """
    from qbo_attach.stages.company_mapping import run_mapping_stage

    return _stage(run_mapping_stage, "mapping", as_json=json, mapping_source=from_)


@app.command
def verify(*, json: Json = False) -> int:
    """Join inventory and mapping: a status for every attachment, in LOG_DIR."""
    from qbo_attach.stages.verify import run_verify

    return _stage(run_verify, "verify", as_json=json)


@app.command
def plan(*, json: Json = False, skip_refused: Flag = False) -> int:
    """Decide what the next upload would do, in LOG_DIR/upload_plan.csv. Sends nothing.

    Args:
        json: one JSON object on stdout.
        skip_refused: leave alone what QBO refused before.
    """
    from qbo_attach.stages.plan import run_plan

    return _stage(run_plan, "plan", as_json=json, skip_refused=skip_refused)


@app.command
def upload(*, json: Json = False, accept_coverage: Flag = False) -> int:
    """Send what the plan says, then derive the tables of the run log.

    Args:
        json: one JSON object on stdout.
        accept_coverage: upload although the coverage is below MIN_COVERAGE.
    """
    from qbo_attach.stages.upload import UploadRun
    from qbo_attach.stages.whole import upload_and_report

    settings = _settings(accept_coverage=accept_coverage)
    run = UploadRun(settings)
    _stop_on_signals(run.stop)
    return _end(upload_and_report(settings, run), as_json=json)


@app.command
def report(*, json: Json = False) -> int:
    """Derive qbo_attach_runlog.csv, qbo_attach_errors.csv and qbo_attach_dups.csv."""
    from qbo_attach.stages.report import run_report

    return _stage(run_report, "report", as_json=json)


@app.command
def run(
    *,
    json: Json = False,
    allow_shrink: Flag = False,
    accept_coverage: Flag = False,
    skip_refused: Flag = False,
) -> int:
    """All stages in order, without Prefect.

    Args:
        json: one JSON object on stdout.
        allow_shrink: accept an inventory less than half as large as the last one.
        accept_coverage: upload although the coverage is below MIN_COVERAGE.
        skip_refused: leave alone what QBO refused before.
    """
    from qbo_attach.stages.whole import run_all

    settings = _settings(
        allow_shrink=allow_shrink, accept_coverage=accept_coverage, skip_refused=skip_refused
    )
    return _end(run_all(settings, _tell, _stop_on_signals), as_json=json)


def _stop_on_signals(stop: Callable[[Exception], None]) -> None:
    """First SIGINT or SIGTERM: no new requests. A second one ends the process at once."""
    from qbo_attach.engine.session import interrupted

    def first(number: int, _frame: object) -> None:
        name = signal.Signals(number).name
        print(f"{name}: requests in flight are let in; again to stop at once", file=sys.stderr)
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
        stop(interrupted(name))

    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, first)


def _end(summary: RunSummary, *, as_json: bool) -> int:
    for note in summary.notes:
        print(f"  {_plain(note)}", file=sys.stderr)
    if summary.stopped:
        print(f"qbo-attach: {_plain(summary.stopped)}", file=sys.stderr)
    if as_json:
        print(json.dumps(summary.as_json()))
        return summary.exit_status
    print(f"Run {summary.run_id}: {summary.requests_sent:,} requests")
    for title, counts in (("outcome", summary.outcomes), ("verification", summary.statuses)):
        print(f"{title}: {sum(counts.values()):,}")
        for name, count in sorted(counts.items()):
            print(f"  {name:<26}{count:>9,}")
    for file, url in summary.files.items():
        print(f"{file}: {_plain(url)}")
    return summary.exit_status


@app.command
def login(*, redirect_uri: str = "", port: int = 0, from_refresh_token: Flag = False) -> int:
    """Log in to the company at Intuit; tokens are kept in QBO_TOKENS, private.

    Args:
        redirect_uri: an https redirect address of the app (production keys need one): the page is
            printed, and the address it led to is asked for.
        port: to receive the redirect on this machine.
        from_refresh_token: read a refresh token of Intuit's OAuth Playground from stdin.
    """
    from qbo_attach.stages.login import import_refresh_token, log_in

    settings = _settings()
    if from_refresh_token:
        realm = import_refresh_token(settings, sys.stdin.readline().strip())
    else:
        realm = log_in(
            settings,
            show=lambda line: print(f"Open this page:\n{line}", file=sys.stderr),
            ask=input,
            redirect_uri=redirect_uri,
            port=port,
        )
    print(f"Logged in to company {realm}: set QBO_REALM_ID={realm}")
    return 0


@app.command
def config() -> int:
    """Print the effective settings and where each came from; secrets are masked."""
    from qbo_attach.settings import load_settings, provenance

    for name, value, source in provenance(load_settings()):
        print(f"{name}={_plain(value)}  ({source})")
    return 0


@app.command
def sample(
    destination: str = "work/sample", *, seed: int = 1, files: int = 300, clients: int = 20
) -> int:
    """Make a synthetic legacy tree, its mapping, and the result expected of each file.

    Args:
        destination: folder or fsspec URL.
        seed: decides everything that is drawn.
        files: how many.
        clients: of how many clients.
    """
    from qbo_attach.sample import make_sample

    made = make_sample(destination, seed=seed, files=files, clients=clients)
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


if __name__ == "__main__":
    main()
