"""Policy files are read again when they change, and nothing runs on ambiguous input."""

from __future__ import annotations

from pathlib import Path

import pytest

from autoscaler.adapters.policies.files import PolicyFiles
from tests.policies.files import GOOD, edited

BROKEN = edited("min: 2", "min: 0")


def policy(name: str, deployment: str = "", maximum: int = 20) -> str:
    text = GOOD.replace("dashboards", name).replace("bokeh-app", deployment or name)
    return text.replace("max: 20", f"max: {maximum}")


class Folder:
    """A folder of policies and a source that reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.source = PolicyFiles([path])

    def put(self, **texts: str) -> Folder:
        """Write files the way editors do: a new file takes the name of the old one."""
        for name, text in texts.items():
            new = self.path / f".{name}.swp"
            new.write_text(text)
            new.replace(self.path / f"{name}.yaml")
        return self

    def remove(self, name: str) -> Folder:
        (self.path / f"{name}.yaml").unlink()
        return self

    def in_force(self) -> dict[str, tuple[str, int]]:
        """File to the policy's name and max."""
        loaded = self.source.load()
        by_name = {policy.name: policy for policy in loaded.policies}
        assert set(loaded.files) == set(by_name)
        return {
            Path(file).stem: (name, by_name[name].replicas.max)
            for name, file in loaded.files.items()
        }

    def problems(self) -> dict[str, tuple[str, ...]]:
        """File to its problems, without the file's name."""
        return {
            Path(file).stem: tuple(line.removeprefix(f"{file}:").strip() for line in lines)
            for file, lines in self.source.load().problems.items()
        }


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def test_every_good_file_is_in_force(folder):
    folder.put(a=policy("a"), b=policy("b"))
    assert folder.in_force() == {"a": ("a", 20), "b": ("b", 20)}
    assert folder.problems() == {}


def test_an_edit_takes_effect(folder):
    folder.put(a=policy("a")).in_force()
    assert folder.put(a=policy("a", maximum=30)).in_force() == {"a": ("a", 30)}


def test_an_edit_in_place_takes_effect(folder):
    folder.put(a=policy("a")).in_force()
    (folder.path / "a.yaml").write_text(policy("a", maximum=300))
    assert folder.in_force() == {"a": ("a", 300)}


def test_a_file_that_did_not_change_is_not_read_again(folder):
    folder.put(a=policy("a"))
    first = folder.source.load().policies
    assert folder.source.load().policies[0] is first[0]


def test_a_broken_edit_keeps_the_last_good_version(folder):
    folder.put(a=policy("a"), b=policy("b")).in_force()
    folder.put(a=BROKEN)
    assert folder.in_force() == {"a": ("a", 20), "b": ("b", 20)}
    assert folder.problems() == {"a": ("6: replicas.min: got 0, expected at least 1",)}


def test_a_repaired_edit_takes_effect(folder):
    folder.put(a=policy("a")).in_force()
    folder.put(a=BROKEN).in_force()
    folder.put(a=policy("a", maximum=30))
    assert folder.in_force() == {"a": ("a", 30)}
    assert folder.problems() == {}


def test_a_file_that_was_never_good_runs_nothing_and_stops_nothing(folder):
    folder.put(a=BROKEN, b=policy("b"))
    assert folder.in_force() == {"b": ("b", 20)}
    assert set(folder.problems()) == {"a"}


def test_a_new_file_is_found_and_a_removed_one_takes_its_policy_along(folder):
    folder.put(a=policy("a")).in_force()
    assert folder.put(b=policy("b")).in_force().keys() == {"a", "b"}
    assert folder.remove("a").in_force().keys() == {"b"}
    assert folder.problems() == {}


