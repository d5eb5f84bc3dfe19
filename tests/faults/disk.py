"""A disk that fails where a test says so: between the SQLite of a gateway's process and the real files.

SQLite reaches files through a table of functions, its VFS. Four of them (read, write, truncate, sync) are replaced here
by ones that ask the orders of the test first. So a process can die in the middle of any write, before or after any
sync, and the error that comes back from SQLite is SQLite's own.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct


class Fault(Struct, frozen=True, omit_defaults=True):
    """A failure and the operation of the disk at which it happens: the first match, or after `skip` matches."""

    action: Literal["kill", "power cut", "EIO", "ENOSPC", "hang"]
    """`kill` is SIGKILL with half of the write done; a power cut moreover loses everything that was not synced. What
    hangs is done as soon as there are other orders."""
    call: str = ""
    """`read`, `write`, `truncate`, `sync`, or `return`: the engine's method is about to return. Empty: any but read."""
    during: str = ""
    """The engine's method: `append`, `remember`, `remove`, `load`, `close`. Empty: any, or none."""
    file: str = ""
    """The end of the file's name."""
    skip: int = 0
    times: int = 1_000_000
    """How many operations fail before all is well again."""
    then: Fault | None = None
    """What is wrong from then on."""


class Orders(Struct, frozen=True, omit_defaults=True):
    """All that a test may say to a gateway: how many seconds its clock is ahead, and what is wrong with its disk."""

    clock: int = 0
    fault: Fault | None = None


class Desk:
    """The file in which a test leaves its orders, and the one beside it in which it finds what came of them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._met = path.with_name(path.name + ".met")
        self._taken: tuple[object, Orders] = None, Orders()
        self.clock = 0

    def give(self, fault: Fault | None = None, clock: int = 0) -> None:
        """From now on this counts, in place of what was said before."""
        self.clock = clock
        self._met.unlink(missing_ok=True)
        unfinished = self._path.with_name(self._path.name + ".unfinished")
        unfinished.write_bytes(msgspec.json.encode(Orders(clock, fault)))
        unfinished.replace(self._path)

    def take(self) -> tuple[object, Orders]:
        """The orders, and something that is another one when they were given anew."""
        try:
            if _mark(os.stat(self._path)) != self._taken[0]:  # asked for at each operation, and seldom new
                with self._path.open("rb") as file:
                    self._taken = _mark(os.fstat(file.fileno())), msgspec.json.decode(file.read(), type=Orders)
            return self._taken
        except FileNotFoundError:
            return None, Orders()

    def meet(self, operation: str) -> None:
        """Note that the fault has happened."""
        with self._met.open("a") as file:
            file.write(operation + "\n")

    def met(self) -> list[str]:
        """The operations that failed since the last orders: the call and the end of the file's name."""
        return self._met.read_text().splitlines() if self._met.exists() else []


def _mark(found: os.stat_result) -> tuple[int, int]:
    """What another file of the same name does not have. The number alone may be that of the last one but one."""
    return found.st_ino, found.st_mtime_ns


_FULL, _IOERR_READ, _IOERR_WRITE, _IOERR_FSYNC, _IOERR_TRUNCATE = 13, 266, 778, 1034, 1546
_ERRORS = {"read": _IOERR_READ, "write": _IOERR_WRITE, "sync": _IOERR_FSYNC, "truncate": _IOERR_TRUNCATE}

_P, _I, _L = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64
_OPEN = ctypes.CFUNCTYPE(_I, _P, _P, _P, _I, _P)
_TRANSFER = ctypes.CFUNCTYPE(_I, _P, _P, _I, _L)
_TRUNCATE = ctypes.CFUNCTYPE(_I, _P, _L)
_SYNC = ctypes.CFUNCTYPE(_I, _P, _I)


class _Methods(ctypes.Structure):
    """`sqlite3_io_methods`."""

    _fields_ = (
        ("iVersion", _I),
        ("xClose", _P),
        ("xRead", _TRANSFER),
        ("xWrite", _TRANSFER),
        ("xTruncate", _TRUNCATE),
        ("xSync", _SYNC),
        *[(f"other{number}", _P) for number in range(13)],
    )


class _File(ctypes.Structure):
    """`sqlite3_file`."""

    _fields_ = (("methods", ctypes.POINTER(_Methods)),)


class _Vfs(ctypes.Structure):
    """The beginning of `sqlite3_vfs`."""

    _fields_ = (
        ("iVersion", _I),
        ("szOsFile", _I),
        ("mxPathname", _I),
        ("pNext", _P),
        ("zName", ctypes.c_char_p),
        ("pAppData", _P),
        ("xOpen", _OPEN),
    )


def reachable() -> bool:
    """Whether the functions of this interpreter's SQLite can be found: a statically linked one may hide their names."""
    return hasattr(ctypes.CDLL(_sqlite3.__file__), "sqlite3_vfs_find")


