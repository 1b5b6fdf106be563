"""Tasks that wait for each other, each in a process of its own."""

import time

import pytest

from helpers.running.graph import in_order, process_for

GRAPH = {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c"), "e": ()}


def work(folder, task, failing):
    with (folder / "log").open("a") as log:
        log.write(f"{task}\n")
    if task in failing:
        raise SystemExit(1)


def read_log(folder):
    return (folder / "log").read_text().split() if (folder / "log").exists() else []


@pytest.mark.parametrize("jobs", [1, 3])
def test_each_task_runs_after_those_that_it_waits_for(tmp_path, jobs):
    assert in_order(GRAPH, lambda task: process_for(work, tmp_path, task, "", preload="os"), jobs=jobs) == []
    place = {task: number for number, task in enumerate(read_log(tmp_path))}
    assert len(place) == 5 and all(place[task] > place[before] for task, befores in GRAPH.items() for before in befores)


@pytest.mark.parametrize(("go_on", "ran"), [(False, ["a", "b"]), (True, ["a", "b", "c", "e"])])
def test_after_a_failure_nothing_starts_or_only_what_does_not_wait_for_it(tmp_path, go_on, ran):
    begin = lambda task: process_for(work, tmp_path, task, "b", preload="os")  # noqa: E731
    assert in_order(GRAPH, begin, jobs=1, go_on=go_on) == ["b"]
    assert sorted(read_log(tmp_path)) == ran


def test_what_has_nothing_to_do_starts_no_process():
    assert in_order(GRAPH, lambda task: None, jobs=2) == []
    assert in_order({}, None, jobs=2) == []


def test_an_error_ends_the_processes_that_run():
    started = []

    def begin(task):
        if started:
            raise RuntimeError
        started.append(process_for(time.sleep, 100, preload="os"))
        return started[0]

    with pytest.raises(RuntimeError):
        in_order(GRAPH, begin, jobs=2)
    started[0].join(20)
    assert started[0].exitcode
