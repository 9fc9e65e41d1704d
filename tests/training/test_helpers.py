"""Helpers: real forks that work, fail, are killed, and end with the process that started them."""

import os
import signal
import subprocess
import sys
import time
from functools import partial

import psutil
import pytest

from quadrature.training.helpers import Helper, LostHelperError
from tests.checkout import PROJECT
from tests.processes import SECONDS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="helpers are used on Linux only")


def nothing():
    pass


@pytest.fixture
def children():
    """Returns a function that lists the processes that this one has started in the test."""
    others = psutil.Process().children()
    return lambda: [each for each in psutil.Process().children() if each not in others]


@pytest.fixture
def start():
    """Returns a function that starts a helper for a test's time."""
    started = []

    def start(work, prepare=nothing):
        started.append(Helper(work, prepare))
        return started[-1]

    yield start
    for helper in started:
        helper.end()


def test_a_helper_is_another_process_that_does_what_it_is_sent(start):
    reader, writer = os.pipe()

    def work(message):
        os.write(writer, f"{message} {os.getpid()} {os.getppid()}\n".encode())

    helper = start(work, partial(os.write, writer, b"prepared\n"))
    for number in range(3):
        helper.send(number)
        helper.wait()
    prepared, *lines = os.read(reader, 1000).decode().splitlines()
    assert prepared == "prepared"
    pids = {int(line.split()[1]) for line in lines}
    assert len(pids) == 1
    assert pids != {os.getpid()}
    assert [line.split()[0] for line in lines] == ["0", "1", "2"]
    assert {int(line.split()[2]) for line in lines} == {os.getpid()}


def test_an_error_in_a_helper_is_raised_here_and_the_next_message_is_answered(start):
    helper = start(lambda message: 1 / message)
    helper.send(0)
    with pytest.raises(ZeroDivisionError, match="division by zero"):
        helper.wait()
    helper.send(1)
    helper.wait()


@pytest.mark.slow
def test_a_message_larger_than_any_buffer_arrives(start):
    def work(message):
        assert message == b"x" * 10**8

    helper = start(work)
    helper.send(b"x" * 10**8)
    helper.wait()


def talk_on(helper):
    while True:
        helper.send("work")


@pytest.mark.parametrize("while_it_works", [True, False])
def test_a_helper_that_was_killed_is_told_of(start, children, while_it_works):
    helper = start(lambda _message: time.sleep(60))
    (process,) = children()
    if while_it_works:
        helper.send("work")
    process.kill()
    talk = helper.wait if while_it_works else partial(talk_on, helper)
    with pytest.raises(LostHelperError, match=r"^a process that shares the work has ended \(SIGKILL\); is memory"):
        talk()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGXCPU])
def test_no_signal_to_all_ends_a_helper_whose_work_is_awaited(start, children, number):
    helper = start(lambda _message: time.sleep(0.3))
    helper.send("a first time: now it ignores signals")
    helper.wait()
    helper.send("work")
    (process,) = children()
    process.send_signal(number)
    helper.wait()
    helper.send("work")
    helper.wait()


@pytest.mark.parametrize("order", [1, -1])
def test_helpers_end_in_any_order_and_leave_no_process(children, order):
    helpers = [Helper(print, nothing) for _ in range(3)]
    assert len(children()) == 3
    for helper in helpers[::order]:
        helper.end()
    assert children() == []


def test_a_program_that_ends_no_helper_ends_all_the_same():
    program = "from quadrature.training.helpers import Helper; helpers = [Helper(print, print) for _ in range(2)]"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=PROJECT, timeout=SECONDS)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_helpers_end_with_a_process_that_is_killed():
    program = """
import time
from quadrature.training.helpers import Helper
helpers = [Helper(time.sleep, lambda: None) for _ in range(3)]
helpers[0].send(0.3)
print("ready", flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=PROJECT)
    with process:
        assert process.stdout.readline() == "ready\n"
        children = psutil.Process(process.pid).children()
        assert len(children) == 3
        process.kill()
        _, alive = psutil.wait_procs(children, timeout=SECONDS)
    assert alive == []
