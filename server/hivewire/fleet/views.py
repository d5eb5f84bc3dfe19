"""Views: the effective values that devices with the same layers and rollouts share (fleet.md, section 3).

Nothing is stored by name: an effective value is found from the top layer down, when it is asked for or an edit is
announced. So an edit costs nothing for devices that do not follow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from heapq import merge
from itertools import count, groupby
from typing import Any, NamedTuple

from hivewire.fleet.layers import Layer, Value
from hivewire.slices import RUN
from hivewire_protocol.tenant.steps import Steps


class Overlay:
    """New values of a layer's names that some of its devices have already. None is a delete."""

    layer: Layer
    values: Mapping[str, Value | None]


class Effective(NamedTuple):
    """An effective value, the layer that it is from, and the overlay if it is not the layer's own."""

    value: Value
    layer: Layer
    overlay: Overlay | None


class View:
    """The layers of some devices, the highest first, and the overlays that apply to them.

    `id` is never used again. `members` counts the devices, `reports` by what they reported. `followers` are the
    subscriptions of those that listen.
    """

    __slots__ = ("_overlaid", "followers", "id", "layers", "members", "overlays", "reports")

    def __init__(self, number: int, layers: tuple[Layer, ...], overlays: tuple[Overlay, ...]) -> None:
        self.id = str(number)
        self.layers = layers
        self.overlays = overlays
        self._overlaid = _by_layer(overlays)
        self.members = 0
        self.reports: Counter[Any] = Counter()
        self.followers: dict[Any, None] = {}

    def find(self, name: str) -> Effective | None:
        """The effective value of a name."""
        for layer in self.layers:
            overlay = self._over(layer, name) if layer in self._overlaid else None
            value = layer.values.get(name) if overlay is None else overlay.values[name]
            if value is not None:
                return Effective(value, layer, overlay)
        return None

    def _over(self, layer: Layer, name: str) -> Overlay | None:
        for overlay in self._overlaid.get(layer, ()):
            if name in overlay.values:
                return overlay
        return None

    def tag(self, name: str) -> str | None:
        """The tag of the effective value of a name."""
        found = self.find(name)
        return None if found is None else found.value.tag

    def shows(self, layer: Layer, name: str) -> bool:
        """Whether a layer's own value of a name is effective, or would be if it had one."""
        overlaid = self._overlaid  # mostly empty, and an edit asks each of perhaps thousands of views
        for above in self.layers:
            if above is layer:
                return above not in overlaid or self._over(above, name) is None
            if self._sets(above, name) if above in overlaid else name in above.values:
                return False
        return False

    def uncovered(self, overlay: Overlay) -> list[str]:
        """The names of an overlay that no higher layer sets, so that its values are effective."""
        names = [*overlay.values]
        for layer in self.layers[: self.layers.index(overlay.layer)]:
            if layer in self._overlaid:
                names = [name for name in names if not self._sets(layer, name)]
            else:
                names = [name for name in names if name not in layer.values]
        return names

    def _sets(self, layer: Layer, name: str) -> bool:
        overlay = self._over(layer, name)
        return (layer.values.get(name) if overlay is None else overlay.values[name]) is not None

    def hidden(self, name: str, below: Layer) -> list[str]:
        """The layers below one that have a name too, the highest first."""
        lower = self.layers[self.layers.index(below) + 1 :]
        return [layer.name for layer in lower if name in layer.values]

    def below(self, layer: Layer, name: str) -> Value | None:
        """The effective value of a name if only the layers below one are looked at."""
        for lower in self.layers[self.layers.index(layer) + 1 :]:
            overlay = self._over(lower, name) if self.overlays else None
            value = lower.values.get(name) if overlay is None else overlay.values[name]
            if value is not None:
                return value
        return None

    @property
    def size(self) -> int:
        """How many values its layers and overlays have."""
        return sum([len(layer.values) for layer in self.layers]) + sum([len(each.values) for each in self.overlays])

    def names(self) -> list[str]:
        """All names that have a value here, in order."""
        found = {name for layer in self.layers for name in layer.values}
        found.update(name for overlay in self.overlays for name in overlay.values)
        return sorted(name for name in found if not self.overlays or self.find(name) is not None)

    def ordered(self) -> Steps[list[str]]:
        """The same in steps if there may be many: 1,000 in each of many layers."""
        if self.size <= RUN:
            return self.names()
        runs: list[list[str]] = []
        for values in (*(layer.values for layer in self.layers), *(overlay.values for overlay in self.overlays)):
            runs.append(sorted(values))
            yield
        found: list[str] = []
        for name, _ in groupby(merge(*runs)):
            yield
            if not self.overlays or self.find(name) is not None:
                found.append(name)
        return found

    def differences(self, other: View, most: int) -> list[tuple[str, Value | None]] | None:
        """The effective values of another view, for the names for which the tags differ, by name. None when more than
        `most` names have to be compared."""
        moved = _moved(self.layers, other.layers)
        overlays = {*self.overlays} ^ {*other.overlays}
        overlays.update(each for each in self.overlays if each.layer in moved)
        names = set[str]()
        for values in (*(layer.values for layer in moved), *(overlay.values for overlay in overlays)):
            names.update(values)
            if len(names) > most:
                return None
        found = []
        for name in sorted(names):
            after = other.find(name)
            if self.tag(name) != (None if after is None else after.value.tag):
                found.append((name, None if after is None else after.value))
        return found


