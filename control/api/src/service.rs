//! Requests answered, without sockets: time, randomness and the body are arguments, the answer is data.

use crate::body::{self, Incoming};
use crate::gate::Rates;
use crate::problem::Problem;
use crate::records::Records;
use crate::route::{self, Route};
use core::net::IpAddr;
use portunus_auc::audit::{Audit, AuditEntry};
use portunus_auc::store::{If, Tag};
use portunus_auc::tokens::{Scope, Token};
use portunus_keydist::{Now, Random};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use zeroize::Zeroizing;

/// Longest JSON body, octets.
pub const JSON_MAX: usize = 64 << 10;
/// Characters of an identity that the audit log shows; none that exists has more octets.
const ID_SHOWN: usize = 128;

/// What an interface is made from.
#[derive(Debug, Clone, Copy)]
pub struct ServiceConfig {
    /// Requests a second of one token; twice as many at once.
    pub rate: u32,
    /// Longest CSV, octets.
    pub import_max: u64,
}

/// What counts of a request beside its body.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a str,
    /// The path, as it was sent.
    pub path: &'a str,
    /// What follows `?`.
    pub query: &'a str,
    /// Authorization.
    pub authorization: Option<&'a str>,
    /// Content-Type.
    pub content_type: Option<&'a str>,
    /// If-Match.
    pub if_match: Option<&'a str>,
    /// If-None-Match.
    pub if_none_match: Option<&'a str>,
    /// Where it comes from.
    pub peer: IpAddr,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// Content-Type; `None` where there is no body.
    pub content_type: Option<&'static str>,
    /// The body, erased when dropped: it may hold a key that was generated here.
    pub body: Zeroizing<Vec<u8>>,
    /// ETag.
    pub tag: Option<Tag>,
    /// Allow, on 405.
    pub allow: Option<String>,
    /// Retry-After, seconds.
    pub retry_after: Option<u32>,
    /// True where whoever asks is unknown: the connection ends with the answer.
    pub close: bool,
}

impl Reply {
    /// JSON.
    pub(crate) fn json(status: u16, value: &impl Serialize) -> Self {
        // Room for what holds a key: growing would leave a copy behind.
        let mut body = Zeroizing::new(Vec::with_capacity(1_024));
        let written = serde_json::to_writer(&mut *body, value);
        debug_assert!(written.is_ok(), "plain data is always JSON");
        Self { body, content_type: Some("application/json"), ..Self::empty(status) }
    }

    /// Without a body.
    pub(crate) fn empty(status: u16) -> Self {
        let (content_type, body, tag) = (None, Zeroizing::new(Vec::new()), None);
        Self { status, content_type, body, tag, allow: None, retry_after: None, close: false }
    }

    /// With the version of what it is about.
    pub(crate) fn tagged(self, tag: Option<Tag>) -> Self {
        Self { tag, ..self }
    }

    pub(crate) fn problem(problem: &Problem) -> Self {
        Self {
            body: Zeroizing::new(problem.body()),
            content_type: Some("application/problem+json"),
            allow: problem.allow.clone(),
            retry_after: problem.retry_after,
            close: matches!(problem.status, 401 | 408 | 413),
            ..Self::empty(problem.status)
        }
    }
}

/// A request on its way to its answer.
pub(crate) struct Call<'a> {
    pub(crate) service: &'a Service,
    pub(crate) now: Now,
    pub(crate) rng: &'a mut dyn Random,
    pub(crate) request: &'a Request<'a>,
    /// What stands for `{id}` in the path.
    pub(crate) id: String,
    /// `None` where none is needed.
    pub(crate) token: Option<Token>,
    pub(crate) body: Incoming<'a>,
    /// What the audit log says of it beside whose request it is.
    pub(crate) told: Vec<(&'static str, String)>,
}

