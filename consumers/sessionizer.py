"""The sessionizer: clicks in; sessions, block ends and dead letters out, exactly once.

One group, one transaction for each input partition. Run it with ``python -m consumers.sessionizer``
or ``ader-stream run sessionizer``; start as many as there are partitions to share them.
"""

from __future__ import annotations

from ader_stream import metrics as m
from ader_stream.process import Process, run_worker
from ader_stream.settings import Settings
from ader_stream.stream.clicks import ClickDecoder
from ader_stream.stream.exactly_once import ExactlyOnceLoop, LoopConfig
from ader_stream.stream.sessionizing import SessionizerRules, SessionizerTask
from ader_stream.stream.topics import check_topics


def run(settings: Settings) -> None:
    """Cut clicks into sessions until SIGTERM.

    Raises
    ------
    AderError
        If Kafka, the topics or the clicks are not as the settings say.
    """
    clients, topics = settings.clients, settings.topics
    clients.check_reachable()
    check_topics(clients.admin(), topics)
    decoder = ClickDecoder(settings.click_format)
    rules = SessionizerRules(
        settings.block_rule,
        settings.session_rule,
        settings.intake_rule,
        settings.sessionizer.dead_letter_ratio,
    )
    with Process("sessionizer", settings) as process:
        metrics = process.metrics
        loop = ExactlyOnceLoop(
            clients,
            LoopConfig(
                topics.clicks,
                topics.group("sessionizer"),
                settings.clicks.start,
                settings.sessionizer.commit_interval,
            ),
            lambda partition: SessionizerTask(partition, clients, topics, decoder, rules, metrics),
            lambda partition, lag: metrics[m.LAG].labels(partition=partition).set(lag),
        )
        process.not_ready = lambda: "" if loop.has_joined else "waiting for the group"
        process.serve()
        loop.run(process.should_stop, lambda: None)


if __name__ == "__main__":
    run_worker(run)
