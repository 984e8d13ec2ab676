"""Where in a file another autoscaler's setting is, for messages about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pydantic import ValidationError

from autoscaler.adapters.policies.autoscalers import HPA, SCALED_OBJECT
from autoscaler.adapters.policies.messages import explain
from autoscaler.adapters.policies.yaml import Document, Path, path_text
from autoscaler.errors import PolicyError
from autoscaler.policy import Policy

# Where an object has what a policy has at these paths.
_KEYS: Mapping[str, Mapping[Path, Path]] = {
    HPA: {
        (): ("spec",),
        ("target",): ("spec", "scaleTargetRef"),
        ("target", "namespace"): ("metadata", "namespace"),
        ("replicas",): ("spec", "minReplicas"),
        ("replicas", "max"): ("spec", "maxReplicas"),
        ("metrics",): ("spec", "metrics"),
        ("behavior",): ("spec", "behavior"),
    },
    SCALED_OBJECT: {
        (): ("spec",),
        ("target",): ("spec", "scaleTargetRef"),
        ("target", "namespace"): ("metadata", "namespace"),
        ("replicas",): ("spec", "minReplicaCount"),
        ("replicas", "max"): ("spec", "maxReplicaCount"),
        ("metrics",): ("spec", "triggers"),
        ("schedule",): ("spec", "triggers"),
        ("behavior",): ("spec", "advanced"),
        ("fallback",): ("spec", "fallback"),
    },
}


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

    def policy(self, value: Mapping[str, Any], kind: str) -> Policy:
        """Return the policy made of an object of this kind. Raises PolicyError, in one line."""
        try:
            return Policy.model_validate(value)
        except ValidationError as error:
            lines = {
                ours: self.document.line((*self.place, *theirs))
                for ours, theirs in _KEYS[kind].items()
            }
            first = explain(error, Document(None, lines))[0]
        message = ": ".join(filter(None, (f"{self.file}:{first.line}", first.path, first.message)))
        raise PolicyError(message)
