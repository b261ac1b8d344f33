//! Data simulated from the published CDNOW parameters by a seeded generator: the fits must find the parameters again.

use jiff::civil::date;
use kyros_clv::model::bgnbd::{self, BgNbdParams};
use kyros_clv::model::gamma_gamma::{self, GammaGammaParams};
use kyros_clv::model::{ClvOptions, CustomerSummary, customer_table};

const PURCHASES: BgNbdParams = BgNbdParams { r: 0.243, alpha: 4.414, a: 0.793, b: 2.426 };
const SPEND: GammaGammaParams = GammaGammaParams { p: 6.25, q: 3.74, v: 15.44 };
/// 99.9 % quantiles of chi-squared with as many degrees of freedom as there are parameters.
const CHI_SQUARED_3: f64 = 16.266;
const CHI_SQUARED_4: f64 = 18.467;
const CUSTOMERS: u32 = 20_000;

/// Linear congruential generator (Knuth's MMIX constants); the upper bits make the numbers.
struct Lcg(u64);

impl Lcg {
    /// Uniform on (0, 1).
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let upper = u32::try_from(self.0 >> 32).unwrap();
        (f64::from(upper) + 0.5) / 4_294_967_296.0
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    fn exponential(&mut self, rate: f64) -> f64 {
        -self.uniform().ln() / rate
    }

    /// Gamma with rate 1 (Marsaglia, Tsang), boosted for shapes below 1.
    fn gamma(&mut self, shape: f64) -> f64 {
        if shape < 1.0 {
            return self.gamma(shape + 1.0) * self.uniform().powf(1.0 / shape);
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let normal = self.normal();
            let v = (1.0 + c * normal).powi(3);
            if v > 0.0 && self.uniform().ln() < 0.5 * normal * normal + d - d * v + d * v.ln() {
                return d * v;
            }
        }
    }

    fn beta(&mut self, a: f64, b: f64) -> f64 {
        let (left, right) = (self.gamma(a), self.gamma(b));
        left / (left + right)
    }
}

/// Customers who come in over twelve weeks and are seen until week 39, as in the CDNOW data; `unit` stretches time.
fn simulate(seed: u64, unit: f64) -> Vec<CustomerSummary> {
    let mut random = Lcg(seed);
    (0..CUSTOMERS).map(|id| customer(&mut random, id, unit)).collect()
}

fn customer(random: &mut Lcg, id: u32, unit: f64) -> CustomerSummary {
    let age = 39.0 - 12.0 * random.uniform();
    let rate = random.gamma(PURCHASES.r) / PURCHASES.alpha;
    let dropout = random.beta(PURCHASES.a, PURCHASES.b);
    let (mut frequency, mut recency) = (0, 0.0);
    loop {
        let next = recency + random.exponential(rate);
        if next > age {
            break;
        }
        frequency += 1;
        recency = next;
        if random.uniform() < dropout {
            break;
        }
    }
    let spend_rate = random.gamma(SPEND.q) / SPEND.v;
    let total: f64 = (0..frequency).map(|_| random.gamma(SPEND.p) / spend_rate).sum();
    CustomerSummary {
        customer_id: id.to_string(),
        first_purchase: date(1997, 1, 1),
        last_purchase: date(1997, 1, 1),
        frequency,
        recency: recency * unit,
        age: age * unit,
        monetary: if frequency == 0 { 0.0 } else { total / f64::from(frequency) },
        total_revenue: total,
        holdout_frequency: None,
    }
}

fn close(name: &str, found: f64, expected: f64, relative: f64) {
    println!("{name}: {found:.5} of {expected}");
    assert!((found / expected - 1.0).abs() <= relative, "{name}: {found} instead of {expected}");
}

/// Likelihood ratio test: the maximum lies above the truth, and no further than chance puts it.
fn within_confidence(gain: f64, quantile: f64) {
    println!("likelihood ratio: {:.3} of at most {quantile}", 2.0 * gain);
    assert!(gain >= 0.0 && 2.0 * gain < quantile);
}

#[test]
fn bg_nbd_parameters_are_recovered() {
    let customers = simulate(2005, 1.0);
    let started = std::time::Instant::now();
    let fit = bgnbd::fit(&customers).unwrap();
    println!("{fit:?} in {:?}", started.elapsed());
    assert!(fit.converged && !fit.at_boundary);
    close("r", fit.params.r, PURCHASES.r, 0.06);
    close("alpha", fit.params.alpha, PURCHASES.alpha, 0.10);
    close("a", fit.params.a, PURCHASES.a, 0.15);
    close("b", fit.params.b, PURCHASES.b, 0.20);
    let truth = bgnbd::Likelihood::new(&customers).unwrap().log_likelihood(&PURCHASES);
    within_confidence(fit.log_likelihood - truth, CHI_SQUARED_4);
    let expected: f64 = customers.iter().map(|one| fit.params.expected_purchases(one.age)).sum();
    let seen: f64 = customers.iter().map(|one| f64::from(one.frequency)).sum();
    close("purchases", expected, seen, 0.02);
}

#[test]
fn the_fit_does_not_depend_on_the_unit_of_time() {
    let weeks = bgnbd::fit(&simulate(7, 1.0)).unwrap();
    for unit in [1e-3, 365.0] {
        let other = bgnbd::fit(&simulate(7, unit)).unwrap();
        assert!(other.converged);
        close("r", other.params.r, weeks.params.r, 1e-3);
        close("alpha", other.params.alpha / unit, weeks.params.alpha, 1e-3);
        close("a", other.params.a, weeks.params.a, 1e-3);
        close("b", other.params.b, weeks.params.b, 1e-3);
    }
}

#[test]
fn gamma_gamma_parameters_are_recovered() {
    let customers = simulate(2013, 1.0);
    let fit = gamma_gamma::fit(&customers).unwrap();
    println!("{fit:?}");
    assert!(fit.converged && !fit.at_boundary);
    assert!(fit.frequency_spend_correlation.abs() < 0.05);
    // `p`, `q` and `v` trade off against each other, most for customers with one repeat purchase: each alone is told
    // loosely, the three together well.
    close("p", fit.params.p, SPEND.p, 0.25);
    close("q", fit.params.q, SPEND.q, 0.10);
    close("v", fit.params.v, SPEND.v, 0.25);
    let truth = gamma_gamma::log_likelihood(&customers, &SPEND).unwrap();
    within_confidence(fit.log_likelihood - truth, CHI_SQUARED_3);
    close("population mean", fit.params.population_mean(), SPEND.population_mean(), 0.03);
}

#[test]
fn every_customer_gets_a_value() {
    let customers = simulate(1, 1.0);
    let options = ClvOptions { weeks: 52, annual_discount_rate: 0.1, margin: 0.3 };
    let started = std::time::Instant::now();
    let table = customer_table(&customers, &PURCHASES, &SPEND, &options).unwrap();
    println!("{} customers in {:?}", table.len(), started.elapsed());
    assert!(table.iter().all(|row| row.clv > 0.0 || row.p_alive < 1e-6));
}
