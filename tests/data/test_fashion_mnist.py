"""FashionMNIST from every place it can come from, whole and damaged."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import os
import shutil
import socket
import struct
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pooch
import pytest
import torch

from counterpoise.data import (
    DEBIAN_FOLDER,
    DataNotFound,
    Splits,
    count_classes,
    fashion_mnist,
    install_debian_package,
)
from counterpoise.data import _debian as debian_module
from counterpoise.data import _idx_files as idx_files
from counterpoise.data import _mirrors as mirrors_module

NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = NAMES

needs_files = pytest.mark.skipif(
    not Path(DEBIAN_FOLDER).is_dir(), reason="needs Debian's package dataset-fashion-mnist"
)


@pytest.fixture(autouse=True)
def _no_waiting_and_no_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(mirrors_module, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("COUNTERPOISE_DATA", str(tmp_path / "unused"))


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    """A folder with the four files: copies of the small ones, links to the large ones."""
    folder = tmp_path / "copies"
    folder.mkdir()
    for name in NAMES:
        place = shutil.copyfile if "labels" in name else os.symlink
        place(Path(DEBIAN_FOLDER) / name, folder / name)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """An empty folder for the cache argument; the files belong into fashion-mnist in it."""
    (tmp_path / "cache" / "fashion-mnist").mkdir(parents=True)
    return tmp_path / "cache"


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debian compresses the files anew: take its gzip files for the published ones."""
    for name in NAMES:
        found = hashlib.sha256((Path(DEBIAN_FOLDER) / name).read_bytes()).hexdigest()
        monkeypatch.setitem(idx_files.UPSTREAM_SHA256, name, found)


class Server:
    """A web server that lends out a folder and writes down what it was asked.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.asked: list[tuple[str, str]] = []
        self.stumble: Callable[[http.server.SimpleHTTPRequestHandler], bool] = lambda _: False
        server = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def __init__(self, *arguments: object) -> None:
                super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

            def do_GET(self) -> None:
                server.asked.append(("GET", self.path.lstrip("/")))
                if not server.stumble(self):
                    super().do_GET()

            def do_HEAD(self) -> None:
                server.asked.append(("HEAD", self.path.lstrip("/")))
                super().do_HEAD()

            def log_message(self, *arguments: object) -> None:
                pass

        self._web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._web.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._web.server_port}/"

    def downloads(self) -> list[str]:
        """Return the names of the files that were asked for, in order."""
        return [name for method, name in self.asked if method == "GET"]

    def close(self) -> None:
        """Stop serving and wait until all is closed."""
        self._web.shutdown()
        self._web.server_close()
        self._thread.join()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], Server]]:
    monkeypatch.setattr(mirrors_module, "ANSWER_SECONDS", 60.0)  # this machine may be busy
    servers: list[Server] = []

    def start(folder: Path) -> Server:
        servers.append(Server(folder))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def _dead_address() -> str:
    """Return an address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/"


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-500])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _change_a_label(path: Path) -> None:
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[100] ^= 1
    path.write_bytes(gzip.compress(bytes(content)))


def _no_gzip(path: Path) -> None:
    path.write_bytes(b"<html>Please log in to this network.</html>")


def _break_stream(path: Path) -> None:
    header = gzip.compress(b"")[:10]
    path.write_bytes(header + b"\xff" * 50)


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _become_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _become_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def _become_bomb(path: Path) -> None:
    """200 MB in 200 kB."""
    path.write_bytes(gzip.compress(bytes(10_000_000)) * 20)


DAMAGES = [
    (_truncate, "truncated"),
    (_empty, "truncated"),
    (_flip, "corrupted"),
    (_break_stream, "corrupted: Error -3 while decompressing"),
    (_change_a_label, "corrupted: the SHA-256 of its content"),
    (_no_gzip, "corrupted: Not a gzipped file"),
    (_become_folder, "cannot be read: not an ordinary file"),
    (_become_pipe, "cannot be read: not an ordinary file"),
    (_become_device, "cannot be read: not an ordinary file"),
    (_become_bomb, "corrupted: the SHA-256 of its content"),
]


def _load(**options: object) -> Splits:
    """Load with no place but those named."""
    return fashion_mnist(**{"debian": None, "mirrors": (), **options})  # type: ignore[arg-type]


