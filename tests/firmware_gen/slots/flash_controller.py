"""The flash of an STM32F405 or F446 by its registers, whose power may fail in the middle of an operation.

From RM0090, section 3: keys, sectors, parallelism, error bits that a 1 clears, and bits that programming only ever
clears. A bit that was to change when the power failed reads as it likes, until it is written or erased again.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from multigraft.tensors.arrays import Array

BASE = 0x0800_0000
ACR, KEYR, SR, CR = 0x00, 0x04, 0x0C, 0x10
KEYS = (0x4567_0123, 0xCDEF_89AB)
BSY = 1 << 16
PGSERR, PGPERR, WRPERR, OPERR = 1 << 7, 1 << 6, 1 << 4, 1 << 1
PG, SER, STRT, LOCK = 1, 2, 1 << 16, 1 << 31
WORDS = 2 << 8
DCEN, DCRST = 1 << 10, 1 << 12
ERASED = 0xFFFF_FFFF


class PowerFailureError(Exception):
    """The power was cut."""


def sectors(size: int) -> list[tuple[int, int]]:
    """Offset and bytes of each sector of a flash of ``size`` bytes."""
    kib = [16] * 4 + [64] + [128] * ((size >> 17) - 1)
    return [(sum(kib[:number]) << 10, count << 10) for number, count in enumerate(kib)]


class FlashController:
    """Registers and cells.

    Args:
        contents: What is in the flash from its first byte on.
        size: Bytes of the flash.
        chance: Draws what is loose.

    Attributes:
        words: The cells, 32 bits each, as they read now.
        loose: Their bits that read as they like.
        operations: Erases of a sector and words written so far.
        fails_at: Number of the operation in the middle of which the power fails; None for never.
        erases: Times that each sector was erased.
        faults: What a driver must never do.
        protected: Sectors that the option bytes protect.
    """

    def __init__(self, contents: bytes, size: int, chance: np.random.Generator) -> None:
        self.words = np.frombuffer(contents.ljust(size, b"\xff"), "<u4").copy()
        self.loose = np.zeros_like(self.words)
        self.operations = 0
        self.fails_at: int | None = None
        self.erases: Counter[int] = Counter()
        self.faults: list[str] = []
        self.protected: set[int] = set()
        self.programmed: Counter[int] = Counter()
        self._sectors = sectors(size)
        self._chance = chance
        self.reset()

    def reset(self) -> None:
        """The registers after a reset; bits that are loose read anew."""
        self._acr, self._sr, self._cr = 0, 0, LOCK
        self._keys: list[int] = []
        self._is_shut = False
        self._busy_reads = 0
        self._is_stale = False
        self.settle(slice(None))

    def settle(self, where: slice) -> None:
        """Let loose bits read as they like."""
        loose = self.loose[where]
        if loose.any():
            drawn = self._chance.integers(0, 1 << 32, len(loose), dtype=np.uint32)
            self.words[where] = (self.words[where] & ~loose) | (drawn & loose)

    def read(self, register: int) -> int:
        """A register."""
        if register == SR:
            busy = BSY if self._busy_reads > 0 else 0
            self._busy_reads = max(0, self._busy_reads - 1)
            return self._sr | busy
        return {ACR: self._acr, CR: self._cr}.get(register, 0)

    def write(self, register: int, value: int) -> tuple[int, int] | None:
        """Write a register; first and last offset of what is erased by that, if anything is."""
        if self._busy_reads > 0 and register in (KEYR, CR):
            self.faults.append("a register was written while the flash was busy")
        if register == ACR:
            if value & DCRST and not value & DCEN:
                self._is_stale = False
            elif value & DCRST:
                self.faults.append("a cache was reset that is on")
            self._acr = value
        elif register == KEYR:
            self._unlock(value)
        elif register == SR:
            self._sr &= ~value
        elif register == CR and not self._cr & LOCK:
            self._cr = value & ~STRT
            if value & STRT and value & SER:
                return self._erase(value >> 3 & 0xF)
        return None

    def _unlock(self, key: int) -> None:
        self._keys.append(key)
        if self._is_shut or key != KEYS[len(self._keys) - 1]:
            self._is_shut = True
            self.faults.append("a wrong key: the registers are locked until the next reset")
        elif len(self._keys) == len(KEYS):
            self._cr &= ~LOCK
            self._keys = []

    def _fails(self) -> bool:
        self.operations += 1
        self._busy_reads = int(self._chance.integers(0, 4))
        return self.fails_at is not None and self.operations > self.fails_at

    def _early(self, count: int) -> Array:
        """Bits of each cell that did not settle before the power failed: all, or one in 2, 4, 8 and so on."""
        mask = np.full(count, ERASED, np.uint32)
        for _ in range(int(self._chance.integers(0, 9))):
            mask &= self._chance.integers(0, 1 << 32, count, dtype=np.uint32)
        return mask

    def _erase(self, number: int) -> tuple[int, int] | None:
        if number >= len(self._sectors) or number in self.protected:
            self._sr |= WRPERR if number in self.protected else OPERR
            return None
        start, count = self._sectors[number]
        cells = slice(start // 4, (start + count) // 4)
        if self._fails():
            change = ~self.words[cells]
            early = self._early(count // 4)
            is_begun = self._chance.random() < 0.8
            self.loose[cells] |= change & early
            if is_begun:
                self.words[cells] |= change & ~early
            raise PowerFailureError
        self.words[cells] = ERASED
        self.loose[cells] = 0
        self.erases[number] += 1
        self._is_stale = True
        return start, start + count

    def program(self, offset: int, size: int, value: int) -> None:
        """A write of the processor into the flash."""
        if self._cr & LOCK or not self._cr & PG:
            self._sr |= PGSERR
            return
        if size != 4 or offset % 4 or not self._cr & WORDS:
            self._sr |= PGPERR
            return
        if self.sector_of(offset) in self.protected:
            self._sr |= WRPERR
            return
        if self._busy_reads > 0:
            self.faults.append("a word was written while the flash was busy")
        if self._is_stale:
            self.faults.append("the caches hold what was erased")
        cell = offset // 4
        cleared = ~value & ERASED
        if self._fails():
            change = int(self.words[cell]) & cleared
            early = int(self._early(1)[0])
            self.loose[cell] |= np.uint32(change & early)
            self.words[cell] &= np.uint32(~(change & ~early) & ERASED)
            raise PowerFailureError
        self.words[cell] &= np.uint32(value)
        self.loose[cell] &= np.uint32(value)
        self.programmed[offset] += 1

    def sector_of(self, offset: int) -> int:
        """Number of the sector that holds an offset."""
        return next(number for number, (start, count) in enumerate(self._sectors) if offset < start + count)
