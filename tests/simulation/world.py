"""A small world in virtual time: processes that run, die and pause, and events outside of them.

Each process has an event loop of its own, so that its death is abrupt: the loop is dropped, and no
line of the process runs any more. One `random.Random` decides which ready step goes next.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import random
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from datetime import datetime, timedelta, timezone
from typing import Any, NoReturn

from qbo_attach.core.chain import Holder

START = datetime(2026, 11, 24, 4, 0, tzinfo=timezone.utc)
START_UNIX = START.timestamp()
_STEPS_AT_MOST = 400_000
"""More steps than any trial needs: work without end is told as such."""


class SimulationError(Exception):
    """Something that must never happen, whatever the faults."""


class _NoHandle(asyncio.Handle):
    """What `call_soon` gives back: nobody cancels a step, and a real handle costs time."""

    def __init__(self) -> None:
        pass

    def cancel(self) -> NoReturn:
        raise SimulationError("a step was to be cancelled")


_NO_HANDLE = _NoHandle()


class Process(asyncio.AbstractEventLoop):
    """One process: an event loop whose ready steps run in drawn order.

    Attributes:
        holder: what it writes into its segments.
        die_at: phase and count of the death it will die, e.g. ("put amid", 2); None: it lives.
        steps_left: it dies after so many steps more.
        died_in: phase of its death, "" while it lives.
        skew_s: how far its wall clock runs ahead.
        serves: it is no run, and nobody waits for its end.
    """

    def __init__(self, world: World, holder: Holder, skew_s: float = 0.0) -> None:
        self.world = world
        self.holder = holder
        self.skew_s = skew_s
        self.ready: list[tuple[Callable[..., object], tuple[Any, ...], Context]] = []
        self.dead = False
        self.died_at = 0.0
        self.died_in = ""
        self.die_at: tuple[str, int] | None = None
        self.steps_left = -1
        self.paused_until = 0.0
        self.serves = False
        self.main: asyncio.Task[Any] | None = None
        self._tasks: list[asyncio.Task[Any]] = []
        self._phases: Counter[str] = Counter()
        self._context = copy_context()

    # -- what asyncio wants of a loop -----------------------------------------------------------

    def call_soon(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        self.ready.append((callback, args, context or copy_context()))
        return _NO_HANDLE

    call_soon_threadsafe = call_soon  # type: ignore[assignment]

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(self.world.now + delay, callback, args, self, context)
        self.world.later(delay, lambda: None if handle.cancelled() else handle._run())
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """The timer finds out when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]
        self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, **_: Any
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name or "task")
        self._tasks.append(task)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return self.dead

    def time(self) -> float:
        return self.world.now

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Tasks of a dropped loop are pending for ever; that is what death means."""
        if not self.dead and "destroyed" not in context.get("message", ""):
            raise SimulationError(str(context))

    # -- core.ports.Clock -----------------------------------------------------------------------

    def monotonic(self) -> float:
        return self.world.now

    def utcnow(self) -> datetime:
        return START + timedelta(seconds=self.world.now + self.skew_s)

    async def sleep(self, seconds: float) -> None:
        future = self.create_future()
        if seconds <= 0:
            self.call_soon(_set, future, context=self._context)
        else:
            self.world.wake(future, seconds)
        await future

    # -- life and death -------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether it will do nothing any more."""
        return self.dead or (self.main is not None and self.main.done())

    def kill(self, phase: str) -> None:
        """End it here and now; what waits for it is never run."""
        self.dead = True
        self.died_at = self.world.now
        self.died_in = phase
        self.ready.clear()
        self.world.say(f"process {self.holder.pid} dies: {phase}")

    def reach(self, phase: str) -> bool:
        """Note that it comes to a phase; True: it has died there, or before."""
        if self.dead:
            return True
        self._phases[phase] += 1
        if self.die_at == (phase, self._phases[phase]):
            self.kill(phase)
        return self.dead

    async def at(self, phase: str) -> None:
        """Come to a phase; does not return if the process dies there."""
        if self.reach(phase):
            await self.create_future()

    def clear_away(self) -> None:
        """Free the memory of a process that is dead. Its lines see their end, and reach nothing."""
        hook = sys.unraisablehook
        sys.unraisablehook = _nobody_listens
        for task in self._tasks:
            if not task.done():
                with contextlib.suppress(RuntimeError):
                    task.get_coro().close()
        self._tasks.clear()
        self.ready.clear()
        sys.unraisablehook = hook

    def step(self) -> None:
        """Run one ready step, drawn."""
        ready = self.ready
        count = len(ready)
        if count > 1:
            index = int(self.world.chance() * count)
            ready[index], ready[-1] = ready[-1], ready[index]
        callback, args, context = ready.pop()
        context.run(callback, *args)
        if self.steps_left > 0:
            self.steps_left -= 1
            if not self.steps_left and not self.dead:
                self.kill("any step")


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class World:
    """Time, chance and the processes. `trace`, if given, takes what happens, line by line."""

    def __init__(self, seed: int, trace: Callable[[str], None] | None = None) -> None:
        self.now = 0.0
        self.random = random.Random(seed)
        self.chance = self.random.random
        self.processes: list[Process] = []
        self._trace = trace
        self._timers: list[tuple[float, int, asyncio.Future[Any] | None, Callable[[], None]]] = []
        self._order = itertools.count()
        self._steps = 0

    def unix(self) -> float:
        """Unix seconds, the company's clock."""
        return START_UNIX + self.now

    def say(self, what: str) -> None:
        """Take a line into the trace."""
        if self._trace is not None:
            self._trace(f"{self.now:10.3f} {what}")

    def later(self, seconds: float, event: Callable[[], None]) -> None:
        """Let an event happen, whoever lives then."""
        heapq.heappush(self._timers, (self.now + seconds, next(self._order), None, event))

    def wake(self, future: asyncio.Future[Any], seconds: float) -> None:
        """Set a future's result after a time."""
        heapq.heappush(self._timers, (self.now + seconds, next(self._order), future, _nothing))

    def start(self, process: Process, work: Coroutine[Any, Any, Any]) -> None:
        """Let a process begin; it is over when its work is done."""
        self.processes.append(process)
        process.main = self.begin(process, work)

    def begin(self, process: Process, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Give a process some work."""
        previous = asyncio._get_running_loop()
        asyncio._set_running_loop(process)
        task = process.create_task(work)
        asyncio._set_running_loop(previous)
        return task

    def run(self, until: Callable[[], bool]) -> None:
        """Go on until it holds; time passes only when no process has anything to do.

        Raises:
            SimulationError: everything waits for ever, or works for ever.
        """
        outer = asyncio._get_running_loop()
        try:
            while self._run_one() or (not until() and self._advance()):
                pass
            if not until():
                raise SimulationError("everything waits, and no timer is set")
        finally:
            asyncio._set_running_loop(outer)

    def _run_one(self) -> bool:
        """Let one process run for a few steps; False: none has anything to do."""
        chosen, rivals = None, 0
        for process in self.processes:
            if process.ready and process.paused_until <= self.now:
                rivals += 1
                if rivals == 1 or self.chance() * rivals < 1.0:
                    chosen = process
        if chosen is None:
            return False
        asyncio._set_running_loop(chosen)
        steps = 0
        most = 1_000 if rivals == 1 else 1 + int(self.chance() * 8)
        while chosen.ready and steps < most and chosen.paused_until <= self.now:
            chosen.step()
            steps += 1
        self._steps += steps
        if self._steps > _STEPS_AT_MOST:
            raise SimulationError("it works without end")
        return True

    def _advance(self) -> bool:
        """Jump to the next timer that still matters; False: there is none."""
        timers = self._timers
        while timers:
            when, _, future, event = heapq.heappop(timers)
            if future is None:
                self.now = max(self.now, when)
                event()
                return True
            if not future.done() and not future.get_loop().is_closed():
                self.now = max(self.now, when)
                future.set_result(None)
                return True
        return False

    def let_pass(self, seconds: float) -> None:
        """Let time pass, with all that happens in it."""
        passed: list[bool] = []
        self.later(seconds, lambda: passed.append(True))
        self.run(lambda: bool(passed) and self.all_over())

    def all_over(self) -> bool:
        """Whether every run has ended or died."""
        return all(p.over for p in self.processes if not p.serves)

    def bury(self, *, everyone: bool = False) -> None:
        """Forget the processes that are over."""
        gone = [p for p in self.processes if everyone or (p.over and not p.serves)]
        for process in gone:
            process.dead = True
            process.clear_away()
        self.processes = [p for p in self.processes if p not in gone]


def _nobody_listens(_: object) -> None:
    """CPython cannot close an async generator that waits deep within another one."""


def _nothing() -> None:
    return None
