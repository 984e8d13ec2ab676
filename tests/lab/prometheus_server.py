"""A real Prometheus on loopback that tests push samples into, at any time they like, or let scrape.

A push needs no scrape to be waited for: what was written can be queried at once, with the
timestamps it was written with.
"""

from __future__ import annotations

import json
import struct
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import yaml

from tests.lab.processes import Processes, free_ports

Series = tuple[tuple[str, str], ...]
Points = Iterable[tuple[float, float]]
Target = tuple[str, Mapping[str, str]]
READY_WITHIN = 60.0  # seconds; 0.04 on an idle machine
TIMEOUT = 30.0  # seconds for one request
# A week that is pushed at once is cut into blocks of two hours otherwise, while more is pushed:
# that takes as long again, and once it closed a connection without an answer.
_KEPT_IN_MEMORY = [f"--storage.tsdb.{each}-block-duration=30d" for each in ("min", "max")]


def series(name: str, /, **labels: str) -> Series:
    """The labels of a series, in the order that remote write asks for."""
    return tuple(sorted({"__name__": name, **labels}.items()))


class PrometheusServer:
    """Prometheus with an empty database that ends with the `with` block.

    program: the executable. folder: an empty one for configuration, data and log.
    targets: (host:port, labels) of what it scrapes every `scrape_interval` seconds. The first
    scrape comes 5 to 10 s after the start; push where that is too long.
    configuration: a whole one, in place of what `targets` and `scrape_interval` make.
    options: further command line options.
    """

    def __init__(
        self,
        program: Path,
        folder: Path,
        *,
        targets: Sequence[Target] = (),
        scrape_interval: float = 5.0,
        configuration: Mapping[str, Any] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.program = program
        self.folder = folder
        self.options = options
        self._configuration = configuration or _configuration(targets, scrape_interval)
        self._processes = Processes(folder)
        (self._port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        configuration = self.folder / "prometheus.yml"
        configuration.write_text(yaml.safe_dump(dict(self._configuration)))
        command: list[str | Path] = [
            self.program,
            f"--config.file={configuration}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
            "--web.enable-remote-write-receiver",
            *_KEPT_IN_MEMORY,
            *self.options,
        ]
        self._processes.start("prometheus", command)
        try:
            self._processes.await_ready(self._is_ready, READY_WITHIN, "Prometheus to be ready")
        except BaseException:
            self._processes.stop_all()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.stop_all()

    def push(self, samples: Mapping[Series, Points]) -> None:
        """Write samples, (Unix seconds, value) each; they can be queried when this returns."""
        body = snappy_block(write_request(samples))
        headers = {
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        request = urllib.request.Request(f"{self.url}/api/v1/write", body, headers)
        try:
            urllib.request.urlopen(request, timeout=TIMEOUT).close()
        except urllib.error.HTTPError as error:
            with error:
                reason = error.read().decode(errors="replace").strip()
            raise AssertionError(f"Prometheus refused the samples: {reason}") from None
        except OSError as error:
            log = self._processes.tail("prometheus")
            raise AssertionError(f"Prometheus took no samples ({error}):\n{log}") from None

    def query(self, promql: str, at: float) -> list[dict[str, Any]]:
        """The result of an instant query at a Unix time."""
        words = urllib.parse.urlencode({"query": promql, "time": at})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{words}", timeout=TIMEOUT) as answer:
            result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return result

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=1) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False


def _configuration(targets: Sequence[Target], scrape_interval: float) -> dict[str, Any]:
    milliseconds = f"{scrape_interval * 1000:.0f}ms"
    jobs = [{"targets": [address], "labels": dict(labels)} for address, labels in targets]
    return {
        "global": {"scrape_interval": milliseconds, "scrape_timeout": milliseconds},
        "scrape_configs": [{"job_name": "tests", "static_configs": jobs}],
        # Series may be pushed one after another, each from its own beginning.
        "storage": {"tsdb": {"out_of_order_time_window": "30d"}},
    }


def write_request(samples: Mapping[Series, Points]) -> bytes:
    """The remote write 1.0 message: a list of series, each a list of labels and of samples."""
    return b"".join(_field(1, _time_series(labels, points)) for labels, points in samples.items())


def _time_series(labels: Series, points: Points) -> bytes:
    names = (
        _field(1, _field(1, name.encode()) + _field(2, value.encode())) for name, value in labels
    )
    # A sample: field 1 a double (tag 0x09), field 2 the time in ms as a varint (tag 0x10).
    values = (
        _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(round(at * 1000)))
        for at, value in points
    )
    return b"".join([*names, *values])


def _field(number: int, content: bytes) -> bytes:
    """A protobuf field of type 2: bytes with their length before them."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Seven bits a byte, the lowest first; the top bit says that more follow."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def snappy_block(content: bytes) -> bytes:
    """The snappy block format without any compression: literals of at most 64 KiB.

    The tag 61 << 2 announces a literal whose length less one follows in two bytes.
    """
    pieces = (content[start : start + 65536] for start in range(0, len(content), 65536))
    literals = (b"\xf4" + struct.pack("<H", len(piece) - 1) + piece for piece in pieces)
    return _varint(len(content)) + b"".join(literals)
