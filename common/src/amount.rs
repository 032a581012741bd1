//! Exact sums: volume and turnover.
//!
//! An [`Amount`] is a 128-bit integer with a scale while that holds it, and a big decimal beyond:
//! a turnover may need 56 digits and keeps all of them. It never rounds, wraps or saturates.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::{BigInt, Sign};

use crate::decimal::{
    Decimal, DecimalError, checked_power_of_ten, nearest_f64, read_f64, trim, write_units,
};

/// An exact sum of sizes, or of price x size.
#[derive(Debug, Clone)]
pub struct Amount(Form);

#[derive(Debug, Clone)]
enum Form {
    /// `units` x 10^-`scale`, not normalised.
    Small {
        units: i128,
        scale: u32,
    },
    Large(Box<BigDecimal>),
}

impl Amount {
    /// Zero.
    pub const ZERO: Self = Self(Form::Small { units: 0, scale: 0 });

    /// `price` x `size`.
    #[must_use]
    pub fn product(price: Decimal, size: Decimal) -> Self {
        let scale = u32::from(price.scale()) + u32::from(size.scale());
        match price.units().checked_mul(size.units()) {
            Some(units) => Self(Form::Small { units, scale }),
            None => Self::large(&Self::from(price).to_big() * &Self::from(size).to_big()),
        }
    }

    /// Adds `other` to this.
    pub fn add(&mut self, other: &Self) {
        if let (Form::Small { units: a, scale: s }, Form::Small { units: b, scale: t }) =
            (&self.0, &other.0)
            && let Some(sum) = add_small((*a, *s), (*b, *t))
        {
            self.0 = sum;
            return;
        }
        *self = Self::large(&self.to_big() + &other.to_big());
    }

    /// `self` / `divisor`, rounded half-even to `places` decimals; `None` when `divisor` is zero.
    #[must_use]
    pub fn divide(&self, divisor: &Self, places: u32) -> Option<Self> {
        if let (Form::Small { units: a, scale: s }, Form::Small { units: b, scale: t }) =
            (&self.0, &divisor.0)
            && let Some(units) = divide_small((*a, *s), (*b, *t), places)
        {
            let scale = places;
            return Some(Self(Form::Small { units, scale }));
        }
        self.divide_large(divisor, places)
    }

    fn divide_large(&self, divisor: &Self, places: u32) -> Option<Self> {
        let (a, s) = self.to_big().into_bigint_and_exponent();
        let (b, t) = divisor.to_big().into_bigint_and_exponent();
        if b.sign() == Sign::NoSign {
            return None;
        }
        let shift = i64::from(places) + t - s;
        let power = |exponent: i64| BigInt::from(10).pow(u32::try_from(exponent).unwrap_or(0));
        let (a, b) = if shift >= 0 {
            (a * power(shift), b)
        } else {
            (a, b * power(-shift))
        };
        let (mut quotient, remainder) = (&a / &b, &a % &b);
        let twice = remainder.magnitude() * 2_u32;
        let odd = (&quotient % 2_u32).sign() != Sign::NoSign;
        if twice > *b.magnitude() || (twice == *b.magnitude() && odd) {
            quotient += if a.sign() == b.sign() { 1 } else { -1 };
        }
        Some(Self::large(BigDecimal::new(quotient, i64::from(places))))
    }

    /// Decimals of the normal form.
    #[must_use]
    pub fn scale(&self) -> u32 {
        u32::try_from(self.to_big().normalized().fractional_digit_count().max(0))
            .unwrap_or(u32::MAX)
    }

