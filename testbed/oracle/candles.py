"""What the tables and the API must hold after a file of published messages, computed from the file alone.

    candles.py FILE [SYMBOL=ZONE ...]

The file has one JSON message a line, those of one symbol in the order of their offsets. Prints, in no order that matters:

    conflict MESSAGE                                                   a message that must be a dead letter
    tick SYMBOL TIME SEQUENCE PRICE SIZE REVISION                      a row of the view `ticks`
    candle LEVEL SYMBOL START VALUES                                   a row of a table or view of candles
    answer INTERVAL SYMBOL START END OPEN HIGH LOW CLOSE VOLUME TURNOVER VWAP TRADES FIRST LAST    a row of the API

Times are microseconds since 1970. A candle's START is a date at a day and above; its VALUES are open, high, low, close,
volume, turnover, trades, and time and sequence of the first and of the last tick. Plain Python: shares nothing with the
project.
"""

import json
import sys
from collections import defaultdict
from datetime import date, datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from zoneinfo import ZoneInfo

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)
MINUTE, HOUR = 60_000_000, 3_600_000_000
# Sums of products of two numbers of 28 digits, exact.
EXACT = Context(prec=200)


def plain(number: Decimal) -> str:
    """A decimal without exponent and without trailing zeros."""
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("", "-0") else text


def places(number: Decimal) -> int:
    """How many decimals a number has, trailing zeros aside."""
    text = plain(number)
    return len(text.partition(".")[2])


def instant(value) -> int:
    """The microseconds of an event time."""
    if isinstance(value, int):
        return value
    # Python drops digits below a microsecond, which for times after 1970 is to floor.
    return (datetime.fromisoformat(value) - EPOCH) // MICROSECOND


class Ticks:
    """The message that stays of each identity."""

    def __init__(self) -> None:
        self.kept = {}
        self.conflicts = []

    def take(self, line: str) -> None:
        self.place(json.loads(line, parse_float=Decimal), line)

    def place(self, message: dict, source) -> None:
        """Takes a message; `source` names it if it conflicts with one before."""
        identity = (message["symbol"], instant(message["event_time"]), message["sequence"])
        rank = (message.get("revision", 0), message.get("cancelled", False))
        content = (Decimal(message["price"]), Decimal(message["size"]))
        kept = self.kept.get(identity)
        if kept is None or kept[0] < rank:
            self.kept[identity] = (rank, content)
        elif kept[0] == rank and kept[1] != content:
            self.conflicts.append(source)

    def by_symbol(self):
        """Ticks that are not cancelled: (time, sequence, price, size, revision) in order, by symbol."""
        symbols = defaultdict(list)
        for (symbol, time, sequence), ((revision, cancelled), (price, size)) in self.kept.items():
            if not cancelled:
                symbols[symbol].append((time, sequence, price, size, revision))
        for symbol in sorted(symbols):
            yield symbol, sorted(symbols[symbol])


def fold(ticks):
    """Open, high, low, close, volume, turnover, trades, first time and sequence, last time and sequence."""
    prices = [tick[2] for tick in ticks]
    with localcontext(EXACT):
        volume = sum((tick[3] for tick in ticks), Decimal(0))
        turnover = sum((tick[2] * tick[3] for tick in ticks), Decimal(0))
    first, last = ticks[0], ticks[-1]
    return first[2], max(prices), min(prices), last[2], volume, turnover, len(ticks), *first[:2], *last[:2]


def vwap(candle) -> str:
    if candle[4] == 0:
        return "null"
    digits = max(places(price) for price in candle[:4]) + 8
    with localcontext(EXACT):
        return plain((candle[5] / candle[4]).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_EVEN))


def group(ticks, key):
    """Ticks by the key of their time, in order."""
    groups = {}
    for tick in ticks:
        groups.setdefault(key(tick[0]), []).append(tick)
    return groups.items()


class Zone:
    """Dates of a zone."""

    def __init__(self, name: str) -> None:
        self.zone = ZoneInfo(name)
        self.starts = {}

    def local(self, time: int) -> datetime:
        return (EPOCH + time * MICROSECOND).astimezone(self.zone)

    def start(self, day: date) -> int:
        """The first instant of a date; where midnight is skipped, the offset before the gap makes it the gap's end."""
        if day not in self.starts:
            midnight = datetime(day.year, day.month, day.day, fold=0)
            offset = midnight.replace(tzinfo=self.zone).utcoffset()
            self.starts[day] = (midnight.replace(tzinfo=timezone.utc) - offset - EPOCH) // MICROSECOND
        return self.starts[day]

    def hour(self, time: int) -> int:
        """The start of the local hour, for zones that shift by whole hours."""
        local = self.local(time)
        return time - (local.minute * MINUTE + local.second * 1_000_000 + local.microsecond)


def first_of_month(year: int, month: int) -> date:
    return date(year + (month - 1) // 12, (month - 1) % 12 + 1, 1)


# The dates at which a local date's period begins and ends.
PERIODS = {
    "1d": lambda day: (day, day + timedelta(1)),
    "1w": lambda day: (day - timedelta(day.weekday()), day - timedelta(day.weekday()) + timedelta(7)),
    "1M": lambda day: (first_of_month(day.year, day.month), first_of_month(day.year, day.month + 1)),
    "1q": lambda day: (
        first_of_month(day.year, (day.month - 1) // 3 * 3 + 1),
        first_of_month(day.year, (day.month - 1) // 3 * 3 + 4),
    ),
    "1y": lambda day: (date(day.year, 1, 1), date(day.year + 1, 1, 1)),
}


def show(*parts) -> None:
    print(*(plain(part) if isinstance(part, Decimal) else part for part in parts))


def answer(interval: str, symbol: str, start: int, end: int, candle) -> None:
    show("answer", interval, symbol, start, end, *candle[:6], vwap(candle), candle[6], candle[7], candle[9])


def tell(messages: Ticks, zones: dict) -> None:
    """The rows of ticks and candles, and what the API answers."""
    for symbol, ticks in messages.by_symbol():
        zone = Zone(zones.get(symbol, "UTC"))
        for time, sequence, price, size, revision in ticks:
            show("tick", symbol, time, sequence, price, size, revision)
        for level, length in (("1m", MINUTE), ("1h", HOUR)):
            for start, part in group(ticks, lambda time: time - time % length):
                candle = fold(part)
                show("candle", level, symbol, start, *candle)
                if level == "1m":
                    answer("1m", symbol, start, start + MINUTE, candle)
        for start, part in group(ticks, zone.hour):
            answer("1h", symbol, start, start + HOUR, fold(part))
        for interval, period in PERIODS.items():
            for (begin, end), part in group(ticks, lambda time: period(zone.local(time).date())):
                candle = fold(part)
                show("candle", interval, symbol, begin, *candle)
                answer(interval, symbol, zone.start(begin), zone.start(end), candle)


def main() -> None:
    file, *pairs = sys.argv[1:]
    messages = Ticks()
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            messages.take(line.rstrip("\n"))
    for line in messages.conflicts:
        show("conflict", line)
    tell(messages, dict(pair.split("=") for pair in pairs))


if __name__ == "__main__":
    main()
