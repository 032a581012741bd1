//! The columns of candles.

use std::borrow::Cow;

use common::amount::Amount;
use common::candle::Candle;

use super::fold::Row;
use crate::decimals::VWAP_PLACES;
use crate::indicators::Asked;
use crate::problem::ApiError;
use crate::store::Symbol;
use crate::table::{Column, Encoder, Kind, Value};

/// What the values of a column are, for any symbol.
#[derive(Clone, Copy)]
enum Sort {
    Time,
    Integer,
    Flag,
    Price,
    Volume,
    Turnover,
    Vwap,
}

/// A row and what else its values depend on.
struct Cell<'a> {
    row: &'a Row,
    candle: Option<&'a Candle>,
    /// The candle, when it has trades.
    traded: Option<&'a Candle>,
    now: i64,
    fill: bool,
}

type Get = for<'a> fn(&Cell<'a>) -> Value<'a>;

const COLUMNS: [(&str, Sort, Get); 16] = [
    ("open_time", Sort::Time, |cell| {
        Value::Time(cell.row.bucket.start)
    }),
    ("close_time", Sort::Time, |cell| {
        Value::Time(cell.row.bucket.end)
    }),
    ("open", Sort::Price, |cell| {
        price(cell.candle.map(|candle| candle.open.price))
    }),
    ("high", Sort::Price, |cell| {
        price(cell.candle.map(|candle| candle.high))
    }),
    ("low", Sort::Price, |cell| {
        price(cell.candle.map(|candle| candle.low))
    }),
    ("close", Sort::Price, |cell| {
        price(cell.candle.map(|candle| candle.close.price))
    }),
    ("volume", Sort::Volume, |cell| {
        sum(cell.candle.map(|candle| &candle.volume))
    }),
    ("turnover", Sort::Turnover, |cell| {
        sum(cell.candle.map(|candle| &candle.turnover))
    }),
    ("vwap", Sort::Vwap, |cell| {
        let vwap = cell.candle.and_then(vwap);
        vwap.map_or(Value::Null, |vwap| Value::Decimal(Cow::Owned(vwap)))
    }),
    ("trades", Sort::Integer, |cell| {
        Value::Integer(cell.candle.map_or(0, |candle| candle.trades))
    }),
    ("first_time", Sort::Time, |cell| {
        time(
            cell.traded
                .map(|candle| candle.open.key.event_time.micros()),
        )
    }),
    ("last_time", Sort::Time, |cell| {
        time(
            cell.traded
                .map(|candle| candle.close.key.event_time.micros()),
        )
    }),
    ("complete", Sort::Flag, |cell| {
        Value::Flag(cell.row.bucket.end <= cell.now)
    }),
    ("revision", Sort::Integer, |cell| {
        Value::Integer(cell.row.revision)
    }),
    ("updated_at", Sort::Time, |cell| time(cell.row.updated_at)),
    ("filled", Sort::Flag, |cell| {
        Value::Flag(cell.fill && cell.traded.is_none())
    }),
];

/// The names of all columns, in their order.
pub(crate) const NAMES: [&str; COLUMNS.len()] = {
    let mut names = [""; COLUMNS.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = COLUMNS[index].0;
        index += 1;
    }
    names
};

