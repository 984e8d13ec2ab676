"""The folder of a node, which is removed while the node's processes end."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from time import monotonic

from tests.lab.namespaces import remove_tree


def test_a_folder_is_removed_although_something_still_writes_into_it(tmp_path: Path) -> None:
    folder, began = tmp_path / "node", Event()

    def write() -> None:
        until = monotonic() + 1
        while monotonic() < until:
            for number in range(50):
                with suppress(OSError):
                    (folder / f"plugins-{number}").mkdir()
            began.set()

    folder.mkdir()
    writer = Thread(target=write)
    writer.start()
    assert began.wait(10)

    remove_tree(folder)
    writer.join()

    assert not folder.exists()
