//! Monthly snapshots of a book: ratings migrate, some names fall into arrears, some of these into default.
//!
//! The last month is the book of `exposures`, with those beside it that are in default and not yet written off. From there
//! each name's past is drawn backwards; names that left the book (repaid, or in default) come on top.

use std::io::{self, Write};

use jiff::ToSpan as _;
use jiff::civil::Date;
use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Normal};

use crate::csv;
use crate::exposures::{self, Exposure, PD, PD_CAP, RATINGS};
use crate::random::{end, invalid, seed_of, stream, whole};

/// Snapshots.
const MONTHS: i32 = 24;
/// Chance that a name stood one grade better a month before, by its grade: the book has grown worse.
const BETTER_BEFORE: [f64; 7] = [0.0, 0.006, 0.008, 0.009, 0.013, 0.018, 0.035];
/// Chance that it stood one grade worse.
const WORSE_BEFORE: [f64; 7] = [0.006, 0.005, 0.005, 0.005, 0.006, 0.007, 0.0];
/// Chance of a month in which a payment is missed, by grade.
const MISSES: [f64; 7] = [0.0005, 0.001, 0.002, 0.005, 0.014, 0.035, 0.10];
/// Chance that a name in arrears has paid up a month later.
const CURES: f64 = 0.55;
/// First day of default: more than 90 days past due.
const DEFAULT_DAYS: i32 = 91;
const MONTH_DAYS: i32 = 30;
/// Growth of a name's exposure in a month, and its spread.
const GROWTH: (f64, f64) = (0.006, 0.03);
/// What is left, month by month, of an exposure in default.
const RECOVERY: f64 = 0.94;
const WORST: usize = RATINGS.len() - 1;

/// How the past of a book looks.
#[derive(Debug, Clone)]
pub(crate) struct History {
    seed: u64,
    book: exposures::Book,
    /// Names that repaid and left.
    repaid: usize,
    /// Names that were bound to fail; some would do so only after the last month and are left out.
    failing: usize,
}

pub(crate) const ACME: History = History { seed: 0xac3e_0004, book: exposures::ACME, repaid: 36, failing: 22 };
pub(crate) const INITECH: History = History { seed: 0x1417_0004, book: exposures::INITECH, repaid: 260, failing: 130 };

/// The past of a book for measuring, which has more than so many rows.
pub(crate) fn of_rows(tenant: &str, rows: usize) -> History {
    // Each name has a row at least.
    let book = exposures::of_rows(tenant, rows);
    History { seed: seed_of(tenant, "history"), book, repaid: 0, failing: 0 }
}

/// One name in one month.
struct Snapshot {
    month: i32,
    rating: &'static str,
    ead: f64,
    pd: f64,
    days_past_due: i32,
}

/// One name through the months, oldest first.
struct Path {
    who: Exposure,
    /// Month of origination, counted from the first snapshot; most names are older.
    originated: i32,
    snapshots: Vec<Snapshot>,
}

/// Day of the snapshot of a month, or of one before the first.
fn month_end(month: i32) -> io::Result<Date> {
    let day = end().checked_sub((MONTHS - 1 - month).months()).map_err(invalid)?;
    Ok(day.last_of_month())
}

fn hundreds(amount: f64) -> f64 {
    ((amount / 100.0).round() * 100.0).max(100.0)
}

/// The grade a month before.
fn grade_before(rng: &mut ChaCha8Rng, grade: usize) -> usize {
    let luck = rng.random::<f64>();
    if luck < BETTER_BEFORE[grade] {
        grade.saturating_sub(1)
    } else if luck < BETTER_BEFORE[grade] + WORSE_BEFORE[grade] {
        (grade + 1).min(WORST)
    } else {
        grade
    }
}

