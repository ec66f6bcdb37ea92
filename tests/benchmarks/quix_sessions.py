"""Quix Streams' session windows over the benchmark's clicks; run by a Python that has it.

``PYTHON quix_sessions.py ADDRESS TOPIC STRATEGY COUNT WARM_UP FOLDER SCHEMA`` prints clicks per CPU
second from WARM_UP clicks on. As much is on as Quix Streams has: Avro, changelog, exactly-once.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from quixstreams import Application
from quixstreams.models.serializers.avro import AvroDeserializer

GAP_MS = 30 * 60_000


def main() -> None:
    address, topic, strategy, count, warm_up, folder, schema = sys.argv[1:]
    read, started = 0, 0.0

    def note(*_: object) -> None:
        nonlocal read, started
        read += 1
        if read == int(warm_up):
            started = time.process_time()
        if read == int(count):  # `run` counts what comes out, which is nothing for a long time
            app.stop()

    app = Application(
        broker_address=address,
        consumer_group=f"quix-{strategy}-{topic}",
        auto_offset_reset="earliest",
        commit_interval=1.0,
        state_dir=folder,
        loglevel="ERROR",
        processing_guarantee="exactly-once",
        on_message_processed=note,
    )
    clicks = app.topic(
        topic,
        value_deserializer=AvroDeserializer(json.loads(Path(schema).read_text())),
        timestamp_extractor=lambda value, *_: value["time"],
    )
    sessions = app.topic(f"{topic}-quix-{strategy}")
    frame = app.dataframe(clicks)
    windows = frame.apply(lambda click: click["item"]).session_window(GAP_MS).collect()
    windows.final(closing_strategy=strategy).to_topic(sessions)
    app.run(collect=False)
    print(json.dumps((read - int(warm_up)) / (time.process_time() - started)))


if __name__ == "__main__":
    main()
