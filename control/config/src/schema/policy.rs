//! `[[policy]]`, the terms in `[proxy.policy]` and `[softswitch.direct.policy]`, and `border` beside them.

use super::edge::some_mechanism;
use crate::defaults as d;
use crate::model::{Border, Mechanism, NamedPolicy, Terms};
use crate::read::Section;
use crate::value::{OneOf, Size};

/// Most policies with a name.
const POLICIES_MAX: usize = 15;
/// Most patterns of identities, of all policies together.
const PATTERNS_MAX: usize = 64;
/// Octets of the longest identity, and a `*`.
const PATTERN_MAX: usize = 129;
/// Most names of header fields in a list, and octets of the longest.
const NAMES_MAX: usize = 32;
const NAME_MAX: usize = 40;

/// Header fields without which a message is none, or goes astray.
const NEEDED: [&str; 16] = [
    "Via",
    "From",
    "To",
    "Call-ID",
    "CSeq",
    "Max-Forwards",
    "Contact",
    "Content-Length",
    "Content-Type",
    "Content-Encoding",
    "Route",
    "Record-Route",
    "Expires",
    "Event",
    "Require",
    "RAck",
];

type Wrong = (String, String);

fn narrow(n: u64) -> u16 {
    u16::try_from(n).unwrap_or(u16::MAX)
}

/// The terms of an access side's own policy, from its section.
pub(super) fn terms(p: &mut Section<'_, '_, '_>, mechanisms: &[Mechanism]) -> Terms {
    let terms = Terms {
        floor: p.key::<OneOf<Mechanism>>("floor").live().optional().map(|m| m.0),
        plain: p.key("plain").live().or(true),
        digest: p.key("digest").live().or(true),
        rate: narrow(p.key("rate").within(0, 1000).live().or(d::RATE)),
        burst: narrow(p.key("burst").within(1, 10_000).live().or(d::BURST)),
        message: p.key("message").within_size(512, 65_507).live().optional(),
    };
    floor_among(p, terms.floor, mechanisms);
    if terms.digest && !terms.plain {
        plain_for_digest(p);
    }
    terms
}

fn floor_among(p: &Section<'_, '_, '_>, floor: Option<Mechanism>, mechanisms: &[Mechanism]) {
    let Some(floor) = floor.filter(|floor| !mechanisms.contains(floor)) else { return };
    let all: Vec<String> = mechanisms.iter().map(|m| format!("\"{}\"", m.word())).collect();
    let problem = format!("{} is not among the mechanisms of this policy", floor.word());
    let write = format!("write one of {}: the last of them that is accepted", all.join(", "));
    p.gather.note_at(&p.path_of("floor"), problem, write);
}

fn plain_for_digest(p: &Section<'_, '_, '_>) {
    let problem = "stock phones would register, and nothing would reach them";
    p.gather.note_at(&p.path_of("plain"), problem, "say `digest = false` too, or leave `plain` out");
}

