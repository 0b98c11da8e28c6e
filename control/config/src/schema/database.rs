//! `[auc.database]`

use super::{Place, count};
use crate::defaults as d;
use crate::model::{Database, DatabaseTls};
use crate::read::Section;
use crate::value::{HostPort, OneOf, Word};
use std::path::PathBuf;

#[derive(Clone, Copy, PartialEq)]
enum Guard {
    VerifyFull,
    Off,
}

impl Word for Guard {
    const WORDS: &'static [(&'static str, Self)] = &[("verify-full", Self::VerifyFull), ("off", Self::Off)];
}

/// `None`: there is no such section; `Some(None)`: it has a mistake.
pub(super) fn read(auc: &mut Section<'_, '_, '_>, place: Place<'_>) -> Option<Option<Database>> {
    let mut s = auc.section("database")?;
    let servers = s.key::<Vec<HostPort>>("servers").check(|servers| not_empty(servers)).required();
    let name = s.key("name").or(d::DATABASE_NAME.to_owned());
    let user = s.key("user").or(d::DATABASE_NAME.to_owned());
    let given = s.has("secret") || s.has("secret_file");
    let password = if given {
        place.secret_source(&mut s)
    } else {
        // Asked for all the same, so that they count as known.
        let _ = (s.key::<PathBuf>("secret_file").optional(), s.key::<String>("secret").optional());
        None
    };
    let guard = s.key("tls").or(OneOf(Guard::VerifyFull)).0;
    let tls = match guard {
        Guard::VerifyFull => Some(tls(&mut s, place)),
        Guard::Off => {
            if !place.lab {
                let write = "remove `tls`, and name the authorities: `ca = \"PATH\"`; or say `lab = true` at the top";
                s.gather.note_at(&s.path_of("tls"), "the way to the database in clear", write);
            }
            None
        }
    };
    let pool = count(s.key("pool").within(1, 64).or(d::DATABASE_POOL));
    let timeout = s.key("timeout").within_ms(100, 600_000).or(d::DATABASE_TIMEOUT);
    let poll = s.key("poll").within_ms(100, 600_000).or(d::DATABASE_POLL);
    s.finish();
    let whole = || {
        let servers = servers?.into_iter().map(|HostPort(host, port)| (host, port)).collect();
        // A section whose password was named and could not be read has noted why.
        let password = if given { Some(password?) } else { None };
        let tls = match tls {
            Some(read) => Some(read?),
            None => None,
        };
        Some(Database { servers, name, user, password, tls, pool, timeout, poll })
    };
    Some(whole())
}

fn not_empty(servers: &[HostPort]) -> Result<(), (String, String)> {
    let problem = || ("no server".to_owned(), "write at least one, like [\"db1.example.test:5432\"]".to_owned());
    if servers.is_empty() { Err(problem()) } else { Ok(()) }
}

fn tls(s: &mut Section<'_, '_, '_>, place: Place<'_>) -> Option<DatabaseTls> {
    let ca = s.key::<PathBuf>("ca").required();
    let certificate = s.key::<PathBuf>("certificate").optional();
    let key = s.key::<PathBuf>("key").optional();
    let own = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((place.join(certificate), place.join(key))),
        (None, None) => None,
        (one, _) => {
            let missing = if one.is_some() { "key" } else { "certificate" };
            s.note("half of a certificate", format!("add `{missing} = \"PATH\"`, or remove the other half"));
            None
        }
    };
    Some(DatabaseTls { ca: place.join(ca?), own })
}
