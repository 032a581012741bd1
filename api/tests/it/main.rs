//! The routes against a real `PostgreSQL`: one file a guarantee.

mod calendar_vectors;
mod errors;
mod fill;
mod fixture;
mod folding;
mod paging;
mod symbols;
mod time_series;
mod views;
