"""Files are written whole or not at all, whatever happens meanwhile."""

import errno
import os
import stat
import tracemalloc

import pytest

from bptt.errors import BpttError
from bptt.files import write_file
from bptt.tasks import Text
from bptt.training import runs
from bptt.training.options import settings_for
from bptt.training.training import Training


def one_line(error):
    message = str(error)
    assert message
    assert "\n" not in message
    return message


def large_training():
    """A run whose weights take a megabyte and more, as does each state of its optimizer."""
    task = Text(text="the cat sat on the mat, the rat ran.", window=9)
    options = {"engine": "reference", "hidden": 512, "iterations": 1}
    training = Training(settings_for(task, options))
    assert len(list(training.records())) == 1
    assert training.network.theta.nbytes > 2**20
    return training


def test_write_file_makes_folders_and_replaces(tmp_path):
    path = tmp_path / "a" / "b" / "file"
    write_file(path, b"one")
    assert path.read_bytes() == b"one"
    write_file(path, b"")
    assert path.read_bytes() == b""
    assert [each.name for each in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("step", ["fsync", "replace", "fstat", "open"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(step, number, tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_file(path, b"old")

    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail)
        with pytest.raises(BpttError) as caught:
            write_file(path, b"new and longer")
    message = one_line(caught.value)
    assert str(path) in message
    assert os.strerror(number) in message
    assert "choose another folder" in message
    assert path.read_bytes() == b"old"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_an_interrupt_while_writing_leaves_no_temporary_file(tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_file(tmp_path / "file", b"content")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BpttError) as caught:
        write_file(tmp_path / "file" / "run" / "config.json", b"{}")
    assert "cannot be written" in one_line(caught.value)
    with pytest.raises(BpttError) as caught:
        write_file(tmp_path, b"")  # a folder stands where the file should
    assert "cannot be written" in one_line(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_what_is_on_the_disc_is_whole_before_it_has_its_name(tmp_path, monkeypatch):
    """fsync of the content comes before the rename, and the rename before fsync of the folder."""
    calls = []
    real_fsync, real_replace = os.fsync, os.replace

    def fsync(handle):
        calls.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        real_fsync(handle)

    def replace(one, other):
        calls.append("rename")
        real_replace(one, other)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_file(tmp_path / "file", b"content")
    assert calls == ["file", "rename", "folder"]


def test_a_full_disc_leaves_the_old_checkpoint(tmp_path):
    resource = pytest.importorskip("resource")
    training = large_training()
    runs.save(tmp_path, training)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, hard))  # the largest file that may be written
    try:
        for save in (runs.save_checkpoint, runs.save):
            with pytest.raises(BpttError) as caught:
                save(tmp_path, training)
            assert "cannot be written: " in one_line(caught.value)
            assert str(tmp_path) in one_line(caught.value)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_checkpoint_is_written_without_a_copy_of_it_in_memory(tmp_path):
    training = large_training()
    runs.save(tmp_path, training)  # imports what it needs
    tracemalloc.start()
    try:
        runs.save(tmp_path, training)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < training.network.theta.nbytes / 2  # of three arrays
