"""Which devices follow their configurations, here and at other gateways (fleet.md, section 10)."""

from __future__ import annotations

from collections.abc import Callable


class Online:
    """Devices by the ids of their records, which are never used again. `Neighbours` adds those of other gateways."""

    def __init__(self) -> None:
        self.on_local: Callable[[int], None] = lambda move: None
        """Called with the id when a device comes to this gateway, with the negative id when it leaves."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when a device has come or gone, anywhere."""
        self._here: set[int] = set()
        self._gateways: dict[int, int] = {}  # how many gateways each is at

    def enter(self, record_id: int) -> None:
        """A device follows here from now on."""
        if record_id not in self._here:
            self._here.add(record_id)
            self._count(record_id, 1)
            self.on_local(record_id)

    def leave(self, record_id: int) -> None:
        """A device follows here no longer."""
        if record_id in self._here:
            self._here.remove(record_id)
            self._count(record_id, -1)
            self.on_local(-record_id)

    def moved_elsewhere(self, move: int) -> None:
        """A device has come to another gateway or, with the negative id, has left it."""
        self._count(abs(move), 1 if move > 0 else -1)

    def local(self) -> list[int]:
        """The devices that follow here."""
        return list(self._here)

    def everywhere(self) -> list[int]:
        """Those that follow at any gateway."""
        return list(self._gateways)

    def _count(self, record_id: int, step: int) -> None:
        number = self._gateways.get(record_id, 0) + step
        if number > 0:
            self._gateways[record_id] = number
        else:
            self._gateways.pop(record_id, None)
        self.on_change()

    def __contains__(self, record_id: int) -> bool:
        return record_id in self._gateways

    def __len__(self) -> int:
        return len(self._gateways)
