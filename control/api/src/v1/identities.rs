//! `/v1/subscribers` and `/v1/devices`.

use crate::problem::Problem;
use crate::service::{Call, Reply};
use crate::v1::secret::{self, Hidden, Shown};
use portunus_auc::store::{Credential, Entry, If, Kind, Listed, Space, StoreError};
use portunus_keydist::schedule::words_equal;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::time::Duration;

/// Longest time for which a former key may work beside the present one.
const OVERLAP_MAX: Duration = Duration::from_secs(366 * 86_400);

/// What is shown of an identity.
#[derive(Serialize)]
struct Identity<'a> {
    id: &'a str,
    kind: &'static str,
    added_ms: u64,
    key_since_ms: u64,
    /// Its key, where this request had it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Shown>,
    /// Likewise its digest secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<Shown>,
}

impl<'a> Identity<'a> {
    fn of(listed: &'a Listed) -> Self {
        let (added_ms, key_since_ms) = (listed.made_ms, listed.rotated_ms);
        Self { id: &listed.id, kind: listed.kind.name(), added_ms, key_since_ms, key: None, secret: None }
    }

    fn showing(mut self, made: Option<&Credential>) -> Self {
        let shown = made.map(secret::shown);
        match made {
            Some(Credential::Digest(_)) => self.secret = shown,
            _ => self.key = shown,
        }
        self
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Put {
    kind: Option<String>,
    key: Option<Hidden>,
    secret: Option<Hidden>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Rotate {
    key: Option<Hidden>,
    secret: Option<Hidden>,
    /// Milliseconds.
    #[serde(default)]
    overlap_ms: u64,
}

fn list(call: &mut Call<'_>, space: Space) -> Result<Reply, Problem> {
    let (after, limit) = call.page()?;
    let (page, more) = call.service.records.page(space, &after, limit)?;
    let next = page.last().filter(|_| more).map(|l| &l.id);
    let identities: Vec<_> = page.iter().map(Identity::of).collect();
    Ok(Reply::json(200, &json!({ "identities": identities, "next": next })))
}

fn get(call: &mut Call<'_>, space: Space) -> Result<Reply, Problem> {
    let missing = || StoreError::Missing { space, id: call.id.clone() };
    let (listed, tag) = call.service.records.look(space, &call.id)?.ok_or_else(missing)?;
    Ok(Reply::json(200, &Identity::of(&listed)).tagged(Some(tag)))
}

/// The kind that a request names, or that a space has by itself.
fn kind(space: Space, named: Option<&str>) -> Result<Kind, Problem> {
    let kind = match named {
        None if space == Space::Device => Some(Kind::Device),
        None => Some(Kind::Terminal),
        Some(name) => Kind::from_name(name).filter(|k| k.space() == space),
    };
    let write = if space == Space::Device { "write device" } else { "write terminal or digest" };
    kind.ok_or_else(|| Problem::new(422, "unfit", format!("`kind` is none of a {}", space.noun()), write))
}

fn put(call: &mut Call<'_>, space: Space) -> Result<Reply, Problem> {
    let wanted = match call.wanted()? {
        // Replacing takes the version that is to be replaced: a copy of a request that comes late does no harm.
        If::Any => If::Absent,
        other => other,
    };
    let body: Put = call.json()?;
    let kind = kind(space, body.kind.as_deref())?;
    call.tell("kind", kind.name());
    let given = secret::given(kind, body.key.as_ref(), body.secret.as_ref())?;
    let made = given.is_none().then(|| secret::made(kind, call.rng));
    let Some(credential) = given.clone().or_else(|| made.clone()) else { return Err(gone()) };
    let entry = Entry { id: call.id.clone(), kind, credential };
    let stored = call.service.records.put(call.now.wall_ms, entry, wanted, call.rng);
    let added = match stored {
        Ok(stored) => stored.added > 0,
        Err(e @ (StoreError::Exists { .. } | StoreError::Changed { .. })) => {
            // The same request once more, whose first answer was lost: it is as it was to become.
            if !is(call, space, given.as_ref())? {
                return Err(e.into());
            }
            false
        }
        Err(e) => return Err(e.into()),
    };
    let (listed, tag) = call.service.records.look(space, &call.id)?.ok_or_else(gone)?;
    let shown = Identity::of(&listed).showing(made.as_ref());
    Ok(Reply::json(if added { 201 } else { 200 }, &shown).tagged(Some(tag)))
}

/// True when an identity has this very key already. Digest secrets are never compared: they may be guessed.
fn is(call: &Call<'_>, space: Space, given: Option<&Credential>) -> Result<bool, Problem> {
    let Some(Credential::Key(given)) = given else { return Ok(false) };
    let found = call.service.records.credential(space, &call.id)?;
    Ok(matches!(found, Some(Credential::Key(found)) if words_equal(found.expose(), given.expose())))
}

/// It was there a moment ago.
fn gone() -> Problem {
    Problem::new(409, "changed", "it was removed in the same moment", "list, and decide again")
}

fn rotate(call: &mut Call<'_>, space: Space) -> Result<Reply, Problem> {
    let wanted = call.wanted()?;
    let If::Version(_) = wanted else {
        let detail = "a rotation that is sent twice would end the overlap of the key that the terminal still has";
        let next = "GET the identity and send its ETag as If-Match";
        return Err(Problem::new(428, "precondition-required", detail, next));
    };
    let body: Rotate = call.json()?;
    let missing = || StoreError::Missing { space, id: call.id.clone() };
    let (before, _) = call.service.records.look(space, &call.id)?.ok_or_else(missing)?;
    let kind = before.kind;
    call.tell("kind", kind.name());
    if body.overlap_ms > 0 && kind == Kind::Digest {
        let detail = format!("no former key of a {} works beside its present one", kind.name());
        return Err(Problem::new(422, "unfit", detail, "leave `overlap_ms` out"));
    }
    if u128::from(body.overlap_ms) > OVERLAP_MAX.as_millis() {
        let next = format!("write at most {}", OVERLAP_MAX.as_millis());
        return Err(Problem::new(422, "unfit", "`overlap_ms` is more than 366 days", next));
    }
    let given = secret::given(kind, body.key.as_ref(), body.secret.as_ref())?;
    let made = given.is_none().then(|| secret::made(kind, call.rng));
    let Some(credential) = given.or_else(|| made.clone()) else { return Err(gone()) };
    let times = (call.now.wall_ms, body.overlap_ms);
    call.service.records.rotate(times, (space, &call.id), credential, wanted, call.rng)?;
    let (listed, tag) = call.service.records.look(space, &call.id)?.ok_or_else(gone)?;
    Ok(Reply::json(200, &Identity::of(&listed).showing(made.as_ref())).tagged(Some(tag)))
}

fn delete(call: &mut Call<'_>, space: Space) -> Result<Reply, Problem> {
    let wanted = call.wanted()?;
    if wanted == If::Absent {
        return Err(Problem::malformed("If-None-Match makes no sense here", "send If-Match, or nothing"));
    }
    call.service.records.remove(space, &call.id, wanted)?;
    Ok(Reply::empty(204))
}

pub(crate) fn list_subscribers(call: &mut Call<'_>) -> Result<Reply, Problem> {
    list(call, Space::Subscriber)
}

pub(crate) fn get_subscriber(call: &mut Call<'_>) -> Result<Reply, Problem> {
    get(call, Space::Subscriber)
}

pub(crate) fn put_subscriber(call: &mut Call<'_>) -> Result<Reply, Problem> {
    put(call, Space::Subscriber)
}

pub(crate) fn rotate_subscriber(call: &mut Call<'_>) -> Result<Reply, Problem> {
    rotate(call, Space::Subscriber)
}

pub(crate) fn delete_subscriber(call: &mut Call<'_>) -> Result<Reply, Problem> {
    delete(call, Space::Subscriber)
}

pub(crate) fn list_devices(call: &mut Call<'_>) -> Result<Reply, Problem> {
    list(call, Space::Device)
}

pub(crate) fn get_device(call: &mut Call<'_>) -> Result<Reply, Problem> {
    get(call, Space::Device)
}

pub(crate) fn put_device(call: &mut Call<'_>) -> Result<Reply, Problem> {
    put(call, Space::Device)
}

pub(crate) fn rotate_device(call: &mut Call<'_>) -> Result<Reply, Problem> {
    rotate(call, Space::Device)
}

pub(crate) fn delete_device(call: &mut Call<'_>) -> Result<Reply, Problem> {
    delete(call, Space::Device)
}
