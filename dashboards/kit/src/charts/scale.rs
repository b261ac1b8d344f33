//! Scales: nice ticks, value to pixel, and lossless number conversions.

/// A count as a float. Counts above `u32::MAX` do not occur in a chart; they saturate.
pub(crate) fn float(n: usize) -> f64 {
    u32::try_from(n).map_or(f64::from(u32::MAX), f64::from)
}

/// A float as an index from 0 to `max`; a number that is not finite becomes 0.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=max first")]
pub(crate) fn index(value: f64, max: usize) -> usize {
    if value.is_finite() { (value.clamp(0.0, float(max)) as usize).min(max) } else { 0 }
}

/// Smallest and largest finite value, if there is one.
pub(crate) fn extent(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    values.into_iter().filter(|v| v.is_finite()).fold(None, |seen, v| match seen {
        None => Some((v, v)),
        Some((lo, hi)) => Some((v.min(lo), v.max(hi))),
    })
}

/// An axis range with round ends and a round step (1, 2 or 5 times a power of ten).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ticks {
    pub(crate) lo: f64,
    pub(crate) hi: f64,
    pub(crate) step: f64,
}

impl Ticks {
    const UNIT: Self = Self { lo: 0.0, hi: 1.0, step: 0.5 };

    /// Round ticks over `values`. With `zero` the range always holds 0. Empty and constant input give a usable range.
    pub(crate) fn nice(values: impl IntoIterator<Item = f64>, zero: bool, target: usize) -> Self {
        let Some((mut lo, mut hi)) = extent(values) else {
            return Self::UNIT;
        };
        let flat = hi - lo <= f64::EPSILON * 8.0 * hi.abs().max(lo.abs());
        if zero || flat {
            lo = lo.min(0.0);
            hi = hi.max(0.0);
        }
        let rough = (hi - lo) / float(target.max(1));
        let power = 10_f64.powf(rough.log10().floor());
        let ratio = rough / power;
        if !(rough.is_normal() && power.is_normal() && ratio.is_finite()) {
            return Self::UNIT;
        }
        // A hair above each bound, so that 0.2 / 0.1 does not fall through to the next step.
        let factor = [1.0, 2.0, 5.0].into_iter().find(|f| ratio <= f + 1e-9).unwrap_or(10.0);
        let step = power * factor;
        let ticks = Self { lo: (lo / step + 1e-9).floor() * step, hi: (hi / step - 1e-9).ceil() * step, step };
        if ticks.hi > ticks.lo && ticks.hi.is_finite() && ticks.lo.is_finite() { ticks } else { Self::UNIT }
    }

    /// The tick values, low to high.
    pub(crate) fn values(&self) -> impl Iterator<Item = f64> + use<> {
        let Self { lo, hi, step } = *self;
        let count = index(((hi - lo) / step).round(), 100);
        (0..=count).map(move |i| {
            let v = lo + step * float(i);
            if v.abs() < step * 1e-6 { 0.0 } else { v }
        })
    }
}

/// Maps a value range to a pixel range.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Linear {
    from: (f64, f64),
    to: (f64, f64),
}

impl Linear {
    /// Maps `from.0` to `to.0` and `from.1` to `to.1`.
    pub(crate) fn new(from: (f64, f64), to: (f64, f64)) -> Self {
        Self { from, to }
    }

    /// The pixel of a value; values outside the range stay on its edge.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let (a, b) = self.from;
        let share = if b > a { ((value - a) / (b - a)).clamp(0.0, 1.0) } else { 0.5 };
        self.to.0 + share * (self.to.1 - self.to.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round() {
        let t = Ticks::nice([34.0, 321.0], true, 4);
        assert_eq!(t.values().collect::<Vec<_>>(), [0.0, 100.0, 200.0, 300.0, 400.0]);
        let t = Ticks::nice([-3.0, 7.0], true, 5);
        assert_eq!(t.values().collect::<Vec<_>>(), [-4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 8.0]);
        let t = Ticks::nice([0.0, 0.4], true, 4);
        assert_eq!(t.values().count(), 5);
    }

    #[test]
    fn degenerate_input_gives_a_range() {
        for values in [vec![], vec![0.0], vec![f64::NAN], vec![-f64::MAX, f64::MAX], vec![5e-324, 0.0]] {
            let t = Ticks::nice(values, true, 4);
            assert!(t.hi > t.lo && t.step > 0.0, "{t:?}");
        }
        let t = Ticks::nice([7.0, 7.0, 7.0], false, 4);
        assert!(t.lo <= 0.0 && t.hi >= 7.0, "{t:?}");
    }

    #[test]
    fn conversions_saturate() {
        assert_eq!(index(f64::NAN, 9), 0);
        assert_eq!(index(-3.0, 9), 0);
        assert_eq!(index(1e300, 9), 9);
        assert!(Linear::new((1.0, 1.0), (0.0, 10.0)).at(1.0).is_finite());
    }
}
