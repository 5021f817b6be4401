"""Facts of the machine: enough to explain a number, nothing that names it."""

import getpass
import socket

import msgspec
import pytest

from arena_py.measure import machine


@pytest.fixture
def facts():
    return machine.machine()


def test_facts_make_sense(facts):
    assert facts.threads >= facts.cores >= 1
    assert 0 < facts.usable_threads <= facts.threads
    assert facts.memory_bytes > 1 << 28
    assert facts.cpu


def test_nothing_names_the_machine_or_the_user(facts):
    words = msgspec.json.encode(facts).decode()
    assert f'"{socket.gethostname()}"' not in words
    assert f'"{getpass.getuser()}"' not in words


def test_a_control_group_bounds_what_may_be_used(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    free = machine.available_bytes()
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "memory.max").write_text(f"{1 << 28}\n")
    (tmp_path / "memory.current").write_text(f"{200 << 20}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {50 << 20}\n")
    assert machine.usable_threads() <= 1.5
    assert machine.physical_cores() == 1
    assert machine.total_bytes() == 1 << 28
    assert machine.available_bytes() == (106 << 20) - int(machine.RESERVE * (1 << 28)) < free


def test_no_limit_is_no_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    without = machine.total_bytes()
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "memory.max").write_text("max\n")
    assert machine.total_bytes() == without
    assert machine.usable_threads() >= 1
