"""Diagnose a system, its cluster and its clicks, with remedies.

There is one file for each family of checks; `finding` has their results, `subject` their input.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ader_stream.stream.diagnosis.checking import Check, Once, run_checks
from ader_stream.stream.diagnosis.cluster import check_connection, check_limits
from ader_stream.stream.diagnosis.contents import describe_contents, describe_refusals
from ader_stream.stream.diagnosis.dry_run import dry_run
from ader_stream.stream.diagnosis.finding import Finding
from ader_stream.stream.diagnosis.next_reads import check_next_reads
from ader_stream.stream.diagnosis.outcome import describe_blocks, describe_sessions
from ader_stream.stream.diagnosis.progress import check_blocks, check_places, check_state
from ader_stream.stream.diagnosis.retention import (
    check_cleanup,
    check_retention,
    check_timestamps,
)
from ader_stream.stream.diagnosis.subject import DiagnosisInput
from ader_stream.stream.diagnosis.topic_setup import (
    check_clicks_topic,
    check_contents,
    check_our_configs,
    check_our_topics,
)
from ader_stream.stream.diagnosis.visitors import (
    clicks_taken,
    describe_heartbeats,
    describe_keys,
    describe_times,
)

__all__ = ["Check", "DiagnosisInput", "Finding", "diagnose"]

CONFIGS = "DescribeConfigs"


def diagnose(
    subject: DiagnosisInput, more: Sequence[Check[DiagnosisInput]] = ()
) -> Iterator[Finding]:
    """Run all checks that are possible before a worker starts.

    If no broker answers, no check is possible; otherwise each check runs on its own.

    Parameters
    ----------
    more
        Requested additional checks, which run first.
    """
    [connection] = run_checks([Check("connection", check_connection)], subject)
    yield connection
    if connection.level == "ok":
        yield from run_checks([*more, *_checks(subject)], subject)


def _checks(subject: DiagnosisInput) -> list[Check[DiagnosisInput]]:
    runs = Once(lambda: dry_run(subject))
    clicks = Once(lambda: clicks_taken(subject, runs()))
    on_topic, on_cluster = f"{CONFIGS} on its clicks topic", f"{CONFIGS} on the cluster"
    on_groups = "Describe on the workers' groups"
    on_places = f"Read on the topics and {on_groups}"
    return [
        Check("clicks topic", check_clicks_topic),
        Check("topics", check_our_topics),
        Check("topics' configuration", check_our_configs, f"{CONFIGS} on the topics"),
        Check("broker's limits", check_limits, on_cluster),
        Check("clean-up", check_cleanup, on_topic),
        Check("retention", check_retention, on_topic),
        Check("timestamps", check_timestamps, on_topic),
        Check("places", check_places, on_places),
        Check("block rule", check_blocks, "Read on control"),
        Check("state", check_state, f"Read on sessionizer-state and {on_groups}"),
        Check("sample", check_contents),
        Check("contents", lambda _: describe_contents(subject, runs())),
        Check("refusals", lambda _: describe_refusals(subject, runs())),
        Check("unread", lambda _: check_next_reads(subject, runs()), on_places),
        Check("event times", lambda _: describe_times(subject, clicks())),
        Check("heartbeats", describe_heartbeats),
        Check("session keys", lambda _: describe_keys(subject, clicks())),
        Check("sessions", lambda _: describe_sessions(subject, runs())),
        Check("blocks", lambda _: describe_blocks(subject, runs())),
    ]
