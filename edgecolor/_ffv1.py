"""Whether a film in FFV1, the codec of film archives, is still what was written: FFmpeg notices, and says so only in its log.

Source: RFC 9043, section 4.8, "Slice Footer".
"""

from __future__ import annotations

import zlib

_FOOTER = 8
"""Bytes at a slice's end: its size in 3, a status, and in 4 a parity by which the whole slice has a CRC of zero."""

_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""zlib's CRC begins with a byte's lowest bit, that of FFV1, of the same polynomial, with its highest."""

_BLANK = 0xFFFFFFFF
"""What makes zlib's CRC begin at zero, and undoes its last step."""


class Ffv1Parity:
    """The packets of one film, in turn."""

    def __init__(self) -> None:
        self._held = False
        """Whether the film has such parities: version 3 has them unless told otherwise, 0 and 1 have none, 4 has others."""
        self._doubted = False
        """Whether a packet was not whole, if there should be parities."""

    def broken(self, packet: bytes) -> bool:
        """Whether it, or one before the first slice that was whole, is damaged."""
        whole = _whole_slices(packet)
        self._held = self._held or any(whole)
        self._doubted = self._doubted or not (whole and all(whole))
        return self._held and self._doubted


def _whole_slices(packet: bytes) -> list[bool]:
    """For each slice, from the last to the first, whether its CRC is zero; none where their sizes do not fit the packet."""
    whole, end = [], len(packet)
    while end > 0:
        inside = int.from_bytes(packet[max(0, end - _FOOTER) : end][:3], "big")
        begin = end - inside - _FOOTER
        if begin < 0 or not inside:  # zeros, as of a part of a disk that is lost, would be slices of nothing
            return []
        whole.append(zlib.crc32(packet[begin:end].translate(_MIRRORED), _BLANK) == _BLANK)
        end = begin
    return whole
