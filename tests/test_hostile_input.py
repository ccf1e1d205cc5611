"""Input of somebody who means harm: refused with words, never an error of another kind. ``make fuzz`` does more."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.fuzz.attack import attack
from bench.fuzz.mutation import mutated
from bench.fuzz.port import Program
from bench.fuzz.seeds import NESTED, seeds_of
from bench.fuzz.targets import COSTLY, TARGETS, clean_up

QUICK = settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    yield
    clean_up()


@pytest.mark.parametrize("name", sorted(set(TARGETS) - COSTLY))
def test_an_input_is_taken_or_refused_with_words(name: str) -> None:
    seeds = seeds_of(name)
    for seed in seeds:
        TARGETS[name](seed)

    @QUICK
    @given(
        st.builds(mutated, st.sampled_from(seeds), st.integers().map(random.Random))
        | st.binary(max_size=2_000)
    )
    def taken_or_refused(data: bytes) -> None:
        TARGETS[name](data)

    taken_or_refused()


@pytest.mark.parametrize("name", sorted(COSTLY))
def test_any_bytes_on_the_port_leave_the_monitor_at_work(name: str) -> None:
    assert attack(name, 40, seed=3).findings == {}


def test_requests_that_never_end_keep_nobody_out() -> None:
    program = Program()
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(150):
                client = stack.enter_context(socket.create_connection(("127.0.0.1", program.port)))
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: loc")
            program.check()
        program.check()
    finally:
        program.close()


def test_clients_that_vanish_leave_no_descriptor_behind() -> None:
    program = Program()
    try:
        program.check()
        before = program.descriptors()
        for number in range(30):
            program.throw(NESTED[number % 3], upgrade=bool(number % 2))
        program.check()
        assert program.descriptors() <= before + 3
    finally:
        program.close()
