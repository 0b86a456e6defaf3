"""Large blocks that are free leave the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_IMPORT = "from qbo_attach.stages.allocator import give_back_large_blocks\n"
_PROGRAM = f"""{_IMPORT}
import os
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

def resident_mib():
    with open("/proc/self/statm") as stream:
        return int(stream.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)

def hold(mib):
    block = b"x" * (mib << 20)
    together.wait()
    return len(block)

give_back_large_blocks()
together = Barrier(4)
with ThreadPoolExecutor(4) as pool:
    list(pool.map(hold, [1] * 4))
    before = resident_mib()
    for mib in (24, 23, 22):
        list(pool.map(hold, [mib] * 4))
    print(resident_mib() - before)
"""


def test_a_python_without_ctypes_goes_on_without() -> None:
    program = "import sys; sys.modules['ctypes'] = None\n" + _IMPORT + "give_back_large_blocks()"
    subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps large blocks")
def test_free_blocks_of_many_threads_leave_the_process() -> None:
    told = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, check=True)
    assert float(told.stdout) < 8
