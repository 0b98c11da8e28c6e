//! Tokens of the provisioning interface in the store.
//!
//! ```text
//! clear: version 1 | scopes u16 | made u64 | expires u64 | name
//! sealed: hash of the secret part
//! ```

use super::{META, Store, StoreError, TOKENS, sealed};
use crate::tokens::{self, NAME_MAX, SECRET, Scopes, Token};
use portunus_keydist::Random;
use portunus_keydist::schedule::words_equal;
use redb::{ReadableTable as _, ReadableTableMetadata as _};
use std::sync::atomic::Ordering;
use zeroize::Zeroizing;

const VERSION: u8 = 1;
const HEAD: usize = 19;
const NOUN: &str = "token";

fn write(token: &Token) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend_from_slice(&token.scopes.bits().to_be_bytes());
    out.extend_from_slice(&token.made_ms.to_be_bytes());
    out.extend_from_slice(&token.expires_ms.to_be_bytes());
    out.extend_from_slice(token.name.as_bytes());
    out
}

fn read(id: &str, clear: &[u8]) -> Option<Token> {
    let (head, name) = clear.split_first_chunk::<HEAD>()?;
    let number = |from: usize| head.get(from..from + 8)?.try_into().ok().map(u64::from_be_bytes);
    (head[0] == VERSION).then_some(())?;
    Some(Token {
        id: id.to_owned(),
        name: core::str::from_utf8(name).ok()?.to_owned(),
        scopes: Scopes::from_bits(u16::from_be_bytes([head[1], head[2]])),
        made_ms: number(3)?,
        expires_ms: number(11)?,
    })
}

impl Store {
    /// Tokens kept at one time; those that have ended count until they are revoked.
    pub const TOKENS_MAX: u64 = 1_024;

    /// Makes a token; its text is shown here and never again. `now_ms`, `expires_ms`: milliseconds since 1970 UTC.
    ///
    /// # Errors
    /// [`StoreError::Full`], [`StoreError::Unnamed`] for a name that is none, [`StoreError::Backend`].
    pub fn add_token(
        &self,
        (now_ms, expires_ms): (u64, u64),
        name: &str,
        scopes: Scopes,
        rng: &mut dyn Random,
    ) -> Result<(Token, Zeroizing<String>), StoreError> {
        let good = !name.is_empty() && name.len() <= NAME_MAX && !name.chars().any(char::is_control);
        if !good {
            return Err(StoreError::Unnamed { most: NAME_MAX });
        }
        let txn = self.db.begin_write().map_err(|e| self.fault(e))?;
        let keys = self.keys_in(&txn, rng)?;
        let (id, text, hash) = tokens::mint(rng);
        let token = Token { id, name: name.to_owned(), scopes, made_ms: now_ms, expires_ms };
        {
            let mut table = txn.open_table(TOKENS).map_err(|e| self.fault(e))?;
            if table.len().map_err(|e| self.fault(e))? >= Self::TOKENS_MAX {
                return Err(StoreError::Full { noun: NOUN, most: Self::TOKENS_MAX });
            }
            let row = sealed::seal(&keys.custody, TOKENS, &token.id, (&write(&token), &hash), rng);
            table.insert(token.id.as_str(), row.as_slice()).map_err(|e| self.fault(e))?;
        }
        txn.commit().map_err(|e| self.fault(e))?;
        Ok((token, text))
    }

    /// All tokens, by their public parts.
    ///
    /// # Errors
    /// [`StoreError::Record`] naming one that cannot be read, [`StoreError::Backend`].
    pub fn tokens(&self) -> Result<Vec<Token>, StoreError> {
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let table = txn.open_table(TOKENS).map_err(|e| self.fault(e))?;
        let mut all = Vec::new();
        for row in table.iter().map_err(|e| self.fault(e))? {
            let (id, octets) = row.map_err(|e| self.fault(e))?;
            let token = sealed::parts(octets.value()).and_then(|(clear, _)| read(id.value(), clear));
            let damaged = || StoreError::Record { noun: NOUN, id: id.value().to_owned() };
            all.push(token.ok_or_else(damaged)?);
        }
        Ok(all)
    }

