"""Runs tasks that wait for each other, several at a time, each in a process of its own."""

import multiprocessing
import signal
from collections.abc import Callable, Mapping, Sequence
from graphlib import TopologicalSorter
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess

from helpers.processes import end_with_parent, watch_make

SECONDS = 1  # between two looks at whether make was interrupted
# Of notebooks that could start, first those that others wait for, then the longest.
FIRST = ("02", "03", "05", "04", "11", "09", "10", "06", "08")


def in_order(
    graph: Mapping[str, Sequence[str]], begin: Callable[[str], BaseProcess | None], *, jobs: int, go_on: bool = False
) -> list[str]:
    """Run the tasks of `graph` (task: those it waits for), up to `jobs` at a time; returns those that failed.

    begin(task): starts its process, or returns None if there is nothing to do. After a failure no task starts; with
    `go_on` only those that wait for it do not. An interruption (KeyboardInterrupt) ends all processes.
    """
    sorter, running, ready, failed = TopologicalSorter(graph), {}, [], []
    sorter.prepare()
    was_interrupted = watch_make()
    try:
        while True:
            ready = [] if failed and not go_on else [*ready, *sorter.get_ready()]
            if not (ready or running):
                return failed
            if ready and len(running) < jobs:
                ready.sort(key=_rank if jobs > 1 else None)
                task = ready.pop(0)
                if process := begin(task):
                    running[process.sentinel] = task, process
                else:
                    sorter.done(task)
            else:
                failed += _wait(running, sorter)
            if was_interrupted():
                raise KeyboardInterrupt
    finally:
        for _, process in running.values():
            process.terminate()


def _wait(running: dict, sorter: TopologicalSorter) -> list[str]:
    """Wait until a process ends, but not for long; returns the tasks that failed."""
    failed = []
    for sentinel in wait(list(running), SECONDS):
        task, process = running.pop(sentinel)
        process.join()
        sorter.done(task) if process.exitcode == 0 else failed.append(task)
    return failed


def process_for(function: Callable, *arguments, preload: str) -> BaseProcess:
    """A started process that calls function(*arguments) and ends with this one.

    preload: a module that is imported only once for all such processes.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([preload])
    process = context.Process(target=_call, args=(function, arguments))
    process.start()
    return process


def _call(function: Callable, arguments: tuple) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupted process ends without a traceback
    end_with_parent()
    function(*arguments)


def _rank(task: str) -> tuple[int, str]:
    number = task.partition("_")[0]
    return FIRST.index(number) if number in FIRST else len(FIRST), task
