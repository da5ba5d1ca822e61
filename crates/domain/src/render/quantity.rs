//! Parses Kubernetes quantities (`250m`, `1.5Gi`, `2e3`) as exact integers.

/// Returns thousandths, rounded down. `None` when the text is no quantity.
pub fn floor_milli(text: &str) -> Option<i64> {
    Some(Exact::parse(text)?.scaled(1000, 1, Round::Down))
}

/// Returns thousandths, rounded up. `None` when the text is no quantity.
pub fn ceil_milli(text: &str) -> Option<i64> {
    Some(Exact::parse(text)?.scaled(1000, 1, Round::Up))
}

/// Returns whole units, rounded up, for bytes of memory.
pub(super) fn ceil_whole(text: &str) -> Option<i64> {
    Some(Exact::parse(text)?.scaled(1, 1, Round::Up))
}

/// Returns MiB, rounded down. `None` when the text is no quantity.
pub fn floor_mebi(text: &str) -> Option<i64> {
    Some(Exact::parse(text)?.scaled(1, 1 << 20, Round::Down))
}

/// Whether two texts are quantities of the same value. Texts that are no quantities never match.
pub fn same_quantity(a: &str, b: &str) -> bool {
    match (Exact::parse(a), Exact::parse(b)) {
        (Some(a), Some(b)) => a.same(b),
        _ => false,
    }
}

#[derive(Clone, Copy)]
enum Round {
    Down,
    Up,
}

/// `numerator / denominator`, with a positive denominator.
#[derive(Clone, Copy)]
struct Exact {
    numerator: i128,
    denominator: i128,
}

/// Maximum number of digits.
///
/// Kubernetes keeps 18 as well, and this many do not overflow with the largest suffix.
const DIGITS: usize = 18;

impl Exact {
    fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, suffix) = rest.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.contains('.') || whole.len() + fraction.len() == 0 {
            return None;
        }
        let fraction = fraction.trim_end_matches('0');
        let whole = whole.trim_start_matches('0');
        if whole.len() + fraction.len() > DIGITS {
            return None;
        }
        let digits = format!("0{whole}{fraction}").parse::<i128>().ok()?;
        let (up, down) = factor(suffix)?;
        let denominator = 10_i128.checked_pow(fraction.len() as u32)?.checked_mul(down)?;
        let numerator = digits.checked_mul(up)?;
        Some(Self { numerator: if negative { -numerator } else { numerator }, denominator })
    }

    /// Returns the scaled value, clamped to `i64`, whose limits no real amount reaches.
    fn scaled(self, up: i128, down: i128, round: Round) -> i64 {
        let clamped = if self.numerator < 0 { i64::MIN } else { i64::MAX };
        let (Some(numerator), Some(denominator)) = (self.numerator.checked_mul(up), self.denominator.checked_mul(down))
        else {
            return clamped;
        };
        let floor = numerator.div_euclid(denominator);
        let value = match round {
            Round::Down => floor,
            Round::Up => floor + i128::from(numerator.rem_euclid(denominator) != 0),
        };
        i64::try_from(value).unwrap_or(clamped)
    }

    fn same(self, other: Self) -> bool {
        reduced(self.numerator, self.denominator) == reduced(other.numerator, other.denominator)
    }
}

fn reduced(numerator: i128, denominator: i128) -> (i128, i128) {
    let (mut a, mut b) = (numerator.abs(), denominator);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    if a == 0 { (numerator, denominator) } else { (numerator / a, denominator / a) }
}

/// Returns the factor and the divisor of a suffix.
fn factor(suffix: &str) -> Option<(i128, i128)> {
    let decimal = |exponent: u32| 10_i128.checked_pow(exponent);
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, decimal(9)?),
        "u" => (1, decimal(6)?),
        "m" => (1, decimal(3)?),
        "k" => (decimal(3)?, 1),
        "M" => (decimal(6)?, 1),
        "G" => (decimal(9)?, 1),
        "T" => (decimal(12)?, 1),
        "P" => (decimal(15)?, 1),
        "E" => (decimal(18)?, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let exponent: i32 = exponent.parse().ok()?;
            let power = decimal(exponent.unsigned_abs()).filter(|_| exponent.unsigned_abs() <= DIGITS as u32)?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_rounded_towards_the_safe_side() {
        for (text, down, up) in [
            ("1", 1000, 1000),
            ("250m", 250, 250),
            ("0.1", 100, 100),
            ("100u", 0, 1),
            ("1.0005", 1000, 1001),
            (".5", 500, 500),
            ("2e3", 2_000_000, 2_000_000),
            ("-1500u", -2, -1),
        ] {
            assert_eq!(floor_milli(text), Some(down), "{text}");
            assert_eq!(ceil_milli(text), Some(up), "{text}");
        }
        for (text, down) in [("1Gi", 1024), ("1.5Gi", 1536), ("1G", 953), ("1048576", 1), ("128974848000m", 123)] {
            assert_eq!(floor_mebi(text), Some(down), "{text}");
        }
    }

    #[test]
    fn texts_that_are_no_quantities_are_told_apart() {
        for text in ["", "x", "1.2.3", "1Xi", "Mi", "1e", "1e99", "--1", "9999999999999999999", "."] {
            assert_eq!(floor_milli(text), None, "{text:?}");
        }
    }

    #[test]
    fn equal_values_are_the_same_whatever_their_form() {
        for (a, b, same) in [
            ("1", "1000m", true),
            ("0.5", "500m", true),
            ("1Gi", "1024Mi", true),
            ("1G", "1Gi", false),
            ("0", "0m", true),
            ("1Ei", "1152921504606846976", false),
            ("100n", "0.1u", true),
            ("a", "a", false),
        ] {
            assert_eq!(same_quantity(a, b), same, "{a} {b}");
        }
    }
}
