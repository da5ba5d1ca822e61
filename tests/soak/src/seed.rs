//! Pseudorandom numbers that depend only on the seed, not on the machine or the version.

use anyhow::{Context, ensure};

/// Maximum number of seeds in one range.
const MANY: u64 = 1000;

/// `SplitMix64` generator (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
///
/// A library's generator may change its stream with a new version. Printed seeds would then replay different plans.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Starts the stream of a seed.
    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number of at least `from` and below `to`; `to` must be larger than `from`.
    pub fn within(&mut self, from: u64, to: u64) -> u64 {
        from + self.next() % (to - from).max(1)
    }

    /// Returns one element of a slice, or nothing for an empty slice.
    pub fn one_of<'a, T>(&mut self, choice: &'a [T]) -> Option<&'a T> {
        choice.get(usize::try_from(self.within(0, choice.len().max(1) as u64)).unwrap_or(0))
    }

    /// Returns true with a probability of `percent` in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.within(0, 100) < percent
    }
}

/// Parses seeds as people write them: a list `1,2,3`, a range `1..20` that includes both ends, or both.
///
/// # Errors
/// When the text is neither, names no seed, or has a range of more than a thousand seeds.
pub fn seeds(text: &str) -> anyhow::Result<Vec<u64>> {
    let mut all = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let number = |text: &str| text.trim().parse::<u64>().with_context(|| format!("{text:?} is not a seed"));
        match part.split_once("..") {
            Some((first, last)) => {
                let (first, last) = (number(first)?, number(last.trim_start_matches('='))?);
                ensure!(first <= last && last - first < MANY, "{part}: at most {MANY} seeds, the lower first");
                all.extend(first..=last);
            }
            None => all.push(number(part)?),
        }
    }
    ensure!(!all.is_empty(), "no seed in {text:?}; write 1,2,3 or 1..20");
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_lists_and_ranges() {
        assert_eq!(seeds("1,2,3").unwrap(), [1, 2, 3]);
        assert_eq!(seeds("1..4").unwrap(), [1, 2, 3, 4]);
        assert_eq!(seeds("9, 1..2").unwrap(), [9, 1, 2]);
        for wrong in ["", "x", "3..1", "0..100000"] {
            assert!(seeds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_stream_is_the_published_one() {
        let mut random = Random::of(1234567);
        let first: Vec<u64> = (0..3).map(|_| random.next()).collect();
        assert_eq!(first, [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }
}
