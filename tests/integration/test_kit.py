"""The test kit, as a team uses it that has installed ader-stream: in a folder of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ader_stream.errors import InputError
from ader_stream.testing.brokers import RealKafka
from ader_stream.testing.running_system import RunningSystem

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "test_with_ader_stream.py"
TIMEOUT_SECONDS = 250


def pytest_in(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA"]
    plugin = ["-p", "ader_stream.testing.plugin", "--strict-config", "-W", "error"]
    return subprocess.run(
        [*command, *plugin, "--rootdir", folder, folder],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_SECONDS,
    )


def test_the_example_of_the_documentation_passes_in_an_empty_folder(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path)
    done = pytest_in(tmp_path)
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_the_real_trainer_trains_a_block_of_seconds(kafka: RealKafka, tmp_path: Path) -> None:
    visits = [(f"visit-{n}", item) for n in range(30) for item in ("hat", "bag", "shoe")]
    with RunningSystem(kafka, tmp_path, {}, "real") as system:
        system.send_clicks(visits)
        system.end_block()
        assert system.wait_for_version() == 1
        assert set(system.recommendations_for(["hat"], k=2)) <= {"hat", "bag", "shoe"}


def test_what_it_is_asked_too_early_is_refused_and_its_workers_end_with_it(
    kafka: RealKafka, tmp_path: Path
) -> None:
    with RunningSystem(kafka, tmp_path, {}) as system:
        assert system.sessions_of("nobody") == []
        with pytest.raises(InputError, match="no version has been published yet"):
            system.recommendations_for(["hat"])
        with pytest.raises(InputError, match="session 'nobody' is not open"):
            system.recommendations_for("nobody")
    workers = system.system.workers
    assert [(worker.name, worker.process.poll() is None) for worker in workers] == [
        ("sessionizer", False),
        ("inference", False),
    ]


def test_a_trainer_that_does_not_exist_is_refused(kafka: RealKafka, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ader_trainer = 'quick': expected 'fake' or 'real'"):
        RunningSystem(kafka, tmp_path, {}, "quick")  # type: ignore[arg-type]
