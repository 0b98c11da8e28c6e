//! Refusals: problem details as RFC 9457 has them, each with what to do next.

use portunus_auc::store::StoreError;
use serde_json::json;

/// Why a request was not carried out. No text here ever holds a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status.
    pub status: u16,
    /// The last part of `type`, `urn:portunus:problem:<kind>`.
    pub kind: &'static str,
    /// What is wrong, in this case.
    pub detail: String,
    /// What to do.
    pub next: String,
    /// Seconds after which to try again.
    pub retry_after: Option<u32>,
    /// The methods that the path takes, where the request's is none of them.
    pub allow: Option<String>,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(status: u16, kind: &'static str, detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into(), next: next.into(), retry_after: None, allow: None }
    }

    /// To be tried again after so many seconds.
    #[must_use]
    pub fn after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// A value in a request that is none.
    pub fn malformed(detail: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(400, "malformed", detail, next)
    }

    /// `application/problem+json`.
    pub fn body(&self) -> Vec<u8> {
        json!({
            "type": format!("urn:portunus:problem:{}", self.kind),
            "title": title(self.status),
            "status": self.status,
            "detail": self.detail,
            "next": self.next,
        })
        .to_string()
        .into_bytes()
    }
}

/// The reason phrase of a status (RFC 9110 section 15).
fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        507 => "Insufficient Storage",
        _ => "Internal Server Error",
    }
}

impl From<StoreError> for Problem {
    fn from(e: StoreError) -> Self {
        let text = e.to_string();
        match e {
            StoreError::Exists { .. } => {
                Self::new(409, "exists", text, "to replace it, GET it and send its ETag as If-Match; or rotate its key")
            }
            StoreError::Missing { .. } => Self::new(404, "no-such-identity", text, "the lists show who is there"),
            StoreError::NoSuch { .. } => Self::new(404, "no-such-thing", text, "the list shows what is there"),
            StoreError::Changed { .. } => {
                Self::new(412, "changed", text, "GET it, decide again, and send the new ETag as If-Match")
            }
            StoreError::Malformed { .. } | StoreError::Unnamed { .. } => {
                Self::new(422, "unfit", text, "see the description of this request in /v1/openapi.json")
            }
            StoreError::Code { .. } => {
                Self::new(409, "code", text, "see /v1/codes; DELETE ends one that is still good")
            }
            StoreError::Full { .. } => Self::new(409, "full", text, "remove what is not used any more"),
            StoreError::Record { .. } => {
                Self::new(500, "damaged", text, "remove the identity and add it anew, or restore a backup of the store")
            }
            StoreError::Database { unknown, .. } => {
                tracing::error!(error = %text, "the system of record failed");
                let next = if unknown { "GET it to see whether it was done" } else { "try again later" };
                let what = if unknown { "whether it was done is not known" } else { "nothing was changed" };
                Self::new(503, "database", format!("the database failed; {what}"), next).after(10)
            }
            // What the host says of its disk is for its administrator's log, where it is told in full.
            _ => {
                tracing::error!(error = %text, "the store failed");
                Self::new(503, "store", "the store failed; nothing was changed", "see the AuC's log; try again later")
                    .after(10)
            }
        }
    }
}
