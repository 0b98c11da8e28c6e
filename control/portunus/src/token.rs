//! `portunus token`: who may use the AuC's provisioning interface, for what, until when.

use crate::assembly::place::Place;
use crate::assembly::store::{fault, wall_ms};
use crate::cli::TokenCommand;
use crate::exit::Failure;
use crate::out::{Out, date};
use portunus_auc::tokens::{Scope, Scopes, Token};
use portunus_keydist::SystemRandom;
use serde_json::json;
use std::time::Duration;

/// Does one of the three.
///
/// # Errors
/// What is wrong with the store, the name or the token.
pub fn token(command: &TokenCommand, out: Out) -> Result<(), Failure> {
    match command {
        TokenCommand::Add { store, name, scope, expires } => {
            add(&Place::of(store, false, out)?, name, scope, *expires, out)
        }
        TokenCommand::List(store) => list(&Place::of(store, false, out)?, out),
        TokenCommand::Revoke { store, id } => revoke(&Place::of(store, false, out)?, id, out),
    }
}

/// A scope of the command line.
///
/// # Errors
/// What there is instead.
pub fn scope(text: &str) -> Result<Scope, String> {
    Scope::from_name(text).ok_or_else(|| {
        let names = Scope::ALL.map(Scope::name);
        format!("write one or more of {}, comma separated", names.join(", "))
    })
}

fn add(place: &Place, name: &str, scopes: &[Scope], expires: Duration, out: Out) -> Result<(), Failure> {
    let store = place.existing()?;
    let scopes: Scopes = scopes.iter().copied().collect();
    let now = wall_ms();
    let until = now.saturating_add(u64::try_from(expires.as_millis()).unwrap_or(u64::MAX));
    let added = store.add_token((now, until), name, scopes, &mut SystemRandom::new()).map_err(fault)?;
    let (token, text) = added;
    let granted = scopes.names().join(",");
    place.audit("token.add", &[("token", &token.id), ("name", name), ("scopes", &granted)])?;
    out.say(text.as_str());
    out.say(format!("token {} for {granted}, until {}; it is not shown again", token.id, date(until)));
    out.machine(&json!({
        "done": "added", "id": token.id, "name": name, "scopes": scopes.names(), "expires_ms": until,
        "token": text.as_str(),
    }));
    Ok(())
}

fn list(place: &Place, out: Out) -> Result<(), Failure> {
    let tokens = place.existing()?.tokens().map_err(fault)?;
    let now = wall_ms();
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING).set_header(["token", "name", "until", "scopes"]);
    for t in &tokens {
        let ended = if t.expires_ms <= now { " (ended)" } else { "" };
        table.add_row([t.id.clone(), t.name.clone(), date(t.expires_ms) + ended, t.scopes.names().join(",")]);
    }
    out.say(table.to_string());
    let shown = |t: &Token| {
        json!({
            "id": t.id, "name": t.name, "scopes": t.scopes.names(), "made_ms": t.made_ms, "expires_ms": t.expires_ms,
            "ended": t.expires_ms <= now,
        })
    };
    out.machine(&json!({ "tokens": tokens.iter().map(shown).collect::<Vec<_>>() }));
    Ok(())
}

fn revoke(place: &Place, id: &str, out: Out) -> Result<(), Failure> {
    place.existing()?.revoke_token(id).map_err(fault)?;
    place.audit("token.revoke", &[("token", id)])?;
    out.say(format!("token {id} is good for nothing any more"));
    out.machine(&json!({ "done": "revoked", "id": id }));
    Ok(())
}
