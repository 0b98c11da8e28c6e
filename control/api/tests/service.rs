//! What the interface does, request by request.

mod lab;

use lab::{KEY, Lab};
use portunus_api::service::ServiceConfig;
use portunus_auc::store::{Credential, Space};
use portunus_auc::tokens::Scope;
use proptest::prelude::*;
use serde_json::json;

const ALICE: &str = "/v1/subscribers/alice%40example.test";

fn key_of(lab: &Lab, space: Space, id: &str) -> Option<String> {
    let hex = |octets: &[u8]| octets.iter().map(|o| format!("{o:02x}")).collect::<String>();
    match lab.store.credential(space, id).expect("the store") {
        Some(Credential::Key(key)) => Some(hex(key.expose())),
        Some(Credential::Digest(secret)) => Some(String::from_utf8_lossy(&secret).into_owned()),
        None => None,
    }
}

#[test]
fn a_subscriber_is_added_looked_up_rotated_and_removed() {
    let lab = Lab::new();
    let ops = lab.ops();
    let put = lab.send(&ops, ("PUT", ALICE), &[], &json!({ "key": KEY }));
    assert_eq!((put.status, &put.body["kind"], &put.body["key"]), (201, &json!("terminal"), &json!(null)));
    assert_eq!(key_of(&lab, Space::Subscriber, "alice@example.test").as_deref(), Some(KEY));
    // The same once more, as after a lost answer; another key is refused; with the version it replaces.
    assert_eq!(lab.send(&ops, ("PUT", ALICE), &[], &json!({ "key": KEY })).status, 200);
    let other = KEY.replace('e', "f");
    let refused = lab.send(&ops, ("PUT", ALICE), &[], &json!({ "key": other }));
    assert!(refused.status == 409 && refused.body["next"].as_str().expect("next").contains("If-Match"));
    let got = lab.get(&ops, ALICE);
    assert_eq!((got.status, &got.tag), (200, &put.tag));
    assert!(!got.body.to_string().contains(&KEY[..8]), "no stored key is shown");
    let tag = got.tag.expect("a version");
    let replaced = lab.send(&ops, ("PUT", ALICE), &[("if-match", &tag)], &json!({ "key": other }));
    assert_eq!(replaced.status, 200);
    let third = KEY.replace('0', "1");
    assert_eq!(lab.send(&ops, ("PUT", ALICE), &[("if-match", &tag)], &json!({ "key": third })).status, 412);
    assert_eq!(lab.send(&ops, ("PUT", ALICE), &[("if-none-match", "*")], &json!({ "key": third })).status, 409);
    // A rotation needs the version, makes a key, shows it once, and the former one works for a while.
    let rotate = format!("{ALICE}/rotate");
    let how = ("POST", rotate.as_str());
    assert_eq!(lab.send(&ops, how, &[], &json!({})).status, 428);
    let tag = replaced.tag.expect("a version");
    let rotated = lab.send(&ops, how, &[("if-match", &tag)], &json!({ "overlap_ms": 60_000 }));
    assert_eq!(
        (rotated.status, rotated.body["key"].as_str()),
        (200, key_of(&lab, Space::Subscriber, "alice@example.test").as_deref())
    );
    assert_eq!(lab.send(&ops, how, &[("if-match", &tag)], &json!({ "overlap_ms": 60_000 })).status, 412);
    let (former, until) =
        lab.store.previous(Space::Subscriber, "alice@example.test").expect("the store").expect("a former key");
    assert_eq!((former.expose()[0], until), (0xf2, lab.now.wall_ms + 60_000));
    assert_eq!(lab.send(&ops, ("DELETE", ALICE), &[("if-match", &tag)], &json!({})).status, 412);
    assert_eq!(lab.send(&ops, ("DELETE", ALICE), &[], &json!({})).status, 204);
    assert_eq!(lab.get(&ops, ALICE).status, 404);
    assert_eq!(lab.send(&ops, how, &[("if-match", &tag)], &json!({})).status, 404);
    let log = lab.audited();
    assert!(log.contains("PUT /v1/subscribers/{id}") && log.contains("\"status\":\"412\""), "{log}");
    for secret in [KEY, &other, rotated.body["key"].as_str().expect("a key"), &ops] {
        assert!(!log.contains(&secret[secret.len() - 12..]), "no secret in the log");
    }
}