    /// The whole number of 10^-`scale` that this is; `None` when it has more decimals than `scale`, or that number has
    /// more than 38 digits.
    #[must_use]
    pub fn units_at(&self, scale: u32) -> Option<i128> {
        let fits = |units: &i128| units.unsigned_abs() < 10_u128.pow(38);
        if let Form::Small { units: 0, .. } = self.0 {
            return Some(0);
        }
        if let Form::Small { units, scale: own } = self.0 {
            if own <= scale {
                let unit = checked_power_of_ten(scale - own)?;
                return units.checked_mul(unit).filter(fits);
            }
            let unit = checked_power_of_ten(own - scale)?;
            return (units % unit == 0).then_some(units / unit).filter(fits);
        }
        let (units, own) = self.to_big().normalized().into_bigint_and_exponent();
        let shift = u32::try_from(i64::from(scale) - own).ok()?;
        // More digits than fit need no multiplying.
        if shift > 38 {
            return None;
        }
        i128::try_from(units * BigInt::from(10).pow(shift))
            .ok()
            .filter(fits)
    }

    /// The nearest double: for statistics, never on the way to a candle.
    #[must_use]
    pub fn to_f64(&self) -> f64 {
        let nearest = match self.0 {
            Form::Small { units, scale } => nearest_f64(units, scale),
            Form::Large(_) => None,
        };
        nearest.unwrap_or_else(|| read_f64(self))
    }

    fn large(value: BigDecimal) -> Self {
        Self(Form::Large(Box::new(value)))
    }

    fn to_big(&self) -> BigDecimal {
        match &self.0 {
            Form::Small { units, scale } => {
                BigDecimal::new(BigInt::from(*units), i64::from(*scale))
            }
            Form::Large(value) => (**value).clone(),
        }
    }
}

fn add_small((a, s): (i128, u32), (b, t): (i128, u32)) -> Option<Form> {
    let scale = s.max(t);
    let at = |units: i128, from: u32| {
        if from == scale {
            Some(units)
        } else {
            checked_power_of_ten(scale - from)?.checked_mul(units)
        }
    };
    Some(Form::Small {
        units: at(a, s)?.checked_add(at(b, t)?)?,
        scale,
    })
}

/// The quotient in units of 10^-`places`, rounded half-even; `None` when 127 bits do not hold it or there is none.
fn divide_small((a, s): (i128, u32), (b, t): (i128, u32), places: u32) -> Option<i128> {
    let (up, down) = (places + t, s);
    let (a, b) = if up >= down {
        (a.checked_mul(checked_power_of_ten(up - down)?)?, b)
    } else {
        (a, b.checked_mul(checked_power_of_ten(down - up)?)?)
    };
    let (quotient, remainder) = (a.checked_div(b)?, a.checked_rem(b)?);
    let twice = remainder.unsigned_abs().checked_mul(2)?;
    let up = twice > b.unsigned_abs() || (twice == b.unsigned_abs() && quotient % 2 != 0);
    let away = if (a < 0) == (b < 0) { 1 } else { -1 };
    Some(if up { quotient + away } else { quotient })
}

impl From<Decimal> for Amount {
    fn from(value: Decimal) -> Self {
        Self(Form::Small {
            units: value.units(),
            scale: u32::from(value.scale()),
        })
    }
}

impl PartialEq for Amount {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Amount {}

impl PartialOrd for Amount {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Amount {
    fn cmp(&self, other: &Self) -> Ordering {
        self.to_big().cmp(&other.to_big())
    }
}

impl FromStr for Amount {
    type Err = DecimalError;

    /// Reads plain notation, as PostgreSQL prints a `numeric`.
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let scale = decimals.len();
        if text.len() <= 38 && scale <= 36 {
            let digits = [whole, decimals].concat();
            let units = digits.parse().map_err(|_| DecimalError::NotANumber)?;
            return Ok(Self(Form::Small {
                units,
                scale: u32::try_from(scale).unwrap_or(0),
            }));
        }
        text.parse()
            .map(Self::large)
            .map_err(|_| DecimalError::NotANumber)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Small { units, scale } => {
                let (units, scale) = trim(*units, if *units == 0 { 0 } else { *scale });
                write_units(f, units < 0, units.unsigned_abs(), scale as usize)
            }
            Form::Large(value) => f.write_str(&value.normalized().to_plain_string()),
        }
    }
}

#[cfg(test)]
mod tests;
