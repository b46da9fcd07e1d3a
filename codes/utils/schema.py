"""The base of every option group."""

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Base of all option groups: unknown keys are rejected, nothing is converted silently."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
