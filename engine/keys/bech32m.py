"""Bech32m (BIP-350): 32-byte secrets as text that people can copy, with typing errors detected.

The 90-character limit of BIP-173 is dropped: it belongs to addresses, and our texts stay below it anyway. Up to four
wrong characters are always detected in texts of that length. The room corrects nothing: a guess at a secret would be
worse than a refusal.
"""

from __future__ import annotations

from collections.abc import Iterable

CHARSET = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_VALUES = {char: value for value, char in enumerate(CHARSET)}
_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)  # BIP-173
_BECH32M_CONST = 0x2BC830A3  # BIP-350
_CHECKSUM_LEN = 6


def encode(hrp: str, data: bytes) -> str:
    """``hrp``, the separator ``1``, ``data`` in base 32 and the checksum; lower case."""
    values = _regroup(data, 8, 5, pad=True)
    polymod = _polymod([*_expand(hrp), *values, *([0] * _CHECKSUM_LEN)]) ^ _BECH32M_CONST
    checksum = [(polymod >> 5 * (_CHECKSUM_LEN - 1 - i)) & 31 for i in range(_CHECKSUM_LEN)]
    return hrp + "1" + "".join(CHARSET[value] for value in [*values, *checksum])


def decode(hrp: str, text: str) -> bytes:
    """The data of ``text``, whose prefix must be ``hrp``; all lower or all upper case.

    Raises ValueError that says what is wrong, never quoting ``text``.
    """
    if text.lower() != text and text.upper() != text:
        raise ValueError("upper and lower case are mixed")
    text = text.lower()
    if not text.startswith(hrp + "1"):
        raise ValueError(f"it does not begin with {hrp}1")
    body = text[len(hrp) + 1 :]
    if len(body) < _CHECKSUM_LEN:
        raise ValueError("it is too short")
    for position, char in enumerate(body, start=len(hrp) + 2):
        if char not in _VALUES:
            raise ValueError(f"character {position} cannot occur in it")
    values = [_VALUES[char] for char in body]
    if _polymod([*_expand(hrp), *values]) != _BECH32M_CONST:
        raise ValueError("its checksum does not hold")
    return bytes(_regroup(values[:-_CHECKSUM_LEN], 5, 8, pad=False))


def _expand(hrp: str) -> list[int]:
    if not hrp or any(not 33 <= ord(char) <= 126 or char.isupper() for char in hrp):
        raise ValueError("a prefix has one or more printable lower-case ASCII characters")
    return [ord(char) >> 5 for char in hrp] + [0] + [ord(char) & 31 for char in hrp]


def _polymod(values: Iterable[int]) -> int:
    checksum = 1
    for value in values:
        top = checksum >> 25
        checksum = (checksum & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(_GENERATOR):
            if top >> bit & 1:
                checksum ^= generator
    return checksum


def _regroup(values: Iterable[int], source_bits: int, target_bits: int, *, pad: bool) -> list[int]:
    """Cut a sequence of ``source_bits``-bit numbers into ``target_bits``-bit ones."""
    accumulator = bits = 0
    out: list[int] = []
    for value in values:
        accumulator = accumulator << source_bits | value
        bits += source_bits
        while bits >= target_bits:
            bits -= target_bits
            out.append(accumulator >> bits)
            accumulator &= (1 << bits) - 1
    if pad and bits:
        out.append(accumulator << (target_bits - bits))
    elif not pad and (bits >= source_bits or accumulator):
        raise ValueError("it has left-over bits")
    return out