#[test]
fn stock_phones_and_devices_have_rules_of_their_own() {
    let lab = Lab::new();
    let ops = lab.ops();
    let phone = ("PUT", "/v1/subscribers/phone@example.test");
    let made = lab.send(&ops, phone, &[], &json!({ "kind": "digest" }));
    let secret = made.body["secret"].as_str().expect("a secret").to_owned();
    assert_eq!(key_of(&lab, Space::Subscriber, "phone@example.test"), Some(secret.clone()));
    // A secret that people chose could be guessed: it is never told whether it was right.
    assert_eq!(lab.send(&ops, phone, &[], &json!({ "kind": "digest", "secret": secret })).status, 409);
    let rotate = ("POST", "/v1/subscribers/phone@example.test/rotate");
    let tag = made.tag.expect("a version");
    assert_eq!(lab.send(&ops, rotate, &[("if-match", &tag)], &json!({ "overlap_ms": 5 })).status, 422);
    assert_eq!(lab.send(&ops, rotate, &[("if-match", &tag)], &json!({ "key": KEY })).status, 422);
    let device = ("PUT", "/v1/devices/sp1.example.test");
    assert_eq!(lab.send(&ops, device, &[], &json!({ "secret": "x" })).status, 422);
    assert_eq!(lab.send(&ops, device, &[], &json!({ "kind": "terminal", "key": KEY })).status, 422);
    assert_eq!(lab.send(&ops, device, &[], &json!({ "key": KEY })).status, 201);
    assert_eq!(key_of(&lab, Space::Device, "sp1.example.test").as_deref(), Some(KEY));
    assert_eq!(lab.get(&ops, "/v1/subscribers/sp1.example.test").status, 404, "two name spaces");
    assert_eq!(lab.send(&ops, ("PUT", "/v1/devices/two%20words"), &[], &json!({ "key": KEY })).status, 422);
}

#[test]
fn a_token_is_good_for_its_scopes_until_it_ends_and_no_faster_than_its_rate() {
    let mut lab = Lab::with(ServiceConfig { rate: 5, import_max: 1 << 20 });
    let reader = lab.token(&[Scope::SubscribersRead]);
    assert_eq!(lab.get("", "/v1/subscribers").status, 401);
    assert_eq!(lab.get(&reader[..reader.len() - 1], "/v1/subscribers").status, 401);
    assert_eq!(lab.get(&reader, "/v1/subscribers").status, 200);
    for (method, path) in [("PUT", ALICE), ("DELETE", ALICE), ("GET", "/v1/devices"), ("GET", "/v1/registrations")] {
        assert_eq!(lab.send(&reader, (method, path), &[], &json!({})).status, 403, "{method} {path}");
    }
    assert!(lab.audited().contains("\"status\":\"403\""));
    lab.now.mono_ms += 60_000;
    assert_eq!((0..20).filter(|_| lab.get(&reader, "/v1/subscribers").status == 200).count(), 10);
    let counted = lab.service.counters();
    assert_eq!((counted.unauthorised, counted.forbidden, counted.too_many), (2, 4, 10));
    let id = reader[4..20].to_owned();
    lab.store.revoke_token(&id).expect("revoked");
    lab.now.mono_ms += 60_000;
    assert_eq!(lab.get(&reader, "/v1/subscribers").status, 401);
    for open in ["/v1/health", "/v1/ready", "/v1/openapi.json"] {
        assert_eq!(lab.get("", open).status, 200);
    }
}

