"""Networks by name (`which_model_G`) and named configurations of them (`preset`).

A network is added in one file of codes/models/archs/: a pydantic class with its option keys,
and `@register_network(name, options)` above the module. codes/models/archs/__init__.py
imports every file there.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

from codes.models.network import Network
from codes.utils.registry import Registry


class NetworkOptions(BaseModel):
    """Base of every network's option keys; each has its own `which_model_G: Literal[name]`.

    Field names are the constructor's arguments, aliases the keys of the option file.
    """

    model_config = ConfigDict(extra="forbid", strict=True, serialize_by_alias=True)

    which_model_G: str


class Entry(NamedTuple):
    """A registered network: its class and the schema of its options."""

    build: type[Network]
    options: type[NetworkOptions]


NETWORKS: Registry[Entry] = Registry("network")
PRESETS: Registry[dict[str, Any]] = Registry("preset")


def register_network(name: str, options: type[NetworkOptions]) -> Callable[[type[Network]], type[Network]]:
    """Class decorator: enters a network as `which_model_G: name`."""

    def enter(network: type[Network]) -> type[Network]:
        NETWORKS.register(name)(Entry(network, options))
        return network

    return enter


def register_preset(name: str, network: str, **keys: Any) -> None:
    """Enter a named configuration: option-file keys of `network`."""
    PRESETS.register(name)({"which_model_G": network, **keys})
