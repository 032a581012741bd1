//! Sums keep every digit.

use super::*;
use proptest::prelude::*;

fn amount(text: &str) -> Amount {
    text.parse().unwrap()
}

#[test]
fn a_turnover_of_56_digits_keeps_all_of_them() {
    let price: Decimal = "9999999999.999999999999999999".parse().unwrap();
    let size: Decimal = "9999999999999999999999999999".parse().unwrap();
    let mut turnover = Amount::product(price, size);
    turnover.add(&Amount::product(
        "0.000000000000000001".parse().unwrap(),
        "0.000000000000000001".parse().unwrap(),
    ));
    assert_eq!(
        turnover.to_string(),
        "99999999999999999999999999980000000000.000000000000000001000000000000000001"
    );
}

#[test]
fn division_rounds_half_to_even() {
    for (a, b, places, result) in [
        ("1", "8", 2, "0.12"),
        ("3", "8", 2, "0.38"),
        ("10", "4", 0, "2"),
        ("14", "4", 0, "4"),
        ("1", "3", 5, "0.33333"),
        ("200.5", "0.5", 3, "401"),
    ] {
        assert_eq!(
            amount(a).divide(&amount(b), places).unwrap().to_string(),
            result,
            "{a} / {b}"
        );
    }
    assert_eq!(amount("1").divide(&Amount::ZERO, 2), None);
}

#[test]
fn units_are_whole_numbers_of_a_scale_or_none() {
    for (text, scale, units) in [
        ("0", 40, Some(0)),
        ("0.000", 0, Some(0)),
        ("92.392", 3, Some(92_392)),
        ("92.392", 5, Some(9_239_200)),
        ("92.392", 2, None),
        ("1.500", 1, Some(15)),
        (
            "99999999999999999999999999999999999999",
            0,
            Some(10_i128.pow(38) - 1),
        ),
        ("99999999999999999999999999999999999999", 1, None),
        ("100000000000000000000000000000000000000", 0, None),
        ("0.000000000000000000000000000000000001", 36, Some(1)),
        ("0.000000000000000000000000000000000000100", 37, Some(1)),
        ("12345678901234567890.1234567890123456789000", 18, None),
        (
            "1234567890123456.7890123456789012345678000",
            22,
            Some(12_345_678_901_234_567_890_123_456_789_012_345_678),
        ),
    ] {
        assert_eq!(amount(text).units_at(scale), units, "{text} {scale}");
    }
}

#[test]
fn a_double_is_the_nearest_of_more_digits_than_128_bits_hold() {
    for (text, nearest) in [
        (
            "12345678901234567890123456789012345678901234567890",
            1.234_567_890_123_456_7e49,
        ),
        // The double called 0.1, to its last digit.
        (
            "0.1000000000000000055511151231257827021181583404541015625",
            0.1,
        ),
        // Half way between two doubles, and a little more.
        (
            "9007199254740993.00000000000000000000000",
            9_007_199_254_740_992.0,
        ),
        (
            "9007199254740993.00000000000000000000001",
            9_007_199_254_740_994.0_f64,
        ),
        (
            "-9007199254740993.0000000000000000000001",
            -9_007_199_254_740_994.0,
        ),
    ] {
        assert_eq!(
            amount(text).to_f64().to_bits(),
            f64::to_bits(nearest),
            "{text}"
        );
    }
}

#[test]
fn what_is_no_number_is_refused() {
    let long = "1.234567890123456789012345678901234567890.1";
    for text in ["", "-", ".", "1.2.3", "1.-2", "1e5", "NaN", long] {
        assert_eq!(
            text.parse::<Amount>(),
            Err(DecimalError::NotANumber),
            "{text}"
        );
    }
}

proptest! {
    #[test]
    fn a_quotient_is_the_same_in_128_bits_and_in_more(
        a in -10_i128.pow(20)..10_i128.pow(20), s in 0_u32..=18, b in -1_000_i128..1_000, t in 0_u32..=18, places in 0_u32..=26
    ) {
        let amount = |units, scale| Amount(Form::Small { units, scale });
        let (x, y) = (amount(a, s), amount(b, t));
        prop_assert_eq!(x.divide(&y, places), x.divide_large(&y, places));
    }

    #[test]
    fn units_are_the_digits_of_the_text(units in -10_i128.pow(38) + 1..10_i128.pow(38), scale in 0_u32..=36) {
        let text = BigDecimal::new(units.into(), i64::from(scale)).to_plain_string();
        prop_assert_eq!(amount(&text).units_at(scale), Some(units));
    }

    #[test]
    fn a_double_is_the_nearest(units in -10_i128.pow(28) + 1..10_i128.pow(28), digits in 1_u32..=28, scale in 0_u32..=18) {
        let number = Decimal::new(units % 10_i128.pow(digits), scale).unwrap();
        let nearest: f64 = number.to_string().parse().unwrap();
        prop_assert_eq!(number.to_f64().to_bits(), nearest.to_bits());
        prop_assert_eq!(Amount::from(number).to_f64().to_bits(), nearest.to_bits());
    }

    #[test]
    fn sums_and_products_equal_the_big_decimal_ones(a in 0..10_i128.pow(28), s in 0_u32..=18, b in 0..10_i128.pow(28), t in 0_u32..=18) {
        let (x, y) = (Decimal::new(a, s).unwrap(), Decimal::new(b, t).unwrap());
        let (big_x, big_y) = (BigDecimal::new(a.into(), i64::from(s)), BigDecimal::new(b.into(), i64::from(t)));
        let mut sum = Amount::from(x);
        sum.add(&Amount::from(y));
        prop_assert_eq!(sum.to_string(), (&big_x + &big_y).normalized().to_plain_string());
        let product = Amount::product(x, y);
        prop_assert_eq!(product.to_string(), (&big_x * &big_y).normalized().to_plain_string());
        prop_assert_eq!(product.to_string().parse::<Amount>().unwrap(), product);
    }
}
