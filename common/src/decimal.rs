//! Exact decimals of prices and sizes.
//!
//! A [`Decimal`] holds up to 28 significant digits, up to 18 of them decimals, and is always
//! normalised (no trailing zeros), so that equal numbers are equal values. Nothing rounds: what
//! does not fit is an error.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// Most significant digits of a price or a size.
pub const MAX_DIGITS: u32 = 28;
/// Most decimals of a price or a size.
pub const MAX_SCALE: u8 = 18;

/// 10^0 to 10^38, the greatest power of ten in an `i128`.
const POWERS: [i128; 39] = {
    let mut powers = [1; 39];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = powers[exponent - 1] * 10;
        exponent += 1;
    }
    powers
};

/// 10^exponent. `exponent` is at most 38.
#[must_use]
pub const fn power_of_ten(exponent: u32) -> i128 {
    POWERS[exponent as usize]
}

/// 10^exponent; `None` when an `i128` does not hold it.
pub(crate) fn checked_power_of_ten(exponent: u32) -> Option<i128> {
    POWERS.get(exponent as usize).copied()
}

/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The double nearest to `units` x 10^-`scale`, where one division of two exact doubles gives it.
pub(crate) fn nearest_f64(units: i128, scale: u32) -> Option<f64> {
    let divisor = EXACT_POWERS.get(scale as usize)?;
    if units.unsigned_abs() > 1 << 53 {
        return None;
    }
    #[allow(clippy::cast_precision_loss, reason = "at most 53 bits")]
    let units = units as f64;
    Some(units / divisor)
}

/// The double nearest to a number in plain notation.
pub(crate) fn read_f64(number: &impl fmt::Display) -> f64 {
    // Every plain number is one that a double can be read from.
    number.to_string().parse().unwrap_or(f64::NAN)
}

/// Why a text is not a [`Decimal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecimalError {
    /// Not a decimal number: empty, letters, `NaN`, `Infinity`.
    #[error("not a decimal number")]
    NotANumber,
    /// More than 28 significant digits, or more than 18 decimals.
    #[error("more than {MAX_DIGITS} digits or {MAX_SCALE} decimals")]
    TooManyDigits,
}

/// An exact decimal, `units` x 10^-`scale`, normalised.
///
/// The units are kept in two halves: an `i128` aligns to 16 bytes, and a batch holds many decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Decimal {
    high: i64,
    low: u64,
    scale: u8,
}

impl Decimal {
    /// Zero.
    pub const ZERO: Self = Self::raw(0, 0);

