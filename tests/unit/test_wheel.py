"""The wheel: what it installs, and that its code runs where the checkout is not on the path."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
WORKERS = ("inference", "monitor", "sessionizer", "trainer")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*build, "--directory", folder], cwd=CHECKOUT, check=True, capture_output=True)
    [file] = folder.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel: Path) -> Path:
    """A folder with what pip would put into site-packages."""
    folder = wheel.parent / "site-packages"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def below(folder: Path, place: str) -> Iterator[str]:
    """Files below a folder, as the wheel names them if the folder is at `place`."""
    for file in folder.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            yield f"{place}/{file.relative_to(folder).as_posix()}"


def content(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def run_installed(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the wheel's code and the dependencies, without the checkout.

    ``-S`` leaves out .pth files, through which an editable install finds the checkout.
    """
    path = os.pathsep.join([str(installed), sysconfig.get_path("purelib")])
    return subprocess.run(
        [sys.executable, "-S", "-P", *arguments],
        env=os.environ | {"PYTHONPATH": path},
        cwd=installed.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_the_wheel_installs_one_package(wheel: Path) -> None:
    tops = {name.partition("/")[0] for name in content(wheel)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"ader_stream"}


def test_the_wheel_has_every_module_and_file_of_the_checkout(wheel: Path) -> None:
    expected = {
        *below(CHECKOUT / "ader_stream", "ader_stream"),
        *below(CHECKOUT / "consumers", "ader_stream/consumers"),
        *below(CHECKOUT / "schemas", "ader_stream/schemas"),
        *below(CHECKOUT / "deploy" / "kafka", "ader_stream/deploy/kafka"),
    }
    assert {f"ader_stream/consumers/{name}.py" for name in WORKERS} <= expected
    assert "ader_stream/schemas/Click.avsc" in expected
    assert expected <= content(wheel)
    assert "ader_stream/deploy/kafka/pom.xml" in expected
    assert not [name for name in content(wheel) if name.endswith(".pyc")]


def test_the_wheel_installs_the_command(installed: Path) -> None:
    [entry_points] = installed.glob("*.dist-info/entry_points.txt")
    assert "ader-stream = ader_stream.cli.main:main" in entry_points.read_text()
    shown = run_installed(installed, "-m", "ader_stream.cli.main", "run", "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "sessionizer" in shown.stdout


def test_nothing_called_consumers_is_installed_at_the_top(installed: Path) -> None:
    found = run_installed(installed, "-c", "import consumers")
    assert "ModuleNotFoundError: No module named 'consumers'" in found.stderr


@pytest.mark.parametrize("name", WORKERS)
def test_a_worker_runs_from_the_wheel(installed: Path, name: str) -> None:
    code = (
        "import importlib, sys\n"
        "from ader_stream.runtime.resources import worker_command, worker_module\n"
        f"worker = importlib.import_module(worker_module({name!r}))\n"
        f"assert worker_command({name!r})[1:] == ['-P', '-m', worker.__name__]\n"
        "print(worker.run.__module__, worker.__file__)"
    )
    found = run_installed(installed, "-c", code)
    place = installed / "ader_stream" / "consumers" / f"{name}.py"
    assert found.stdout.split() == [f"ader_stream.consumers.{name}", str(place)], found.stderr


def test_pytest_finds_the_test_kit_and_loads_none_of_what_it_needs(installed: Path) -> None:
    code = (
        "import sys, pytest\n"
        "code = pytest.main(['--fixtures', '-q', '-p', 'no:cacheprovider', sys.argv[1]])\n"
        "costly = {'torch', 'confluent_kafka', 'numpy', 'httpx', 'testcontainers'}\n"
        "print(f'loaded: {sorted(costly & {*sys.modules})}')"
    )
    folder = installed.parent / "empty"
    folder.mkdir()
    found = run_installed(installed, "-c", code, str(folder))
    assert "ader_system" in found.stdout, found.stderr
    assert found.stdout.splitlines()[-1] == "loaded: []"
