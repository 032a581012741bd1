"""What must be stored and answered after a run of `testbed chaos`, computed from what was published alone.

    chaos.py FILE [SYMBOL=ZONE ...]

The file has one record a line, as a consumer that reads committed ones only has read it: a JSON object with `topic`,
`partition`, `offset`, `timestamp` (milliseconds) and `payload` (base64, or null). Records of the topic `avro` are in
Confluent's wire format, all others JSON. Prints the lines of candles.py, and

    letter TOPIC PARTITION OFFSET REASON PAYLOAD                       a message that must be a dead letter, in base64

No more than one fault is looked for in a message: the feed makes no others. Shares nothing with the project.
"""

import base64
import json
import sys
from decimal import Decimal, InvalidOperation, getcontext

from candles import Ticks, instant, show, tell

DAY = 86_400_000_000
# Nothing is rounded on the way.
getcontext().prec = 200


class Bad(Exception):
    """A message that is no tick; its reason."""


def number(value, least: Decimal, below: str) -> Decimal:
    """A price or a size."""
    try:
        decimal = Decimal(value)
    except InvalidOperation:
        raise Bad("wrong-type") from None
    if not decimal.is_finite():
        raise Bad("not-finite")
    _, digits, exponent = decimal.normalize().as_tuple()
    if len(digits) > 28 or exponent < -18:
        raise Bad("too-many-digits")
    if decimal < least or below == "price-not-positive" and decimal == 0:
        raise Bad(below)
    return decimal


def from_json(payload: bytes) -> dict:
    try:
        message = json.loads(payload, parse_float=Decimal)
    except ValueError:
        raise Bad("not-json") from None
    if not isinstance(message, dict):
        raise Bad("not-json")
    return message


def from_avro(payload: bytes) -> dict:
    """A body of the schema that producers are asked to use, with or without a last field that is of no interest."""
    if payload[:1] != b"\0" or len(payload) < 5:
        raise Bad("not-avro")
    at = 5

    def long() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = payload[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return (value >> 1) ^ -(value & 1)

    def data() -> bytes:
        nonlocal at
        length = long()
        if at + length > len(payload):
            raise IndexError
        at += length
        return payload[at - length : at]

    try:
        message = {"symbol": data().decode(), "event_time": long(), "sequence": long()}
        for field in ("price", "size"):
            message[field] = Decimal(int.from_bytes(data(), "big", signed=True)).scaleb(-18)
        message["revision"] = long()
        message["cancelled"] = payload[at] == 1
    except IndexError:
        raise Bad("not-avro") from None
    return message


def check(message: dict, timestamp: int) -> None:
    for field in ("symbol", "event_time", "sequence", "price", "size"):
        if message.get(field) is None:
            raise Bad("missing-field")
    if not 1 <= len(message["symbol"].encode()) <= 64:
        raise Bad("bad-symbol")
    try:
        time = instant(message["event_time"])
    except ValueError:
        raise Bad("bad-time") from None
    if not 0 <= time <= timestamp * 1000 + DAY:
        raise Bad("time-out-of-range")
    if not isinstance(message["sequence"], int):
        raise Bad("wrong-type")
    message["price"] = number(message["price"], Decimal(0), "price-not-positive")
    message["size"] = number(message["size"], Decimal(0), "size-negative")


def letter(place, reason: str) -> None:
    topic, partition, offset, payload = place
    show("letter", topic, partition, offset, reason, payload)


def main() -> None:
    file, *pairs = sys.argv[1:]
    with open(file, encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    # Messages of one identity that contradict each other are all in one partition.
    records.sort(key=lambda record: (record["topic"], record["partition"], record["offset"]))
    ticks = Ticks()
    for record in records:
        place = (record["topic"], record["partition"], record["offset"], record["payload"])
        if record["payload"] is None:
            continue
        payload = base64.b64decode(record["payload"])
        try:
            if not payload:
                raise Bad("empty")
            message = (from_avro if record["topic"] == "avro" else from_json)(payload)
            check(message, record["timestamp"])
        except Bad as bad:
            letter(place, str(bad))
        else:
            ticks.place(message, place)
    for place in ticks.conflicts:
        letter(place, "conflict")
    tell(ticks, dict(pair.split("=") for pair in pairs))


if __name__ == "__main__":
    main()
