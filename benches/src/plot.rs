//! The outcome of a comparison as a drawing: processor time a registration, median and quartiles.

use crate::compare::Outcome;
use crate::element::Kind;
use core::fmt::Write as _;

const LEFT: f64 = 230.0;
const WIDTH: f64 = 560.0;
const ROW: f64 = 34.0;
const TOP: f64 = 56.0;

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// Round steps for an axis up to `most`: 1, 2 or 5 times a power of ten, about six of them.
fn step(most: f64) -> f64 {
    let raw = (most / 6.0).max(1e-9);
    let power = 10f64.powf(raw.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|m| m * power).find(|s| *s >= raw).unwrap_or(power)
}

/// The drawing as SVG.
pub fn svg(outcome: &Outcome) -> String {
    let most = outcome.rows.iter().map(|r| r.cpu_us.high).fold(1e-9, f64::max) * 1.05;
    let x = |us: f64| LEFT + us / most * WIDTH;
    let height = TOP + ROW * outcome.rows.len() as f64 + 40.0;
    let bottom = height - 30.0;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {:.0} {height:.0}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"12\" y=\"24\" font-size=\"16\">CPU of the element for one forwarded, challenged registration</text>\n\
         <text x=\"12\" y=\"42\" fill=\"#666\">microseconds; bar: median, line: quartiles, {} pairs</text>\n",
        LEFT + WIDTH + 70.0,
        outcome.plan.pairs
    );
    // Writing to a String cannot fail.
    let by = step(most);
    let mut tick = 0.0;
    while tick <= most {
        let at = x(tick);
        let _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#666\">{tick}</text>",
            bottom + 18.0
        );
        tick += by;
    }
    for (i, row) in outcome.rows.iter().enumerate() {
        let y = TOP + ROW * i as f64 + 6.0;
        let fill = match row.subject.kind {
            Kind::Proxy => "#1f6feb",
            Kind::F0 | Kind::F1 | Kind::Fn => "#8b949e",
            Kind::KamailioStateless | Kind::KamailioStateful | Kind::KamailioTls => "#d29922",
        };
        let c = &row.cpu_us;
        let (text_y, line_y, label) = (y + 15.0, y + 10.0, escaped(&row.label));
        let (right, width, low, high, after) = (LEFT - 8.0, x(c.median) - LEFT, x(c.low), x(c.high), x(c.high) + 6.0);
        let _ = writeln!(
            out,
            "<text x=\"{right:.1}\" y=\"{text_y:.1}\" text-anchor=\"end\">{label}</text>\
             <rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"20\" fill=\"{fill}\"/>\
             <line x1=\"{low:.1}\" y1=\"{line_y:.1}\" x2=\"{high:.1}\" y2=\"{line_y:.1}\" stroke=\"#000\"/>\
             <text x=\"{after:.1}\" y=\"{text_y:.1}\">{:.1}</text>",
            c.median,
        );
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axis_steps_are_round() {
        assert_eq!([step(6.0), step(30.0), step(100.0), step(0.6)], [1.0, 5.0, 20.0, 0.1]);
        assert_eq!(escaped("a<b&c"), "a&lt;b&amp;c");
    }
}
