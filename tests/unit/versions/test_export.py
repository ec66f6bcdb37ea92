from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import ader_stream
from ader_stream.ader.artifact.parts import encode_parts
from ader_stream.ader.artifact.state import State
from ader_stream.ader.models.ranking import top_k
from ader_stream.artifact import KINDS
from ader_stream.errors import ArtifactError, InputError
from ader_stream.stream.model_registry.manifest import Manifest
from ader_stream.stream.model_registry.manifest_record import Trust
from ader_stream.stream.model_registry.model_log import ModelPublisher
from ader_stream.stream.model_registry.model_reader import ModelReader
from ader_stream.stream.model_registry.signing import Signer, TrustedKeys, key_id
from ader_stream.versions.export import export_version, import_version, read_folder
from ader_stream.versions.load import load_state
from tests.fakes import FakeKafka
from tests.unit.versions.conftest import ITEMS, TOPICS, publish

PLAIN_READER = Path(__file__).with_name("plain_reader.py")
TRUST = Trust(max_bytes=10**7)


@pytest.fixture
def folder(kafka: FakeKafka, published: Manifest, tmp_path: Path) -> Path:
    reader = ModelReader(kafka, TOPICS)
    export_version(reader, published, tmp_path / "exported", with_onnx=False)
    return tmp_path / "exported"


def test_an_exported_version_comes_back(folder: Path, published: Manifest, state: State) -> None:
    manifest, parts = read_folder(folder, TRUST)
    assert manifest == published
    assert parts == encode_parts(state)


def test_the_library_loads_an_exported_version(folder: Path, state: State) -> None:
    assert encode_parts(ader_stream.load_state(folder)) == encode_parts(state)


def test_the_library_says_what_is_no_exported_version(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"No such file.*load_state\(folder, cycle\)"):
        ader_stream.load_state(tmp_path)
    weights = (folder / "weights.safetensors").read_bytes()
    (folder / "weights.safetensors").write_bytes(weights[:-1] + b"\xff")
    with pytest.raises(ArtifactError, match=r"is damaged .*export the version again"):
        ader_stream.load_state(folder)


SESSIONS = [[*ITEMS[3:6], "never seen", ITEMS[7]], [ITEMS[n] for n in (1, 9, 1, 2, 9, 4, 9)]]


@pytest.mark.parametrize("session", SESSIONS)
@pytest.mark.parametrize("name", ["paper", "production"])
def test_a_script_without_torch_recommends_the_same_items(
    request: pytest.FixtureRequest,
    kafka: FakeKafka,
    sessions: list[tuple[str, ...]],
    tmp_path: Path,
    name: str,
    session: list[str],
) -> None:
    cycle = request.getfixturevalue({"paper": "cycle", "production": "second_cycle"}[name])
    recipe = request.getfixturevalue({"paper": "recipe", "production": "production"}[name])
    manifest, state = publish(kafka, recipe, cycle, sessions), cycle.state
    export_version(ModelReader(kafka, TOPICS), manifest, tmp_path / "exported", with_onnx=False)
    command = [sys.executable, "-I", PLAIN_READER, tmp_path / "exported", *session]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    listed, _ = top_k(state.model(), [state.vocabulary.encode(session)], 20)
    assert json.loads(done.stdout) == [state.vocabulary.item(int(i)) for i in listed[0]]


def test_the_graph_for_onnxruntime_reads_the_weights_beside_it(
    kafka: FakeKafka, published: Manifest, tmp_path: Path
) -> None:
    export_version(ModelReader(kafka, TOPICS), published, tmp_path)
    assert b"weights.safetensors" in (tmp_path / "model.onnx").read_bytes()
    assert read_folder(tmp_path, TRUST)[0] == published


def test_an_import_is_version_1_of_another_log_with_the_same_digest(
    folder: Path, published: Manifest, state: State
) -> None:
    other = FakeKafka()
    manifest, parts = read_folder(folder, TRUST)
    later = replace(manifest, version=7, parent=5, predecessor=6)
    first = import_version(ModelPublisher(other, TOPICS, 500), later, parts)
    assert (first.version, first.parent, first.predecessor) == (1, None, None)
    assert (first.digest, first.run.offsets) == (published.digest, ())
    assert encode_parts(load_state(ModelReader(other, TOPICS), first)) == encode_parts(state)


def test_a_folder_with_something_in_it_is_not_written_to(
    kafka: FakeKafka, published: Manifest, folder: Path
) -> None:
    with pytest.raises(InputError, match="is not empty; name a new folder"):
        export_version(ModelReader(kafka, TOPICS), published, folder)


def test_a_folder_that_holds_no_version_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"manifest\.json: No such file.*models export"):
        read_folder(tmp_path, TRUST)


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_file_is_refused(folder: Path, kind: str) -> None:
    file = folder / f"{kind}.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(ArtifactError, match=f"{kind}.safetensors is not what its manifest says"):
        read_folder(folder, TRUST)
    file.write_bytes(data[:-1])
    with pytest.raises(ArtifactError, match=f"{kind}.safetensors has not the .* bytes"):
        read_folder(folder, TRUST)
    file.unlink()
    with pytest.raises(InputError, match="the export is not whole"):
        read_folder(folder, TRUST)


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"version": "one"}', "\xff"])
def test_a_manifest_that_is_none_is_refused(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(ArtifactError, match=r"manifest\.json is no manifest"):
        read_folder(folder, TRUST)


def test_a_version_above_the_limit_is_refused(folder: Path) -> None:
    with pytest.raises(ArtifactError, match="max_bytes allows 10"):
        read_folder(folder, Trust(max_bytes=10))


@pytest.mark.parametrize("required", [True, False])
def test_a_signed_folder_is_taken_by_who_trusts_the_key(
    kafka: FakeKafka, published: Manifest, tmp_path: Path, required: bool
) -> None:
    key = Ed25519PrivateKey.generate()
    export_version(ModelReader(kafka, TOPICS), published, tmp_path, Signer(key), with_onnx=False)
    public = key.public_key()
    trust = Trust(TrustedKeys({key_id(public): public}, required))
    assert read_folder(tmp_path, trust)[0] == published
    manifest = tmp_path / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"paper"', b'"other"'))
    with pytest.raises(ArtifactError, match=r"signature by the key .* is wrong"):
        read_folder(tmp_path, trust)


def test_an_unsigned_folder_is_refused_where_signatures_are_required(folder: Path) -> None:
    public = Ed25519PrivateKey.generate().public_key()
    trust = Trust(TrustedKeys({key_id(public): public}, required=True))
    with pytest.raises(ArtifactError, match="manifest is not signed"):
        read_folder(folder, trust)


def test_a_rejected_version_begins_nothing(folder: Path) -> None:
    manifest = folder / "manifest.json"
    value = json.loads(manifest.read_text()) | {"status": "rejected", "rejection": "worse"}
    manifest.write_text(json.dumps(value))
    with pytest.raises(ArtifactError, match="the version was rejected: worse"):
        read_folder(folder, TRUST)
