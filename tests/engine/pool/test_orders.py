"""What a caller hears of a job that a child had to begin again."""

from __future__ import annotations

from meshgen.engine.pool.orders import Order
from meshgen.engine.port import Answer, EngineEvent, TextPart, TextWork


def written(index: int, text: str) -> dict[str, object]:
    return {"is": "text", "index": index, "text": text}


async def test_a_text_that_is_written_again_is_not_shown_again() -> None:
    order = Order(1, TextWork("writer", "Once", 20, (1, 2)), {})
    for frame in (written(0, "upon "), written(1, "more"), written(0, "a ti")):
        order.hear(frame)
    order.again()
    for frame in (written(0, "upon a "), written(0, "time"), written(1, "more ")):
        order.hear(frame)
    order.hear({"is": "answer", "index": 0, "seed": 1, "data": b"upon a time", "media": "text/plain", "seconds": 1.0})
    order.end()
    events: list[EngineEvent] = [event async for event in order.events()]
    shown = {
        index: "".join(event.text for event in events if isinstance(event, TextPart) and event.index == index) for index in (0, 1)
    }
    assert shown == {0: "upon a time", 1: "more "}
    assert [event.data for event in events if isinstance(event, Answer)] == [b"upon a time"]
