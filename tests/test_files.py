"""Files are written whole or not at all, and never outside of where they belong."""

import os
import stat
import threading

import pytest

from counterpoise import files


def test_a_file_is_written_over_another(tmp_path):
    path = tmp_path / "file"
    files.write(path, "one")
    files.write(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_modes_are_those_of_any_new_file(tmp_path):
    (tmp_path / "usual").touch()
    files.write(tmp_path / "ours", "")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "ours")}
    assert len(modes) == 1


@pytest.mark.parametrize("name", ["report.html", "report.html.tmp"])
def test_a_link_is_replaced_and_not_followed(tmp_path, name):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    study = tmp_path / "study"
    study.mkdir()
    (study / name).symlink_to(victim)
    files.write(study / "report.html", "page")
    assert victim.read_text() == "precious"
    assert (study / "report.html").read_text() == "page"
    assert not (study / "report.html").is_symlink()


def test_a_name_that_is_taken_is_not_written_through(tmp_path, monkeypatch):
    """Even where somebody knew the temporary name."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr("secrets.token_hex", lambda n: "known")
    (tmp_path / ".counterpoise-known.tmp").symlink_to(victim)
    with pytest.raises(FileExistsError):
        files.write(tmp_path / "file", "new")
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("call", ["write", "fsync", "replace", "close"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    path = tmp_path / "file"
    files.write(path, "old")
    real = getattr(os, call)

    def full(*args):
        if call == "close":
            real(*args)
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space"):
            files.write(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_short_write_goes_on(tmp_path, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: real(descriptor, content[:3]))
    files.write(tmp_path / "file", "0123456789")
    assert (tmp_path / "file").read_text() == "0123456789"


def test_names_as_long_as_the_system_takes(tmp_path):
    files.write(tmp_path / ("x" * 255), "long")
    with pytest.raises(OSError, match="too long"):
        files.write(tmp_path / ("x" * 256), "longer")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_only_ordinary_files_are_read(tmp_path, kind):
    path = tmp_path / "thing"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(OSError, match="not an ordinary file"):
        files.read(path)


def test_more_than_allowed_is_not_read(tmp_path):
    (tmp_path / "file").write_bytes(bytes(11))
    assert files.read(tmp_path / "file", most=11) == bytes(11)
    with pytest.raises(ValueError, match="must have 10 bytes at most, but has 11"):
        files.read(tmp_path / "file", most=10)


@pytest.mark.parametrize("place", ["thing", "a/b/thing"])
@pytest.mark.parametrize("kind", ["link to a file", "link to a folder", "dangling", "pipe"])
def test_a_tree_with_anything_but_files_and_folders_is_refused(tmp_path, place, kind):
    study = tmp_path / "study"
    path = study / place
    path.parent.mkdir(parents=True)
    (study / "file").touch()
    files.check_tree(study)
    if kind == "pipe":
        os.mkfifo(path)
    else:
        targets = {"link to a file": study / "file", "link to a folder": tmp_path}
        path.symlink_to(targets.get(kind, tmp_path / "nowhere"))
    with pytest.raises(ValueError, match=f"thing is a {'pipe' if kind == 'pipe' else 'link'}"):
        files.check_tree(study)


def test_a_tree_may_be_reached_by_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    files.check_tree(tmp_path / "link")


def test_folders_are_made_with_those_above(tmp_path):
    files.make_folder(tmp_path / "a" / "b")
    files.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        files.make_folder(tmp_path / "file" / "below")


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path):
    for name in (".counterpoise-12ab.tmp", "mine.tmp", ".lock"):
        (tmp_path / name).touch()
    files.remove_unfinished(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"mine.tmp", ".lock"}


def test_a_lock_is_held_by_one_and_waited_for_in_words(tmp_path):
    waited = []
    with files.lock(tmp_path):
        with pytest.raises(TimeoutError), files.lock(tmp_path):
            pass
        release = threading.Event()

        def second():
            with files.lock(tmp_path, on_wait=lambda: (waited.append(1), release.set())):
                waited.append("held")

        other = threading.Thread(target=second)
        other.start()
        assert release.wait(10)
    other.join(10)
    assert waited == [1, "held"]


def test_a_lock_is_not_taken_through_a_link(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    study = tmp_path / "study"
    study.mkdir()
    (study / files.LOCK).symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"), files.lock(study):
        pass
    assert victim.read_text() == "precious"
