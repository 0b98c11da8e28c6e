//! Keys and secrets on their way in, and on the one way out that there is: the answer to the request that had one made.

use crate::problem::Problem;
use portunus_auc::store::{Credential, Kind};
use portunus_keydist::{Key, Random};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::{Zeroize as _, Zeroizing};

/// Longest digest secret, octets.
const DIGEST_MAX: usize = 128;

/// Text that is erased when dropped and shows nothing of itself.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Hidden(String);

impl Drop for Hidden {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl core::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Hidden(..)")
    }
}

/// A secret that was made here, for the answer.
pub(crate) struct Shown(Zeroizing<String>);

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

/// A credential of this kind from what was given; `None` where nothing was.
pub(crate) fn given(kind: Kind, key: Option<&Hidden>, secret: Option<&Hidden>) -> Result<Option<Credential>, Problem> {
    match (kind, key, secret) {
        (_, None, None) => Ok(None),
        (Kind::Digest, None, Some(text)) => {
            if !(1..=DIGEST_MAX).contains(&text.0.len()) {
                let detail = format!("a digest secret has 1 to {DIGEST_MAX} octets");
                return Err(Problem::new(422, "unfit", detail, "send another `secret`, or none to have one made"));
            }
            Ok(Some(Credential::Digest(Zeroizing::new(text.0.as_bytes().to_vec()))))
        }
        (Kind::Terminal | Kind::Device, Some(text), None) => {
            let lower = Zeroizing::new(text.0.to_ascii_lowercase());
            let octets = portunus_codec::hex_decode::<32>(lower.as_bytes()).map(Zeroizing::new);
            let bad = || Problem::new(422, "unfit", "`key` is not 64 hex digits", "send 64, or none to have one made");
            Ok(Some(Credential::Key(Key::new(*octets.ok_or_else(bad)?))))
        }
        (kind, ..) => {
            let (has, not) = if kind == Kind::Digest { ("secret", "key") } else { ("key", "secret") };
            let detail = format!("a {} has a `{has}`, not a `{not}`", kind.name());
            Err(Problem::new(422, "unfit", detail, format!("send `{has}`, or neither to have one made")))
        }
    }
}

/// A fresh credential of this kind.
pub(crate) fn made(kind: Kind, rng: &mut dyn Random) -> Credential {
    let mut octets = Zeroizing::new([0u8; 32]);
    rng.fill(octets.as_mut_slice());
    match kind {
        // A phone's secret is typed in by people: hex of 16 octets is long enough and short enough.
        Kind::Digest => Credential::Digest(Zeroizing::new(hex(&octets[..16]).as_bytes().to_vec())),
        Kind::Terminal | Kind::Device => Credential::Key(Key::new(*octets)),
    }
}

/// A credential that was made here as its answer shows it.
pub(crate) fn shown(credential: &Credential) -> Shown {
    Shown(match credential {
        Credential::Key(key) => hex(key.expose()),
        Credential::Digest(secret) => Zeroizing::new(String::from_utf8_lossy(secret).into_owned()),
    })
}

fn hex(octets: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(vec![0u8; octets.len() * 2]);
    portunus_codec::hex_encode(octets, &mut text);
    Zeroizing::new(core::str::from_utf8(&text).unwrap_or_default().to_owned())
}