def _load_warned(**options: object) -> tuple[Splits, list[str]]:
    """Load, and return the messages of the warnings as well."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = _load(**options)
    assert all(each.category is UserWarning for each in caught)
    return data, [str(each.message) for each in caught]


def _error(**options: object) -> str:
    """Return the message of the error that loading ends with."""
    with pytest.raises(DataNotFound) as caught:
        _load(**options)
    assert isinstance(caught.value, FileNotFoundError)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def _files(cache: Path) -> list[str]:
    return sorted(path.name for path in (cache / "fashion-mnist").iterdir())


def _unpack_images(name: str) -> tuple[int, int, int, bytes]:
    """Parse an image file on a way of its own."""
    content = gzip.decompress((Path(DEBIAN_FOLDER) / name).read_bytes())
    magic, number, height, width = struct.unpack(">IIII", content[:16])
    assert magic == 2051
    return number, height, width, content[16:]


@needs_files
def test_debian_files_give_the_whole_data_set(cache: Path) -> None:
    data = fashion_mnist(cache=cache, download=False)
    assert data.name == "FashionMNIST"
    assert DEBIAN_FOLDER in data.source
    assert "\n" not in data.source
    assert data.num_classes == 10
    assert data.class_names[0] == "T-shirt/top"
    assert data.class_names[9] == "Ankle boot"
    for split, number in ((data.train, 60000), (data.test, 10000)):
        assert split.inputs.shape == (number, 1, 28, 28)
        assert split.inputs.dtype == torch.uint8
        assert split.targets.dtype == torch.int64
        assert count_classes(split.targets).tolist() == [number // 10] * 10
    data.train.inputs[0] = 0  # writable, without a warning


@needs_files
@pytest.mark.parametrize(
    ("which", "name", "total"),
    [("train", TRAIN_IMAGES, 3431114169), ("test", TEST_IMAGES, 573469082)],
)
def test_pixels_are_those_of_the_file(which: str, name: str, total: int) -> None:
    number, height, width, pixels = _unpack_images(name)
    inputs = getattr(_load(debian=DEBIAN_FOLDER), which).inputs
    assert inputs.shape == (number, 1, height, width)
    assert int(inputs.sum(dtype=torch.int64)) == sum(pixels) == total
    for index in (0, 1, number - 1):
        start = index * height * width
        assert bytes(inputs[index].flatten().tolist()) == pixels[start : start + height * width]


@needs_files
def test_labels_are_those_of_the_file() -> None:
    content = gzip.decompress((Path(DEBIAN_FOLDER) / TEST_LABELS).read_bytes())
    assert struct.unpack(">II", content[:8]) == (2049, 10000)
    assert _load(debian=DEBIAN_FOLDER).test.targets.tolist() == list(content[8:])


@needs_files
def test_a_file_in_the_cache_comes_first(cache: Path, copies: Path) -> None:
    shutil.move(copies / TEST_LABELS, cache / "fashion-mnist")
    data = _load(cache=cache, debian=copies)
    assert str(cache) in data.source
    assert str(copies) in data.source


@needs_files
def test_the_cache_may_be_named_by_the_environment(
    copies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERPOISE_DATA", str(tmp_path / "named"))
    (tmp_path / "named").mkdir()
    copies.rename(tmp_path / "named" / "fashion-mnist")
    assert str(tmp_path / "named") in _load().source


@pytest.mark.parametrize("value", [None, ""])
def test_the_cache_is_otherwise_that_of_the_user(
    value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("COUNTERPOISE_DATA", "-")
    if value is None:
        monkeypatch.delenv("COUNTERPOISE_DATA")
    else:
        monkeypatch.setenv("COUNTERPOISE_DATA", value)
    assert str(tmp_path / "xdg" / "counterpoise" / "fashion-mnist") in _error()


@needs_files
@pytest.mark.parametrize(("damage", "wrong"), DAMAGES)
def test_a_bad_file_is_named_and_another_is_used(
    damage: Callable[[Path], None], wrong: str, copies: Path
) -> None:
    cache = copies.parent / "cache"
    shutil.copytree(copies, cache / "fashion-mnist", symlinks=True)
    bad = cache / "fashion-mnist" / TEST_LABELS
    damage(bad)
    data, messages = _load_warned(cache=cache, debian=DEBIAN_FOLDER)
    assert len(messages) == 1
    assert messages[0].startswith(f"{bad} is {wrong}")
    assert count_classes(data.test.targets).tolist() == [1000] * 10


@needs_files
@pytest.mark.parametrize(("damage", "wrong"), DAMAGES[::3])
def test_a_bad_file_that_nothing_replaces_is_an_error(
    damage: Callable[[Path], None], wrong: str, copies: Path, cache: Path
) -> None:
    damage(copies / TRAIN_LABELS)
    message = _error(cache=cache, debian=copies)
    assert f"{copies / TRAIN_LABELS} is {wrong}" in message
    assert f"put {TRAIN_LABELS} into {cache / 'fashion-mnist'}" in message


@needs_files
def test_swapped_files_are_named_with_what_they_hold(copies: Path, cache: Path) -> None:
    (copies / TEST_LABELS).rename(copies / "aside")
    (copies / TRAIN_LABELS).rename(copies / TEST_LABELS)
    (copies / "aside").rename(copies / TRAIN_LABELS)
    message = _error(cache=cache, debian=copies)
    assert f"{copies / TEST_LABELS} is swapped: it holds the content of {TRAIN_LABELS}" in message
    assert f"{copies / TRAIN_LABELS} is swapped: it holds the content of {TEST_LABELS}" in message


def test_the_error_says_what_was_tried_and_what_to_do(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = _dead_address()
    monkeypatch.setattr(time, "sleep", lambda s: pytest.fail("a dead mirror is not waited for"))
    message = _error(cache=cache, debian=tmp_path / "absent", mirrors=[dead])
    assert f"cache folder {cache / 'fashion-mnist'} lacks all four files" in message
    assert f"Debian's folder {tmp_path / 'absent'} lacks all four files" in message
    assert f"{dead} was not reached: " in message
    assert "Connection refused" in message
    assert "Install Debian's package dataset-fashion-mnist" in message
    assert "connect to the internet" in message
    assert _files(cache) == []


def test_without_leave_to_download_no_mirror_is_asked(
    cache: Path, tmp_path: Path, serve: Callable[[Path], Server]
) -> None:
    server = serve(tmp_path)
    assert "allow download=True" in _error(cache=cache, mirrors=[server.url], download=False)
    assert server.asked == []


@needs_files
@pytest.mark.usefixtures("published")
def test_a_download_fills_the_cache_for_good(
    cache: Path, copies: Path, serve: Callable[[Path], Server]
) -> None:
    server = serve(copies)
    data = _load(cache=cache / "new", mirrors=[server.url])
    assert f"downloaded from {server.url}" in data.source
    assert count_classes(data.train.targets).tolist() == [6000] * 10
    assert _files(cache / "new") == sorted(NAMES)
    assert server.downloads() == list(NAMES)
    again = _load(cache=cache / "new", mirrors=[server.url])
    assert server.downloads() == list(NAMES)
    assert torch.equal(again.train.inputs, data.train.inputs)


@needs_files
@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("progress", [False, True])
def test_a_download_is_silent_unless_progress_is_wanted(
    progress: bool,
    cache: Path,
    copies: Path,
    serve: Callable[[Path], Server],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    logger = pooch.get_logger()
    filters = list(logger.filters)
    # What the logger writes goes to the standard error of the moment pooch was imported.
    logger.addHandler(caplog.handler)
    try:
        _load(cache=cache, mirrors=[serve(copies).url], progress=progress)
    finally:
        logger.removeHandler(caplog.handler)
    output = capfd.readouterr()
    assert ("100%" in output.err) == progress
    assert bool(caplog.records) == progress
    assert bool(output.out + output.err) == progress
    assert logger.filters == filters


@needs_files
@pytest.mark.usefixtures("published")
def test_only_what_is_missing_is_downloaded(
    cache: Path, copies: Path, serve: Callable[[Path], Server]
) -> None:
    server = serve(Path(DEBIAN_FOLDER))
    (copies / TEST_LABELS).unlink()
    # The missing slash at the end is forgiven.
    _load(cache=cache, debian=copies, mirrors=[server.url.rstrip("/")])
    assert server.downloads() == [TEST_LABELS]


@needs_files
@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("damage", [_truncate, _flip, _no_gzip])
def test_a_bad_file_in_the_cache_is_replaced(
    damage: Callable[[Path], None], cache: Path, copies: Path, serve: Callable[[Path], Server]
) -> None:
    whole = copies.parent / "whole"
    shutil.copytree(copies, whole, symlinks=True)
    damage(copies / TRAIN_LABELS)
    shutil.rmtree(cache / "fashion-mnist")
    copies.rename(cache / "fashion-mnist")
    server = serve(whole)
    _, messages = _load_warned(cache=cache, mirrors=[server.url])
    assert len(messages) == 1
    assert str(cache / "fashion-mnist" / TRAIN_LABELS) in messages[0]
    assert server.downloads() == [TRAIN_LABELS]
    _load(cache=cache)  # all four are whole now, and no warning comes


@needs_files
@pytest.mark.usefixtures("published")
def test_the_second_mirror_serves_when_the_first_is_dead(
    cache: Path, copies: Path, serve: Callable[[Path], Server]
) -> None:
    server = serve(copies)
    assert server.url in _load(cache=cache, mirrors=[_dead_address(), server.url]).source


@needs_files
@pytest.mark.usefixtures("published")
@pytest.mark.parametrize("damage", [_truncate, _change_a_label])
def test_the_second_mirror_serves_what_the_first_has_corrupted(
    damage: Callable[[Path], None], cache: Path, copies: Path, serve: Callable[[Path], Server]
) -> None:
    second = serve(Path(DEBIAN_FOLDER))
    damage(copies / TEST_LABELS)
    first = serve(copies)
    data, messages = _load_warned(cache=cache, mirrors=[first.url, second.url])
    assert messages == [
        f"{first.url}{TEST_LABELS} is corrupted: its SHA-256 is not as published; "
        "another source was used"
    ]
    assert second.downloads() == [TEST_LABELS]
    assert count_classes(data.test.targets).tolist() == [1000] * 10
    assert _files(cache) == sorted(NAMES)


@needs_files
@pytest.mark.usefixtures("published")
def test_a_corrupted_download_leaves_nothing_behind(
    cache: Path, copies: Path, serve: Callable[[Path], Server]
) -> None:
    _flip(copies / TRAIN_LABELS)
    server = serve(copies)
    assert f"{server.url}{TRAIN_LABELS} is corrupted" in _error(cache=cache, mirrors=[server.url])
    assert _files(cache) == [TRAIN_IMAGES]


@needs_files
@pytest.mark.usefixtures("published")
def test_a_download_with_wrong_content_leaves_nothing_behind(
    cache: Path, copies: Path, serve: Callable[[Path], Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    _change_a_label(copies / TEST_LABELS)
    changed = hashlib.sha256((copies / TEST_LABELS).read_bytes()).hexdigest()
    monkeypatch.setitem(idx_files.UPSTREAM_SHA256, TEST_LABELS, changed)
    server = serve(copies)
    message = _error(cache=cache, mirrors=[server.url])
    assert f"{TEST_LABELS} from {server.url} is corrupted" in message
    assert TEST_LABELS not in _files(cache)


def _break_off(handler: http.server.SimpleHTTPRequestHandler) -> bool:
    """Promise a thousand bytes, send a few, and hang up."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b"half")
    return True