impl Call<'_> {
    /// True when the token is good for this.
    pub(crate) fn may(&self, scope: Scope) -> bool {
        self.token.as_ref().is_some_and(|t| t.scopes.has(scope))
    }

    /// The body as JSON. What is wrong with it is told by its place: the text may hold a key.
    pub(crate) fn json<T: DeserializeOwned>(&mut self) -> Result<T, Problem> {
        let kind = self.request.content_type.unwrap_or_default();
        let media = kind.split(';').next().unwrap_or_default().trim();
        if !media.eq_ignore_ascii_case("application/json") {
            let next = "send JSON, with Content-Type: application/json";
            return Err(Problem::new(415, "media-type", "this request takes JSON", next));
        }
        let text = body::whole(self.body, JSON_MAX)?;
        serde_json::from_slice(&text).map_err(|e| {
            use serde_json::error::Category;
            let (line, column) = (e.line(), e.column());
            let (status, what) = match e.classify() {
                Category::Data => (422, "is not what this request takes"),
                _ => (400, "is no JSON"),
            };
            let detail = format!("the body {what} at line {line}, column {column}");
            Problem::new(status, "body", detail, "see the description of this request in /v1/openapi.json")
        })
    }

    /// A parameter of the query, unescaped.
    pub(crate) fn parameter(&self, name: &str) -> Result<Option<String>, Problem> {
        let mut found = None;
        for part in self.request.query.split('&') {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            if key == name {
                let bad = || Problem::malformed(format!("`{name}` is not properly percent-escaped"), "escape it");
                found = Some(route::unescaped(&value.replace('+', " ")).ok_or_else(bad)?);
            }
        }
        Ok(found)
    }

    /// A parameter that is true or false; false unless it is there.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.parameter(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(Problem::malformed(format!("`{name}` is neither true nor false"), "write true or false")),
        }
    }

    /// Where a page begins, and how long it may be.
    pub(crate) fn page(&self) -> Result<(String, usize), Problem> {
        const MOST: usize = 1_000;
        let after = self.parameter("after")?.unwrap_or_default();
        let limit = match self.parameter("limit")? {
            None => 100,
            Some(text) => text.parse().ok().filter(|n| (1..=MOST).contains(n)).ok_or_else(|| {
                Problem::malformed("`limit` is not a number of identities", format!("write 1 to {MOST}"))
            })?,
        };
        Ok((after, limit))
    }

    /// What must be so for the change to be made.
    pub(crate) fn wanted(&self) -> Result<If, Problem> {
        let malformed = |what: &str| {
            Problem::malformed(format!("{what} is not one ETag of this interface"), "send the ETag that GET answered")
        };
        match (self.request.if_match, self.request.if_none_match) {
            (Some(text), None) => tag_of(text).map(If::Version).ok_or_else(|| malformed("If-Match")),
            (None, Some("*")) => Ok(If::Absent),
            (None, None) => Ok(If::Any),
            (None, Some(_)) => {
                Err(Problem::malformed("If-None-Match is something else than `*`", "send `*` or nothing"))
            }
            (Some(_), Some(_)) => Err(Problem::malformed("If-Match and If-None-Match exclude each other", "send one")),
        }
    }

    /// Adds to what the audit log says of this request.
    pub(crate) fn tell(&mut self, name: &'static str, value: impl Into<String>) {
        self.told.push((name, value.into()));
    }
}

/// A version as an ETag shows it.
pub fn etag(tag: Tag) -> String {
    format!("\"{:016x}\"", tag.0)
}

fn tag_of(text: &str) -> Option<Tag> {
    let digits = text.trim().strip_prefix('"')?.strip_suffix('"')?;
    portunus_codec::parse_hex_u64(digits.as_bytes()).map(Tag)
}

/// What was counted since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counters {
    /// Answers by status.
    pub answers: BTreeMap<u16, u64>,
    /// Requests without a token that counts.
    pub unauthorised: u64,
    /// Requests for which the token is not good.
    pub forbidden: u64,
    /// Requests beyond a token's rate.
    pub too_many: u64,
    /// Lines that the audit log did not take.
    pub unaudited: u64,
}

/// Tells how the rest of the AuC is.
pub type Watch = Box<dyn Fn() -> serde_json::Value + Send + Sync>;

/// See the module.
pub struct Service {
    pub(crate) config: ServiceConfig,
    pub(crate) records: Records,
    pub(crate) watch: Watch,
    audit: Option<Arc<Audit>>,
    rates: Mutex<Rates>,
    counters: Mutex<Counters>,
}

