"""What every client here does: it says `{"end": "start"}` when it is connected, waits for the name of a step on
standard input, tries each operation of that step, and says of each how it ended, as one line of JSON; a line
`{"end": STEP}` closes the step."""

import asyncio
import inspect
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Operations = Mapping[str, Callable[[], Any | Awaitable[Any]]]


def say(line: Any) -> None:
    # Vectors are arrays of NumPy.
    print(json.dumps(line, default=lambda value: value.tolist() if hasattr(value, "tolist") else str(value)), flush=True)


async def outcome(operation: Callable[[], Any | Awaitable[Any]]) -> dict[str, Any]:
    try:
        value = operation()
        return {"value": await value if inspect.isawaitable(value) else value}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


async def serve(**steps: Operations) -> None:
    """Takes steps until standard input ends. What a session gets meanwhile is not kept waiting."""
    say({"end": "start"})
    while step := (await asyncio.to_thread(sys.stdin.readline)).strip():
        for name, operation in steps.get(step, {}).items():
            say({"operation": name} | await outcome(operation))
        say({"end": step})
