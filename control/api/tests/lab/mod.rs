//! An interface over a store in a temporary folder, every answer of which is held against its description.

// Each test binary uses its own part of this.
#![allow(dead_code, unreachable_pub)]

use portunus_api::records::Records;
use portunus_api::route::find;
use portunus_api::service::{Reply, Request, Service, ServiceConfig, etag};
use portunus_auc::audit::Audit;
use portunus_auc::custody::MasterKey;
use portunus_auc::store::Store;
use portunus_auc::tokens::Scope;
use portunus_keydist::{Now, SystemRandom};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;

pub const KEY: &str = "e2999e00a84d5ccc5e99665de657c2023d94c48056ae662660a33fdd02ed01bf";

pub struct Lab {
    folder: tempfile::TempDir,
    pub store: Arc<Store>,
    pub service: Service,
    pub now: Now,
    description: Value,
}

/// What came of a request.
pub struct Answer {
    pub status: u16,
    pub tag: Option<String>,
    pub body: Value,
}

impl Lab {
    pub fn new() -> Self {
        Self::with(ServiceConfig { rate: 10_000, import_max: 1 << 20 })
    }

    pub fn with(config: ServiceConfig) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("auc.redb");
        let master = MasterKey::new([1; 32]);
        let store = Arc::new(Store::open(&path, &master, &mut SystemRandom::new()).expect("a store"));
        let audit = Arc::new(Audit::open(&folder.path().join("audit.log"), 1 << 30).expect("a log"));
        let watch = Box::new(|| json!({ "running": true }));
        let service = Service::new(config, Records::new(store.clone()), Some(audit), watch);
        let description = serde_json::from_str(portunus_api::OPENAPI).expect("JSON");
        Self { folder, store, service, now: Now { mono_ms: 0, wall_ms: 1_000_000 }, description }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The audit log as text.
    pub fn audited(&self) -> String {
        std::fs::read_to_string(self.path("audit.log")).expect("a log")
    }

    /// A token that is good for these.
    pub fn token(&self, scopes: &[Scope]) -> String {
        let scopes = scopes.iter().copied().collect();
        let added = self.store.add_token((self.now.wall_ms, u64::MAX), "test", scopes, &mut SystemRandom::new());
        added.expect("a token").1.to_string()
    }

    /// A token that is good for everything.
    pub fn ops(&self) -> String {
        self.token(&Scope::ALL)
    }

    /// Asks, and holds the answer against the description.
    pub fn ask(&self, token: &str, (method, path): (&str, &str), headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let bearer = format!("Bearer {token}");
        let header = |name: &str| headers.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let request = Request {
            method,
            path,
            query,
            authorization: (!token.is_empty()).then_some(bearer.as_str()),
            content_type: header("content-type").or(Some("application/json")),
            if_match: header("if-match"),
            if_none_match: header("if-none-match"),
            peer: [192, 0, 2, 9].into(),
        };
        let mut octets = body;
        let reply = self.service.answer(self.now, &mut SystemRandom::new(), &request, &mut octets);
        self.described(&request, &reply);
        let body = serde_json::from_slice(&reply.body).unwrap_or(Value::Null);
        Answer { status: reply.status, tag: reply.tag.map(etag), body }
    }

    pub fn get(&self, token: &str, path: &str) -> Answer {
        self.ask(token, ("GET", path), &[], b"")
    }

    pub fn send(&self, token: &str, how: (&str, &str), headers: &[(&str, &str)], body: &Value) -> Answer {
        self.ask(token, how, headers, body.to_string().as_bytes())
    }

    /// Fails where an answer is not one that the description has.
    fn described(&self, request: &Request<'_>, reply: &Reply) {
        let Ok((route, _)) = find(request.method, request.path) else {
            assert!(matches!(reply.status, 400 | 404 | 405), "{} {}", request.method, request.path);
            return;
        };
        let at = format!("{} {}: {}", route.method, route.path, reply.status);
        let responses = &self.description["paths"][route.path][route.method.to_lowercase()]["responses"];
        let response = self.resolved(&responses[reply.status.to_string()]);
        assert!(response["description"].is_string(), "{at} is not described: {:?}", text(reply));
        assert_eq!(response["headers"]["ETag"].is_object(), reply.tag.is_some(), "{at}: ETag");
        match reply.content_type {
            None => assert!(response["content"].is_null() && reply.body.is_empty(), "{at}: no body"),
            Some(kind) => {
                let schema = &response["content"][kind]["schema"];
                let value = serde_json::from_slice(&reply.body).expect("JSON");
                self.valid(&at, schema, &value);
            }
        }
    }

    fn resolved<'v>(&'v self, value: &'v Value) -> &'v Value {
        match value["$ref"].as_str() {
            Some(at) => self.resolved(self.description.pointer(at.trim_start_matches('#')).expect("it resolves")),
            None => value,
        }
    }

    /// Holds a value against a schema, as far as the description's schemas go.
    fn valid(&self, at: &str, schema: &Value, value: &Value) {
        let schema = self.resolved(schema);
        assert!(schema.is_object(), "{at}: no schema for {value}");
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let kinds = &schema["type"];
        let fits = kinds == kind || kinds.as_array().is_some_and(|all| all.iter().any(|k| k == kind));
        assert!(fits, "{at}: {value} is not of {kinds}");
        if let Some(words) = schema["enum"].as_array() {
            assert!(words.contains(value), "{at}: {value} is none of {words:?}");
        }
        for (n, item) in value.as_array().into_iter().flatten().enumerate() {
            self.valid(&format!("{at}[{n}]"), &schema["items"], item);
        }
        let Some(members) = value.as_object() else { return };
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(members.contains_key(name.as_str().unwrap_or_default()), "{at}: no {name}");
        }
        for (name, member) in members {
            match (&schema["properties"][name], &schema["additionalProperties"]) {
                (Value::Null, Value::Bool(false)) => panic!("{at}: {name} is not described"),
                (Value::Null, more @ Value::Object(_)) => self.valid(&format!("{at}.{name}"), more, member),
                (Value::Null, _) => {}
                (property, _) => self.valid(&format!("{at}.{name}"), property, member),
            }
        }
    }
}

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}