def test_a_removed_file_that_was_given_by_name_is_missed(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text(GOOD)
    source = PolicyFiles([path])
    source.load()
    path.unlink()
    gone = source.load()
    assert gone.policies == ()
    assert "No such file" in gone.problems[str(path)][0]


def test_a_file_is_read_once_it_may_be(folder):
    folder.put(a=policy("a"))
    (folder.path / "b.yaml").symlink_to(folder.path / "later")
    assert folder.in_force().keys() == {"a"}
    assert "cannot be read" in folder.problems()["b"][0]
    (folder.path / "later").write_text(policy("b"))
    assert folder.in_force().keys() == {"a", "b"}


@pytest.mark.parametrize(
    ("second", "line"),
    [
        pytest.param(
            policy("a", "other"),
            "1: name: a is also the name of {}, expected a different name in each",
            id="one name",
        ),
        pytest.param(
            policy("other", "a"),
            "2: target: bokeh/a is also the target of {}, expected a different target in each",
            id="one target",
        ),
    ],
)
class TestTwoFilesWith:
    def test_neither_runs_where_none_was_in_force(self, folder, second, line):
        folder.put(a=policy("a"), b=second, c=policy("c"))
        assert folder.in_force() == {"c": ("c", 20)}
        assert folder.problems() == {
            "a": (line.format(folder.path / "b.yaml"),),
            "b": (line.format(folder.path / "a.yaml"),),
        }

    @pytest.mark.parametrize("intruder", ["0", "b"], ids=["before it by name", "after it by name"])
    def test_the_one_in_force_keeps_running(self, folder, second, line, intruder):
        folder.put(a=policy("a")).in_force()
        folder.put(**{intruder: second})
        assert folder.in_force() == {"a": ("a", 20)}
        assert folder.problems().keys() == {"a", intruder}

    def test_an_edit_waits_until_the_clash_is_over(self, folder, second, line):
        folder.put(a=policy("a")).in_force()
        folder.put(b=second, a=policy("a", maximum=30))
        assert folder.in_force() == {"a": ("a", 20)}
        assert folder.remove("b").in_force() == {"a": ("a", 30)}
        assert folder.problems() == {}


def test_two_policies_may_swap_names_at_once(folder):
    folder.put(a=policy("a"), b=policy("b")).in_force()
    folder.put(a=policy("b", "a"), b=policy("a", "b"))
    assert folder.in_force() == {"a": ("b", 20), "b": ("a", 20)}


def test_a_name_of_a_policy_that_only_runs_on_is_still_taken(folder):
    folder.put(a=policy("a")).in_force()
    folder.put(a=BROKEN, b=policy("a", "b"))
    assert folder.in_force() == {"a": ("a", 20)}
    assert folder.problems().keys() == {"a", "b"}


def test_a_version_that_stays_because_of_a_clash_can_clash_with_a_third(folder):
    """a wants c's name and must stay; so the name a is not free for the new file b."""
    folder.put(a=policy("a"), c=policy("c")).in_force()
    folder.put(a=policy("c", "a"), b=policy("a", "b"))
    assert folder.in_force() == {"a": ("a", 20), "c": ("c", 20)}
    assert folder.problems().keys() == {"a", "b", "c"}


def test_a_mounted_config_map_is_followed_through_its_update(tmp_path):
    """The kubelet swaps the symlink ..data; the files themselves are symlinks through it."""
    for version, maximum in (("..2026_01", 20), ("..2026_02", 30)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "a.yaml").write_text(policy("a", maximum=maximum))
    (tmp_path / "..data").symlink_to("..2026_01")
    (tmp_path / "a.yaml").symlink_to("..data/a.yaml")
    folder = Folder(tmp_path)
    assert folder.in_force() == {"a": ("a", 20)}
    (tmp_path / "..data_tmp").symlink_to("..2026_02")
    (tmp_path / "..data_tmp").replace(tmp_path / "..data")
    assert folder.in_force() == {"a": ("a", 30)}
    assert folder.problems() == {}


def test_only_policy_files_of_a_directory_count(folder):
    folder.put(a=policy("a"))
    for name in (
        ".hidden.yaml",
        "kustomization.yaml",
        "kustomization.yml",
        "README.md",
        "schema.json",
        "a.yaml~",
        "b.yaml.bak",
    ):
        (folder.path / name).write_text("not: [a policy")
    (folder.path / "b.yml").write_text(policy("b"))
    assert folder.in_force().keys() == {"a", "b"}
    assert folder.problems() == {}


def test_a_directory_that_looks_like_a_policy_is_a_problem(folder):
    (folder.path / "a.yaml").mkdir()
    assert folder.problems()["a"][0].endswith("is a directory, expected a policy file")


def test_an_empty_directory_is_a_problem_of_its_own_kind(tmp_path):
    loaded = PolicyFiles([tmp_path]).load()

    assert loaded.problems == {
        str(tmp_path): (f"{tmp_path}: has no policy file, expected files ending in .yaml or .yml",)
    }
    assert (loaded.empty, loaded.rejected) == ({str(tmp_path)}, {})


def test_a_directory_with_files_or_that_cannot_be_read_is_not_empty(tmp_path):
    (tmp_path / "a.yaml").write_text("not: [a policy")
    loaded = PolicyFiles([tmp_path, tmp_path / "absent"]).load()

    assert loaded.empty == set()
    assert len(loaded.rejected) == 2
