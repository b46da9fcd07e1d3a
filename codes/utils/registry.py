"""Parts that an option file chooses by name: networks, presets, solvers, shrinkages, initialisations."""

from collections.abc import Callable
from typing import TypeVar

from codes.utils.errors import UserError, nearest

T = TypeVar("T")


class Registry(dict[str, T]):
    """A dictionary that is filled by a decorator. The error for an unknown name suggests the nearest one."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind = kind

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that registers a class or function under `name`."""

        def enter(entry: T) -> T:
            if name in self:
                raise ValueError(f"{self.kind} '{name}' is registered twice")
            self[name] = entry
            return entry

        return enter

    def __missing__(self, name: str) -> T:
        raise UserError(f"unknown {self.kind} '{name}'; {nearest(name, self)}")
