"""Open a trace as text: compressed or not, in UTF-8 or UTF-16, with limits on what it may take."""

from __future__ import annotations

import codecs
import gzip
import io
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from autoscaler.adapters.traces.problems import TraceError

# Bytes of a file, uncompressed; a year of 1,000,000 sessions has about 50 MB.
MAX_BYTES = 4_000_000_000
# Logs unpack to about ten times their size; far more was made to fill memory or disks.
MAX_RATIO, RATIO_FROM = 100, 16 << 20
HEAD = 4_096
# Formats by their first bytes, and what to do with such a file.
_OTHER_FILES = (
    (b"PK\x03\x04", "a workbook or an archive; save the sheet as CSV, or unpack it"),
    (b"\xd0\xcf\x11\xe0", "a workbook; save the sheet as CSV"),
    (b"BZh", "compressed with bzip2; decompress it with bunzip2"),
    (b"\xfd7zXZ", "compressed with xz; decompress it with unxz"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard; decompress it with unzstd"),
    (b"SQLite format 3", "a SQLite database; export the table as CSV"),
    (b"%PDF", "a PDF document; export the table as CSV"),
    (b"\x1f\x8b", "compressed twice; decompress it with gunzip"),
)
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
EXPECTED = "expected CSV, JSON or Parquet"

Progress = Callable[[float], None]


def first_bytes(path: Path) -> bytes:
    """Return the beginning of a file, decompressed. Raises TraceError."""
    with _opened(path) as file, reading(path):
        return unpacked(file).read(HEAD)


@contextmanager
def open_text(path: Path, progress: Progress) -> Iterator[io.TextIOWrapper]:
    """Open a file as text, of which errors while reading are TraceErrors.

    progress: called with the share that has been read. Bytes that are not text are kept as
    surrogates: a name in another encoding does not matter.
    """
    encoding = _encoding(path, first_bytes(path))
    with _opened(path) as file, reading(path):
        errors = "surrogateescape" if encoding.startswith("utf-8") else "replace"
        yield io.TextIOWrapper(
            unpacked(file, progress), encoding=encoding, errors=errors, newline=""
        )


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Translate the errors of a damaged file to TraceError."""
    try:
        yield
    except EOFError:
        raise TraceError(f"{path}: the gzip data is truncated; copy the file again") from None
    except (zlib.error, gzip.BadGzipFile) as error:
        raise TraceError(f"{path}: the gzip data is damaged ({error})") from None
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror}, {EXPECTED}") from None


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        kind = path.stat().st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            raise TraceError(f"{path}: not a regular file; save it to one first")
        file = path.open("rb")
    except OSError as error:
        raise TraceError(f"{path}: {error.strerror}, {EXPECTED}") from None
    with file:
        yield file


def unpacked(file: IO[bytes], progress: Progress = lambda _: None) -> io.BufferedReader:
    """Return the content of an open file, decompressed if it is compressed with gzip.

    While it is read, a damaged file raises what `reading` translates. progress: called with the
    share of the file that has been read.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    content: IO[bytes] = gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[assignment]
    limited = _Limited(content, file, lambda taken: progress(taken / max(1, size)))
    return io.BufferedReader(limited, 1 << 18)


def _encoding(path: Path, head: bytes) -> str:
    """Return the encoding by the first bytes. Raises TraceError for what is not text."""
    for mark, encoding in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return encoding
    for beginning, what in _OTHER_FILES:
        if head.startswith(beginning):
            raise TraceError(f"{path}: {EXPECTED}, but it is {what}")
    if head[1:8:2] == b"\0\0\0\0" and b"\0" not in head[:8:2]:
        return "utf-16-le"
    if head[:8:2] == b"\0\0\0\0" and b"\0" not in head[1:8:2]:
        return "utf-16-be"
    if b"\0" in head:
        raise TraceError(f"{path}: {EXPECTED}, but it is binary")
    return "utf-8"


class _Limited(io.RawIOBase):
    """Reads what a file contains until it is more than is allowed.

    content: the file itself, or what unpacks it. tell: called with the bytes taken from the file.
    """

    def __init__(self, content: IO[bytes], file: IO[bytes], tell: Callable[[int], None]) -> None:
        self._content, self._file, self._tell = content, file, tell
        self._came = 0

    def readable(self) -> bool:
        """Return True, as `BufferedReader` asks."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read into the buffer, and return the number of bytes."""
        chunk = self._content.read(len(buffer))
        self._came += len(chunk)
        name, taken = self._file.name, self._file.tell()
        if self._came > MAX_BYTES:
            raise TraceError(f"{name}: larger than {MAX_BYTES / 1e9:g} GB; split it by weeks")
        if self._came > max(RATIO_FROM, MAX_RATIO * taken):
            raise TraceError(
                f"{name}: unpacks to more than {MAX_RATIO} times its size; this is no log"
            )
        buffer[: len(chunk)] = chunk
        self._tell(taken)
        return len(chunk)