def test_a_download_that_breaks_off_leaves_nothing_behind(
    cache: Path, tmp_path: Path, serve: Callable[[Path], Server]
) -> None:
    server = serve(tmp_path)
    server.stumble = _break_off
    message = _error(cache=cache, mirrors=[server.url])
    assert f"{server.url}{TRAIN_IMAGES} failed: " in message
    assert server.downloads() == [TRAIN_IMAGES] * 3
    assert _files(cache) == []


@needs_files
@pytest.mark.usefixtures("published")
def test_a_passing_trouble_is_overcome(
    cache: Path, copies: Path, serve: Callable[[Path], Server]
) -> None:
    server = serve(copies)

    def stumble(handler: http.server.SimpleHTTPRequestHandler) -> bool:
        tries = server.downloads().count(handler.path.lstrip("/"))
        if tries == 1:
            handler.send_error(503)
        return tries == 1 or (tries == 2 and _break_off(handler))

    server.stumble = stumble
    _load(cache=cache, mirrors=[server.url])
    assert server.downloads() == [name for name in NAMES for _ in range(3)]


def test_a_plain_no_is_taken_for_an_answer(
    cache: Path, tmp_path: Path, serve: Callable[[Path], Server]
) -> None:
    server = serve(tmp_path / "empty")
    assert "404" in _error(cache=cache, mirrors=[server.url])
    assert server.downloads() == [TRAIN_IMAGES]