#[test]
fn pages_and_counters() {
    let lab = Lab::new();
    let ops = lab.ops();
    for n in 0..7 {
        let path = format!("/v1/subscribers/t{n}@example.test");
        assert_eq!(lab.send(&ops, ("PUT", &path), &[], &json!({})).status, 201);
    }
    let (mut seen, mut after) = (Vec::new(), String::new());
    for _ in 0..3 {
        let page = lab.get(&ops, &format!("/v1/subscribers?limit=3&after={after}")).body;
        seen.extend(page["identities"].as_array().expect("a page").iter().map(|i| i["id"].clone()));
        after = page["next"].as_str().unwrap_or_default().replace('@', "%40");
    }
    assert_eq!((seen.len(), after.as_str()), (7, ""));
    for bad in ["limit=0", "limit=1001", "limit=x", "after=%zz"] {
        assert_eq!(lab.get(&ops, &format!("/v1/subscribers?{bad}")).status, 400, "{bad}");
    }
    let counters = lab.get(&ops, "/v1/counters").body;
    assert_eq!((&counters["subscribers"], &counters["api"]["answers"]["201"]), (&json!(7), &json!(7)));
    assert_eq!(lab.get(&ops, "/v1/registrations").body["registrations"], json!([]));
    assert_eq!(lab.get(&ops, "/v1/registrations/t1@example.test").status, 404);
}