    /// Ends a token: the next use is refused.
    ///
    /// # Errors
    /// [`StoreError::NoSuch`], [`StoreError::Backend`].
    pub fn revoke_token(&self, id: &str) -> Result<(), StoreError> {
        let txn = self.db.begin_write().map_err(|e| self.fault(e))?;
        {
            let mut table = txn.open_table(TOKENS).map_err(|e| self.fault(e))?;
            if table.remove(id).map_err(|e| self.fault(e))?.is_none() {
                return Err(StoreError::NoSuch { noun: NOUN, id: id.to_owned() });
            }
        }
        txn.commit().map_err(|e| self.fault(e))?;
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Whose token this is; `None` for one that does not exist, has ended, or is altered. What is compared is a hash,
    /// in constant time, for tokens that exist and for those that do not.
    ///
    /// # Errors
    /// [`StoreError::Record`] for a damaged one, [`StoreError::Backend`].
    pub fn token(&self, now_ms: u64, text: &str) -> Result<Option<Token>, StoreError> {
        let Some((id, secret)) = tokens::parse(text) else { return Ok(None) };
        let shown = tokens::hash(&secret);
        let txn = self.db.begin_read().map_err(|e| self.fault(e))?;
        let table = txn.open_table(TOKENS).map_err(|e| self.fault(e))?;
        let found = table.get(id).map_err(|e| self.fault(e))?;
        let (token, kept) = match &found {
            Some(octets) => {
                let meta = txn.open_table(META).map_err(|e| self.fault(e))?;
                let (clear, kept) = self.open_row(TOKENS, (id, octets.value()), &meta, NOUN)?;
                let damaged = || StoreError::Record { noun: NOUN, id: id.to_owned() };
                (Some(read(id, &clear).ok_or_else(damaged)?), kept)
            }
            None => (None, Zeroizing::new(vec![0; SECRET])),
        };
        let same = words_equal(&shown, &kept);
        Ok(token.filter(|t| same && now_ms < t.expires_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{lab, rng};
    use super::super::{Depth, backup};
    use super::*;
    use crate::tokens::Scope;

    #[test]
    fn a_token_works_until_it_ends_or_is_revoked_through_everything_that_is_done_to_a_store() {
        let lab = lab();
        let store = lab.open();
        let scopes: Scopes = [Scope::CodesIssue, Scope::RecordsRead].into_iter().collect();
        let (token, text) = store.add_token((10, 500), "ops", scopes, &mut rng()).unwrap();
        let who = |store: &Store, now: u64, text: &str| store.token(now, text).unwrap().map(|t| t.name);
        assert_eq!(who(&store, 499, &text), Some("ops".into()));
        assert_eq!(who(&store, 500, &text), None, "ended");
        let other = format!("{}{}", &text[..text.len() - 2], if text.ends_with("AA") { "BA" } else { "AA" });
        assert_eq!(who(&store, 20, &other), None, "another secret");
        assert_eq!(who(&store, 20, &format!("ptk_{}_{}", "0".repeat(16), &text[21..])), None, "another name");
        let beside = lab.open();
        beside.reseal(&mut |_| (), &mut rng()).unwrap();
        assert_eq!(who(&store, 20, &text), Some("ops".into()), "another process sealed it anew");
        assert_eq!(store.verify(Depth::Records, &mut |_| ()).unwrap().damaged_count, 0);
        let (file, to) = (lab.path.with_file_name("b"), lab.path.with_file_name("o.redb"));
        backup::write(&store, &super::super::tests::master(1), &file, &mut |_| (), &mut rng()).unwrap();
        backup::restore(&file, &super::super::tests::master(1), &to, &mut |_| ()).unwrap();
        let back = Store::open(&to, &super::super::tests::master(1), &mut rng()).unwrap();
        assert_eq!(back.tokens().unwrap(), std::slice::from_ref(&token));
        store.revoke_token(&token.id).unwrap();
        assert_eq!(who(&store, 20, &text), None);
        assert!(matches!(store.revoke_token(&token.id), Err(StoreError::NoSuch { .. })));
        assert!(matches!(store.add_token((1, 2), "", scopes, &mut rng()), Err(StoreError::Unnamed { .. })));
    }

    #[test]
    fn a_token_whose_scopes_were_widened_in_the_file_opens_nothing() {
        let lab = lab();
        let store = lab.open();
        let scopes: Scopes = [Scope::RecordsRead].into_iter().collect();
        let (token, text) = store.add_token((1, 500), "ops", scopes, &mut rng()).unwrap();
        let txn = store.db.begin_write().unwrap();
        {
            let mut table = txn.open_table(TOKENS).unwrap();
            let mut row = table.get(token.id.as_str()).unwrap().unwrap().value().to_vec();
            row[4] |= 0x7f;
            table.insert(token.id.as_str(), row.as_slice()).unwrap();
        }
        txn.commit().unwrap();
        assert!(matches!(store.token(2, &text), Err(StoreError::Record { .. })));
        assert_eq!(store.verify(Depth::Records, &mut |_| ()).unwrap().damaged, [("token", token.id)]);
    }
}
