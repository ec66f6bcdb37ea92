from __future__ import annotations

from ader_stream.runtime.machine import describe_machine, peak_rss_bytes


def test_machine_is_described_without_its_name() -> None:
    machine = describe_machine(threads=3)
    assert set(machine) == {"processor", "cores", "threads", "memory_bytes"}
    assert machine["threads"] == 3
    assert int(machine["cores"]) >= 1
    assert machine["processor"]


def test_peak_memory_is_in_bytes_and_never_falls() -> None:
    # An interpreter with the test suite loaded holds more than 20 MB.
    before = peak_rss_bytes()
    assert 20 * 2**20 < before < int(describe_machine(1)["memory_bytes"])
    held = bytearray(2**20)
    assert len(held) < peak_rss_bytes()
    assert peak_rss_bytes() >= before
