"""How work is divided: what a launcher says, each process's share, and a process's threads."""

import pytest

from quadrature.runtime.errors import ParameterError
from quadrature.runtime.launch import Launch, read_launch


def environment(*values):
    return dict(zip(("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"), values, strict=False))


def test_a_process_that_no_launcher_started_is_alone():
    assert read_launch({}) == Launch(0, 1, 0, 1)
    assert read_launch({"LOCAL_RANK": "x"}) == Launch()  # another program's


def test_a_launchers_variables_are_read():
    assert read_launch(environment("5", "8", "1", "4")) == Launch(5, 8, 1, 4)
    assert read_launch(environment("5", "8")) == Launch(5, 8, 0, 1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (("0",), "RANK is set, but WORLD_SIZE is not"),
        (("2", "2"), "RANK is 2, not below WORLD_SIZE, 2"),
        (("0", "0"), "RANK is 0, not below WORLD_SIZE, 0"),
        (("-1", "2"), "RANK is '-1', which is not a whole number from 0"),
        (("", "2"), "RANK is '', which is not a whole number from 0"),
        (("0", "two"), "WORLD_SIZE is 'two', which is not a whole number from 0"),
        (("²", "3"), "RANK is '²', which is not a whole number from 0"),
        (("0", "2", "0"), "LOCAL_RANK is set, but LOCAL_WORLD_SIZE is not"),
        (("0", "2", "1", "1"), "LOCAL_RANK is 1, not below LOCAL_WORLD_SIZE, 1"),
        (("0", "2", "0", "3"), "LOCAL_WORLD_SIZE is 3, more than WORLD_SIZE, 2"),
    ],
)
def test_nonsense_is_refused_in_one_line(values, message):
    with pytest.raises(ParameterError) as caught:
        read_launch(environment(*values))
    assert str(caught.value).startswith(f"{message}; start with torchrun")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("world_size", [1, 2, 3, 7])
def test_the_shares_of_all_processes_are_all_items_each_once(world_size):
    shares = [list(Launch(rank, world_size).own_items(range(5))) for rank in range(world_size)]
    assert sorted(item for share in shares for item in share) == [0, 1, 2, 3, 4]


def test_processes_of_one_machine_divide_its_cores_and_each_has_one_at_least():
    assert Launch(0, 2, 0, 2).cores == max(1, Launch().cores // 2)
    assert Launch(0, 4096, 0, 4096).cores == 1
