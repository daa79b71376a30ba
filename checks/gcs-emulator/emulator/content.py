"""The bytes of objects, and their checksums.

Content is a tuple of pieces that never changes: composing gigabytes copies nothing, and what
is being read stays what it is while the object is replaced. The checksum of a composed object
is computed from those of its parts, as the service does, which never reads them again either:
https://cloud.google.com/storage/docs/composite-objects
"""

import hashlib
from base64 import b64encode

import google_crc32c

# CRC32C's polynomial, its bits reversed.
_POLYNOMIAL = 0x82F63B78


class Content:
    """Bytes in pieces."""

    __slots__ = ("pieces", "size")

    def __init__(self, pieces=()):
        self.pieces = tuple(pieces)
        self.size = sum(len(piece) for piece in self.pieces)

    @classmethod
    def joined(cls, contents):
        return cls(piece for content in contents for piece in content.pieces)

    def part(self, start, end):
        """The bytes from `start` up to `end`, exclusively, without copying any."""
        position = 0
        for piece in self.pieces:
            if position >= end:
                return
            first, last = max(start - position, 0), min(end - position, len(piece))
            if first < last:
                whole = last - first == len(piece)
                yield piece if whole else memoryview(piece)[first:last]
            position += len(piece)

    def damaged(self):
        """The same with another byte in the middle."""
        joined = bytearray().join(self.pieces)
        joined[len(joined) // 2] ^= 0xFF
        return Content([bytes(joined)])


def md5(content):
    """MD5 in base64."""
    digest = hashlib.md5(usedforsecurity=False)
    for piece in content.pieces:
        digest.update(piece)
    return b64encode(digest.digest()).decode()


def crc32c(content):
    """CRC32C, a number."""
    crc = 0
    for piece in content.pieces:
        crc = google_crc32c.extend(crc, piece)
    return crc


def crc32c_text(crc):
    """In base64, with the first byte first."""
    return b64encode(crc.to_bytes(4, "big")).decode()


def _times(matrix, vector):
    product = 0
    for row in matrix:
        if not vector:
            break
        if vector & 1:
            product ^= row
        vector >>= 1
    return product


def _zeros():
    """What a zero byte does to a CRC, and 2 of them, 4, 8 ...: matrices of 32 bits."""
    # One zero bit.
    matrix = [_POLYNOMIAL] + [1 << bit for bit in range(31)]
    for _ in range(3):
        matrix = [_times(matrix, row) for row in matrix]
    matrices = []
    for _ in range(48):
        matrices.append(matrix)
        matrix = [_times(matrix, row) for row in matrix]
    return matrices


_ZEROS = _zeros()


def crc32c_joined(first, second, length):
    """CRC32C of two contents one after the other; `length` is the second's."""
    for matrix in _ZEROS:
        if not length:
            break
        if length & 1:
            first = _times(matrix, first)
        length >>= 1
    return first ^ second
