"""libvips: loaded when it is first needed, and where the process is ours, made to hold few rows of wide pictures."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from edgecolor._errors import SourceError

if TYPE_CHECKING:
    import pyvips

_ROWS = 16
"""Of a tile. libvips sizes its buffers by them, several times over and at full width; by default they are 128."""


_used_by = 0
"""Number of the process that used it first."""


def load_vips() -> Any:
    """The module pyvips, which needs a library of the system.

    Raises:
        SourceError: It cannot be loaded, or its threads are another process's.
    """
    global _used_by  # noqa: PLW0603  # of a process there is one
    _used_by = _used_by or os.getpid()
    if _used_by != os.getpid():
        raise SourceError(
            "picture files cannot be used in a process forked from one that used them: libvips would wait for ever for threads "
            "that were not forked; start processes with multiprocessing.get_context('spawn') or 'forkserver'"
        )
    try:
        import pyvips
    except (ImportError, OSError) as error:
        raise SourceError(f"picture files need libvips: {error}; run: pip install 'pyvips[binary]'") from error
    return pyvips


@cache
def writes_tiff(compression: str) -> bool:
    """Whether this libvips has a compression of TIFF, which it says only when it writes one."""
    vips = load_vips()
    try:
        vips.Image.black(1, 1, bands=3).tiffsave_buffer(compression=compression)
    except vips.Error:
        return False
    return True


def reason(error: pyvips.Error) -> str:
    """What libvips says last, which is what it began with."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else "unknown reason"


def fields(image: pyvips.Image) -> list[str]:
    """The names of its metadata, also where pyvips cannot read one: the keyword of a PNG's text may be in any encoding."""
    vips = load_vips()
    names = vips.vips_lib.vips_image_get_fields(image.pointer)
    found: list[str] = []
    while names[len(found)] != vips.ffi.NULL:
        found.append(vips.ffi.string(names[len(found)]).decode(errors="replace"))
        vips.glib_lib.g_free(names[len(found) - 1])
    vips.glib_lib.g_free(names)
    return found


def copy_field(origin: pyvips.Image, image: pyvips.Image, name: str) -> None:
    """Give an image what another says under a name, byte for byte: pyvips would take any text for UTF-8."""
    vips = load_vips()
    value = vips.GValue()
    if not vips.vips_lib.vips_image_get(origin.pointer, name.encode(), value.pointer):
        vips.vips_lib.vips_image_set(image.pointer, name.encode(), value.pointer)


def hold_few_rows() -> None:
    """Make libvips take less memory, in all that this process does with it from now on.

    Its buffers get few rows, and it works on one thread, which asks for them in their order: several could want a row that is
    no longer held. Nothing for a library to do, for other users of libvips in a process may count on its defaults.
    """
    with suppress(OSError, AttributeError):  # a libvips that cannot be told so is as good, but takes more memory
        lib = ctypes.CDLL(_library_of(load_vips()))
        lib.vips_concurrency_set(1)
        _set_option(lib, f"--vips-tile-height={_ROWS}")


def _set_option(lib: ctypes.CDLL, option: str) -> None:
    """Give libvips what it takes from command lines and nowhere else."""
    lib.g_option_context_new.restype = lib.g_option_group_new.restype = ctypes.c_void_p
    context = ctypes.c_void_p(lib.g_option_context_new(None))
    group = ctypes.c_void_p(lib.g_option_group_new(b"vips", b"", b"", None, None))
    lib.vips_add_option_entries(group)
    lib.g_option_context_add_group(context, group)
    words = (ctypes.c_char_p * 3)(b"", option.encode(), None)
    count, place = ctypes.c_int(2), ctypes.cast(words, ctypes.c_void_p)
    lib.g_option_context_parse(context, ctypes.byref(count), ctypes.byref(place), None)
    lib.g_option_context_free(context)


def _library_of(pyvips: Any) -> str:
    """A name under which libvips, and the GLib that it uses, are found."""
    if pyvips.API_mode:
        import _libvips

        return str(_libvips.__file__)
    return str(pyvips.library_name("vips", 42))
