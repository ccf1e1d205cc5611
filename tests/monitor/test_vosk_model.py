"""Which recogniser's model is chosen, and how one comes from the network: once, and whole."""

from __future__ import annotations

import io
import os
import socket
import struct
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from monitor.asr import VoskEngine
from monitor.errors import ModelError
from monitor.vosk_model import EMBEDDED, find_model
from tests.support.processes import free_port

NAME = "vosk-model-small-en-us-0.15"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without models, whatever the one who runs the tests has."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("STSER_VOSK_MODEL", raising=False)
    monkeypatch.delenv("VOSK_MODEL_PATH", raising=False)
    return tmp_path / "home"


def model_folder(path: Path) -> Path:
    (path / "am").mkdir(parents=True)
    (path / "am" / "final.mdl").touch()
    return path


# --- lookup ------------------------------------------------------------------------------------


def test_without_any_other_the_embedded_model_is_used_and_says_how_to_get_a_better_one() -> None:
    model = find_model()
    assert (model.path, model.name, model.embedded) == (EMBEDDED, "stser-tiny-en", True)
    assert "--vosk-model vosk-model-small-en-us-0.15" in model.notice
    assert "\n" not in model.notice


def test_flag_comes_before_environment_before_cache_before_embedded(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flagged, named = model_folder(tmp_path / "flagged"), model_folder(tmp_path / "named")
    cached = model_folder(home / ".cache" / "vosk" / NAME)
    assert find_model().path == cached
    assert find_model().notice == ""
    monkeypatch.setenv("STSER_VOSK_MODEL", str(named))
    assert find_model().path == named
    assert find_model(str(flagged)).path == flagged
    assert find_model("stser-tiny-en").path == EMBEDDED


def test_name_is_found_where_the_vosk_package_would_find_it(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_cache = model_folder(home / ".cache" / "vosk" / NAME)
    assert find_model(NAME).path == in_cache
    monkeypatch.setenv("VOSK_MODEL_PATH", str(tmp_path / "models"))
    first = model_folder(tmp_path / "models" / NAME)
    assert find_model(NAME).path == first


def test_of_several_cached_models_a_small_american_new_one_is_taken(home: Path) -> None:
    order = [
        "vosk-model-small-en-us-0.15",
        "vosk-model-small-en-us-0.4",
        "vosk-model-small-en-in-0.4",
        "vosk-model-en-us-0.22",
    ]
    for name in [*order, "vosk-model-small-de-0.15"]:
        model_folder(home / ".cache" / "vosk" / name)
    for name in order:
        assert find_model().name == name
        (home / ".cache" / "vosk" / name / "am" / "final.mdl").unlink()
    assert find_model().embedded


def test_folder_of_the_old_layout_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "final.mdl").touch()
    assert find_model(str(tmp_path)).path == tmp_path


def test_folder_that_is_no_model_is_refused_by_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=f"{tmp_path}: no am/final.mdl in it.*am, conf and graph"):
        find_model(str(tmp_path))


def test_folder_in_the_home_of_nobody_is_refused() -> None:
    with pytest.raises(ModelError, match=r"--vosk-model \('~no-such-user/x'\) .* no home"):
        find_model("~no-such-user/x")


@pytest.mark.parametrize("choice", ["/nowhere/model", "models/small", "../vosk", "a model", "-x"])
def test_folder_that_is_not_there_is_refused_without_asking_the_network(choice: str) -> None:
    with pytest.raises(ModelError, match="there is no such folder"):
        find_model(choice, models_url=f"http://127.0.0.1:{free_port()}")


# --- fetching ----------------------------------------------------------------------------------


