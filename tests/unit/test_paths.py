from __future__ import annotations

from pathlib import Path

import pytest

from ader_stream.cli.main import cli
from ader_stream.errors import InputError
from ader_stream.paths import describe_path, make_folder, require_folder, write_new_text
from ader_stream.runtime.exit_codes import WRONG_INPUT, exit_code
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.versions.export import read_folder


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "clicks.txt"
    file.write_text("1 hat\n1 cap\n")
    return file


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    folder = tmp_path / "SHOP"
    folder.mkdir()
    for period in range(2):
        (folder / f"period_{period}.txt").write_text("1 hat\n1 cap\n")
    return folder


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return the line with which a command refuses its arguments."""
    code = exit_code(lambda: cli([*map(str, arguments)], standalone_mode=False))
    out, err = capsys.readouterr()
    assert (code, out, err.count("\n")) == (WRONG_INPUT, "", 1)
    return err.removeprefix("ader-stream: ").rstrip()


def test_a_path_is_described_as_it_is(tmp_path: Path, file: Path) -> None:
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "gone")
    assert describe_path(file) == "is a file"
    assert describe_path(tmp_path) == "is a folder"
    assert describe_path(tmp_path / "gone") == "does not exist"
    assert describe_path(file / "below") == "does not exist"
    assert describe_path(dangling) == "is a link to a path that does not exist"
    assert describe_path(Path("/dev/null")) == "is neither a file nor a folder"
    assert describe_path(tmp_path / ("long" * 100)) == "cannot be read (File name too long)"


def test_a_folder_is_made_with_those_above_it(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b", "--out")
    require_folder(tmp_path / "a" / "b", "a folder")


def test_what_lies_where_a_folder_is_to_be_made_is_named(file: Path) -> None:
    with pytest.raises(InputError, match=rf"--out .*Not a directory\): {file} is a file; name a"):
        make_folder(file / "out", "--out")
    with pytest.raises(InputError, match=rf"--out .*File exists\): {file} is a file; name a"):
        make_folder(file, "--out")
    with pytest.raises(InputError, match=r"--out .*cannot be read \(File name too long\); name a"):
        make_folder(file.parent / ("long" * 100), "--out")


def test_a_file_that_cannot_be_written_is_named_with_what_its_folder_is(
    tmp_path: Path, file: Path
) -> None:
    with pytest.raises(InputError, match=f"its folder {file} is a file; name"):
        write_new_text(file / "plan.json", "{}", "--reassignment")
    with pytest.raises(InputError, match=f"its folder {tmp_path / 'gone'} does not exist; name"):
        write_new_text(tmp_path / "gone" / "plan.json", "{}", "--reassignment")


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("clicks.txt", ": no column session, item, time; it has"),
        ("gone", " does not exist; expected a folder of period_N.txt[.gz], or tables"),
    ],
)
def test_evaluate_says_what_lies_where_a_data_set_is_expected(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, file: Path, place: str, found: str
) -> None:
    out = tmp_path / "result.json"
    said = refusal(capsys, "evaluate", "--dataset", tmp_path / place, "--out", out)
    assert said.startswith(f"{tmp_path / place}{found}")


def test_evaluate_names_the_folder_of_a_period_that_is_given_in_its_place(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, dataset: Path
) -> None:
    period, out = dataset / "period_0.txt", tmp_path / "result.json"
    said = refusal(capsys, "evaluate", "--dataset", period, "--out", out)
    assert said.startswith(f"{period} is a file; ")
    assert said.endswith(f"; name its folder {dataset}")


@pytest.mark.parametrize(
    ("folder", "found"), [("clicks.txt", "is a file"), ("gone", "does not exist")]
)
def test_evaluate_says_what_lies_where_its_result_is_to_lie(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    file: Path,
    dataset: Path,
    folder: str,
    found: str,
) -> None:
    out = tmp_path / folder / "result.json"
    said = refusal(capsys, "evaluate", "--dataset", dataset, "--out", out)
    assert said == f"{out.parent} {found}; expected the folder for --out {out}; create it first"


@pytest.mark.parametrize("command", ["evaluate", "demo"])
def test_a_file_above_a_folder_for_output_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, file: Path, dataset: Path, command: str
) -> None:
    options = {
        "evaluate": ["--out", tmp_path / "result.json", "--plots", file / "plots"],
        "demo": ["--out", file / "out"],
    }[command]
    said = refusal(capsys, command, "--dataset", dataset, *options)
    assert f"{file} is a file; name a folder that can be made" in said


@pytest.mark.parametrize("command", ["replay", "demo"])
def test_a_data_set_of_no_known_kind_is_said_to_be_what_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, file: Path, dataset: Path, command: str
) -> None:
    expected = "; expected a folder of period_N.txt[.gz], or tables (.csv "
    out = ["--out", tmp_path / "out"] if command == "demo" else []
    found = {
        file: f"{file}: no column session, item, time; it has",
        tmp_path / "gone": f"{tmp_path / 'gone'} does not exist{expected}",
        tmp_path: f"{tmp_path} holds SHOP, clicks.txt",
        dataset / "period_0.txt": f"{dataset / 'period_0.txt'} is a file{expected}",
    }
    said = {path: refusal(capsys, command, "--dataset", path, *out) for path in found}
    assert {path: text[: len(found[path])] for path, text in said.items()} == found
    assert said[dataset / "period_0.txt"].endswith(f"; name its folder {dataset}")


def test_a_folder_to_import_is_said_to_be_what_it_is(tmp_path: Path, file: Path) -> None:
    for path, found in {file: "is a file", tmp_path / "gone": "does not exist"}.items():
        with pytest.raises(InputError, match=f"^{path} {found}; expected a folder that `ader-str"):
            read_folder(path, Trust())


def test_a_broker_says_what_lies_where_its_data_are_to_lie(
    capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    said = refusal(capsys, "broker", "up", "--data", file / "kafka", "--source", "java")
    assert f"{file} is a file; name a folder that can be made" in said


@pytest.mark.parametrize("place", [".", "gone"])
def test_a_settings_file_that_is_none_is_said_to_be_what_it_is(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    place: str,
) -> None:
    monkeypatch.setenv("ADER_SETTINGS", str(tmp_path / place))
    said = refusal(capsys, "rights")
    found = "is a folder" if place == "." else "does not exist"
    assert said == f"ADER_SETTINGS={tmp_path / place} {found}; name a TOML file or unset it"
