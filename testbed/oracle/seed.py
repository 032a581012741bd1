"""What the seed's routes must answer for a file of daily bars, computed from the file alone.

    seed.py FILE SYMBOL...

Prints one line an answer: the path, a tab, the body. Prices are the shortest decimals of single-precision floats.
Shares nothing with the project: DuckDB reads the file and groups it.
"""

import sys
from decimal import Decimal

import duckdb

COUNTS = (1, 2, 3, 5, 12)

# For each frequency the number of a row's period, counted from the symbol's first one, and the first date of period n.
# Both know `date` and `first`, the symbol's first date.
PERIODS = {
    "Daily": ("date_diff('day', first, date)", "first + n::integer"),
    "Weekly": (
        "date_diff('day', date_trunc('week', first), date_trunc('week', date)) // 7",
        "date_trunc('week', first)::date + (n * 7)::integer",
    ),
    "Monthly": ("date_diff('month', first, date)", "date_trunc('month', first) + to_months(n::integer)"),
    "Quarterly": ("date_diff('quarter', first, date)", "date_trunc('quarter', first) + to_months((3 * n)::integer)"),
    "Annual": ("date_diff('year', first, date)", "date_trunc('year', first) + to_years(n::integer)"),
}


def plain(number: Decimal) -> str:
    """A decimal without exponent and without trailing zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def body(symbol: str, key: str, rows) -> str:
    """Rows of (date, open, high, low, close, volume) as the API writes them, keys sorted by name."""
    told = []
    for date, first, high, low, last, volume in rows:
        fields = {
            "close": plain(last), "high": plain(high), "low": plain(low), "open": plain(first),
            "symbol": f'"{symbol}"', "volume": plain(volume), key: f'"{date}"',
        }
        told.append("{" + ",".join(f'"{name}":{fields[name]}' for name in sorted(fields)) + "}")
    return "[" + ",".join(told) + "]"


def main() -> None:
    file, symbols = sys.argv[1], sys.argv[2:]
    db = duckdb.connect()
    columns = ", ".join(f"{name}::float::varchar::decimal(38, 12) as {name}" for name in ("open", "high", "low", "close"))
    db.execute(
        f"create table bars as select symbol, date::date as date, {columns}, volume::decimal(38, 12) as volume, "
        "min(date::date) over (partition by symbol) as first from read_csv(?, header = true, all_varchar = true)",
        [file],
    )
    for symbol in symbols:
        path = f"/stocks/time-series/{symbol}"
        rows = db.execute(
            "select date, open, high, low, close, volume from bars where symbol = ? order by date", [symbol]
        ).fetchall()
        assert rows, f"{file} has no {symbol}"
        print(path, body(symbol, "date", rows), sep="\t")
        for frequency, (number, start) in PERIODS.items():
            for count in COUNTS:
                # Groups begin with the first period; those of weeks end with it, so that it is alone in its group.
                groups = f"ceil(({number}) / {count})::bigint" if frequency == "Weekly" else f"({number}) // {count}"
                begin = f"g * {count} - {count - 1}" if frequency == "Weekly" else f"g * {count}"
                rows = db.execute(
                    f"with grouped as (select *, {groups} as g from bars where symbol = ?), "
                    f"numbered as (select *, {begin} as n from grouped) "
                    f"select ({start})::date, arg_min(open, date), max(high), min(low), arg_max(close, date), sum(volume) "
                    "from numbered group by 1 order by 1",
                    [symbol],
                ).fetchall()
                print(f"{path}?interval={count}&frequency={frequency}", body(symbol, "period_start", rows), sep="\t")


if __name__ == "__main__":
    main()
