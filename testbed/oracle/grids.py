"""Candles of any interval, zone and anchor over a file of published messages, computed from the file alone.

    grids.py FILE CASES

FILE is as for candles.py. CASES is a JSON list of objects: symbol, zone, interval, anchor, from, to (microseconds since
1970). Prints, for each case by its index, a line a candle that starts in from <= start < to, oldest first:

    INDEX START END OPEN HIGH LOW CLOSE VOLUME TURNOVER VWAP TRADES FIRST LAST

The rules are those of the contract, looked for in zoneinfo and not computed from a local time: a zone is taken apart into
stretches of one offset, and each stretch is asked for its boundaries. pandas and Polars serve less well here. Their
`origin` is the first row's day, so their buckets of 7 minutes depend on the data; they floor local times, so that after a
switch a bucket of 4 hours starts off the grid or raises (`ambiguous`, `nonexistent`); their weeks end on Sunday; and a
date that a zone skips makes an empty day.

The names and rules of zones come from PyPI's tzdata, never from the machine. It is another release of the zone database
than the one in the binaries, so the two may differ about switches from 2026 on: America/Rainy_River is an hour apart in
2030. Candles that end there are not compared.
"""

import bisect
import json
import sys
import zoneinfo
from datetime import date, datetime, timedelta, timezone

from candles import Ticks, fold, group, show, vwap

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SECOND = 1_000_000
DAY = 86_400 * SECOND
CLOCK = {"s": SECOND, "m": 60 * SECOND, "h": 3_600 * SECOND}
MONTHS = {"M": 1, "q": 3, "y": 12}
# A Monday, in days after 1970-01-01.
MONDAY = 4
# Stretches are looked for from 1960 to 2040.
FIRST, LAST = -3_660 * DAY, 25_570 * DAY


class Zone:
    """Stretches of time with one offset from UTC: (start, end, offset) in microseconds."""

    def __init__(self, name: str) -> None:
        self.zone = zoneinfo.ZoneInfo(name)
        self.stretches = []
        start, offset = FIRST, self.offset(FIRST)
        for at in range(FIRST + DAY, LAST, DAY):
            if self.offset(at) != offset:
                switch = self.switch(at - DAY, at)
                self.stretches.append((start, switch, offset))
                start, offset = switch, self.offset(switch)
        self.stretches.append((start, LAST, offset))
        self.starts = [stretch[0] for stretch in self.stretches]

    def offset(self, at: int) -> int:
        local = (EPOCH + timedelta(microseconds=at)).astimezone(self.zone)
        return local.utcoffset() // timedelta(microseconds=1)

    def switch(self, before: int, after: int) -> int:
        """The first second of the new offset."""
        low, high = before // SECOND, after // SECOND
        while high - low > 1:
            middle = (low + high) // 2
            if self.offset(middle * SECOND) == self.offset(before):
                low = middle
            else:
                high = middle
        return high * SECOND

    def index(self, at: int) -> int:
        return bisect.bisect_right(self.starts, at) - 1

    def day_start(self, day: int) -> int:
        """The first instant whose local time is at or after midnight of a day."""
        for start, end, offset in self.stretches[self.index(day * DAY - 2 * DAY) :]:
            at = max(start, day * DAY - offset)
            if at < end:
                return at
        raise ValueError(day)

    def day(self, at: int) -> int:
        """The last day that has begun."""
        day = (at + self.stretches[self.index(at)][2]) // DAY
        while self.day_start(day + 1) <= at:
            day += 1
        return day

    def clock(self, at: int, length: int) -> tuple[int, int]:
        """The bucket of a length below a day."""
        day = self.day(at)
        start = self.day_start(day)
        for low, high, offset in self.stretches[self.index(start) : self.index(at) + 1]:
            last = min(at, high - 1)
            boundary = last - (last + offset) % DAY % length
            if boundary >= low:
                start = max(start, boundary)
        end = next(begin for begin in map(self.day_start, range(day + 1, day + 9)) if begin > at)
        for low, high, offset in self.stretches[self.index(at) :]:
            first = max(at + 1, low)
            time = (first + offset) % DAY
            wait = 0 if time % length == 0 else min(length - time % length, DAY - time)
            if first + wait < high:
                return start, min(end, first + wait)
            if high >= end:
                break
        return start, end


def days_of(month: int) -> int:
    """The first day of a month that is counted from 1970-01."""
    return (date(1970 + month // 12, month % 12 + 1, 1) - date(1970, 1, 1)).days


def month_of(day: int) -> int:
    local = date(1970, 1, 1) + timedelta(day)
    return (local.year - 1970) * 12 + local.month - 1


class Grid:
    """The buckets of one case; `first` is the time of the symbol's first tick."""

    def __init__(self, zone: Zone, interval: str, anchor: str, first: int) -> None:
        self.zone, self.anchor = zone, anchor
        self.count, self.unit = int(interval[:-1]), interval[-1]
        self.first = zone.day(first)

    def bucket(self, at: int) -> tuple[int, int]:
        if self.unit in CLOCK:
            length = self.count * CLOCK[self.unit]
            return even(at, length, 0) if self.anchor == "epoch" else self.zone.clock(at, length)
        if self.anchor == "epoch":
            weeks = self.unit == "w"
            return even(at, self.count * DAY * (7 if weeks else 1), MONDAY * DAY if weeks else 0)
        first, after = self.period(self.zone.day(at))
        return self.zone.day_start(first), self.zone.day_start(after)

    def period(self, day: int) -> tuple[int, int]:
        """The first day of the period that holds a day, and of the next one."""
        from_first = self.anchor == "first"
        if self.unit == "d":
            return even(day, self.count, self.first if from_first else 0)
        if self.unit == "w":
            # Groups from the first period end with the first week.
            origin = even(self.first, 7, MONDAY)[1] if from_first else MONDAY
            return even(day, 7 * self.count, origin)
        unit = MONTHS[self.unit]
        origin = even(month_of(self.first), unit, 0)[0] if from_first else 0
        start, after = even(month_of(day), unit * self.count, origin)
        return days_of(start), days_of(after)


def even(at: int, length: int, origin: int) -> tuple[int, int]:
    start = at - (at - origin) % length
    return start, start + length


def main() -> None:
    zoneinfo.reset_tzpath(to=[])
    file, cases = sys.argv[1:]
    messages = Ticks()
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            messages.take(line.rstrip("\n"))
    symbols = dict(messages.by_symbol())
    zones = {}
    with open(cases, encoding="utf-8") as text:
        cases = json.load(text)
    for index, case in enumerate(cases):
        if case["zone"] not in zones:
            zones[case["zone"]] = Zone(case["zone"])
        ticks = symbols[case["symbol"]]
        grid = Grid(zones[case["zone"]], case["interval"], case["anchor"], ticks[0][0])
        for (start, end), part in group(ticks, grid.bucket):
            if case["from"] <= start < case["to"]:
                candle = fold(part)
                show(index, start, end, *candle[:6], vwap(candle), candle[6], candle[7], candle[9])


if __name__ == "__main__":
    main()
