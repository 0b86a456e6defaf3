"""From a text's hash to a number, 16 bytes a slot: a million texts stay small."""

from __future__ import annotations

from array import array

_FIRST_SLOTS = 1 << 10
_EMPTY, _LEFT = 0, -1
"""Values of a slot that was never used, and of one whose entry was taken out."""


class HashIndex:
    """An open-addressing table from 64-bit hashes to numbers from 1; equal hashes may stand twice.

    It knows no texts: the caller looks whether what a number stands for is what it meant.
    """

    def __init__(self) -> None:
        self._hashes = array("q", bytes(8 * _FIRST_SLOTS))
        self._numbers = array("q", bytes(8 * _FIRST_SLOTS))
        self._mask = _FIRST_SLOTS - 1
        self._used = 0
        self._count = 0

    def __len__(self) -> int:
        """How many entries there are."""
        return self._count

    def slot(self, wanted: int, after: int = -1) -> int:
        """The slot of the first entry of this hash, or of the next one behind `after`; else -1."""
        mask, hashes, numbers = self._mask, self._hashes, self._numbers
        at = (wanted if after < 0 else after + 1) & mask
        while True:
            number = numbers[at]
            if number == _EMPTY:
                return -1
            if number > 0 and hashes[at] == wanted:
                return at
            at = (at + 1) & mask

    def number(self, slot: int) -> int:
        """The number in a slot that `slot` gave."""
        return self._numbers[slot]

    def put(self, slot: int, number: int) -> None:
        """Another number for the entry in this slot."""
        self._numbers[slot] = number

    def add(self, hashed: int, number: int) -> None:
        """One more entry."""
        self.add_first(hashed, number, even_if_there=True)

    def add_first(self, hashed: int, number: int, *, even_if_there: bool = False) -> bool:
        """One more entry, unless there is one of this hash; whether it was taken."""
        if self._used * 3 >= self._mask * 2:
            self._grow()
        mask, numbers, hashes = self._mask, self._numbers, self._hashes
        at, left = hashed & mask, -1
        while there := numbers[at]:
            if there == _LEFT:
                left = at if left < 0 else left
            elif hashes[at] == hashed and not even_if_there:
                return False
            at = (at + 1) & mask
        if left >= 0:
            at = left
        else:
            self._used += 1
        hashes[at] = hashed
        numbers[at] = number
        self._count += 1
        return True

    def remove(self, slot: int) -> None:
        """Take out the entry in this slot."""
        self._numbers[slot] = _LEFT
        self._count -= 1

    def _grow(self) -> None:
        hashes, numbers = self._hashes, self._numbers
        slots = (self._mask + 1) * 2
        self._hashes = array("q", bytes(8 * slots))
        self._numbers = array("q", bytes(8 * slots))
        self._mask = mask = slots - 1
        self._used = self._count
        into_hashes, into_numbers = self._hashes, self._numbers
        for hashed, number in zip(hashes, numbers, strict=True):
            if number > 0:
                at = hashed & mask
                while into_numbers[at]:
                    at = (at + 1) & mask
                into_hashes[at] = hashed
                into_numbers[at] = number