def _moved(before: Sequence[Layer], after: Sequence[Layer]) -> set[Layer]:
    """The layers that came, went, or changed places with others. Values of names that none of them has are the same."""
    if before == after:
        return set()
    same = SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
    return {*before, *after}.difference(*(before[start : start + size] for start, _, size in same))


NONE: Mapping[Layer, Sequence[Overlay]] = {}
"""The overlays of most views by their layers."""


def _by_layer(overlays: Sequence[Overlay]) -> Mapping[Layer, Sequence[Overlay]]:
    """The overlays of each layer that has some. There may be a hundred, and each is found for one of many layers."""
    if not overlays:
        return NONE
    found: dict[Layer, list[Overlay]] = {}
    for overlay in overlays:
        found.setdefault(overlay.layer, []).append(overlay)
    return found


class Views:
    """The views that devices have, each once, and those that are followed by the layers they have."""

    def __init__(self) -> None:
        self._views: dict[tuple[tuple[Layer, ...], tuple[Overlay, ...]], View] = {}
        self._followed: dict[Layer, dict[View, None]] = {}
        self._numbers = count(1)

    def __iter__(self) -> Iterator[View]:
        """All of them."""
        return iter(self._views.values())

    def __len__(self) -> int:
        return len(self._views)

    def view(self, layers: tuple[Layer, ...], overlays: tuple[Overlay, ...] = ()) -> View:
        """The view of these layers and overlays."""
        found = self._views.get((layers, overlays))
        if found is None:
            found = self._views[layers, overlays] = View(next(self._numbers), layers, overlays)
        return found

    def forget(self, view: View) -> None:
        """Drop a view that no device has any more."""
        if not view.members and not view.followers:
            self._views.pop((view.layers, view.overlays), None)

    def devices(self) -> Steps[Counter[Layer]]:
        """How many devices have each layer, once all have moved. Each device may have a view of its own, and one that
        moves between two steps may be counted twice or not at all."""
        found = Counter[Layer]()
        for view in list(self):
            for layer in view.layers:
                found[layer] += view.members
            yield
        return found

    def follow(self, view: View, follower: Any) -> None:
        """A subscription follows a view."""
        if not view.followers:
            for layer in view.layers:
                self._followed.setdefault(layer, {})[view] = None
        view.followers[follower] = None

    def leave(self, view: View, follower: Any) -> None:
        """A subscription follows it no longer."""
        view.followers.pop(follower, None)
        if not view.followers:
            for layer in view.layers:
                found = self._followed.get(layer, {})
                found.pop(view, None)
                if not found:
                    self._followed.pop(layer, None)
            self.forget(view)

    def count_followed(self, layer: Layer) -> int:
        """How many views with this layer are followed."""
        return len(self._followed.get(layer, ()))

    def followed(self, layer: Layer) -> list[View]:
        """The views with this layer that are followed."""
        return list(self._followed.get(layer, ()))
