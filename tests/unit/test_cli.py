from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaError, KafkaException

from ader_stream.cli import models
from ader_stream.cli.cluster import topics
from ader_stream.cli.main import COMMANDS, cli, main
from ader_stream.cli.metrics import metrics
from ader_stream.errors import AderError, InputError, SettingsError, TopicError, UnreachableError
from ader_stream.metrics import CATALOGUE
from ader_stream.settings import describe_settings
from ader_stream.stream.kafka.clients import KafkaClients
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.model_registry.registry import Registry


class Ended(NamedTuple):
    """How a command line ended."""

    code: int | str | None
    out: str
    err: str


CommandLine = Callable[..., Ended]


@pytest.fixture
def command_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> CommandLine:
    def run(*arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["ader-stream", *arguments])
        with pytest.raises(SystemExit) as end:
            main()
        return Ended(end.value.code, *capsys.readouterr())

    return run


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let `ader-stream metrics` end with an error."""

    def callback(**_: object) -> None:
        raise error

    monkeypatch.setattr(metrics, "callback", callback)


# --- exit codes


def test_what_kafkas_client_raises_is_one_line(
    monkeypatch: pytest.MonkeyPatch, command_line: CommandLine
) -> None:
    def answer(_: KafkaClients, timeout: float = 0) -> None:
        raise KafkaException(KafkaError(KafkaError._FENCED, "fenced by another", fatal=True))

    monkeypatch.setattr(KafkaClients, "check_reachable", answer)
    for command in (["topics", "check"], ["run", "sessionizer"]):
        ended = command_line(*command)
        assert ended.code == 1
        assert ended.err.startswith("ader-stream: Kafka: fenced by another (_FENCED); look at")
        assert len(ended.err.splitlines()) == 1
    ended = command_line("doctor")
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.startswith("ERROR    connection: not checked, fenced by another")


def test_what_is_done_ends_with_0(command_line: CommandLine) -> None:
    ended = command_line("metrics")
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TopicError("ader.clicks: no such topic"), 1),
        (AderError("12 clicks were not acknowledged"), 1),
        (InputError("k: expected more"), 2),
        (SettingsError("http.port = 0: expected more"), 2),
        (UnreachableError("no Kafka answers"), 2),
    ],
)
def test_an_error_raised_on_purpose_is_one_line_and_a_code(
    monkeypatch: pytest.MonkeyPatch, command_line: CommandLine, error: AderError, code: int
) -> None:
    fail_with(monkeypatch, error)
    assert command_line("metrics") == (code, "", f"ader-stream: {error}\n")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, command_line: CommandLine, error: BaseException
) -> None:
    fail_with(monkeypatch, error)
    ended = command_line("metrics")
    assert (ended.code, ended.err.strip()) == (130, "ader-stream: interrupted")


def test_a_command_may_end_with_a_code_of_its_own(
    monkeypatch: pytest.MonkeyPatch, command_line: CommandLine
) -> None:
    fail_with(monkeypatch, click.exceptions.Exit(1))
    assert command_line("metrics").code == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["nothing"], "No such command 'nothing'"),
        (["metrics", "--yaml"], "No such option '--yaml'"),
        (["run", "cook"], "'cook' is not one of 'sessionizer', 'trainer', 'inference', 'monitor'"),
        (["replay"], "Missing option '--dataset'"),
        (["replay", "--dataset", ".", "--rate", "0"], "0.0 is not in the range x>0"),
        (["topics", "create", "--partitions", "0"], "0 is not in the range x>=1"),
        (["models", "promote", "--wait", "soon"], "'soon': expected a number and one of ms, s, m"),
        (["models", "promote", "--wait", "1h"], "--wait is for --when-better"),
    ],
)
def test_a_wrong_command_line_is_reported_and_ends_with_2(
    command_line: CommandLine, arguments: list[str], expected: str
) -> None:
    ended = command_line(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert expected in ended.err.splitlines()[-1]


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("ADER_SESSIONS_GAP", "-5m", "sessions.gap = '-5m': expected a number"),
        ("ADER_SESIONS_GAP", "5m", "unknown setting; did you mean ADER_SESSIONS_GAP?"),
        ("ADER_SETTINGS", "nothing.toml", "nothing.toml does not exist"),
        ("ADER_CLICKS_AVRO_SCHEMA", "nothing.avsc", "clicks.avro_schema = nothing.avsc"),
    ],
)
def test_a_wrong_setting_is_one_line_before_anything_is_asked_of_kafka(
    monkeypatch: pytest.MonkeyPatch,
    command_line: CommandLine,
    variable: str,
    value: str,
    expected: str,
) -> None:
    monkeypatch.setenv("ADER_CLICKS_FORMAT", "avro")
    monkeypatch.setenv(variable, value)
    ended = command_line("run", "sessionizer")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert expected in ended.err


def test_a_data_set_to_begin_with_is_for_the_trainer_alone(command_line: CommandLine) -> None:
    ended = command_line("run", "inference", "--bootstrap-dataset", "clicks")
    assert ended.code == 2
    assert "--bootstrap-dataset is for the trainer, not for inference" in ended.err


def test_a_data_set_to_begin_with_wins_over_the_setting_and_is_checked_like_one(
    monkeypatch: pytest.MonkeyPatch, command_line: CommandLine
) -> None:
    monkeypatch.setenv("ADER_TRAINER_BOOTSTRAP_FOLDER", "export")
    ended = command_line("run", "trainer", "--bootstrap-dataset", "clicks")
    assert ended.code == 2
    assert "trainer.bootstrap_dataset = clicks and trainer.bootstrap_folder" in ended.err


def test_a_data_set_that_is_not_there_is_one_line(
    command_line: CommandLine, tmp_path: Path
) -> None:
    ended = command_line("replay", "--dataset", str(tmp_path / "nothing"))
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "nothing" in ended.err


def test_an_address_where_no_kafka_answers_is_one_line(
    monkeypatch: pytest.MonkeyPatch, command_line: CommandLine
) -> None:
    monkeypatch.setattr(KafkaClients.check_reachable, "__defaults__", (0.3,))
    ended = command_line("topics", "check", "--bootstrap-servers", "localhost:1")
    assert (ended.code, ended.err.count("\n")) == (2, 1)
    assert "no Kafka answers at localhost:1" in ended.err


# --- what is loaded


def loaded(code: str) -> set[str]:
    """Modules that a fresh Python holds after running `code`."""
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True, timeout=100
    )
    return set(done.stderr.split())


def test_help_loads_no_command() -> None:
    modules = loaded("from ader_stream.cli.main import cli; cli(['--help'], standalone_mode=False)")
    assert "ader_stream.cli.main" in modules
    assert not modules & {"torch", "confluent_kafka", "duckdb", "matplotlib", "starlette"}


def test_every_help_works_without_the_packages_of_extras() -> None:
    modules = loaded(
        "from click.testing import CliRunner\n"
        "from ader_stream.cli.extras import EXTRAS\n"
        "from ader_stream.cli.main import cli\n"
        "sys.modules.update(dict.fromkeys(EXTRAS))\n"  # None: as if it were not installed
        "def show(command, *names):\n"
        "    done = CliRunner().invoke(cli, [*names, '--help'])\n"
        "    assert done.exit_code == 0, (names, done.exception)\n"
        "    for name in getattr(command, 'commands', None) or ():\n"
        "        show(command.commands[name], *names, name)\n"
        "for name in cli.list_commands(None):\n"
        "    show(cli.get_command(None, name), name)\n"
    )
    assert {"ader_stream.cli.models", "ader_stream.cli.evaluation.evaluate"} <= modules


def test_the_sessionizer_runs_without_torch() -> None:
    modules = loaded(
        "import consumers.sessionizer as worker; worker.run = lambda settings: None\n"
        "from ader_stream.cli.main import cli\n"
        "cli(['run', 'sessionizer'], standalone_mode=False)"
    )
    assert {"ader_stream.cli.run", "consumers.sessionizer", "confluent_kafka"} <= modules
    assert not modules & {"torch", "safetensors", "ader_stream.ader"}


# --- what is printed


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_there_and_explains_itself(name: str) -> None:
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command is not None
    shown = CliRunner().invoke(command, ["--help"])
    assert (shown.exit_code, bool(command.help)) == (0, True)


def test_help_lists_every_command() -> None:
    shown = CliRunner().invoke(cli, ["--help"]).output
    assert all(f"  {name} " in shown for name in COMMANDS)


@pytest.mark.parametrize("name", ["blocks", "dead-letters", "models", "offsets", "topics"])
def test_help_of_a_group_cuts_no_summary_off(name: str) -> None:
    shown = CliRunner().invoke(cli, [name, "--help"], terminal_width=80).output
    assert "..." not in shown.partition("Commands:")[2]


@pytest.mark.parametrize("name", ["demo", "drift", "replay"])
def test_columns_can_be_named_wherever_a_table_is_read(
    name: str, tmp_path: Path, command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "visits.csv"
    file.write_text("visitor;sku;at\na;b;soon\n")
    monkeypatch.chdir(tmp_path)
    columns = ("--session-column", "visitor", "--item-column", "sku", "--time-column", "at")

    code, _, err = command_line(name, "--dataset", str(file), "--delimiter", ";", *columns)

    assert code == 2
    assert "visits.csv: time 'soon'" in err


def test_topics_check_prints_what_is_wrong_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_topics(*_: object) -> int:
        raise TopicError("topics not as expected: shop.control (missing)")

    monkeypatch.setattr(topics, "connect", lambda *_: None)
    monkeypatch.setattr(topics, "check_topics", check_topics)

    shown = CliRunner().invoke(cli, ["topics", "check", "--json", "--prefix", "shop"])

    problems = ["topics not as expected: shop.control (missing)"]
    expected = {"clicks": "shop.clicks", "partitions": None, "problems": problems}
    assert (shown.exit_code, json.loads(shown.output)) == (1, expected)


def test_without_a_version_models_say_so(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "_registry", lambda *_: Registry(Trust()))

    assert "there is no version yet" in command_line("models", "list").out
    assert command_line("models", "list", "--json").out == ""
    assert (
        "version 3 does not exist; there is no version yet"
        in command_line("models", "show", "3").err
    )


def test_an_empty_key_is_not_erased(command_line: CommandLine) -> None:
    code, _, err = command_line("forget", "")
    assert (code, "KEY is empty" in err) == (2, True)


def test_metrics_prints_the_catalogue_as_json() -> None:
    rows = json.loads(CliRunner().invoke(cli, ["metrics", "--json"]).output)
    assert [row["name"] for row in rows] == [metric.name for metric in CATALOGUE]
    assert all(row.keys() == {"name", "type", "unit", "labels", "meaning"} for row in rows)


def test_settings_prints_every_setting_as_json() -> None:
    rows = json.loads(CliRunner().invoke(cli, ["settings", "--json"]).output)
    assert [tuple(row.values()) for row in rows] == describe_settings()


def test_settings_prints_a_table() -> None:
    table = CliRunner().invoke(cli, ["settings"]).output
    assert "kafka.bootstrap" in table


def test_a_missing_extra_is_one_line(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, ModuleNotFoundError("No module named 'torch'", name="torch"))

    code, out, err = command_line("metrics")

    reported = "ader-stream: this needs torch; pip install 'ader-stream[model]', or [all]\n"
    assert (code, out, err) == (2, "", reported)


def test_an_export_without_onnx_names_the_extra_before_anything_is_read(
    command_line: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)

    code, out, err = command_line("models", "export", "1", "folder")

    assert (code, out) == (2, "")
    assert "this needs onnxscript; pip install 'ader-stream[onnx]'" in err
