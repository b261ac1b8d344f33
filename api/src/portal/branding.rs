//! A tenant's colour: its own where it has one, with a text colour on it that everybody can read. Pure.

/// A colour in sRGB, as `#rrggbb` says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Colour([u8; 3]);

impl Colour {
    /// The portal's own block, for tenants that chose no colour.
    pub(crate) const DEFAULT: Self = Self([0x8a, 0x2d, 0x5b]);
    const WHITE: Self = Self([0xff; 3]);
    const BLACK: Self = Self([0; 3]);

    /// Exactly `#rrggbb`; anything else is no colour.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.is_ascii())?;
        let part = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        // A sign would be a number for Rust.
        let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        plain.then_some(Self([part(0)?, part(2)?, part(4)?]))
    }

    /// Black or white, whichever stands out more. On any colour the better of the two has a contrast of at least 4.58 to 1,
    /// which is more than WCAG 2.2 asks of text (1.4.3): so whatever a tenant chooses stays legible.
    pub(crate) fn text_on(self) -> Self {
        if self.contrast(Self::WHITE) >= self.contrast(Self::BLACK) { Self::WHITE } else { Self::BLACK }
    }

    /// Contrast ratio, from 1 to 21 (WCAG 2.2, "contrast ratio").
    fn contrast(self, other: Self) -> f64 {
        let (left, right) = (self.luminance(), other.luminance());
        (left.max(right) + 0.05) / (left.min(right) + 0.05)
    }

    /// WCAG 2.2, "relative luminance".
    fn luminance(self) -> f64 {
        let [red, green, blue] = self.0.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.04045 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    }
}

impl std::fmt::Display for Colour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_six_hexadecimal_digits_are_a_colour() {
        assert_eq!(Colour::parse("#0b6bcb").unwrap().to_string(), "#0b6bcb");
        for wrong in ["", "#", "0b6bcb", "#0b6bc", "#0b6bcbb", "#+b6bcb", "#0b6bcg", "red", "#0b6bc}", "#äbcd"] {
            assert_eq!(Colour::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn luminance_is_that_of_the_definition() {
        assert!((Colour::WHITE.contrast(Colour::BLACK) - 21.0).abs() < 1e-9);
        // The published ratio of #767676 on white, the classic grey that just passes.
        assert!((Colour::parse("#767676").unwrap().contrast(Colour::WHITE) - 4.54).abs() < 0.005);
    }

    proptest! {
        #[test]
        fn text_is_legible_on_every_colour(parts: [u8; 3]) {
            let colour = Colour(parts);
            prop_assert!(colour.contrast(colour.text_on()) >= 4.5);
        }
    }
}
