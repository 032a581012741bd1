//! Decimal numbers as text: checked, never through a binary float unless a file was written through one.

use anyhow::{Context as _, Result, bail};
use num_bigint::BigInt;

/// The decimals of [`SCHEMA`](crate::avro::SCHEMA)'s price and size.
pub const AVRO_SCALE: usize = 18;

/// The parts of a decimal number in plain notation.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
}

fn parts(text: &str) -> Result<Parts<'_>> {
    let (negative, digits) = text
        .strip_prefix('-')
        .map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !plain(whole) || !plain(fraction) || digits.ends_with('.') {
        bail!("`{text}` is not a plain decimal number such as 12.5");
    }
    Ok(Parts {
        negative,
        whole,
        fraction,
    })
}

/// Checks that a text is a decimal number in plain notation (no exponent, no thousands separator) and returns it.
///
/// # Errors
///
/// When it is not.
pub fn plain(text: &str) -> Result<String> {
    parts(text)?;
    Ok(text.to_owned())
}

/// Reads a number as the shortest decimal of the nearest single-precision float: `94.681503` is `94.6815`.
///
/// Many price files hold single-precision floats that were printed with more digits than they carry.
///
/// # Errors
///
/// When the text is not a number, or not finite in single precision.
pub fn float32(text: &str) -> Result<String> {
    let number: f32 = text
        .parse()
        .with_context(|| format!("`{text}` is not a number"))?;
    if !number.is_finite() {
        bail!("`{text}` is not a finite single-precision number");
    }
    // `Display` of a float prints the shortest digits that read back as the same float, and never an exponent.
    Ok(number.to_string())
}

/// The number times ten to the power of [`AVRO_SCALE`], as the two's complement bytes that Avro's decimal wants.
///
/// # Errors
///
/// As [`units`].
pub fn unscaled(text: &str) -> Result<Vec<u8>> {
    Ok(units(text)?.to_signed_bytes_be())
}

/// The number times ten to the power of [`AVRO_SCALE`].
///
/// # Errors
///
/// When the text is not a plain decimal number or has more decimals.
pub fn units(text: &str) -> Result<BigInt> {
    let Parts {
        negative,
        whole,
        fraction,
    } = parts(text)?;
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > AVRO_SCALE {
        bail!("`{text}` has more than {AVRO_SCALE} decimals");
    }
    let digits = format!(
        "{}{whole}{fraction:0<AVRO_SCALE$}",
        if negative { "-" } else { "" }
    );
    BigInt::parse_bytes(digits.as_bytes(), 10).with_context(|| format!("`{text}` is not a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_precision_noise_goes() {
        for (printed, meant) in [
            ("94.681503", "94.6815"),
            ("95.455002", "95.455"),
            ("27.440000534057617", "27.44"),
            ("28", "28"),
            ("162.846497", "162.8465"),
        ] {
            assert_eq!(float32(printed).unwrap(), meant);
        }
    }

    #[test]
    fn single_precision_never_prints_an_exponent() {
        assert_eq!(float32("1e-7").unwrap(), "0.0000001");
        assert_eq!(float32("3e20").unwrap(), "300000000000000000000");
        assert!(float32("1e39").is_err());
        assert!(float32("NaN").is_err());
        assert!(float32("12,5").is_err());
    }

    #[test]
    fn only_plain_notation_is_taken() {
        for good in ["0", "12.50", "-3", "0.000000000000000001"] {
            assert_eq!(plain(good).unwrap(), good);
        }
        for bad in [
            "", "-", ".5", "5.", "1e5", "+1", "1 000", "NaN", "1.2.3", "--1",
        ] {
            assert!(plain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn avro_bytes_are_exact_over_the_whole_width() {
        assert_eq!(unscaled("0").unwrap(), [0]);
        assert_eq!(unscaled("0.000000000000000255").unwrap(), [0, 255]);
        assert_eq!(unscaled("-0.000000000000000001000").unwrap(), [255]);
        let widest = "9999999999.999999999999999999";
        let back = BigInt::from_signed_bytes_be(&unscaled(widest).unwrap());
        assert_eq!(back.to_string(), widest.replace('.', ""));
        assert!(unscaled("0.0000000000000000001").is_err());
    }
}