@needs_files
@pytest.mark.usefixtures("published")
def test_a_silent_mirror_is_asked_only_once(
    cache: Path,
    copies: Path,
    serve: Callable[[Path], Server],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mirrors_module, "ANSWER_SECONDS", 0.3)
    server = serve(copies)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        _load(cache=cache, mirrors=[address, server.url])
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


def test_many_silent_mirrors_do_not_hold_up_for_long(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As when name resolution hangs: nothing in the request itself would ever time out.
    release = threading.Event()
    monkeypatch.setattr(mirrors_module, "_ask", lambda _: release.wait(30) and None)
    monkeypatch.setattr(mirrors_module, "ANSWER_SECONDS", 0.1)
    start = time.monotonic()
    message = _error(cache=cache, mirrors=["http://a.invalid/", "http://b.invalid/"])
    release.set()
    assert time.monotonic() - start < 5
    assert message.count("was not reached: no answer within 0.1 s") == 2


def test_three_mirrors_that_are_silent_fit_into_twenty_seconds() -> None:
    assert len(mirrors_module.MIRRORS) * mirrors_module.ANSWER_SECONDS <= 20


@pytest.mark.parametrize("address", ["nonsense", "ftp://127.0.0.1/", "http://", "http://[/"])
def test_an_address_that_is_none_is_reported(address: str, cache: Path) -> None:
    assert f"{address} was not reached: " in _error(cache=cache, mirrors=[address])


def test_a_cache_that_cannot_be_written_is_reported(
    tmp_path: Path, serve: Callable[[Path], Server]
) -> None:
    (tmp_path / "file").write_text("in the way")
    server = serve(tmp_path)
    message = _error(cache=tmp_path / "file", mirrors=[server.url])
    assert f"{tmp_path / 'file' / 'fashion-mnist'} cannot be written: " in message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mirrors": "http://127.0.0.1/"}, "mirrors must be a sequence"),
        ({"cache": 3}, "cache must be a path or None, got int"),
        ({"debian": 3}, "debian must be a path or None, got int"),
    ],
)
def test_arguments_of_a_wrong_type(options: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        _load(**options)


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in for a root user with an apt-get that knows the package only after an update."""
    script = tmp_path / "bin" / "apt-get"
    script.parent.mkdir()
    script.write_text(
        "#!/bin/sh\n"
        f'echo "$DEBIAN_FRONTEND $*" >> "{tmp_path}/log"\n'
        "echo noise; echo noise >&2\n"
        f'if [ "$1" = update ]; then : > "{tmp_path}/lists"; exit 0; fi\n'
        f'[ -e "{tmp_path}/lists" ] && mkdir -p "{tmp_path}/folder"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(debian_module, "DEBIAN_FOLDER", str(tmp_path / "folder"))
    return tmp_path


INSTALL = "noninteractive install -y --no-install-recommends dataset-fashion-mnist"


def test_the_package_is_installed_after_an_update(
    apt: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert install_debian_package() is True
    asked = (apt / "log").read_text().splitlines()
    assert asked == [INSTALL, "noninteractive update", INSTALL]
    output = capfd.readouterr()
    assert output.out + output.err == ""


def test_the_package_is_installed_without_an_update_where_that_works(apt: Path) -> None:
    (apt / "lists").touch()
    assert install_debian_package() is True
    assert (apt / "log").read_text().splitlines() == [INSTALL]


def test_an_installed_package_is_left_alone(apt: Path) -> None:
    (apt / "folder").mkdir()
    assert install_debian_package() is True
    assert not (apt / "log").exists()


def test_nobody_but_root_installs(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert install_debian_package() is False
    assert not (apt / "log").exists()


def test_a_system_without_apt_installs_nothing(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(apt))
    assert install_debian_package() is False


def test_an_installation_that_hangs_is_given_up(apt: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (apt / "bin" / "apt-get").write_text("#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr(debian_module, "_TIMEOUT_SECONDS", 0.2)
    assert install_debian_package() is False


@pytest.mark.parametrize("damage", [_become_folder, _become_pipe, _become_device, _become_bomb])
def test_a_file_that_would_not_end_is_not_read_to_its_end(tmp_path: Path, damage: Callable) -> None:
    path = tmp_path / NAMES[0]
    path.touch()
    damage(path)
    with pytest.raises(idx_files.BadFile, match=r"not an ordinary file|the SHA-256"):
        idx_files.read_file(path, NAMES[0])
    if path.is_file():
        assert len(idx_files._decompress(path)) == 47_040_017


def test_a_pipe_in_the_cache_is_not_waited_for(cache: Path) -> None:
    for name in NAMES:
        os.mkfifo(cache / "fashion-mnist" / name)
    mirror = mirrors_module.Mirror("http://127.0.0.1:9/")
    with pytest.raises(OSError, match="not an ordinary file"):
        mirror.fetch(NAMES[0], "0" * 64, cache / "fashion-mnist", False)
