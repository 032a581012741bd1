-- $1: symbol. What the page of read.rs is made of.
select
    candle.open_time, candle.open, candle.high, candle.low, candle.close, candle.volume, candle.turnover,
    candle.trades, candle.open_event_time, candle.close_event_time, candle.revision, candle.updated_at
from market_data.candles_1d candle
join market_data.symbols on symbols.id = candle.symbol_id
where symbols.symbol = $1 and candle.local_date < '2023-09-01'
order by candle.local_date desc
limit 500
