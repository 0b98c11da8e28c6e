//! `/v1/imports`: a CSV read as it arrives, a transaction a batch.

use crate::body;
use crate::problem::Problem;
use crate::service::{Call, Reply};
use portunus_auc::import::{ImportError, ImportOptions};
use portunus_auc::store::{IfThere, Kind};
use portunus_auc::tokens::Scope;
use serde_json::json;
use std::io::Read;

/// Reads at most so many octets; one more is an error, not an end.
struct Limited<'a, 'b> {
    body: &'a mut (dyn Read + 'b),
    left: u64,
}

impl Read for Limited<'_, '_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let n = self.body.read(out)?;
        self.left = self.left.checked_sub(n as u64).ok_or(std::io::ErrorKind::FileTooLarge)?;
        Ok(n)
    }
}

pub(crate) fn import(call: &mut Call<'_>) -> Result<Reply, Problem> {
    let kind = call.request.content_type.unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/csv") {
        let next = "send rows `id,key` or `id,key,kind`, with Content-Type: text/csv";
        return Err(Problem::new(415, "media-type", "this request takes CSV", next));
    }
    let replace = call.flag("replace")?;
    let dry_run = call.flag("dry_run")?;
    let if_there = if replace { IfThere::Replace } else { IfThere::Keep };
    let admitted: &[Kind] = if call.may(Scope::DevicesWrite) { &Kind::ALL } else { &[Kind::Terminal, Kind::Digest] };
    let kinds_of = |_: &str| -> &'static [Kind] { &[Kind::Terminal] };
    let options = ImportOptions { kinds_of: &kinds_of, admitted, if_there, dry_run };
    let most = call.service.config.import_max;
    let mut rows = Limited { body: &mut *call.body, left: most };
    let done = call.service.records.import(&mut rows, call.now.wall_ms, &options, call.rng);
    let done = done.map_err(|e| match e {
        ImportError::Read(e) => {
            let mut problem = body::unread(&e, usize::try_from(most).unwrap_or(usize::MAX));
            problem.detail.push_str("; whole batches of 1,000 rows before its end are stored");
            problem.next = "send it again: rows that are there already are kept".into();
            problem
        }
        ImportError::Store(e) => {
            let mut problem = Problem::from(e);
            problem.detail.push_str("; batches of 1,000 rows before this one are stored");
            problem
        }
    })?;
    let stored = done.stored;
    let numbers = [("added", stored.added), ("replaced", stored.replaced), ("kept", stored.kept)];
    for (name, n) in numbers.into_iter().chain([("refused", done.refused)]) {
        call.tell(name, n.to_string());
    }
    let mistakes: Vec<_> =
        done.mistakes.iter().map(|m| json!({ "line": m.line, "column": m.column, "what": m.what })).collect();
    Ok(Reply::json(
        200,
        &json!({
            "added": stored.added, "replaced": stored.replaced, "kept": stored.kept, "refused": done.refused,
            "mistakes": mistakes, "dry_run": dry_run,
        }),
    ))
}
