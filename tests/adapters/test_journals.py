"""Journals on a real disk: rotated, continued after a crash, and read where they are damaged."""

from __future__ import annotations

import errno
import gzip
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autoscaler.adapters.journals import INCOMPLETE, JournalFiles, RotatingFile
from autoscaler.core.journal import Encoder, Entry
from autoscaler.model import Decision, State
from tests.builders import NOW, observation, policy

LARGE = 1_000_000


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def entry(at: float, writer: str = "writer") -> Entry:
    return Entry(writer, at, policy(), observation(12, 3), State(), Decision(2, 2))


def lines(*times: float, writer: str = "writer") -> list[str]:
    encoder = Encoder()
    return [encoder.line(entry(at, writer), State()) for at in times]


def written(path: Path, *texts: str, size: int = LARGE, files: int = 5) -> RotatingFile:
    file = RotatingFile(path, size, files)
    for text in texts:
        file.begin()
        file.append(text)
    return file


def times(files: JournalFiles) -> list[float]:
    return [entry.at for entry in files.entries()]


def test_a_restart_continues_the_file(path: Path) -> None:
    for at in (NOW, NOW + 2):
        written(path, *lines(at)).close()

    files = JournalFiles([path])
    assert times(files) == [NOW, NOW + 2]
    assert files.problems == []


def test_files_that_are_compressed_are_read_in_the_order_of_their_times(path: Path) -> None:
    newer, older = path, path.with_name("journal.jsonl.1.gz")
    written(newer, *lines(NOW + 2)).close()
    older.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines(NOW)).encode()))

    files = JournalFiles([newer, older])
    assert times(files) == [NOW, NOW + 2]
    assert files.problems == []


def test_a_compressed_file_that_was_cut_is_read_until_shortly_before(path: Path) -> None:
    many = "".join(f"{line}\n" for line in lines(*range(4_000)))
    path.write_bytes(gzip.compress(many.encode())[:-90])

    files = JournalFiles([path])
    read = times(files)
    assert read == list(range(len(read)))
    assert read, "what came before the damage"
    assert files.problems == [f"{path}: the gzip data is truncated; copy the file again"]


def test_a_full_file_becomes_an_older_one_and_the_oldest_is_deleted(path: Path) -> None:
    written(path, *"abcdefg", size=4, files=3)

    found = {each.name: each.read_text() for each in path.parent.iterdir()}
    assert found == {
        "journal.jsonl": "g\n",
        "journal.jsonl.1": "e\nf\n",
        "journal.jsonl.2": "c\nd\n",
    }


def test_with_one_file_the_full_one_is_deleted(path: Path) -> None:
    written(path, *"abc", size=4, files=1)

    assert [each.read_text() for each in path.parent.iterdir()] == ["c\n"]


def test_it_tells_of_each_file_that_begins(path: Path) -> None:
    file = RotatingFile(path, 3, 2)
    begun = []
    for _ in range(4):
        begun.append(file.begin())
        file.append("a")

    assert begun == [True, False, True, False]


def test_a_process_that_was_overtaken_by_another_ones_rotation_rotates_nothing(path: Path) -> None:
    one, other = RotatingFile(path, 4, 3), RotatingFile(path, 4, 3)
    for file in (one, other):
        file.begin()
    one.append("abc")
    one.begin()
    one.append("d")

    assert other.begin()
    other.append("e")

    assert path.read_text() == "d\ne\n"
    assert path.with_name("journal.jsonl.1").read_text() == "abc\n"


def test_a_line_that_was_cut_off_is_skipped_and_told(path: Path) -> None:
    first, second = lines(NOW, NOW + 2)
    path.write_text(f"{first}\n{second[:-9]}")
    files = JournalFiles([path])
    assert times(files) == [NOW]
    assert files.problems == [f"{path}:2: {INCOMPLETE}"]

    written(path, *lines(NOW + 4, NOW + 6, writer="another"))

    assert times(files) == [NOW, NOW + 4, NOW + 6]
    assert files.problems == [f"{path}:2: not JSON, expected a line of a journal"]


def test_lines_that_rest_on_a_missing_one_are_told_together(path: Path) -> None:
    first, _, *rest = lines(*(NOW + n for n in range(6)))
    path.write_text("\n".join([first, *rest, ""]))

    files = JournalFiles([path])

    assert times(files) == [NOW]
    why = "it leaves out what an earlier line had, which is missing (and so do 3 more lines)"
    assert files.problems == [f"{path}:2: {why}"]


def test_the_files_of_a_journal_are_read_in_the_order_of_their_times(path: Path) -> None:
    older, newer = path.with_name("a"), path.with_name("b")
    written(older, *lines(NOW + 10, NOW + 12))
    written(newer, *lines(NOW, NOW + 2))
    shares: list[float] = []

    files = JournalFiles([older, newer, older], shares.append)

    assert times(files) == [NOW, NOW + 2, NOW + 10, NOW + 12]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert times(files) == [NOW, NOW + 2, NOW + 10, NOW + 12], "again with each call"


def test_what_is_no_journal_is_told_file_by_file(path: Path) -> None:
    path.write_text("not a journal\n" * 30)

    none = path.with_name("none")
    files = JournalFiles([path, path.parent, none])

    assert times(files) == []
    assert files.problems == [
        *(f"{path}:{n}: not JSON, expected a line of a journal" for n in range(1, 21)),
        f"{path}: 10 more lines cannot be read",
        f"{path.parent}: Is a directory, expected a journal",
        f"{none}: No such file or directory, expected a journal",
    ]


def test_a_full_disk_is_an_error_of_the_line(path: Path) -> None:
    path.symlink_to("/dev/full")
    file = RotatingFile(path, LARGE, 2)
    file.begin()

    with pytest.raises(OSError) as told:
        file.append("a")

    assert told.value.errno == errno.ENOSPC


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may become larger."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_line_that_fits_in_part_leaves_the_others_readable(path: Path) -> None:
    first, second = lines(NOW, NOW + 2)
    file = written(path, first)

    with largest_file(len(first) + 20), pytest.raises(OSError) as told:
        file.append(second)

    assert told.value.errno == errno.EFBIG
    files = JournalFiles([path])
    assert times(files) == [NOW]
    assert files.problems == [f"{path}:2: {INCOMPLETE}"]


def test_a_path_that_cannot_be_opened_is_an_error_at_the_start(path: Path) -> None:
    path.mkdir()

    with pytest.raises(IsADirectoryError):
        RotatingFile(path, LARGE, 2).begin()


def test_a_line_that_could_not_be_ended_for_lack_of_room_is_ended_later(path: Path) -> None:
    path.write_text("half a li")
    file = RotatingFile(path, LARGE, 2)
    with largest_file(9), pytest.raises(OSError):
        file.begin()

    assert file.begin()
    file.append("a")

    assert path.read_text() == "half a li\na\n"
