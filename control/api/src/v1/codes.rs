//! `/v1/codes`: activation codes, issued, listed, revoked. A code stands once in the answer that issued it.

use crate::problem::Problem;
use crate::service::{Call, Reply};
use portunus_auc::store::{CodeListed, Whose};
use portunus_auc::tokens::Scope;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use zeroize::Zeroizing;

/// Most codes of one request.
const MOST: usize = 1_000;
/// How long a code may be redeemed where the request does not say it, and at most: milliseconds.
const EXPIRES_MS: u64 = 7 * 86_400_000;
const EXPIRES_MAX_MS: u64 = 366 * 86_400_000;
/// Longest prefix and realm of assigned identities, octets.
const PREFIX_MAX: usize = 64;
const REALM_MAX: usize = 63;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Issue {
    ids: Option<Vec<String>>,
    prefix: Option<String>,
    realm: Option<String>,
    count: Option<usize>,
    #[serde(default = "a_week")]
    expires_ms: u64,
    #[serde(default)]
    replace: bool,
}

const fn a_week() -> u64 {
    EXPIRES_MS
}

/// A code for the answer.
struct Text(Zeroizing<String>);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

#[derive(Serialize)]
struct Shown {
    id: String,
    code: Text,
    locator: String,
}

#[derive(Serialize)]
struct Answer {
    expires_ms: u64,
    codes: Vec<Shown>,
}

fn unfit(detail: &str, next: &str) -> Problem {
    Problem::new(422, "unfit", detail, next)
}

fn whose(body: &Issue) -> Result<Whose<'_>, Problem> {
    match (&body.ids, &body.prefix, body.count) {
        (Some(ids), None, None) if body.realm.is_none() => {
            let fits = (1..=MOST).contains(&ids.len());
            let bad = || unfit("`ids` has none or more than 1,000", "send 1 to 1,000 identities at a time");
            if fits { Ok(Whose::Named(ids)) } else { Err(bad()) }
        }
        (None, Some(prefix), Some(count)) => {
            let realm = body.realm.as_deref();
            let fits = (1..=MOST).contains(&count)
                && prefix.len() <= PREFIX_MAX
                && realm.is_none_or(|r| (1..=REALM_MAX).contains(&r.len()));
            let bad = || unfit("`prefix`, `realm` or `count` does not fit", "see /v1/openapi.json for their limits");
            if fits { Ok(Whose::Assigned { prefix, realm, count }) } else { Err(bad()) }
        }
        _ => Err(unfit(
            "neither `ids` alone nor `prefix` and `count`",
            "send `ids`, or `prefix` and `count` (and `realm`) to have identities assigned",
        )),
    }
}

pub(crate) fn issue(call: &mut Call<'_>) -> Result<Reply, Problem> {
    let body: Issue = call.json()?;
    // Whoever may take a key away may do it this way too, and nobody else.
    if body.replace && !call.may(Scope::SubscribersWrite) {
        let detail = format!("`replace` takes a token that is good for {} too", Scope::SubscribersWrite.name());
        return Err(Problem::new(403, "forbidden", detail, "leave `replace` out, or use such a token"));
    }
    if !(1..=EXPIRES_MAX_MS).contains(&body.expires_ms) {
        return Err(unfit("`expires_ms` is 0 or more than 366 days", "write the time that the codes are good for"));
    }
    let until = call.now.wall_ms.saturating_add(body.expires_ms);
    let store = call.service.records.store();
    let issued = store.issue_codes((call.now.wall_ms, until), whose(&body)?, body.replace, call.rng)?;
    call.tell("codes", issued.len().to_string());
    let codes = issued.into_iter().map(|i| {
        let mut text = Zeroizing::new(String::with_capacity(40));
        i.code.write(&mut text);
        Shown { id: i.idc, code: Text(text), locator: i.locator }
    });
    Ok(Reply::json(201, &Answer { expires_ms: until, codes: codes.collect() }))
}

pub(crate) fn list(call: &mut Call<'_>) -> Result<Reply, Problem> {
    let (after, limit) = call.page()?;
    let mut page: Vec<CodeListed> = Vec::with_capacity(limit + 1);
    call.service.records.store().codes_after(&after, &mut |code| {
        page.push(code);
        page.len() <= limit
    })?;
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(|c| &c.locator);
    let shown = |c: &CodeListed| {
        json!({
            "locator": c.locator, "id": c.idc, "state": c.state_at(call.now.wall_ms), "replace": c.replace,
            "made_ms": c.made_ms, "expires_ms": c.expires_ms,
        })
    };
    let codes: Vec<_> = page.iter().map(shown).collect();
    Ok(Reply::json(200, &json!({ "codes": codes, "next": next })))
}

pub(crate) fn revoke(call: &mut Call<'_>) -> Result<Reply, Problem> {
    let whose = call.service.records.store().revoke_code(&call.id, call.rng)?;
    call.tell("subscriber", whose);
    Ok(Reply::empty(204))
}
