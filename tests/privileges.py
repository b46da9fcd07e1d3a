"""root without the right to write where the permissions forbid it, so that tests of them tell under root too."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_VERSION_3, _OVERRIDES = 0x20080522, 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
_Capabilities = ctypes.c_uint32 * 6


@contextmanager
def permissions_count() -> Iterator[None]:
    """Files' permissions hold for this thread, be it root's; afterwards it may what it could before."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, before = (ctypes.c_uint32 * 2)(_VERSION_3, 0), _Capabilities()
    _checked(libc.capget(header, before))
    less = _Capabilities(*before)
    less[0] &= ~_OVERRIDES  # of those in force; the permitted ones stay, from which they come back
    _checked(libc.capset(header, less))
    try:
        yield
    finally:
        _checked(libc.capset(header, before))


def _checked(status: int) -> None:
    if status:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