/// Days past due a month later of a name that will not default.
fn days_after(rng: &mut ChaCha8Rng, days: i32, grade: usize) -> i32 {
    let luck = rng.random::<f64>();
    let late = 1 + whole(rng.random::<f64>() * f64::from(MONTH_DAYS - 1));
    match days {
        0 if luck < MISSES[grade] => late,
        0 => 0,
        _ if luck < CURES || days + MONTH_DAYS >= DEFAULT_DAYS => 0,
        _ => days + MONTH_DAYS,
    }
}

/// A name that pays, from its first month to `last`, where it stands as its exposure says.
fn paying(rng: &mut ChaCha8Rng, who: Exposure, originated: i32, last: i32) -> io::Result<Path> {
    let growth = Normal::new(GROWTH.0, GROWTH.1).map_err(invalid)?;
    let (mut grade, mut ead) = (who.grade, who.ead);
    let mut snapshots = Vec::new();
    let mut grades = Vec::new();
    for month in (originated.max(0)..=last).rev() {
        let pd = (who.pd * PD[grade] / PD[who.grade]).min(PD_CAP);
        let pd = if grade == who.grade { who.pd } else { pd };
        snapshots.push(Snapshot { month, rating: RATINGS[grade], ead, pd, days_past_due: 0 });
        grades.push(grade);
        grade = grade_before(rng, grade);
        ead = hundreds(ead / (1.0 + growth.sample(rng)));
    }
    snapshots.reverse();
    let mut days = 0;
    for (snapshot, grade) in snapshots.iter_mut().zip(grades.iter().rev()) {
        days = days_after(rng, days, *grade);
        snapshot.days_past_due = days;
    }
    Ok(Path { who, originated, snapshots })
}

/// A name that fails in the month `fails`: grade by grade down, ever later with its payments, then in default until it is
/// written off.
fn failing(rng: &mut ChaCha8Rng, who: Exposure, originated: i32, fails: i32) -> Path {
    /// Months in default before the rest is written off.
    const WORKOUT: (f64, f64) = (6.0, 7.0);
    let pace = 2 + whole(rng.random::<f64>() * 3.0);
    let best = if rng.random::<f64>() < 0.3 { 3 } else { 4 };
    let gone = fails + whole(WORKOUT.0 + rng.random::<f64>() * WORKOUT.1);
    let late = whole(rng.random::<f64>() * 25.0);
    let mut snapshots = Vec::new();
    let mut ead = who.ead;
    for month in originated.max(0)..MONTHS.min(gone) {
        let before = fails - month;
        if before <= 0 {
            let days_past_due = DEFAULT_DAYS + late + MONTH_DAYS * -before;
            snapshots.push(Snapshot { month, rating: "D", ead, pd: 1.0, days_past_due });
            ead = hundreds(ead * RECOVERY);
            continue;
        }
        let steps = usize::try_from(before / pace).unwrap_or(WORST);
        let grade = WORST.saturating_sub(steps).max(best);
        let days_past_due = (DEFAULT_DAYS + late - MONTH_DAYS * before).clamp(0, DEFAULT_DAYS - 1);
        snapshots.push(Snapshot { month, rating: RATINGS[grade], ead, pd: PD[grade], days_past_due });
    }
    Path { who, originated, snapshots }
}

impl History {
    /// When a name that still pays was taken on: most before the first snapshot.
    fn arrival(rng: &mut ChaCha8Rng) -> i32 {
        const BEFORE: f64 = 48.0;
        const SHARE_BEFORE: f64 = 0.55;
        let (luck, place) = (rng.random::<f64>(), rng.random::<f64>());
        if luck < SHARE_BEFORE { -1 - whole(place * BEFORE) } else { whole(place * f64::from(MONTHS)) }
    }

    fn standing(&self, number: usize, canary: &str) -> io::Result<Path> {
        let rng = &mut stream(self.seed, u64::try_from(number).unwrap_or(u64::MAX));
        let arrival = Self::arrival(rng);
        // The marked name is there from the beginning, so that every month shows whose data it is.
        let arrival = if number == self.book.marked() { -1 } else { arrival };
        paying(rng, self.book.exposure(number, canary)?, arrival, MONTHS - 1)
    }

