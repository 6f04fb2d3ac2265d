"""Do the same with each of several things, so that one that fails keeps no other from being done.

A job whose work is ordered by age would otherwise fail at the same row in each run, and never get to those behind it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def outcomes(things: Iterable[T], do: Callable[[T], Awaitable[R]]) -> list[tuple[T, R | BaseException]]:
    """Do it with one thing after the other. Return each with what came of it, or with what was raised."""
    tried: list[tuple[T, R | BaseException]] = []
    for thing in things:
        (outcome,) = await asyncio.gather(do(thing), return_exceptions=True)
        tried.append((thing, outcome))
    return tried


async def each(things: Iterable[T], do: Callable[[T], Awaitable[R]]) -> list[R]:
    """Do it with one thing after the other, and return what came of them.

    When it raised for some of them, the first exception is raised after all were tried.
    """
    done: list[R] = []
    failure: BaseException | None = None
    for _, outcome in await outcomes(things, do):
        if isinstance(outcome, BaseException):
            failure = failure or outcome
        else:
            done.append(outcome)
    if failure is not None:
        raise failure
    return done
