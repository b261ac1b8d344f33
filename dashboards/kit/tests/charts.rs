//! Checks on the markup that charts write.

use kyros_dashboard_kit::charts::{
    Axis, Backtest, Bar, Bars, Date, Day, Format, Heat, Histogram, Kpi, Kpis, Line, Meta, Series, Shares, Wish,
};

const EVIL: &str = "</title><script>alert(\"x\")</script>' onload='y'&";

fn meta() -> Meta {
    Meta::new("id", "Title")
}

fn day(pnl: f64, var: f64) -> Day {
    let Some(date) = Date::new(2026, 9, 30) else { panic!("a valid date") };
    Day { date, pnl, var }
}

/// One chart of each kind from the same values.
fn all(text: &str, values: &[f64]) -> Vec<String> {
    let meta = || Meta::new(text, text).note(text).summary(text);
    let number = Format::compact;
    let axis = Axis::categories(values.iter().map(|_| text));
    let bars = || values.iter().map(|v| Bar::new(text, *v).target(*v).link(text).key(text));
    let band = values.iter().map(|v| (v - 1.0, v + 1.0));
    vec![
        Line::new(meta(), axis.clone(), number())
            .series(Series::new(text, values.to_vec()).band(band))
            .reference(1.0, text)
            .to_string(),
        Line::new(meta(), axis, number()).series(Series::new(text, values.to_vec())).from_minimum().to_string(),
        Bars::vertical(meta(), number()).bars(bars()).target_name(text).to_string(),
        Bars::horizontal(meta(), number()).bars(bars()).to_string(),
        Shares::new(meta(), number(), values.iter().map(|_| text)).row(text, values.to_vec()).to_string(),
        Heat::new(meta(), number(), values.iter().map(|_| text)).row(text, values.to_vec()).to_string(),
        Histogram::from_samples(meta(), number(), values, 10, Some(50.0)).marker(1.0, text).to_string(),
        Backtest::new(meta(), number(), 0.99, values.iter().map(|v| day(*v, 1.0)).collect()).to_string(),
        Kpis::new([Kpi::new(text, text).spark(values.to_vec()).trend(1.0, &number(), Wish::Up, text)]).to_string(),
    ]
}

fn shapes() -> Vec<Vec<f64>> {
    vec![
        vec![],
        vec![5.0],
        vec![0.0],
        vec![7.0; 4],
        vec![0.0; 4],
        vec![-3.0; 4],
        vec![f64::NAN; 3],
        vec![1.0, f64::NAN, f64::INFINITY, -2.0],
        vec![-f64::MAX, f64::MAX],
        vec![1e-300, 2e-300],
        (0..400).map(f64::from).collect(),
    ]
}

#[test]
fn text_is_always_escaped() {
    for html in all(EVIL, &[1.0, 2.0, -3.0, 60.0]) {
        assert!(!html.contains("<script"), "{html}");
        assert!(!html.contains("' onload"), "{html}");
        assert!(html.contains("&lt;script&gt;"), "{html}");
    }
}

#[test]
fn no_nan_and_no_infinity_reaches_the_page() {
    for values in shapes() {
        for html in all("x", &values) {
            let (html, lower) = (html.clone(), html.to_lowercase());
            assert!(!lower.contains("nan"), "{values:?}: {html}");
            assert!(!lower.contains("\"inf") && !lower.contains("-inf"), "{values:?}: {html}");
            assert!(!html.contains("width=\"-") && !html.contains("height=\"-"), "{values:?}: {html}");
        }
    }
}

#[test]
fn elements_are_balanced() {
    for values in shapes() {
        for html in all(EVIL, &values) {
            let mut open = Vec::new();
            for tag in html.split('<').skip(1).filter(|t| !t.split('>').next().unwrap_or("").ends_with('/')) {
                match tag.strip_prefix('/') {
                    Some(name) => assert_eq!(open.pop(), name.split('>').next(), "{html}"),
                    None => open.push(tag.split([' ', '>']).next().unwrap_or("")),
                }
            }
            assert!(open.is_empty(), "{open:?} in {html}");
        }
    }
}

#[test]
fn nothing_is_inline() {
    for html in all("x", &[1.0, 2.0, -3.0]) {
        for bad in [" style=", "<style", "<script", " on", "javascript:", " fill=\"", " stroke=\""] {
            assert!(!html.contains(bad), "{bad} in {html}");
        }
    }
    assert!(kyros_dashboard_kit::charts::JS.len() <= 3_072, "{}", kyros_dashboard_kit::charts::JS.len());
    assert!(
        !kyros_dashboard_kit::charts::JS.contains("innerHTML") && !kyros_dashboard_kit::charts::JS.contains("eval(")
    );
    for level in 0..10 {
        assert!(kyros_dashboard_kit::charts::CSS.contains(&format!(".h{level} {{")), "{level}");
    }
}

