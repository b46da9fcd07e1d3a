"""Networks by name (`which_model_G`) and named configurations of them (`preset`).

A network is one file anywhere below codes/models/, with `@register_network(name)` above its class, or
`@register_network(name, options)` if it has option keys. docs/extending.md has complete examples.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

from pydantic import ConfigDict, create_model

from codes.models.network import Network
from codes.utils.option_files import Options
from codes.utils.registry import Registry


class NetworkOptions(Options):
    """Base of each network's option keys; each network has its own `which_model_G: Literal[name]`.

    Field names are the arguments of the constructor, aliases are the keys of the option file.
    """

    model_config = ConfigDict(serialize_by_alias=True)

    which_model_G: str

    @classmethod
    def keys(cls) -> set[str]:
        return {*super().keys(), "preset"}


class Entry(NamedTuple):
    """A registered network: its constructor and the schema of its options."""

    build: Callable[..., Network]
    options: type[NetworkOptions]


NETWORKS: Registry[Entry] = Registry("network")
PRESETS: Registry[dict[str, Any]] = Registry("preset")


def register_network(
    name: str, options: type[NetworkOptions] | None = None
) -> Callable[[type[Network]], type[Network]]:
    """Class decorator that makes a network available as `which_model_G: name`.

    options: the schema of its option keys; None if it has none. Raises TypeError if the class is not a subclass of
    Network.
    """
    schema = options or create_model(f"{name}Options", __base__=NetworkOptions, which_model_G=(Literal[name], name))

    def enter(network: type[Network]) -> type[Network]:
        if not issubclass(network, Network):
            raise TypeError(f"network '{name}': {network.__name__} is not a subclass of codes.models.network.Network")
        NETWORKS.register(name)(Entry(network, schema))
        return network

    return enter


def register_preset(name: str, network: str, **keys: Any) -> None:
    """Add a named configuration: option-file keys of `network`."""
    PRESETS.register(name)({"which_model_G": network, **keys})
