"""`python -m tests.kills`: kill `qbo-attach run` at many points and count what the company holds."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.kills.proof import Proof, prove, replay, weed


def main() -> int:
    """Parse the command line; exit status 1 if any point failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.kills", description=__doc__)
    parser.add_argument("--points", type=int, default=200, help="how many kills must strike")
    parser.add_argument("--plain", type=int, default=0, help="of these, of the plain command line")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="decides all")
    parser.add_argument("--workers", type=int, default=2, help="trials at once")
    parser.add_argument("--s3", action="store_true", help="tree, tables and log on an S3 server")
    parser.add_argument("--trial", default="", help="do this one alone, as a failure printed it")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kills-") as name, weed(Path(name), asked.s3) as server:
        if asked.trial:
            proof: Proof = replay(asked.trial, Path(name), server)
        else:
            plain = asked.plain or asked.points // 4
            proof = prove(
                asked.points,
                asked.seed,
                Path(name),
                plain=plain,
                server=server,
                workers=asked.workers,
            )
    print(proof.told())
    return 1 if proof.failed else 0


if __name__ == "__main__":
    sys.exit(main())
