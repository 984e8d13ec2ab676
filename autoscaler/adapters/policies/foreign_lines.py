"""Where in a file another autoscaler's setting is, for messages about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from autoscaler.adapters.policies.autoscalers import HPA, SCALED_OBJECT, Settings
from autoscaler.adapters.policies.messages import faults
from autoscaler.adapters.policies.yaml import Document, Path, path_text
from autoscaler.errors import PolicyError
from autoscaler.policy import Policy

# Where an object has what a policy has at these paths.
_OF_ALL: Mapping[Path, Path] = {
    (): ("spec",),
    ("name",): ("metadata", "name"),
    ("target",): ("spec", "scaleTargetRef"),
    ("target", "deployment"): ("spec", "scaleTargetRef", "name"),
    ("target", "namespace"): ("metadata", "namespace"),
}
_KEYS: Mapping[str, Mapping[Path, Path]] = {
    HPA: {
        **_OF_ALL,
        ("replicas",): ("spec", "minReplicas"),
        ("replicas", "max"): ("spec", "maxReplicas"),
        ("metrics",): ("spec", "metrics"),
        ("behavior",): ("spec", "behavior"),
    },
    SCALED_OBJECT: {
        **_OF_ALL,
        ("replicas",): ("spec", "minReplicaCount"),
        ("replicas", "max"): ("spec", "maxReplicaCount"),
        ("metrics",): ("spec", "triggers"),
        ("schedule",): ("spec", "triggers"),
        ("behavior",): ("spec", "advanced", "horizontalPodAutoscalerConfig", "behavior"),
        ("fallback",): ("spec", "fallback"),
        ("fallback", "replicas"): ("spec", "fallback", "replicas"),
    },
}
# Where a cron trigger has what a window has.
_OF_WINDOW: Mapping[Path, Path] = {
    (): (),
    ("from",): ("metadata", "start"),
    ("to",): ("metadata", "end"),
    ("days",): ("metadata", "start"),
    ("timezone",): ("metadata", "timezone"),
    ("min",): ("metadata", "desiredReplicas"),
}


def _theirs(path: Path, value: Mapping[str, Any], settings: Settings) -> Path:
    """Return where an object has what the policy made of it has at a path."""
    if len(path) > 1 and isinstance(index := path[1], int):
        if path[0] == "schedule":
            return (*settings.window_paths[index], *_nearest(path[2:], _OF_WINDOW))
        for each in settings.metrics:
            if path[0] == "metrics" and each.ours is value["metrics"][index]:
                return each.path
    found = _nearest(path, _KEYS[settings.kind])
    return (*found, *path[1:]) if path[0] == "behavior" else found


def _nearest(path: Path, keys: Mapping[Path, Path]) -> Path:
    while path not in keys:
        path = path[:-1]
    return keys[path]


class Lines(NamedTuple):
    """The lines of an object in a document of a file. place: the path of the object."""

    file: str
    document: Document
    place: Path

    def told(self, path: Path, text: str) -> str:
        """Return a line about a setting of the object: file, line, path and text."""
        whole = (*self.place, *path)
        return f"{self.file}:{self.document.line(whole)}: {path_text(whole)}: {text}"

    def check(self) -> None:
        """Raise PolicyError if a value in the spec of the object cannot be read as YAML."""
        spec = path_text((*self.place, "spec"))
        faults = [each for each in self.document.problems if each.path.startswith(spec)]
        if faults:
            told = (f"{self.file}:{each.line}: {each.path}: {each.message}" for each in faults)
            raise PolicyError("\n".join(told))

    def policy(self, value: Mapping[str, Any], settings: Settings) -> Policy:
        """Return the policy made of an object. Raises PolicyError, in one line."""
        try:
            return Policy.model_validate(value)
        except ValidationError as error:
            found = [(_theirs(path, value, settings), told) for path, told in faults(error)]
        first, message = min(found, key=lambda each: self.document.line((*self.place, *each[0])))
        raise PolicyError(self.told(first, message))
