"""The indicators of a page of candles, by TA-Lib and others.

    indicators.py PAGE KEY...

PAGE is an answer of /v1/candles/{symbol} with numbers=string that begins with the symbol's first candle, KEY an indicator
as it is asked for, with all parameters. Prints a JSON list with the `indicators` object of each candle. TA-Lib computes
what it has; pandas-ta-classic computes ichimoku, vwap is summed here. Shares nothing with the project.
"""

import json
import sys
from datetime import datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy
import pandas_ta_classic
import talib
from pandas import Series

SINGLE = {
    "sma": lambda c, n: talib.SMA(c.close, n),
    "ema": lambda c, n: talib.EMA(c.close, n),
    "wma": lambda c, n: talib.WMA(c.close, n),
    "dema": lambda c, n: talib.DEMA(c.close, n),
    "tema": lambda c, n: talib.TEMA(c.close, n),
    "stddev": lambda c, n: talib.STDDEV(c.close, n, 1),
    "linreg": lambda c, n: talib.LINEARREG(c.close, n),
    "rsi": lambda c, n: talib.RSI(c.close, n),
    "willr": lambda c, n: talib.WILLR(c.high, c.low, c.close, n),
    "cci": lambda c, n: talib.CCI(c.high, c.low, c.close, n),
    "mfi": lambda c, n: talib.MFI(c.high, c.low, c.close, c.volume, n),
    "roc": lambda c, n: talib.ROC(c.close, n),
    "mom": lambda c, n: talib.MOM(c.close, n),
    "atr": lambda c, n: talib.ATR(c.high, c.low, c.close, n),
    "natr": lambda c, n: talib.NATR(c.high, c.low, c.close, n),
    "adx": lambda c, n: talib.ADX(c.high, c.low, c.close, n),
    "psar": lambda c, step, most: talib.SAR(c.high, c.low, step, most),
    "obv": lambda c: talib.OBV(c.close, c.volume),
    "ad": lambda c: talib.AD(c.high, c.low, c.close, c.volume),
    "vwap": lambda c, n=None: c.vwap(n),
}
BANDS = ("upper", "middle", "lower")
SEVERAL = {
    "macd": (("macd", "signal", "histogram"), lambda c, fast, slow, signal: talib.MACD(c.close, fast, slow, signal)),
    "bbands": (BANDS, lambda c, n, deviations: talib.BBANDS(c.close, n, deviations, deviations, talib.MA_Type.SMA)),
    "stoch": (("k", "d"), lambda c, k, smooth, d: talib.STOCH(c.high, c.low, c.close, k, smooth, 0, d, 0)),
    "stochrsi": (("k", "d"), lambda c, n, k, d: talib.STOCHRSI(c.close, n, k, d, 0)),
    "donchian": (BANDS, lambda c, n: talib.DONCHIAN(c.high, c.low, n)),
    "keltner": (BANDS, lambda c, n, ranges, by: talib.KC(c.high, c.low, c.close, n, ranges, by)),
    "supertrend": (("supertrend", "trend"), lambda c, n, by: talib.SUPERTREND(c.high, c.low, c.close, n, by)),
    "ichimoku": (("conversion", "base", "span_a", "span_b"), lambda c, *lengths: c.ichimoku(*lengths)),
}


class Candles:
    def __init__(self, page: dict) -> None:
        self.rows = page["candles"]
        self.zone = ZoneInfo(page["tz"])
        for name in ("high", "low", "close", "volume"):
            setattr(self, name, numpy.array([float(row[name]) for row in self.rows]))

    def session(self, row: dict):
        return datetime.fromisoformat(row["open_time"]).astimezone(self.zone).date()

    def vwap(self, n):
        start = 0
        for index, row in enumerate(self.rows):
            if n is not None:
                start = max(index + 1 - n, 0)
            elif self.session(row) != self.session(self.rows[start]):
                start = index
            rows = self.rows[start : index + 1]
            volume = sum(Decimal(row["volume"]) for row in rows)
            begun = volume and len(rows) >= (n or 1)
            yield float(sum(Decimal(row["turnover"]) for row in rows) / volume) if begun else numpy.nan

    def ichimoku(self, conversion, base, span):
        series = [Series(column) for column in (self.high, self.low, self.close)]
        frame = pandas_ta_classic.ichimoku(*series, tenkan=conversion, kijun=base, senkou=span, as_dataframe=True)
        names = (f"ITS_{conversion}", f"IKS_{base}", f"ISA_{conversion}", f"ISB_{base}")
        return [frame[name].to_numpy(float)[: len(self.rows)] for name in names]


def number(value):
    return None if numpy.isnan(value) else float(value)


def indicator(candles: Candles, key: str) -> list:
    name, *parameters = key.split(":")
    parameters = [float(text) if "." in text else int(text) for text in parameters]
    if name in SINGLE:
        return [number(value) for value in SINGLE[name](candles, *parameters)]
    names, compute = SEVERAL[name]
    rows = zip(*compute(candles, *parameters), strict=True)
    # All outputs begin together; a column of integers cannot say that it has not begun.
    return [dict.fromkeys(names) if numpy.isnan(row).any() else dict(zip(names, map(number, row))) for row in rows]


def main() -> None:
    file, *keys = sys.argv[1:]
    with open(file, encoding="utf-8") as text:
        candles = Candles(json.load(text))
    columns = [indicator(candles, key) for key in keys]
    json.dump([dict(zip(keys, row)) for row in zip(*columns, strict=True)], sys.stdout)


if __name__ == "__main__":
    main()
