"""Start-up: `qbo-attach --help`, and importing the flow against importing Prefect."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.bench import ROOT, TIMES, Bench, Section, at_most
from benchmarks.measuring import Command, timed

METHOD = (
    (
        "`qbo-attach --help` as installed. The flow: `import flows.migrate` against `import "
        "prefect` with the names that any flow of this kind needs of it (`flow`, `task`, a task "
        "runner, states, futures, runtime, client, artifacts) and an empty flow with one checked "
        "parameter (ours has 14): both in a fresh interpreter, byte code compiled before."
    ),
)
PREFECT = """
import prefect, prefect.states, prefect.runtime, prefect.futures, prefect.task_runners
from prefect import flow, task, get_run_logger, runtime
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.client.orchestration import get_client
from prefect.artifacts import create_table_artifact
from typing import Annotated
from pydantic import Field
@flow
def empty(one: Annotated[str, Field(max_length=9)] = ""):
    pass
"""


def measure(bench: Bench) -> Section:
    """CPU seconds of each."""
    section = Section("Start-up", METHOD)
    env = {
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(bench.folder("prefect-home")),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    script = str(Path(sys.executable).with_name("qbo-attach"))
    commands = {
        "qbo-attach --help": Command((script, "--help")),
        "import flows.migrate": Command((sys.executable, "-c", "import flows.migrate"), env),
        "import prefect, as a flow does": Command((sys.executable, "-c", PREFECT), env),
        "import prefect": Command((sys.executable, "-c", "import prefect"), env),
        "python -c pass": Command((sys.executable, "-c", "pass")),
    }
    for command in commands.values():
        timed(command, bench.folder("cwd"))
    found = bench.compared(commands)
    section.compare("A fresh process", found)
    flow = found["import flows.migrate"].cpu_s
    peer = found["import prefect, as a flow does"].cpu_s
    help_s = found["qbo-attach --help"].cpu_s
    section.goals += [
        at_most("`qbo-attach --help`", 0.3, help_s, " s CPU", decides=True),
        at_most(
            "Importing the flow, of Prefect's CPU as a flow imports it",
            1.1,
            flow / peer,
            TIMES,
            decides=True,
        ),
    ]
    return section
