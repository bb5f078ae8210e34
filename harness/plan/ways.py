"""Which backends of an environment run a model, by which routes, and who makes and checks them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from harness.models.zoo import architecture_facts
from harness.plan.parts import Stack, Workshop
from harness.plan.routes import Route, find_routes
from harness.plan.wishes import Wishes, granted, wishes_of
from harness.spec.models import ALL, SweepSpec
from harness.spec.routes import AUTO

# Backends in the order in which they are asked what a file answers: those that belong to its format,
# then those that translate it once more.
_CHECKING = (
    *("onnxruntime", "tflite", "torch.eager", "keras.predict", "tensorflow.graph"),
    *("jax", "ncnn", "openvino", "iree", "tvm"),
)


_THROUGH_KERAS = frozenset({"weights>keras", "weights>tflite", "weights>graphdef"})


def _rank(backend: str) -> int:
    return _CHECKING.index(backend) if backend in _CHECKING else len(_CHECKING)


@dataclass(frozen=True, slots=True)
class Way:
    """How a model gets to a backend.

    Attributes:
        backend: of the environment.
        route: the conversions on the way, told what is wanted of them.
        wishes: what is wanted of them.
        asked: the route as somebody asked for it.
    """

    backend: str
    route: Route
    wishes: Wishes
    asked: str = field(default=AUTO, compare=False)


@dataclass(frozen=True, slots=True)
class NoWay:
    """A backend and a route that do not go together, and why."""

    backend: str
    asked: str
    reason: str


@dataclass(frozen=True, slots=True)
class Makers:
    """The environments that take part in the conversions for one stack.

    Attributes:
        own: the stack itself.
        others: those that convert for all, the preferred first.
    """

    own: Workshop
    others: tuple[Workshop, ...]

    def named(self, name: str) -> Workshop:
        """The one of this name."""
        return next(maker for maker in (self.own, *self.others) if maker.name == name)

    def checker(self, file_format: str, maker: Workshop | None) -> tuple[Workshop, str] | None:
        """Who runs a file to see what it answers, and by which backend; None: nobody can.

        That is the backend which is closest to the format, where the file was made if it is there.

        Args:
            file_format: the file's.
            maker: who made it.
        """
        able = [
            (_rank(backend), place, one, backend)
            for place, one in enumerate((*([maker] if maker else []), *self.others, self.own))
            for backend, accepted in one.formats.items()
            if file_format in accepted
        ]
        if not able:
            return None
        _, _, who, backend = min(able, key=lambda found: found[:2])
        return who, backend


def makers_for(stack: Stack, workshops: Sequence[Workshop], barred: Collection[str] = ()) -> Makers:
    """A stack and the workshops of its executor, without converters that are no use for a model."""
    own = Workshop(stack.name, stack.identity, stack.executor, stack.converters, stack.formats)
    others = tuple(w for w in workshops if w.executor == stack.executor)
    return Makers(without(own, barred), tuple(without(one, barred) for one in others))


def without(maker: Workshop, barred: Collection[str]) -> Workshop:
    """An environment as if it did not offer some converters."""
    if not barred:
        return maker
    left = {name: options for name, options in maker.converters.items() if name not in barred}
    return replace(maker, converters=left)


def barred_for(file_format: str, architecture: str | None) -> frozenset[str]:
    """The converters that need a network of keras.applications, for weights of one that has none."""
    if file_format != "weights" or architecture is None:
        return frozenset()
    return frozenset() if architecture_facts(architecture).keras else _THROUGH_KERAS


def find_ways(
    spec: SweepSpec, stack: Stack, file_format: str, makers: Makers
) -> tuple[list[Way], list[NoWay]]:
    """How a model of a format gets to the backends of a stack, and what does not go together.

    Of backends that nobody named one is taken for each route: that which the model reaches in the
    fewest conversions, and of several the environment's first.
    """
    wanted = stack.entry.backends or spec.backends
    backends = [b for b in stack.formats if wanted in (None, (ALL,)) or b in (wanted or ())]
    ways: list[Way] = []
    missed: list[NoWay] = []
    for asked in stack.entry.route or spec.axes.route:
        for wishes in wishes_of(spec.axes):
            found = [
                list(_found(stack.formats, backend, file_format, makers, asked, wishes))
                for backend in backends
            ]
            reached = [[one for one in each if isinstance(one, Way)] for each in found]
            if wanted is None and any(reached):
                some = [each for each in reached if each]
                fewest = min(some, key=lambda each: len(each[0].route.steps))
                ways += fewest
                continue
            ways += [one for each in reached for one in each]
            missed += [one for each in found for one in each if isinstance(one, NoWay)]
    return _distinct(ways), missed


def _found(
    formats: Mapping[str, Sequence[str]],
    backend: str,
    file_format: str,
    makers: Makers,
    asked: str,
    wishes: Wishes,
) -> Iterator[Way | NoWay]:
    routes = find_routes(file_format, formats[backend], makers.own, makers.others, asked)
    if isinstance(routes, str):
        yield NoWay(backend, asked, f"{backend} {routes}")
        return
    for route in routes:
        told = granted(route, wishes, makers.own, makers.others)
        if isinstance(told, str):
            yield NoWay(backend, asked, told)
        else:
            yield Way(backend, told, wishes, asked)


def _distinct(ways: Sequence[Way]) -> list[Way]:
    """Each once: `auto` may be one that is named too."""
    kept: list[Way] = []
    for way in ways:
        if way not in kept:
            kept.append(way)
    return kept
