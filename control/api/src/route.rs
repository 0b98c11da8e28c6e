//! Which request is whose: the table of everything that the interface answers.

use crate::problem::Problem;
use crate::service::{Call, Reply};
use crate::v1::{codes, identities, imports, registrations, status};
use portunus_auc::tokens::Scope;

/// How a request's body is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// None is expected; what comes is not read.
    None,
    /// JSON, taken whole.
    Json,
    /// CSV, read as it arrives.
    Csv,
}

/// Answers one kind of request.
pub(crate) type Handler = fn(&mut Call<'_>) -> Result<Reply, Problem>;

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path; `{id}` stands for one segment.
    pub path: &'static str,
    /// What a token must be good for; `None`: no token is needed.
    pub scope: Option<Scope>,
    /// Its body.
    pub body: Body,
    pub(crate) answer: Handler,
}

const fn route(method: &'static str, path: &'static str, scope: Option<Scope>, body: Body, answer: Handler) -> Route {
    Route { method, path, scope, body, answer }
}

const SUBSCRIBERS_READ: Option<Scope> = Some(Scope::SubscribersRead);
const SUBSCRIBERS_WRITE: Option<Scope> = Some(Scope::SubscribersWrite);
const DEVICES_READ: Option<Scope> = Some(Scope::DevicesRead);
const DEVICES_WRITE: Option<Scope> = Some(Scope::DevicesWrite);
const CODES_ISSUE: Option<Scope> = Some(Scope::CodesIssue);
const RECORDS_READ: Option<Scope> = Some(Scope::RecordsRead);

/// Everything that is answered.
pub const ROUTES: &[Route] = &[
    route("GET", "/v1/health", None, Body::None, status::health),
    route("GET", "/v1/ready", None, Body::None, status::ready),
    route("GET", "/v1/openapi.json", None, Body::None, status::openapi),
    route("GET", "/v1/counters", Some(Scope::StatusRead), Body::None, status::counters),
    route("GET", "/v1/subscribers", SUBSCRIBERS_READ, Body::None, identities::list_subscribers),
    route("GET", "/v1/subscribers/{id}", SUBSCRIBERS_READ, Body::None, identities::get_subscriber),
    route("PUT", "/v1/subscribers/{id}", SUBSCRIBERS_WRITE, Body::Json, identities::put_subscriber),
    route("POST", "/v1/subscribers/{id}/rotate", SUBSCRIBERS_WRITE, Body::Json, identities::rotate_subscriber),
    route("DELETE", "/v1/subscribers/{id}", SUBSCRIBERS_WRITE, Body::None, identities::delete_subscriber),
    route("POST", "/v1/imports", SUBSCRIBERS_WRITE, Body::Csv, imports::import),
    route("GET", "/v1/devices", DEVICES_READ, Body::None, identities::list_devices),
    route("GET", "/v1/devices/{id}", DEVICES_READ, Body::None, identities::get_device),
    route("PUT", "/v1/devices/{id}", DEVICES_WRITE, Body::Json, identities::put_device),
    route("POST", "/v1/devices/{id}/rotate", DEVICES_WRITE, Body::Json, identities::rotate_device),
    route("DELETE", "/v1/devices/{id}", DEVICES_WRITE, Body::None, identities::delete_device),
    route("GET", "/v1/codes", CODES_ISSUE, Body::None, codes::list),
    route("POST", "/v1/codes", CODES_ISSUE, Body::Json, codes::issue),
    route("DELETE", "/v1/codes/{id}", CODES_ISSUE, Body::None, codes::revoke),
    route("GET", "/v1/registrations", RECORDS_READ, Body::None, registrations::list),
    route("GET", "/v1/registrations/{id}", RECORDS_READ, Body::None, registrations::get),
];

/// Which route a request takes, and what stands for its `{id}`.
///
/// # Errors
/// 404; 405 with the methods that the path takes; 400 for an `{id}` that is not properly escaped.
pub fn find(method: &str, path: &str) -> Result<(&'static Route, String), Problem> {
    let mut methods = Vec::new();
    for route in ROUTES {
        let Some(id) = matched(route.path, path) else { continue };
        if route.method == method {
            let id = unescaped(id).ok_or_else(|| {
                Problem::malformed(
                    "the identity in the path is not properly percent-escaped UTF-8",
                    "escape every octet but letters, digits, `-`, `.`, `_` and `~`",
                )
            })?;
            return Ok((route, id));
        }
        methods.push(route.method);
    }
    if methods.is_empty() {
        return Err(Problem::new(404, "no-such-path", "nothing is here", "see /v1/openapi.json for what there is"));
    }
    let allow = methods.join(", ");
    let problem = Problem::new(405, "method", format!("this path takes {allow}"), "see /v1/openapi.json");
    Err(Problem { allow: Some(allow), ..problem })
}

/// What stands for `{id}` in a path that is of this form; empty where the form has none.
fn matched<'p>(form: &str, path: &'p str) -> Option<&'p str> {
    let Some((before, after)) = form.split_once("{id}") else { return (form == path).then_some("") };
    let id = path.strip_prefix(before)?.strip_suffix(after)?;
    (!id.is_empty() && !id.contains('/')).then_some(id)
}

/// Percent-escapes undone (RFC 3986 section 2.1).
pub(crate) fn unescaped(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first != b'%' {
            out.push(*first);
            rest = after;
            continue;
        }
        let (pair, after) = after.split_first_chunk::<2>()?;
        let digit = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
        out.push(digit(pair[0])? << 4 | digit(pair[1])?);
        rest = after;
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_lead_to_their_route_and_wrong_ones_say_what_there_is() {
        let at = |method, path| find(method, path).map(|(r, id)| (r.path, id));
        assert_eq!(at("GET", "/v1/subscribers"), Ok(("/v1/subscribers", String::new())));
        let alice = || "alice@example.test".to_owned();
        assert_eq!(at("PUT", "/v1/subscribers/alice%40example.test"), Ok(("/v1/subscribers/{id}", alice())));
        assert_eq!(
            at("POST", "/v1/subscribers/alice@example.test/rotate"),
            Ok(("/v1/subscribers/{id}/rotate", alice()))
        );
        assert_eq!(at("GET", "/v1/subscribers/").unwrap_err().status, 404);
        assert_eq!(at("GET", "/v1/subscribers/a/b").unwrap_err().status, 404);
        assert_eq!(at("GET", "/v1/subscribers/%ff").unwrap_err().status, 400);
        assert_eq!(at("GET", "/v1/subscribers/%4").unwrap_err().status, 400);
        let refused = at("PATCH", "/v1/subscribers/a").unwrap_err();
        assert_eq!((refused.status, refused.allow.as_deref()), (405, Some("GET, PUT, DELETE")));
    }

    proptest! {
        #[test]
        fn any_path_has_an_answer(method in "[A-Z]{1,8}", path in ".{0,80}") {
            let _ = find(&method, &path);
            let _ = find("GET", &format!("/v1/subscribers/{path}"));
        }
    }
}
