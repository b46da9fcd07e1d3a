"""The base of every option group."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic_core import PydanticCustomError

from codes.utils.errors import nearest


class Options(BaseModel):
    """Base of all option groups: unknown keys are rejected, nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def keys(cls) -> Iterable[str]:
        """The keys that an option file may have for this group."""
        return {field.alias or name for name, field in cls.model_fields.items()}

    @model_validator(mode="before")
    @classmethod
    def _known(cls, content: Any) -> Any:
        if isinstance(content, dict):
            valid = cls.keys()
            for key in content:
                if key not in valid:
                    hint = {"key": str(key), "hint": nearest(str(key), valid)}
                    raise PydanticCustomError("unknown_key", "unknown key; {hint}", hint)
        return content