/// All policies with a name.
pub(super) fn named(root: &mut Section<'_, '_, '_>) -> Vec<NamedPolicy> {
    let mut all: Vec<NamedPolicy> = Vec::new();
    let mut patterns = 0;
    for (n, mut p) in root.sections("policy").into_iter().enumerate() {
        let name = p.key::<String>("name").check(|n| is_name(n)).live().required();
        let mechanisms = p.key::<Vec<OneOf<Mechanism>>>("mechanisms").check(|l| some_mechanism(l)).live().optional();
        let policy = NamedPolicy {
            name: name.unwrap_or_default(),
            mechanisms: mechanisms.map(|l| l.into_iter().map(|m| m.0).collect()),
            floor: p.key::<OneOf<Mechanism>>("floor").live().optional().map(|m| m.0),
            plain: p.key("plain").live().optional(),
            digest: p.key("digest").live().optional(),
            rate: p.key("rate").within(0, 1000).live().optional().map(narrow),
            burst: p.key("burst").within(1, 10_000).live().optional().map(narrow),
            message: p.key::<Size>("message").within_size(512, 65_507).live().optional(),
            terminals: p.key::<Vec<String>>("terminals").check(|l| are_patterns(l)).live().or(Vec::new()),
        };
        if all.iter().any(|other| !policy.name.is_empty() && other.name == policy.name) {
            let problem = format!("there is a policy \"{}\" already", policy.name);
            p.gather.note_at(&p.path_of("name"), problem, "write another name");
        }
        let before = all.iter().flat_map(|other| other.terminals.iter().map(move |t| (t, &other.name)));
        for (pattern, whose) in before.filter(|(pattern, _)| policy.terminals.contains(pattern)) {
            let problem = format!("\"{pattern}\" has the policy \"{whose}\" already");
            p.gather.note_at(&p.path_of("terminals"), problem, "keep it in one of the two: the first would count");
        }
        patterns += policy.terminals.len();
        if patterns > PATTERNS_MAX {
            let write = format!("keep to {PATTERNS_MAX} in the whole file; a `*` stands for many");
            p.gather.note_at(&p.path_of("terminals"), "too many identities", write);
        }
        if n == POLICIES_MAX {
            p.note("too many policies", format!("keep to {POLICIES_MAX}"));
        }
        if let Some(list) = &policy.mechanisms {
            floor_among(&p, policy.floor, list);
        }
        if policy.plain == Some(false) && policy.digest == Some(true) {
            plain_for_digest(&p);
        }
        p.finish();
        all.push(policy);
    }
    all
}

fn is_name(name: &str) -> Result<(), Wrong> {
    let good =
        (1..=32).contains(&name.len()) && name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'));
    good.then_some(())
        .ok_or_else(|| ("not a name".to_owned(), "write 1 to 32 letters, digits, - and _, like \"trunks\"".to_owned()))
}

fn are_patterns(list: &[String]) -> Result<(), Wrong> {
    let visible = |t: &String| t.bytes().all(|c| c.is_ascii_graphic() || c >= 0x80);
    let good = |t: &String| (1..=PATTERN_MAX).contains(&t.len()) && t.matches('*').count() <= 1 && visible(t);
    match list.iter().find(|t| !good(t)) {
        Some(bad) => Err((
            format!("\"{bad}\" is no identity, nor a pattern of them"),
            "write \"alice@example.test\", \"*@example.test\", \"gw*\" or the like, with one `*` at most".to_owned(),
        )),
        None => Ok(()),
    }
}

/// `border`.
pub(super) fn border(mut b: Section<'_, '_, '_>) -> Border {
    let mut names = |key, default: &[&str]| {
        let default = default.iter().map(|name| (*name).to_owned()).collect();
        b.key::<Vec<String>>(key).check(|l| are_names(l)).live().or(default)
    };
    let (strip_up, strip_down) = (names("strip_up", &d::STRIP_UP), names("strip_down", &d::STRIP_DOWN));
    let border = Border { hide: b.key("hide").live().or(true), strip_up, strip_down };
    b.finish();
    border
}

fn are_names(list: &[String]) -> Result<(), Wrong> {
    if list.len() > NAMES_MAX {
        return Err((
            format!("{} names", list.len()),
            format!("keep to {NAMES_MAX}; a `*` at the end stands for many"),
        ));
    }
    let stem = |n: &String| n.strip_suffix('*').unwrap_or(n).to_ascii_lowercase();
    let token = |n: &String| stem(n).bytes().all(|c| c.is_ascii_alphanumeric() || b"-._+!".contains(&c));
    if let Some(bad) = list.iter().find(|n| stem(n).is_empty() || n.len() > NAME_MAX || !token(n)) {
        let write = "write the long name of a header field, like \"Server\", or its beginning and a `*`, like \"X-*\"";
        return Err((format!("\"{bad}\" is not the name of a header field"), write.to_owned()));
    }
    let covers = |n: &String, needed: &str| {
        let (needed, stem) = (needed.to_ascii_lowercase(), stem(n));
        if n.ends_with('*') { needed.starts_with(&stem) } else { needed == stem }
    };
    let needed = list.iter().find_map(|n| NEEDED.iter().find(|needed| covers(n, needed)));
    match needed {
        Some(needed) => Err((format!("no message goes without {needed}"), "leave it out".to_owned())),
        None => Ok(()),
    }
}
