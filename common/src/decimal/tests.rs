//! Decimals as they are spelled, and their bounds.

use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<String, DecimalError> {
    text.parse::<Decimal>().map(|d| d.to_string())
}

#[test]
fn a_number_prints_as_its_plain_normal_form() {
    for (text, printed) in [
        ("95.455002", "95.455002"),
        ("100.000", "100"),
        ("-0.0", "0"),
        ("0.00000798374", "0.00000798374"),
        ("7.98374e-6", "0.00000798374"),
        ("1e3", "1000"),
        ("1.50E+1", "15"),
        (
            "1000000000000000000000000000",
            "1000000000000000000000000000",
        ),
        ("0.000000000000000001", "0.000000000000000001"),
        ("1.0000000000000000000000000000000000000000", "1"),
        ("000123.4", "123.4"),
        ("-2.5", "-2.5"),
    ] {
        assert_eq!(read(text).as_deref(), Ok(printed), "{text}");
    }
}

#[test]
fn what_is_not_an_exact_price_is_refused_by_name() {
    for text in [
        "", "-", ".", "1.", ".5", "1..2", "abc", "NaN", "Infinity", "1e", "1e+", "1,5", "0x10",
        "1 ", "1e1e1", "1.e5",
    ] {
        assert_eq!(read(text), Err(DecimalError::NotANumber), "{text}");
    }
    for text in [
        "12345678901234567890123456789",
        "0.0000000000000000001",
        "1e28",
        "1e999999999999",
        "1e-19",
        "1e-999999999999",
    ] {
        assert_eq!(read(text), Err(DecimalError::TooManyDigits), "{text}");
    }
}

proptest! {
    #[test]
    fn text_and_order_survive(a in -(10_i128.pow(28)-1)..10_i128.pow(28), b in -(10_i128.pow(28)-1)..10_i128.pow(28), s in 0_u32..=18, t in 0_u32..=18) {
        let (x, y) = (Decimal::new(a, s).unwrap(), Decimal::new(b, t).unwrap());
        prop_assert_eq!(x.to_string().parse::<Decimal>().unwrap(), x);
        let big = |d: Decimal| bigdecimal::BigDecimal::new(d.units().into(), i64::from(d.scale()));
        prop_assert_eq!(x.cmp(&y), big(x).cmp(&big(y)));
    }
}
