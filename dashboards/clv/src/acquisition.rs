//! What it cost to win customers: spend by month and channel. Pure.

use jiff::civil::Date;

/// What was spent on one channel in one month.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spend {
    /// The month's first day.
    pub(crate) month: Date,
    /// The channel, as the orders name it.
    pub(crate) channel: String,
    /// How much.
    pub(crate) amount: f64,
}

/// A tenant's spend.
#[derive(Debug, Clone, Default)]
pub(crate) struct Acquisition(Vec<Spend>);

impl Acquisition {
    /// Amounts that are no spend (negative, not finite) are left out.
    pub(crate) fn new(spends: Vec<Spend>) -> Self {
        let usable = |spend: &Spend| spend.amount.is_finite() && spend.amount >= 0.0;
        Self(spends.into_iter().filter(usable).map(|s| Spend { month: s.month.first_of_month(), ..s }).collect())
    }

    /// The spend of the months from that of `from` to that of `to`, of one channel or of all.
    pub(crate) fn total(&self, channel: Option<&str>, from: Date, to: Date) -> f64 {
        let months = from.first_of_month()..=to.first_of_month();
        let of = |spend: &&Spend| months.contains(&spend.month) && channel.is_none_or(|name| name == spend.channel);
        self.0.iter().filter(of).map(|spend| spend.amount).sum()
    }

    /// The first and the last month that anything is known of.
    pub(crate) fn months(&self) -> Option<(Date, Date)> {
        let months = || self.0.iter().map(|spend| spend.month);
        months().min().zip(months().max())
    }

    /// What the cache charges for it: roughly its bytes.
    pub(crate) fn weight(&self) -> u32 {
        u32::try_from(self.0.len() * (size_of::<Spend>() + 32)).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn spend_is_summed_by_whole_months() {
        let of = |month: i8, channel: &str, amount: f64| Spend {
            month: date(2026, month, 15),
            channel: channel.into(),
            amount,
        };
        let spend = Acquisition::new(vec![
            of(1, "Email", 10.0),
            of(2, "Email", 20.0),
            of(2, "Paid", 5.0),
            of(3, "Paid", -1.0),
            of(3, "Paid", f64::NAN),
        ]);
        assert!((spend.total(None, date(2026, 1, 31), date(2026, 2, 1)) - 35.0).abs() < 1e-9);
        assert!((spend.total(Some("Email"), date(2026, 2, 9), date(2026, 12, 31)) - 20.0).abs() < 1e-9);
        assert_eq!(spend.months(), Some((date(2026, 1, 1), date(2026, 2, 1))));
    }
}
