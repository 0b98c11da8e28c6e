//! The outcome of a comparison as a table.

use crate::compare::{Outcome, Plan, Row, Subject, target};
use crate::element::{Kind, name};
use crate::stats::Spread;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table};

/// A table with this header.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_header(header);
    table
}

/// A number, to the right.
pub fn number(text: impl ToString) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

fn spread(s: &Spread, digits: usize) -> Cell {
    number(format!("{:.digits$} ({:.digits$}..{:.digits$})", s.median, s.low, s.high))
}

fn verdict(plan: &Plan, row: &Row) -> String {
    match (target(row.subject.kind), row.proxy_over_this) {
        (Some(most), _) if !plan.is_measurement() => format!("<= {most}: look only"),
        (Some(most), Some(ratio)) if ratio.median <= most => format!("<= {most}: met"),
        (Some(most), Some(_)) => format!("<= {most}: MISSED"),
        (Some(most), None) => format!("<= {most}: not measured, MISSED"),
        _ => String::new(),
    }
}

/// True when every target that was measured is met.
pub fn all_met(outcome: &Outcome) -> bool {
    outcome.rows.iter().all(|row| !verdict(&outcome.plan, row).ends_with("MISSED"))
}

/// Slices that do not count, with the reason.
pub fn invalid(outcome: &Outcome) -> Vec<String> {
    let bad = |row: &Row| {
        row.slices.iter().filter_map(|s| Some(format!("{}: {}", row.label, s.invalid.as_ref()?))).collect::<Vec<_>>()
    };
    outcome.rows.iter().flat_map(bad).collect()
}

/// The whole report as text.
pub fn text(outcome: &Outcome) -> String {
    let plan = &outcome.plan;
    let packets = |confirmed| Subject { kind: Kind::Proxy, confirmed }.packets(plan.protocol) / 2;
    let mut out = format!(
        "One forwarded, challenged {} registration: {n} packets in and {n} out at the element ({m} and {m} with key \
         confirmation).\n{} A B B A pairs, {} registrations a slice, {} under way, {} worker(s). Median (quartiles).\n\n",
        name(plan.protocol).to_uppercase(),
        plan.pairs,
        plan.registrations,
        plan.window,
        plan.workers,
        n = packets(false),
        m = packets(true),
    );
    let mut t = table(&[
        "element",
        "CPU us / registration",
        "at once",
        "registrations/s",
        "p50 us",
        "p99 us",
        "proxy / this",
        "at once",
        "target",
    ]);
    for row in &outcome.rows {
        t.add_row(vec![
            Cell::new(&row.label),
            spread(&row.cpu_us, 2),
            number(format!("{:.2}", row.at_once_us.median)),
            number(format!("{:.0}", row.rate.median)),
            number(format!("{:.0}", row.p50_us.median)),
            number(format!("{:.0}", row.p99_us.median)),
            row.proxy_over_this.as_ref().map_or_else(|| Cell::new(""), |r| spread(r, 3)),
            number(row.proxy_over_this_at_once.map_or_else(String::new, |r| format!("{:.3}", r.median))),
            Cell::new(verdict(plan, row)),
        ]);
    }
    out.push_str(&t.to_string());
    out.push_str(&format!(
        "\n\nCPU with deferred work: up to the element's next slice, {} s later at least, less what it costs idle; \
         `at once`: up to\nthe end of the slice. Idle, us a second: ",
        plan.settle.as_secs_f64()
    ));
    let idle = outcome.rows.iter().map(|r| format!("{} {:.0}", r.label, r.idle_us_s)).collect::<Vec<_>>();
    out.push_str(&idle.join(", "));
    if !plan.is_measurement() {
        out.push_str(".\nSlices and waits are too short for anything but a look");
    }
    out.push_str(".\n\nWhat each does:\n");
    for row in outcome.rows.iter().filter(|r| !r.subject.confirmed) {
        out.push_str(&format!("  {:<20} {}\n", row.subject.kind.label(), row.does));
    }
    out.push_str(
        "  Terminals and the stand-in core are the same behind every element and are not counted; behind anything but the\n  \
         proxy the core answers s6 and s10 itself.\n",
    );
    let bad = invalid(outcome);
    let slices: usize = outcome.rows.iter().map(|r| r.slices.len()).sum();
    out.push_str(&format!(
        "\nValidity: {} accepted by terminals, {} stored by the core, {} of {slices} slices do not count.\n",
        outcome.accepted,
        outcome.stored,
        bad.len()
    ));
    bad.iter().for_each(|b| out.push_str(&format!("  {b}\n")));
    out
}
