"""Parts that an option file chooses by name: networks, presets, solvers, shrinkages, initialisations."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from codes.utils.errors import UserError, nearest

T = TypeVar("T")


class Registry(Generic[T]):
    """A dictionary that is filled by a decorator. The error for an unknown name suggests the nearest one."""

    def __init__(self, kind: str):
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that registers a class or function under `name`."""

        def enter(entry: T) -> T:
            if name in self._entries:
                raise ValueError(f"{self.kind} '{name}' is registered twice")
            self._entries[name] = entry
            return entry

        return enter

    def replace(self, name: str, entry: T) -> None:
        """Put another entry under a name that is registered already."""
        self._entries[name] = entry

    def __getitem__(self, name: str) -> T:
        """The entry called `name`. Raises UserError if there is none."""
        if name not in self._entries:
            raise UserError(f"unknown {self.kind} '{name}'; {nearest(name, self._entries)}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)