class _QuietHandler(SimpleHTTPRequestHandler):
    """Serves a folder; of ``cut.zip`` and ``reset.zip`` not all comes that was promised."""

    def log_message(self, format: str, *args: object) -> None:
        pass

    def copyfile(self, source: io.BytesIO, outputfile: io.BytesIO) -> None:
        if self.path == "/cut.zip":
            outputfile.write(source.read(10_000))
        elif self.path == "/reset.zip":
            # Closed with a reset, as by a router that forgets the connection.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
        else:
            super().copyfile(source, outputfile)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which it is served."""
    folder = tmp_path / "shop"
    folder.mkdir()
    handler = partial(_QuietHandler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def embedded_as(name: str) -> dict[str, bytes]:
    files = [path for path in EMBEDDED.rglob("*") if path.is_file()]
    return {f"{name}/{path.relative_to(EMBEDDED)}": path.read_bytes() for path in files}


def test_name_is_fetched_once_with_progress_and_then_loads(
    shop: tuple[Path, str], home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder, url = shop
    archive = write_zip(folder / f"{NAME}.zip", embedded_as(NAME))
    model = find_model(NAME, models_url=url)
    assert model.path == home / ".cache" / "vosk" / NAME
    assert (model.name, model.embedded) == (NAME, False)
    VoskEngine(model.path)
    output = capfd.readouterr()
    assert output.out == ""
    megabytes = f"{archive.stat().st_size / 1e6:.0f}"
    assert f"{megabytes} of {megabytes} MB" in output.err

    archive.unlink()
    assert find_model(NAME, models_url=url).path == model.path
    assert [path.name for path in model.path.parent.iterdir()] == [NAME]


def test_unknown_name_is_refused_with_the_place_that_lists_them(shop: tuple[Path, str]) -> None:
    with pytest.raises(ModelError, match=r"No model has that name.*lists the names"):
        find_model("vosk-model-klingon", models_url=shop[1])


def test_offline_the_remedy_is_one_line(home: Path) -> None:
    with pytest.raises(ModelError, match=r"not on this machine.*refused.*Go online once"):
        find_model(NAME, models_url=f"http://127.0.0.1:{free_port()}")
    assert list((home / ".cache" / "vosk").iterdir()) == []


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"../evil": b"x"}, "lies outside"),
        ({"bad/../../evil": b"x"}, "lies outside"),
        ({"/etc/evil": b"x"}, "lies outside"),
        ({"bad\\..\\evil": b"x"}, "lies outside"),
        ({"other/am/final.mdl": b"x"}, "lies outside"),
        ({"bad": b"x"}, "there is no bad/ in it"),
    ],
)
def test_archive_that_reaches_outside_its_folder_is_refused_and_leaves_nothing(
    shop: tuple[Path, str], home: Path, members: dict[str, bytes], reason: str
) -> None:
    folder, url = shop
    write_zip(folder / "bad.zip", members)
    with pytest.raises(ModelError, match=f"no sound archive.*{reason}"):
        find_model("bad", models_url=url)
    assert list((home / ".cache" / "vosk").iterdir()) == []
    assert not list(home.rglob("evil*"))


def test_archive_with_a_damaged_member_is_refused_and_leaves_nothing(
    shop: tuple[Path, str], home: Path
) -> None:
    folder, url = shop
    archive = folder / "bad.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as stored:
        stored.writestr("bad/am/final.mdl", b"what was packed")
    archive.write_bytes(archive.read_bytes().replace(b"what was packed", b"what was hacked"))
    with pytest.raises(ModelError, match=r"no sound archive.*Bad CRC-32.*Try again"):
        find_model("bad", models_url=url)
    assert list((home / ".cache" / "vosk").iterdir()) == []


def test_download_that_breaks_off_is_refused_and_leaves_nothing(
    shop: tuple[Path, str], home: Path
) -> None:
    folder, url = shop
    write_zip(folder / "cut.zip", embedded_as("cut"))
    with pytest.raises(ModelError, match=r"no sound archive.*10000 of .* bytes came"):
        find_model("cut", models_url=url)
    assert list((home / ".cache" / "vosk").iterdir()) == []


def test_connection_that_breaks_off_is_not_blamed_on_the_disk(
    shop: tuple[Path, str], home: Path
) -> None:
    folder, url = shop
    write_zip(folder / "reset.zip", embedded_as("reset"))
    with pytest.raises(ModelError, match=r"cannot be fetched \(.*reset by peer\)\. Go online"):
        find_model("reset", models_url=url)
    assert list((home / ".cache" / "vosk").iterdir()) == []


def test_page_instead_of_an_archive_is_refused(shop: tuple[Path, str]) -> None:
    folder, url = shop
    (folder / "page.zip").write_text("<html>Log in to this network</html>")
    with pytest.raises(ModelError, match="no sound archive of it"):
        find_model("page", models_url=url)


def test_cache_that_cannot_be_written_is_named(shop: tuple[Path, str], home: Path) -> None:
    home.mkdir()
    (home / ".cache").write_text("a file where a folder should be")
    with pytest.raises(ModelError, match=f"cannot be written to {home}/.cache/vosk"):
        find_model(NAME, models_url=shop[1])