#[test]
fn a_csv_is_imported_with_its_mistakes_told_by_line() {
    let lab = Lab::new();
    let (ops, writer) = (lab.ops(), lab.token(&[Scope::SubscribersWrite]));
    let csv = format!("id,key\na@example.test,{KEY}\nb@example.test,xx\nsp9.example.test,{KEY},device\n");
    let send = |token: &str, query: &str, text: &str| {
        let path = format!("/v1/imports{query}");
        lab.ask(token, ("POST", &path), &[("content-type", "text/csv; charset=utf-8")], text.as_bytes())
    };
    let dry = send(&writer, "?dry_run=true", &csv);
    assert_eq!(
        (dry.status, &dry.body["refused"], lab.store.count(Space::Subscriber).expect("count")),
        (200, &json!(2), 0)
    );
    let done = send(&writer, "", &csv).body;
    assert_eq!((&done["added"], &done["refused"]), (&json!(1), &json!(2)));
    let lines: Vec<_> = done["mistakes"].as_array().expect("mistakes").iter().map(|m| m["line"].clone()).collect();
    assert_eq!(lines, [3, 4], "devices are not for this token to add");
    assert!(!done.to_string().contains(&KEY[..8]));
    let done = send(&ops, "?replace=true", &csv).body;
    assert_eq!((&done["added"], &done["replaced"], &done["refused"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(send(&ops, "?replace=yes", &csv).status, 400);
    assert_eq!(lab.ask(&ops, ("POST", "/v1/imports"), &[], csv.as_bytes()).status, 415);
    let endless = format!("c@example.test,{KEY}\n").repeat(14_000);
    assert_eq!(send(&ops, "", &endless).status, 413);
}

#[test]
fn codes_are_issued_for_named_and_assigned_identities_listed_and_revoked() {
    let lab = Lab::new();
    let issuer = lab.token(&[Scope::CodesIssue]);
    let issue = |body: serde_json::Value| lab.send(&issuer, ("POST", "/v1/codes"), &[], &body);
    let named = issue(json!({ "ids": ["alice@example.test", "gw1"], "expires_ms": 60_000 }));
    assert_eq!((named.status, &named.body["expires_ms"]), (201, &json!(lab.now.wall_ms + 60_000)));
    let code = named.body["codes"][0]["code"].as_str().expect("a code").to_owned();
    let key = portunus_keydist::activation::Code::parse(&code).expect("it is one").key();
    let locator = portunus_keydist::activation::locator_text(&key.locator());
    assert_eq!(named.body["codes"][0]["locator"], json!(locator));
    assert_eq!(issue(json!({ "ids": ["alice@example.test"] })).status, 409, "its code is still good");
    assert_eq!(issue(json!({ "ids": ["bob@example.test"], "replace": true })).status, 403);
    let ops = lab.ops();
    let replacing = json!({ "ids": ["bob@example.test"], "replace": true });
    assert_eq!(lab.send(&ops, ("POST", "/v1/codes"), &[], &replacing).status, 201);
    let assigned = issue(json!({ "prefix": "t", "realm": "example.test", "count": 3 }));
    assert_eq!(assigned.body["codes"][2]["id"], json!("t000003@example.test"));
    for bad in [
        json!({}),
        json!({ "ids": [] }),
        json!({ "ids": ["x"], "count": 1 }),
        json!({ "prefix": "t", "count": 0 }),
        json!({ "prefix": "t", "count": 1_001 }),
        json!({ "ids": ["two words"] }),
        json!({ "ids": ["x"], "expires_ms": 0 }),
    ] {
        assert_eq!(issue(bad.clone()).status, 422, "{bad}");
    }
    let listed = lab.get(&issuer, "/v1/codes?limit=2").body;
    assert!(listed["codes"].as_array().map(Vec::len) == Some(2) && listed["next"].is_string());
    assert!(!lab.get(&issuer, "/v1/codes").body.to_string().contains(&code), "a code is shown once");
    let at = format!("/v1/codes/{locator}");
    assert_eq!(lab.send(&issuer, ("DELETE", &at), &[], &json!({})).status, 204);
    let all = lab.get(&issuer, "/v1/codes").body;
    let of = |locator: &str| all["codes"].as_array().expect("codes").iter().find(|c| c["locator"] == locator).cloned();
    assert_eq!(of(&locator).expect("it is listed")["state"], json!("revoked"));
    assert_eq!(lab.send(&issuer, ("DELETE", "/v1/codes/0123"), &[], &json!({})).status, 404);
    let now = portunus_keydist::Now { wall_ms: 7, ..lab.now }.wall_ms;
    let silent = lab.store.redeem(now, &key.ask(&[1; 16]), None, &mut portunus_keydist::SystemRandom::new());
    assert!(matches!(silent, Ok(portunus_auc::store::Redemption::Silence(_))));
    assert_eq!(lab.get(&lab.token(&[Scope::SubscribersWrite]), "/v1/codes").status, 403);
    assert!(!lab.audited().contains(&code[..5]), "no code in the log");
}

#[test]
fn bodies_that_are_none_are_refused_without_showing_them() {
    let lab = Lab::new();
    let ops = lab.ops();
    let put = |headers: &[(&str, &str)], body: &[u8]| lab.ask(&ops, ("PUT", ALICE), headers, body);
    for (body, status) in [
        (format!("{{\"key\":\"{KEY}\""), 400),
        (format!("{{\"keys\":\"{KEY}\"}}"), 422),
        (format!("{{\"kind\":7,\"key\":\"{KEY}\"}}"), 422),
        (format!("{{\"key\":[\"{KEY}\"]}}"), 422),
        (format!("{{\"key\":\"{}\"}}", &KEY[1..]), 422),
        (String::new(), 400),
        (format!("\"{}\"", "x".repeat(70_000)), 413),
    ] {
        let answer = put(&[], body.as_bytes());
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(!answer.body.to_string().contains(&KEY[8..16]), "{}", answer.body);
    }
    assert_eq!(put(&[("content-type", "text/plain")], b"{}").status, 415);
    for tag in ["*", "W/\"0123456789abcdef\"", "\"0123\"", "\"0123456789abcdef\", \"1123456789abcdef\""] {
        assert_eq!(put(&[("if-match", tag)], b"{}").status, 400, "{tag}");
    }
    assert_eq!(lab.ask(&ops, ("PATCH", ALICE), &[], b"").status, 405);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_request_has_an_answer_that_is_described(
        which in 0usize..20, method in "(GET|PUT|POST|DELETE|HEAD)", id in ".{0,20}", query in "[a-z=&%+0-9]{0,30}",
        headers in proptest::collection::vec(("(if-match|if-none-match|content-type)", ".{0,20}"), 0..3),
        body in proptest::collection::vec(any::<u8>(), 0..60),
    ) {
        thread_local!(static LAB: (Lab, String) = {
            let lab = Lab::new();
            let ops = lab.ops();
            (lab, ops)
        });
        LAB.with(|(lab, ops)| {
            let path = portunus_api::route::ROUTES[which % portunus_api::route::ROUTES.len()].path.replace("{id}", &id);
            let headers: Vec<(&str, &str)> = headers.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            lab.ask(ops, (&method, &format!("{path}?{query}")), &headers, &body);
        });
    }
}
