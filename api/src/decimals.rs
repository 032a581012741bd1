//! Whether the decimals of Arrow and Parquet, 38 digits wide, hold all that a symbol has. It is found out before the
//! first byte is sent: a price or a size has 28 digits at most, but a turnover may have more than 56.

use common::amount::Amount;

use crate::problem::{ApiError, Fault};
use crate::store::{Extremes, Symbol};

/// Digits of a decimal in Arrow and Parquet.
pub(crate) const DIGITS: u8 = 38;
/// Decimals of a vwap beyond those of the prices.
pub(crate) const VWAP_PLACES: u8 = 8;

/// Checks that the highest price, the sum of all sizes and the sum of all turnover fit: then every candle and tick does,
/// and the types of columns depend on no range.
///
/// # Errors
/// When one does not fit: 400, which names the way out.
pub(crate) fn check(symbol: &Symbol, extremes: &Extremes) -> Result<(), ApiError> {
    let (price, size) = symbol.scales();
    for (what, value, scale) in [
        // No vwap is above the highest price.
        ("prices", &extremes.price, price + VWAP_PLACES),
        ("the volume", &extremes.volume, size),
        ("the turnover", &extremes.turnover, price + size),
    ] {
        let fits = |value: &Amount| value.units_at(u32::from(scale)).is_some();
        if !value.as_ref().is_none_or(fits) {
            let detail = format!(
                "{what} of this symbol, with {scale} decimals, may need more than the {DIGITS} digits that decimals \
                 have in Arrow and Parquet; texts have no such limit"
            );
            let fault = Fault::new("numbers", detail).hint(Some("string"));
            return Err(ApiError::Parameters(vec![fault]));
        }
    }
    Ok(())
}