impl core::fmt::Debug for Service {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Service").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Service {
    /// An interface over a store. Every request of a token is told to `audit`; `watch` is asked for the AuC's counters,
    /// with a member `running` that says whether it answers.
    pub fn new(config: ServiceConfig, records: Records, audit: Option<Arc<Audit>>, watch: Watch) -> Self {
        let rates = Mutex::new(Rates::new(config.rate));
        Self { config, records, watch, audit, rates, counters: Mutex::default() }
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, with: impl FnOnce(&mut Counters)) {
        with(&mut self.counters.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Answers a request. Blocks while it reads the body and while the store makes a change durable.
    pub fn answer(&self, now: Now, rng: &mut dyn Random, request: &Request<'_>, body: Incoming<'_>) -> Reply {
        let reply = match route::find(request.method, request.path) {
            Ok((route, id)) => self.answer_on(now, rng, request, body, (route, id)),
            Err(problem) => Reply::problem(&problem),
        };
        self.count(|c| *c.answers.entry(reply.status).or_default() += 1);
        reply
    }

    fn answer_on(
        &self,
        now: Now,
        rng: &mut dyn Random,
        request: &Request<'_>,
        body: Incoming<'_>,
        (route, id): (&'static Route, String),
    ) -> Reply {
        let token = match self.admitted(now, request, route) {
            Ok(token) => token,
            Err(problem) => return Reply::problem(&problem),
        };
        let mut call = Call { service: self, now, rng, request, id, token, body, told: Vec::new() };
        let reply = (route.answer)(&mut call).unwrap_or_else(|problem| Reply::problem(&problem));
        if let Some(token) = &call.token {
            self.tell(now, request, (route, &call.id), token, (reply.status, &call.told));
        }
        reply
    }

    /// Whose request this is; a refusal of a known token is audited like what it may do.
    fn admitted(&self, now: Now, request: &Request<'_>, route: &Route) -> Result<Option<Token>, Problem> {
        let Some(scope) = route.scope else { return Ok(None) };
        let shown = request.authorization.and_then(|text| {
            let (scheme, token) = text.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        let token = match shown {
            Some(text) => self.records.store().token(now.wall_ms, text)?,
            None => None,
        };
        let Some(token) = token else {
            self.count(|c| c.unauthorised += 1);
            let detail = "no token, or one that does not count: unknown, ended or revoked";
            let next = "send Authorization: Bearer TOKEN; `portunus token add` makes one";
            return Err(Problem::new(401, "unauthorised", detail, next));
        };
        let refused = if !token.scopes.has(scope) {
            self.count(|c| c.forbidden += 1);
            let detail = format!("this token is not good for {}", scope.name());
            Problem::new(403, "forbidden", detail, "use one that is: `portunus token add --scope`")
        } else if !self.rates.lock().unwrap_or_else(PoisonError::into_inner).admit(now.mono_ms, &token.id) {
            // Not audited: that would cost more than what is refused.
            self.count(|c| c.too_many += 1);
            let detail = format!("more than {} requests a second by one token", self.config.rate);
            return Err(Problem::new(429, "too-many", detail, "wait, or send a CSV to /v1/imports").after(1));
        } else {
            return Ok(Some(token));
        };
        self.tell(now, request, (route, ""), &token, (refused.status, &[]));
        Err(refused)
    }

    /// One line of the audit log. What was done stays done; a gap in the log is told.
    fn tell(
        &self,
        now: Now,
        request: &Request<'_>,
        (route, id): (&Route, &str),
        token: &Token,
        (status, told): (u16, &[(&'static str, String)]),
    ) {
        let Some(audit) = &self.audit else { return };
        let (peer, status) = (request.peer.to_string(), status.to_string());
        let what = format!("{} {}", route.method, route.path);
        let mut fields = vec![("token", token.id.as_str()), ("name", &token.name), ("request", &what)];
        // No identity is longer; a path may be, and a line that is too long would not be written.
        let cut: String = id.chars().take(ID_SHOWN).collect();
        if !cut.is_empty() {
            fields.push(("id", &cut));
        }
        fields.extend(told.iter().map(|(name, value)| (*name, value.as_str())));
        fields.extend([("status", status.as_str()), ("address", &peer)]);
        if let Err(e) = audit.append(&[AuditEntry::new(now.wall_ms, "api.request", &fields)]) {
            self.count(|c| c.unaudited += 1);
            tracing::error!(error = %e, "the audit log was not written");
        }
    }
}
