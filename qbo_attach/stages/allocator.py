"""What becomes of large blocks of memory when they are free."""

from __future__ import annotations

import sys
from contextlib import suppress

LARGE_BYTES = 8 << 20
_M_MMAP_THRESHOLD = -3


def give_back_large_blocks() -> None:
    """Give blocks of 8 MiB and more back to the system at once, for the rest of the process.

    glibc does so only until it has freed one. Blocks of that size then come from heaps, one a
    thread, and stay there: with a million attachments the parts of a snapshot (25 MB each) and the
    indexes of a plan (16 to 64 MiB) leave 50 to 100 MiB of holes for the stages that follow.
    Where there is no glibc, nothing is done.
    """
    if sys.platform == "linux":
        with suppress(ImportError, OSError):  # a Python may have been built without it
            import ctypes

            mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
            if mallopt is not None:
                mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)
