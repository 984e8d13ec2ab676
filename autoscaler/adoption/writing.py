"""The text of a kustomization. Pure."""

from __future__ import annotations

from typing import Any

from autoscaler.adapters.policies.yaml_writing import block_text

KUSTOMIZATION = "kustomization.yaml"


def kustomization(
    comment: str, version: str = "v1beta1", kind: str = "Kustomization", **fields: Any
) -> str:
    """Return a kustomization with a comment of one line."""
    head = {"apiVersion": f"kustomize.config.k8s.io/{version}", "kind": kind}
    return f"# {comment}\n" + block_text({**head, **fields})


def component(comment: str, **fields: Any) -> str:
    """Return a component, whose ConfigMaps have no hash in their names."""
    options = {"disableNameSuffixHash": True}
    return kustomization(comment, "v1alpha1", "Component", **fields, generatorOptions=options)