class Disk:
    """The disk of this process, from `install` on. For power cuts it keeps a copy of all that was synced."""

    def __init__(self, desk: Desk, *, power_cuts: bool = True) -> None:
        self._power_cuts = power_cuts
        self.during = ""
        self._desk = desk
        self._orders: object = None
        self._fault: Fault | None = None
        self._seen = 0
        self._paths: dict[int, Path] = {}
        self._synced: dict[Path, bytes] = {}
        self._kept: list[Any] = []  # what C points to must not be collected

    def install(self) -> None:
        """Stand between SQLite and its files."""
        find = ctypes.CDLL(_sqlite3.__file__).sqlite3_vfs_find
        find.restype = ctypes.POINTER(_Vfs)
        vfs = find(None).contents
        really_open = _OPEN.from_buffer_copy(vfs.xOpen)

        def open_(vfs: int, name: int | None, file: int, flags: int, out: int) -> int:
            path = Path(os.fsdecode(ctypes.string_at(name))) if name is not None else None
            if not self._power_cuts:
                pass
            elif path is not None and not path.exists():
                self._synced[path] = b""  # SQLite syncs the directory: nothing comes back of a removed one
            elif path is not None and path not in self._synced:
                self._synced[path] = path.read_bytes()  # what was there before stays
            code = int(really_open(vfs, name, file, flags, out))
            if code == 0 and path is not None:
                self._paths[file] = path
                self._adopt(_File.from_address(file))
            return code

        self._kept += [really_open, hooked := _OPEN(open_)]
        vfs.xOpen = hooked

    def _adopt(self, file: _File) -> None:
        """Give a file our four methods; the others stay its own."""
        real = file.methods.contents
        ours = _Methods.from_buffer_copy(real)
        ours.xRead = _TRANSFER(self._transfer("read", _TRANSFER.from_buffer_copy(real.xRead)))
        ours.xWrite = _TRANSFER(self._transfer("write", _TRANSFER.from_buffer_copy(real.xWrite)))
        ours.xTruncate = _TRUNCATE(self._plain("truncate", _TRUNCATE.from_buffer_copy(real.xTruncate)))
        ours.xSync = _SYNC(self._plain("sync", _SYNC.from_buffer_copy(real.xSync)))
        self._kept.append(ours)
        file.methods = ctypes.pointer(ours)

    def _transfer(self, call: str, real: Any) -> Callable[[int, int, int, int], int]:
        def transfer(file: int, data: int, size: int, offset: int) -> int:
            half = (lambda: real(file, data, size // 2, offset)) if call == "write" else None
            return self.operation(call, self._paths[file], half) or int(real(file, data, size, offset))

        return transfer

    def _plain(self, call: str, real: Any) -> Callable[[int, int], int]:
        def plain(file: int, argument: int) -> int:
            path = self._paths[file]
            code = self.operation(call, path) or int(real(file, argument))
            if call == "sync" and code == 0 and self._power_cuts:
                self._synced[path] = path.read_bytes()
            return code

        return plain

    def operation(self, call: str, path: Path | None = None, half: Callable[[], Any] | None = None) -> int:
        """One operation is about to be done: the code of SQLite with which it fails, 0 when it does not."""
        number, orders = self._desk.take()
        if number != self._orders:
            self._orders, self._fault, self._seen = number, orders.fault, 0
        fault = self._fault
        if fault is None or not self._concerns(fault, call, path):
            return 0
        self._seen += 1
        if not fault.skip < self._seen <= fault.skip + fault.times:
            return 0
        if fault.then is not None and self._seen == fault.skip + fault.times:
            self._fault, self._seen = fault.then, 0
        self._desk.meet(f"{call} {path.suffix if path is not None else ''}".rstrip())
        if fault.action == "kill" and half is not None:
            half()
        if fault.action == "power cut":
            self._lose()
        if fault.action in ("kill", "power cut"):
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(60)  # it is on its way
        if fault.action == "hang":
            while self._desk.take()[0] == number:  # by the end of the test its gateway is killed
                time.sleep(0.005)
            return 0
        return _FULL if fault.action == "ENOSPC" else _ERRORS[call]

    def _concerns(self, fault: Fault, call: str, path: Path | None) -> bool:
        return (
            fault.during in ("", self.during)
            and (fault.call == call if fault.call else call != "read")
            and (path is None or path.name.endswith(fault.file))
        )

    def _lose(self) -> None:
        """Leave in each file what its last sync saw, or what was in it before."""
        for path, content in self._synced.items():
            if path.exists():
                after = path.with_name(path.name + ".after")
                after.write_bytes(content)
                after.replace(path)  # other threads go on reading the old one until they are dead
