"""`python -m deployments.setup`: what the deployments need at the Prefect server.

Makes work pools, the Variable `qbo_attach`, Secret blocks of the secrets that the environment or
`.env` has, and automations. Run it as often as you like: what is there is kept, but for what you
set anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from uuid import UUID

from prefect.blocks.system import Secret
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.events.schemas.automations import AutomationCore
from prefect.exceptions import ObjectNotFound
from prefect.variables import Variable
from prefect.workers.process import ProcessWorker

from deployments.automations import finished_runs, silent_runs
from flows.configuration import SECRET_BLOCKS, VARIABLE, check_names, read_secret, read_variable
from qbo_attach.core.errors import NotStartedError, QboAttachError
from qbo_attach.settings import load_settings

POOLS = {
    "qbo-attach": "Runs of `migrate`: one process a company",
    "qbo-attach-portfolio": "Runs of `portfolio`, which must not starve the runs they wait for",
}

Say = Callable[[str], None]


def main(arguments: Sequence[str] | None = None) -> int:
    """Make what is missing; 0, or 2 with a sentence where something cannot be made."""
    parser = argparse.ArgumentParser(prog="python -m deployments.setup", description=__doc__)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help=f"a setting for every run, kept in the Variable {VARIABLE}; an empty value removes it",
    )
    parser.add_argument(
        "--notify",
        default="",
        metavar="TYPE/NAME",
        help="a notification block, as slack-webhook/ops: told of each run that ends or fails",
    )
    chosen = parser.parse_args(arguments)
    try:
        set_up(_pairs(chosen.set), chosen.notify, say=print)
    except QboAttachError as error:
        print(f"deployments.setup: {error}", file=sys.stderr)  # noqa: T201 - a command's answer
        return error.exit_status
    return 0


def set_up(values: dict[str, str], notify: str, *, say: Say) -> None:
    """Make pools, Variable, Secret blocks and automations.

    Args:
        values: settings for the Variable; "" removes one.
        notify: type and name of a notification block; "" for none.
        say: is told each thing that was made or found.

    Raises:
        SettingError: a value may not stand in the Variable.
        NotStartedError: there is no such notification block.
    """
    with get_client(sync_client=True) as client:
        _pools(client, say)
        _variable(values, say)
        _secrets(say)
        wanted = silent_runs()
        if notify:
            wanted += finished_runs(_block_id(client, notify))
        for automation in wanted:
            _automation(client, automation, say)


def _pairs(words: Sequence[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    for name, equals, _ in pairs:
        if not equals:
            raise NotStartedError(f"--set {name}: write NAME=VALUE")
    return {name.lower(): value for name, _, value in pairs}


def _pools(client: SyncPrefectClient, say: Say) -> None:
    there = {pool.name: pool for pool in client.read_work_pools()}
    for name, description in POOLS.items():
        if name in there:
            say(f"work pool {name}: there already, of type {there[name].type}")
            continue
        client.create_work_pool(
            WorkPoolCreate(
                name=name,
                type=ProcessWorker.type,
                description=description,
                base_job_template=ProcessWorker.get_default_base_job_template(),
            )
        )
        say(f"work pool {name}: made, of type {ProcessWorker.type}")


def _variable(values: dict[str, str], say: Say) -> None:
    check_names(values)
    there = read_variable()
    kept = {name: value for name, value in {**there, **values}.items() if value != ""}
    load_settings(kept, env_file=None)  # refuses what no run could use
    if kept != there or Variable.get(VARIABLE, default=None) is None:
        Variable.set(VARIABLE, kept, overwrite=True)
    say(f"Variable {VARIABLE}: {json.dumps(kept)}")


def _secrets(say: Say) -> None:
    settings = load_settings()
    for name, block in SECRET_BLOCKS.items():
        value = getattr(settings, name).get_secret_value()
        if not value:
            there = bool(read_secret(block))
            state = "there already" if there else f"not made: {name.upper()} is not set"
        elif value == read_secret(block):
            state = "there already, the same"
        else:
            Secret(value=value).save(block, overwrite=True, _sync=True)  # type: ignore[call-arg]  # as Prefect's own switch
            state = f"saved, from {name.upper()}"
        say(f"Secret block {block}: {state}")


def _block_id(client: SyncPrefectClient, slug: str) -> UUID:
    kind, _, name = slug.partition("/")
    try:
        return client.read_block_document_by_name(name, kind).id
    except ObjectNotFound as error:
        raise NotStartedError(
            f"--notify {slug}: there is no such block; make it in the UI under Blocks, and name it "
            "as TYPE/NAME, for example slack-webhook/ops"
        ) from error


def _automation(client: SyncPrefectClient, wanted: AutomationCore, say: Say) -> None:
    found = client.read_automations_by_name(wanted.name)
    if not found:
        client.create_automation(wanted)
        say(f"automation {wanted.name}: made")
        return
    keep, *others = found
    client.update_automation(keep.id, wanted.model_copy(update={"enabled": keep.enabled}))
    for other in others:
        client.delete_automation(other.id)
    say(f"automation {wanted.name}: there already, brought up to date")


if __name__ == "__main__":
    sys.exit(main())
