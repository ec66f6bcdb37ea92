"""Run every panel's query against a Prometheus that scraped real workers, and print what it shows.

``python -m tests.benchmarks.panel_data http://localhost:9090``; the rules in ``deploy/prometheus``
must be loaded. A panel about faults shows nothing while there is none.
"""

from __future__ import annotations

import sys

import httpx

from tests.unit.observability.test_dashboards import BOARDS, filled_in, targets


def series(prometheus: httpx.Client, query: str) -> int:
    """Return the number of series of a query now."""
    answer = prometheus.get("/api/v1/query", params={"query": filled_in(query)})
    answer.raise_for_status()
    values = [row["value"][1] for row in answer.json()["data"]["result"]]
    return sum(value != "NaN" for value in values)


def main() -> None:
    """Print the number of series for each query."""
    found = 0
    with httpx.Client(base_url=sys.argv[1]) as prometheus:
        for name in BOARDS:
            for title, target in targets(name):
                count = series(prometheus, target["expr"])
                found += count > 0
                print(f"{name:15} {count:4} {title}: {target['legendFormat']}")
    print(f"{found} of {sum(len([*targets(name)]) for name in BOARDS)} queries return data")


if __name__ == "__main__":
    main()
