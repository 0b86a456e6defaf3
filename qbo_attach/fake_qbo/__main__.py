"""`python -m qbo_attach.fake_qbo`: the options as flags; `qbo-attach fake-qbo` is the same door."""

from __future__ import annotations

import argparse
import sys
from dataclasses import fields

from qbo_attach.fake_qbo import FakeOptions, serve


def main() -> int:
    """Read the flags and serve; 2 if they cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m qbo_attach.fake_qbo")
    for option in fields(FakeOptions):
        flag = "--" + option.name.replace("_", "-")
        if isinstance(option.default, bool):
            parser.add_argument(flag, default=option.default, action=argparse.BooleanOptionalAction)
        elif isinstance(option.default, (int, float, str)):
            parser.add_argument(flag, default=option.default, type=type(option.default))
    try:
        serve(FakeOptions(**vars(parser.parse_args())))
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