    const fn raw(units: i128, scale: u8) -> Self {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the two halves"
        )]
        let (high, low) = ((units >> 64) as i64, units as u64);
        Self { high, low, scale }
    }

    /// The number `units` x 10^-`scale`.
    ///
    /// # Errors
    /// When the normalised number has too many digits.
    pub fn new(mut units: i128, mut scale: u32) -> Result<Self, DecimalError> {
        if units == 0 {
            return Ok(Self::ZERO);
        }
        (units, scale) = trim(units, scale);
        if scale > u32::from(MAX_SCALE)
            || units.unsigned_abs() >= power_of_ten(MAX_DIGITS).unsigned_abs()
        {
            return Err(DecimalError::TooManyDigits);
        }
        Ok(Self::raw(units, u8::try_from(scale).unwrap_or(MAX_SCALE)))
    }

    /// The whole number of 10^-[`scale`](Self::scale) that this is.
    #[must_use]
    pub const fn units(self) -> i128 {
        ((self.high as i128) << 64) | self.low as i128
    }

    /// Decimals, 0 to 18.
    #[must_use]
    pub const fn scale(self) -> u8 {
        self.scale
    }

    /// This number in units of 10^-`scale`, for a `scale` of at least its own and at most
    /// [`MAX_SCALE`]; `None` when that needs more than 127 bits.
    #[must_use]
    pub fn units_at(self, scale: u8) -> Option<i128> {
        self.units()
            .checked_mul(power_of_ten(u32::from(scale.checked_sub(self.scale)?)))
    }

    /// The nearest double: for statistics of prices, never on the way to a candle.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        nearest_f64(self.units(), u32::from(self.scale)).unwrap_or_else(|| read_f64(&self))
    }

    /// Below zero.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.high < 0
    }

    /// Above zero.
    #[must_use]
    pub const fn is_positive(self) -> bool {
        self.units() > 0
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    /// Reads digits with an optional sign, point and exponent, as JSON spells a number.
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let (negative, rest) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] | rest => (false, rest),
        };
        let mut units: i128 = 0;
        let mut digits = 0_usize;
        let mut dropped_zeros = 0_i64;
        let mut scale = 0_i64;
        let mut point = false;
        let mut exponent = 0_i64;
        for (position, &byte) in rest.iter().enumerate() {
            match byte {
                b'0'..=b'9' => {
                    digits += 1;
                    scale += i64::from(point);
                    // Zeros wait until a digit follows, so that any number of trailing ones is read.
                    if byte == b'0' {
                        dropped_zeros += i64::from(units != 0);
                        continue;
                    }
                    let shift = u32::try_from(dropped_zeros + 1)
                        .map_err(|_| DecimalError::TooManyDigits)?;
                    dropped_zeros = 0;
                    units = checked_power_of_ten(shift)
                        .and_then(|power| units.checked_mul(power))
                        .and_then(|shifted| shifted.checked_add(i128::from(byte - b'0')))
                        .ok_or(DecimalError::TooManyDigits)?;
                }
                b'.' if !point && digits > 0 => point = true,
                b'e' | b'E' if digits > 0 && rest[position - 1] != b'.' => {
                    exponent = std::str::from_utf8(&rest[position + 1..])
                        .ok()
                        .filter(|text| text.bytes().any(|b| b.is_ascii_digit()))
                        .ok_or(DecimalError::NotANumber)
                        .and_then(parse_exponent)?;
                    break;
                }
                _ => return Err(DecimalError::NotANumber),
            }
        }
        if digits == 0 || (point && rest.last() == Some(&b'.')) {
            return Err(DecimalError::NotANumber);
        }
        if units == 0 {
            return Ok(Self::ZERO);
        }
        let scale = scale - dropped_zeros - exponent;
        let signed = if negative { -units } else { units };
        match u32::try_from(scale) {
            Ok(scale) => Self::new(signed, scale),
            Err(_) => u32::try_from(-scale)
                .ok()
                .and_then(checked_power_of_ten)
                .and_then(|power| signed.checked_mul(power))
                .ok_or(DecimalError::TooManyDigits)
                .and_then(|units| Self::new(units, 0)),
        }
    }
}

/// An exponent; one that no accepted number can have is pinned to a value that is refused later.
fn parse_exponent(text: &str) -> Result<i64, DecimalError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(DecimalError::NotANumber);
    }
    let magnitude = digits.parse::<i64>().unwrap_or(i64::MAX).min(1_000_000_000);
    Ok(if text.starts_with('-') {
        -magnitude
    } else {
        magnitude
    })
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_units(
            f,
            self.high < 0,
            self.units().unsigned_abs(),
            usize::from(self.scale),
        )
    }
}

/// The same number without trailing zeros among its `scale` decimals.
pub(crate) fn trim(mut units: i128, mut scale: u32) -> (i128, u32) {
    // 64 bits divide several times as fast, and most numbers have no more.
    if let Ok(mut small) = i64::try_from(units) {
        while scale > 0 && small % 10 == 0 {
            small /= 10;
            scale -= 1;
        }
        return (small.into(), scale);
    }
    while scale > 0 && units % 10 == 0 {
        units /= 10;
        scale -= 1;
    }
    (units, scale)
}

/// Writes `units` x 10^-`scale` in plain notation.
pub(crate) fn write_units(
    f: &mut fmt::Formatter<'_>,
    negative: bool,
    units: u128,
    scale: usize,
) -> fmt::Result {
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(units);
    if negative {
        f.write_str("-")?;
    }
    if scale == 0 {
        return f.write_str(digits);
    }
    match digits.len().checked_sub(scale) {
        Some(whole) if whole > 0 => {
            f.write_str(&digits[..whole])?;
            f.write_str(".")?;
            f.write_str(&digits[whole..])
        }
        _ => write!(f, "0.{digits:0>scale$}"),
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        // 28 digits and 18 decimals need 46 digits on a common scale: compare whole parts first.
        let split = |d: &Self| {
            let unit = power_of_ten(u32::from(d.scale));
            (
                d.units().div_euclid(unit),
                d.units().rem_euclid(unit) * power_of_ten(u32::from(MAX_SCALE - d.scale)),
            )
        };
        if self.scale == other.scale {
            self.units().cmp(&other.units())
        } else {
            split(self).cmp(&split(other))
        }
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests;
