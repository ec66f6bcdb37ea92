from __future__ import annotations

import json
import threading

import pytest
import structlog

from ader_stream.runtime.logs import configure_logs

Capture = pytest.CaptureFixture[str]


def test_text_lines_are_pairs_of_names_and_values(capsys: Capture) -> None:
    configure_logs(worker="trainer")
    structlog.get_logger().info("version published", version=3, blocks=[1, 2])
    line = capsys.readouterr().err
    assert 'level=info event="version published"' in line
    assert 'version=3 blocks="[1, 2]"' in line
    assert "worker=trainer" in line


def test_json_lines_hold_the_same(capsys: Capture) -> None:
    configure_logs("json", worker="trainer")
    structlog.get_logger().info("version published", version=3)
    line = json.loads(capsys.readouterr().err)
    assert line.pop("timestamp")
    expected = {"level": "info", "event": "version published", "version": 3, "worker": "trainer"}
    assert line == expected


def test_every_thread_says_which_worker_it_is_of(capsys: Capture) -> None:
    configure_logs(worker="inference")
    thread = threading.Thread(target=structlog.get_logger().info, args=["version live"])
    thread.start()
    thread.join()
    assert "worker=inference" in capsys.readouterr().err


def test_what_is_below_the_level_is_not_written(capsys: Capture) -> None:
    configure_logs(level="warning")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert "quiet" not in (err := capsys.readouterr().err)
    assert "loud" in err


def test_an_error_is_one_line_with_its_traceback(capsys: Capture) -> None:
    configure_logs()
    try:
        int("x")
    except ValueError:
        structlog.get_logger().exception("request failed")
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.count("\n") == 1