/// All columns, for decimals of any scale.
pub(crate) fn all() -> Vec<(&'static str, Kind)> {
    let kind = |(name, sort, _): &(&'static str, Sort, Get)| (*name, sort.kind_of(0, 0));
    COLUMNS.iter().map(kind).collect()
}

/// The columns of an answer.
pub(crate) struct Columns {
    list: Vec<Column>,
    values: Vec<Get>,
    /// For each output of an indicator the indicator's place and its own.
    outputs: Vec<(usize, usize)>,
    now: i64,
    fill: bool,
}

impl Columns {
    /// Those that `fields` names by their place, for one symbol, and the outputs of the indicators.
    pub(crate) fn new(fields: &[usize], indicators: &[Asked], symbol: &Symbol, fill: bool) -> Self {
        let chosen = fields.iter().filter_map(|index| COLUMNS.get(*index));
        let (mut list, values): (Vec<Column>, Vec<Get>) = chosen
            .map(|(name, sort, get)| (Column::new(name, sort.kind(symbol)), *get))
            .unzip();
        let mut outputs = Vec::new();
        for (place, indicator) in indicators.iter().enumerate() {
            for (output, names) in indicator.outputs().enumerate() {
                let path: Vec<&str> = ["indicators", &indicator.key]
                    .into_iter()
                    .chain(names)
                    .collect();
                let mut column = Column::nested(&path, Kind::Double);
                if NAMES.contains(&column.name.as_str()) {
                    // Where nothing nests, the candle's own column has the name: `vwap`.
                    column.name.insert_str(0, "indicators.");
                }
                list.push(column);
                outputs.push((place, output));
            }
        }
        Self {
            list,
            values,
            outputs,
            now: symbol.now,
            fill,
        }
    }

    /// What the columns are.
    pub(crate) fn list(&self) -> &[Column] {
        &self.list
    }

    /// Writes rows.
    ///
    /// # Errors
    /// When a value does not fit its column.
    pub(crate) fn write(&self, rows: &[Row], encoder: &mut dyn Encoder) -> Result<(), ApiError> {
        let mut values = Vec::with_capacity(self.list.len());
        encoder.reserve(rows.len());
        for row in rows {
            let candle = row.candle.as_ref();
            let cell = Cell {
                row,
                candle,
                traded: row.traded(),
                now: self.now,
                fill: self.fill,
            };
            values.extend(self.values.iter().map(|get| get(&cell)));
            values.extend(self.outputs.iter().map(|(place, output)| {
                let indicator = row.indicators.get(*place).copied().flatten();
                indicator.map_or(Value::Null, |values| Value::Double(values[*output]))
            }));
            encoder.row(&values)?;
            values.clear();
        }
        Ok(())
    }
}

impl Sort {
    fn kind(self, symbol: &Symbol) -> Kind {
        let (price, size) = symbol.scales();
        self.kind_of(price, size)
    }

    /// The kind for prices and sizes of so many decimals.
    const fn kind_of(self, price: u8, size: u8) -> Kind {
        match self {
            Self::Time => Kind::Time,
            Self::Integer => Kind::Integer,
            Self::Flag => Kind::Flag,
            Self::Price => Kind::Decimal { scale: price },
            Self::Volume => Kind::Decimal { scale: size },
            Self::Turnover => Kind::Decimal {
                scale: price + size,
            },
            Self::Vwap => Kind::Decimal {
                scale: price + VWAP_PLACES,
            },
        }
    }
}

fn time(micros: Option<i64>) -> Value<'static> {
    micros.map_or(Value::Null, Value::Time)
}

fn price(price: Option<common::decimal::Decimal>) -> Value<'static> {
    price.map_or(Value::Null, |price| {
        Value::Decimal(Cow::Owned(Amount::from(price)))
    })
}

/// A sum; zero where there is no candle.
fn sum(amount: Option<&Amount>) -> Value<'_> {
    amount.map_or(Value::Decimal(Cow::Owned(Amount::ZERO)), |amount| {
        Value::Decimal(Cow::Borrowed(amount))
    })
}

/// Turnover / volume, half-even, to 8 places more than the row's prices have; `None` without volume.
fn vwap(candle: &Candle) -> Option<Amount> {
    let prices = [
        candle.open.price,
        candle.high,
        candle.low,
        candle.close.price,
    ];
    let scale = prices.iter().map(|price| price.scale()).max().unwrap_or(0);
    candle
        .turnover
        .divide(&candle.volume, u32::from(scale + VWAP_PLACES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_columns_have_the_order_of_the_contract() {
        assert_eq!(
            NAMES.join(","),
            "open_time,close_time,open,high,low,close,volume,turnover,vwap,trades,first_time,last_time,complete,\
             revision,updated_at,filled"
        );
    }
}
