"""The base model of all parts of a policy, and the types of names and counts in it."""

from __future__ import annotations

from typing import Annotated, Any, Self, cast

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict

from autoscaler.units import duration_text

MAX_REPLICAS = 100_000
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"

Count = Annotated[int, Field(strict=True, ge=0, le=MAX_REPLICAS)]
AtLeastOne = Annotated[int, Field(strict=True, ge=1, le=MAX_REPLICAS)]
# The result of a query is counted in thousandths, as in HPA.
Amount = Annotated[float, Field(strict=True, ge=0.001, le=1e15)]
# RFC 1123: namespaces are labels, and most other names in Kubernetes are subdomains.
Label = Annotated[str, Field(strict=True, pattern=f"^{_LABEL}$", max_length=63)]
# The name of a ScalingPolicy comes with its namespace.
PolicyName = Annotated[str, Field(strict=True, pattern=f"^({_LABEL}/)?{_LABEL}$", max_length=127)]
Subdomain = Annotated[str, Field(strict=True, pattern=rf"^{_LABEL}(\.{_LABEL})*$", max_length=253)]


class Model(BaseModel):
    """The base model: frozen, camelCase keys in YAML, no unknown keys, no NaN."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        allow_inf_nan=False,
        validate_default=False,
        # One validator for a whole policy instead of one per class saves 60 ms at the start.
        defer_build=True,
    )

    def with_values(self, **values: Any) -> Self:
        """Return a copy with other values, which have been checked.

        `model_copy` would also copy what `cached_property` computed of the old values.
        """
        own = {name: getattr(self, name) for name in type(self).model_fields}
        chosen = self.model_fields_set | values.keys()
        return cast("Self", type(self).model_construct(chosen, **own | values))


def duration_field(default: float, description: str) -> Any:
    """Return a field with a default in seconds, which the schema shows as people write it."""
    extra: JsonDict = {"default": duration_text(default)}
    return Field(default=default, description=description, json_schema_extra=extra)