#[test]
fn a_line_chart_has_its_parts() {
    let meta = Meta::new("clv value", "Value")
        .note("USD")
        .summary("Value doubles")
        .rows("Month")
        .csv("/export/clv.csv?a=1&b=2");
    let html = Line::new(meta, Axis::categories(["M0", "M1"]), Format::number(0).prefix("$"))
        .series(Series::new("2026 Q1", [50.0, 100.0]))
        .reference(96.0, "CAC $96")
        .to_string();
    for part in [
        "<figure class=\"chart chart-line chart-wide\" id=\"clv-value\"><figcaption><h2>Value</h2><p>USD</p></figcaption>",
        "<svg class=\"w\" viewBox=\"0 0 680 260\" role=\"img\" aria-labelledby=\"clv-value-w-t clv-value-w-d\" \
         tabindex=\"0\" data-nav=\"line\"><title id=\"clv-value-w-t\">Value</title>\
         <desc id=\"clv-value-w-d\">Value doubles. 2026 Q1 ends at $100.</desc>",
        "<svg class=\"n\" viewBox=\"0 0 340 220\"",
        "<path class=\"line c1\" data-key=\"2026 Q1\" d=\"M34.8 129L",
        "data-key=\"M1\" data-tip=\"M1\n2026 Q1: $100\"",
        "<details class=\"data\"><summary>Show data<span class=\"chart-sr\"> of Value</span></summary>",
        "<thead><tr><th scope=\"col\">Month</th><th scope=\"col\">2026 Q1</th></tr></thead>",
        "<tr><th scope=\"row\">M1</th><td>$100</td></tr></tbody></table></div></details>\
         <a class=\"csv\" href=\"/export/clv.csv?a=1&amp;b=2\" download=\"\"><span class=\"chart-sr\">Value, </span>CSV</a></div></figure>",
    ] {
        assert!(html.contains(part), "{part}\nin\n{html}");
    }
}

#[test]
fn an_empty_chart_says_so() {
    let html = Bars::vertical(meta(), Format::compact()).to_string();
    assert!(html.contains("No data for this selection.") && !html.contains("<svg"), "{html}");
}

#[test]
fn heat_levels_span_zero_to_nine() {
    let html = Heat::new(meta(), Format::percent(0), ["M0", "M1", "M2"])
        .row("Jan", [1.0, 0.5, 0.0])
        .row("Feb", [0.9])
        .to_string();
    for part in ["<td class=\"h9\" data-key=\"Jan\"", "<td class=\"h5\"", "<td class=\"h0\"", "<td></td><td></td></tr>"]
    {
        assert!(html.contains(part), "{part} in {html}");
    }
}

#[test]
fn a_backtest_marks_exceptions() {
    let chart = Backtest::new(meta(), Format::compact(), 0.99, vec![day(1.0, 2.0), day(-2.0, 2.0), day(-2.1, 2.0)]);
    assert_eq!(chart.exceptions(), 1);
    let html = chart.to_string();
    assert!(html.contains("1 exception in 3 days, 0.0 expected."), "{html}");
    assert_eq!(html.matches("class=\"exception\"").count(), 2, "one per drawing");
    assert_eq!(html.matches("<td class=\"words\">yes</td>").count(), 1);
}

#[test]
fn a_histogram_counts_each_sample_once() {
    let samples: Vec<f64> = (0..1_000).map(|i| f64::from(i) / 10.0).collect();
    let html = Histogram::from_samples(meta(), Format::number(0), &samples, 10, Some(50.0)).to_string();
    assert!(html.contains("1,000 values."), "{html}");
    assert!(html.contains("and more"), "{html}");
}

#[test]
fn links_make_the_drawing_a_group() {
    let bars = Bars::horizontal(meta(), Format::number(0)).bar(Bar::new("Loyal", 3.0).link("?segment=loyal&x=1"));
    let html = bars.to_string();
    assert!(html.contains("role=\"group\"") && !html.contains("tabindex=\"0\" data-nav"), "{html}");
    assert!(
        html.contains("<a href=\"?segment=loyal&amp;x=1\" aria-description=\"Loyal: 3. Select to filter.\""),
        "{html}"
    );
}
