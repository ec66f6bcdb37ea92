from __future__ import annotations

from tests.benchmarks.publish_to_live import HEAD, markdown_table

RESULT = {
    "machine": {"cores": 2},
    "workers": 8,
    "versions": 20,
    "jitter": "0ms",
    "served_mib": 26,
    "live_seconds": {"median": 0.5, "worst": 0.64},
    "spread_seconds": {"median": 0.2, "worst": 0.4},
    "memory_mib": {
        "with_one_version": 751,
        "at_its_peak_while_swapping": 1_799,
        "after_each_swap": [754, 762],
    },
}


def test_a_result_is_a_row() -> None:
    row = "| 8 | 2 | 26 | `0ms` | 20 | 0.50, 0.64 s | 0.20, 0.40 s | 751, 1,799, 762 |\n"
    assert markdown_table([RESULT]) == HEAD + row


def test_one_worker_has_no_distance_to_others() -> None:
    assert "0.64 s |  | 751" in markdown_table([RESULT | {"workers": 1}])
