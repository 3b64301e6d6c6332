"""An STM32F405 or F446 in Unicorn: processor, memories, USART and flash controller; its machine code is ours as built.

QEMU has no flash controller of these chips. Unicorn runs the processor alone, so what the firmware touches is here.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest

from multigraft.errors import DeviceError
from multigraft.firmware_gen.boards.board import Board
from tests.firmware_gen.slots.flash_controller import BASE, FlashController, PowerFailureError

unicorn = pytest.importorskip("unicorn", reason="unicorn: pip install unicorn")
from unicorn import arm_const  # noqa: E402  (after the skip)

PERIPHERALS, RCC, FLASH, GPIOA, SYSTEM = 0x4002_3000, 0x4002_3800, 0x4002_3C00, 0x4002_0000, 0xE000_E000
VTOR, AIRCR = 0xE000_ED08, 0xE000_ED0C
RXNE, TC, TXE = 1 << 5, 1 << 6, 1 << 7
IDLE_POLLS = 3
HANG_US = 120_000_000


class Machine:
    """A board whose power may be cut at an instruction or in the middle of an operation of its flash.

    Args:
        board: In the table of boards.
        contents: Of its flash, from the first byte on.
        seed: Of what is drawn.
    """

    def __init__(self, board: Board, contents: bytes, seed: int = 0) -> None:
        self._chance = np.random.default_rng(seed)
        assert board.slots is not None and board.uart is not None
        size = board.slots.starts[1] - BASE + (1 << 19 if board.slots.starts[1] == 0x0808_0000 else 1 << 18)
        self.flash = FlashController(contents, size, self._chance)
        self._board = board
        self._size = size
        self.cut_after: int | None = None
        """Instructions after which the power fails, of what runs next without a byte from outside."""
        self.is_on = False
        self.sent = bytearray()
        self.received = bytearray()
        self.start()

    def start(self) -> None:
        """Switch it on: memory holds anything, and loose bits of the flash read anew."""
        self.flash.reset()
        self.flash.fails_at = None
        self.cut_after = None
        self.sent.clear()
        self.received.clear()
        uc = self._uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        uc.ctl_set_cpu_model(arm_const.UC_CPU_ARM_CORTEX_M4)
        uc.mem_map(BASE, self._size)
        uc.mem_write(BASE, self.flash.words.tobytes())
        for region in (r for r in self._board.regions if r.kind == "ram"):
            uc.mem_map(region.start, region.size)
            uc.mem_write(region.start, self._chance.bytes(region.size))
        uc.mem_map(GPIOA, 0x1000)
        uc.mem_map(SYSTEM, 0x1000)
        assert self._board.uart is not None
        page = self._board.uart.base & ~0xFFF
        uc.mmio_map(page, 0x1000, self._uart_read, page, self._uart_write, page)
        uc.mmio_map(PERIPHERALS, 0x1000, self._register_read, None, self._register_write, None)
        uc.hook_add(unicorn.UC_HOOK_MEM_WRITE, self._programs, None, BASE, BASE + self._size - 1)
        uc.hook_add(unicorn.UC_HOOK_MEM_WRITE, self._resets, None, AIRCR, AIRCR + 3)
        loose = np.flatnonzero(self.flash.loose)
        if len(loose):
            first, last = (BASE + 4 * int(loose[k]) for k in (0, -1))
            uc.hook_add(unicorn.UC_HOOK_MEM_READ, self._reads_loose, None, first, last + 3)
        self._registers: dict[int, int] = {}
        self._written: int | None = None
        self._failed = self._is_reset = False
        self._polls = 0
        self.is_on = True
        self._jump_to_reset()

    @property
    def vectors(self) -> int:
        """Address of the vectors in use: of the image that runs, or of another place where none was begun yet."""
        return int.from_bytes(self._uc.mem_read(VTOR, 4), "little")

    def _jump_to_reset(self) -> None:
        self._uc.reg_write(arm_const.UC_ARM_REG_SP, int(self.flash.words[0]))
        self._next = int(self.flash.words[1]) | 1

    def run(self) -> None:
        """Run until the firmware waits for a byte.

        Raises:
            PowerFailureError: The power was cut; the machine is off.
        """
        while True:
            self._polls = 0
            try:
                self._uc.emu_start(self._next, 0xFFFF_FFFE, timeout=HANG_US, count=self.cut_after or 0)
            except unicorn.UcError as error:
                self.flash.faults.append(f"{error} at 0x{self._uc.reg_read(arm_const.UC_ARM_REG_PC):08x}")
                self.is_on = False
                raise PowerFailureError from error
            self._finish_write()
            self._next = self._uc.reg_read(arm_const.UC_ARM_REG_PC) | 1
            if self._failed or self.cut_after is not None:
                self.is_on = False
                raise PowerFailureError
            if not self._is_reset:
                assert self._polls > IDLE_POLLS, f"the firmware hangs at 0x{self._next:08x}"
                return
            self._is_reset = False
            self.flash.reset()
            self._uc.mem_write(BASE, self.flash.words.tobytes())
            self._jump_to_reset()

    def _uart_read(self, uc: Any, offset: int, size: int, page: int) -> int:
        assert self._board.uart is not None
        register = page + offset - self._board.uart.base
        if register == 0:
            self._polls += 1
            if self.received:
                return RXNE | TC | TXE
            if self._polls > IDLE_POLLS:
                uc.emu_stop()
            return TC | TXE
        if register == 4 and self.received:
            self._polls = 0
            return self.received.pop(0)
        return 0

    def _uart_write(self, uc: Any, offset: int, size: int, value: int, page: int) -> None:
        assert self._board.uart is not None
        if page + offset - self._board.uart.base == 4:
            self._polls = 0
            self.sent.append(value & 0xFF)

    def _register_read(self, uc: Any, offset: int, size: int, data: None) -> int:
        address = PERIPHERALS + offset
        self._finish_write()
        if address >= FLASH:
            return self.flash.read(address - FLASH)
        value = self._registers.get(address, 0)
        if address == RCC and value & 1 << 24:
            value |= 1 << 25
        if address == RCC + 8:
            value |= (value & 3) << 2
        return value

    def _register_write(self, uc: Any, offset: int, size: int, value: int, data: None) -> None:
        address = PERIPHERALS + offset
        self._finish_write()
        if self._failed:
            return
        if address < FLASH:
            self._registers[address] = value
            return
        try:
            erased = self.flash.write(address - FLASH, value)
        except PowerFailureError:
            self._fail()
            return
        if erased is not None:
            uc.mem_write(BASE + erased[0], b"\xff" * (erased[1] - erased[0]))

    def _programs(self, uc: Any, access: int, address: int, size: int, value: int, data: None) -> None:
        if self._failed:
            return
        try:
            self.flash.program(address - BASE, size, value & 0xFFFF_FFFF)
        except PowerFailureError:
            self._fail()
        self._written = (address - BASE) // 4

    def _finish_write(self) -> None:
        """What the cells hold, in place of what the processor wrote."""
        if self._written is not None:
            cell, self._written = self._written, None
            self._uc.mem_write(BASE + 4 * cell, self.flash.words[cell].tobytes())

    def _reads_loose(self, uc: Any, access: int, address: int, size: int, value: int, data: None) -> None:
        cell = (address - BASE) // 4
        if self.flash.loose[cell]:
            self.flash.settle(slice(cell, cell + 1))
            uc.mem_write(BASE + 4 * cell, self.flash.words[cell].tobytes())

    def _resets(self, uc: Any, access: int, address: int, size: int, value: int, data: None) -> None:
        self._is_reset = True
        uc.emu_stop()

    def _fail(self) -> None:
        self._failed = True
        self._uc.emu_stop()


class MachineLink:
    """Link adapter: the wires of a machine's USART. Time passes only while nothing arrives."""

    name = "machine"

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.requests = 0
        self.before_request: Any = None
        self._now_s = 0.0

    def clock(self) -> float:
        """Seconds."""
        return self._now_s

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def write(self, data: bytes) -> None:
        if self.before_request is not None:
            self.before_request(self.requests)
        self.requests += 1
        self.machine.received += data

    def read(self, limit: int, timeout_s: float) -> bytes:
        try:
            if not self.machine.is_on:
                raise PowerFailureError
            self.machine.run()
        except PowerFailureError:
            raise DeviceError("the power failed", "switch it on") from None
        data = bytes(self.machine.sent[:limit])
        del self.machine.sent[:limit]
        if not data:
            self._now_s += timeout_s
        return data