    fn repaid(&self, number: usize) -> io::Result<Path> {
        let rng = &mut stream(self.seed, u64::try_from(number).unwrap_or(u64::MAX));
        let originated = whole(rng.random::<f64>() * 48.0) - 36;
        let first = (originated + 3).max(1);
        let last = first + whole(rng.random::<f64>() * f64::from(MONTHS - 1 - first));
        paying(rng, self.book.exposure(number, "")?, originated, last)
    }

    /// A name that failed before the last month, or nothing where it would do so later.
    fn failed(&self, number: usize) -> io::Result<Option<Path>> {
        let rng = &mut stream(self.seed, u64::try_from(number).unwrap_or(u64::MAX));
        // More of the newer names fail, and sooner.
        let originated = whole(rng.random::<f64>().powf(0.7) * 62.0) - 40;
        let patience = 16.0 - 0.25 * f64::from(originated.max(0));
        let fails = originated + 3 + whole(rng.random::<f64>().powf(1.2) * patience);
        if !(1..MONTHS).contains(&fails) {
            return Ok(None);
        }
        let mut who = self.book.exposure(number, "")?;
        // The weak get less credit, whatever the grade that was drawn for the name.
        who.ead = hundreds(who.ead * 0.6);
        Ok(Some(failing(rng, who, originated, fails)))
    }
}

const HEAD: [&str; 11] = [
    "as_of",
    "counterparty",
    "sector",
    "country",
    "rating",
    "ead",
    "pd",
    "lgd",
    "days_past_due",
    "originated",
    "defaulted",
];

fn line(path: &Path, snapshot: &Snapshot, out: &mut impl Write) -> io::Result<()> {
    let as_of = month_end(snapshot.month)?.to_string();
    let originated = month_end(path.originated)?.first_of_month().to_string();
    let (ead, pd) = (format!("{:.2}", snapshot.ead), format!("{:.6}", snapshot.pd));
    let (lgd, days) = (format!("{:.4}", path.who.lgd), snapshot.days_past_due.to_string());
    let defaulted = if snapshot.days_past_due >= DEFAULT_DAYS { "1" } else { "0" };
    let Exposure { counterparty, sector, country, .. } = &path.who;
    let rating = snapshot.rating;
    csv::line(out, [&as_of, counterparty, sector, country, rating, &ead, &pd, &lgd, &days, &originated, defaulted])
}

/// Writes the snapshots, oldest month first.
pub(crate) fn write(history: &History, canary: &str, out: &mut impl Write) -> io::Result<()> {
    let standing = history.book.count();
    let mut paths = (0..standing).map(|number| history.standing(number, canary)).collect::<io::Result<Vec<_>>>()?;
    let left = standing + history.repaid;
    for number in standing..left {
        paths.push(history.repaid(number)?);
    }
    for number in left..left + history.failing {
        paths.extend(history.failed(number)?);
    }
    csv::line(out, HEAD)?;
    for month in 0..MONTHS {
        for path in &paths {
            if let Some(snapshot) = path.snapshots.iter().find(|snapshot| snapshot.month == month) {
                line(path, snapshot, out)?;
            }
        }
    }
    Ok(())
}

/// Writes exactly so many rows, name by name from the marked one on.
pub(crate) fn write_rows(history: &History, canary: &str, rows: usize, out: &mut impl Write) -> io::Result<()> {
    csv::line(out, HEAD)?;
    let mut left = rows;
    for number in history.book.marked().. {
        let path = history.standing(number, canary)?;
        for snapshot in path.snapshots.iter().take(left) {
            line(&path, snapshot, out)?;
        }
        left = left.saturating_sub(path.snapshots.len());
        if left == 0 {
            break;
        }
    }
    Ok(())
}
