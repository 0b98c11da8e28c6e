//! A master key in a PKCS#11 token: it wraps and unwraps there and never leaves it.
//!
//! The token is asked when a store is opened, when master or working keys are replaced, and for backups: never for a
//! vector. What it must be able to do is AES-GCM (`CKM_AES_GCM`) with a key of 32 octets that it gives out to nobody
//! (`CKA_SENSITIVE`, not `CKA_EXTRACTABLE`) and that nobody uses without the PIN (`CKA_PRIVATE`).

use crate::custody::{self, CustodyError};
use core::fmt;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::AuthPin;
use portunus_keydist::{Key, Random};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use zeroize::Zeroizing;

/// Nonce of [`Token::name`]: the same message each time, so that it tells nothing twice.
const NAME_NONCE: &[u8; 12] = b"portunusname";
/// Nonce of [`Token::decoy`].
const DECOY_NONCE: &[u8; 12] = b"portunusnobo";
/// Longest PIN, octets.
const PIN_MAX: usize = 255;

/// Where a PIN is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pin {
    /// On the first line of a file that nobody but its owner can read.
    File(PathBuf),
    /// A systemd credential of this name.
    Credential(String),
    /// On the token's own keypad.
    Keypad,
}

/// Where a master key is, in the words of RFC 7512.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The module (`module-path`): a shared library that the token's maker provides.
    pub module: PathBuf,
    /// The token's label (`token`).
    pub token: Option<String>,
    /// The token's serial number (`serial`).
    pub serial: Option<String>,
    /// The key's label, `CKA_LABEL` (`object`).
    pub object: Option<String>,
    /// The key's identifier, `CKA_ID` (`id`).
    pub id: Option<Vec<u8>>,
    /// Where the PIN is (`pin-source`).
    pub pin: Pin,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("token")?;
        for part in [&self.token, &self.serial].into_iter().flatten() {
            write!(f, " {part}")?;
        }
        write!(f, " of {}", self.module.display())
    }
}

impl Place {
    fn fault(&self, what: impl fmt::Display) -> CustodyError {
        CustodyError { source: self.to_string(), what: what.to_string() }
    }

    fn key(&self) -> String {
        let id = self.id.as_ref().map(|id| id.iter().map(|octet| format!("{octet:02x}")).collect::<String>());
        match (&self.object, id) {
            (Some(label), None) => format!("key {label}"),
            (None, Some(id)) => format!("key with id {id}"),
            (Some(label), Some(id)) => format!("key {label} with id {id}"),
            (None, None) => "AES key".to_owned(),
        }
    }
}

/// Modules of this process. PKCS#11 initialises a module once a process, and what it keeps is the process's: it is
/// neither loaded twice nor taken away while a session may use it.
static MODULES: Mutex<BTreeMap<PathBuf, Pkcs11>> = Mutex::new(BTreeMap::new());

/// A master key in its token, with the PIN given. Ends with the process's last use of it.
pub struct Token {
    place: Place,
    session: Mutex<Session>,
    key: ObjectHandle,
    name: [u8; 8],
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.place)
    }
}

fn module(place: &Place) -> Result<Pkcs11, CustodyError> {
    let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = modules.get(&place.module) {
        return Ok(known.clone());
    }
    let path = &place.module;
    std::fs::metadata(path).map_err(|e| {
        place.fault(format!("no module there ({e}): install the token's software, or correct the path"))
    })?;
    let loaded = Pkcs11::new(path).map_err(|e| place.fault(format!("not a PKCS#11 module: {e}")))?;
    match loaded.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(e) => return Err(place.fault(format!("the module does not start: {e}"))),
    }
    modules.insert(path.clone(), loaded.clone());
    Ok(loaded)
}

fn slot(place: &Place, module: &Pkcs11) -> Result<(Slot, TokenInfo), CustodyError> {
    let slots = module.get_slots_with_token().map_err(|e| place.fault(e))?;
    let infos = slots.into_iter().filter_map(|slot| module.get_token_info(slot).ok().map(|info| (slot, info)));
    let all: Vec<_> = infos.filter(|(_, info)| info.token_initialized()).collect();
    let named = |wanted: &Option<String>, is: &str| wanted.as_ref().is_none_or(|wanted| wanted == is);
    let is_it = |info: &TokenInfo| named(&place.token, info.label()) && named(&place.serial, info.serial_number());
    let found: Vec<_> = all.iter().filter(|(_, info)| is_it(info)).collect();
    match found.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let there: Vec<_> =
                all.iter().map(|(_, i)| format!("{} (serial {})", i.label(), i.serial_number())).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            Err(place.fault(format!("no such token; the module has: {there}")))
        }
        _ => {
            let serials: Vec<_> = found.iter().map(|(_, info)| info.serial_number()).collect();
            Err(place.fault(format!("several tokens of that name: add one of serial={}", serials.join(", serial="))))
        }
    }
}

fn pin(place: &Place) -> Result<Option<AuthPin>, CustodyError> {
    let text = match &place.pin {
        Pin::Keypad => return Ok(None),
        Pin::File(path) => custody::private_text(path),
        Pin::Credential(name) => custody::credential_text(name),
    };
    let text = text.map_err(|e| place.fault(format!("PIN from {}: {}", e.source, e.what)))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() || line.len() > PIN_MAX {
        return Err(place.fault(format!("no PIN: write it on the first line, 1 to {PIN_MAX} octets")));
    }
    Ok(Some(AuthPin::from(line.to_owned())))
}

/// Gives the PIN once. A second attempt with a wrong one only brings the token nearer to locking itself.
fn login(
    place: &Place,
    module: &Pkcs11,
    (slot, info): &(Slot, TokenInfo),
    session: &Session,
) -> Result<(), CustodyError> {
    const UNLOCK: &str = "the token's security officer gives a new one (pkcs11-tool --login-type so --init-pin)";
    if !info.user_pin_initialized() {
        return Err(place.fault("it has no user PIN yet: pkcs11-tool --login-type so --init-pin sets one"));
    }
    if info.user_pin_locked() {
        return Err(place.fault(format!("its PIN is locked after too many wrong ones: {UNLOCK}")));
    }
    if info.user_pin_final_try() {
        let what =
            "one more wrong PIN locks it, so none is tried: log in once by hand (pkcs11-tool --login --list-objects)";
        return Err(place.fault(format!("{what}, then start again")));
    }
    let pin = pin(place)?;
    if pin.is_none() && !info.protected_authentication_path() {
        return Err(place.fault("it has no keypad: say where the PIN is, like pin-source=file:/etc/portunus/token.pin"));
    }
    let refused = match session.login(UserType::User, pin.as_ref()) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => return Ok(()),
        Err(e) => e,
    };
    let now = module.get_token_info(*slot).ok();
    let after = |flag: fn(&TokenInfo) -> bool| now.as_ref().is_some_and(flag);
    let near = match (after(TokenInfo::user_pin_locked), after(TokenInfo::user_pin_final_try)) {
        (true, _) => format!("it is locked now: {UNLOCK}"),
        (_, true) => "one more wrong one locks it".to_owned(),
        _ => "tokens lock themselves after a few wrong ones".to_owned(),
    };
    Err(place.fault(match refused {
        Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
            format!("the PIN is wrong; {near}. It was tried once: correct it before you start this again")
        }
        Error::Pkcs11(RvError::PinLocked, _) => format!("its PIN is locked: {UNLOCK}"),
        Error::Pkcs11(RvError::PinExpired, _) => {
            "its PIN has expired: set a new one (pkcs11-tool --change-pin)".to_owned()
        }
        e => format!("no login: {e}"),
    }))
}

/// A session in which the PIN was given.
fn session(place: &Place, write: bool) -> Result<Session, CustodyError> {
    let module = module(place)?;
    let found = slot(place, &module)?;
    let opened = if write { module.open_rw_session(found.0) } else { module.open_ro_session(found.0) };
    let session = opened.map_err(|e| place.fault(format!("no session: {e}")))?;
    login(place, &module, &found, &session)?;
    Ok(session)
}

fn template(place: &Place) -> Vec<Attribute> {
    let mut wanted = vec![Attribute::Class(ObjectClass::SECRET_KEY), Attribute::KeyType(KeyType::AES)];
    wanted.extend(place.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes())));
    wanted.extend(place.id.as_ref().map(|id| Attribute::Id(id.clone())));
    wanted
}

/// What a master key must be, and what to say where it is not.
const MUST: &[(AttributeType, bool, &str)] = &[
    (AttributeType::Extractable, false, "can be taken out of the token (CKA_EXTRACTABLE)"),
    (AttributeType::Sensitive, true, "can be read in the clear (not CKA_SENSITIVE)"),
    (AttributeType::Private, true, "works without the PIN (not CKA_PRIVATE)"),
    (AttributeType::Token, true, "ends with the session (not CKA_TOKEN)"),
    (AttributeType::Encrypt, true, "may not encrypt (CKA_ENCRYPT)"),
    (AttributeType::Decrypt, true, "may not decrypt (CKA_DECRYPT)"),
];

fn checked(place: &Place, session: &Session, key: ObjectHandle) -> Result<(), CustodyError> {
    let wanted: Vec<AttributeType> = MUST.iter().map(|(kind, ..)| *kind).chain([AttributeType::ValueLen]).collect();
    let has = session.get_attributes(key, &wanted).map_err(|e| place.fault(format!("{}: {e}", place.key())))?;
    let flag = |kind: AttributeType| {
        has.iter().find_map(|attribute| match attribute {
            Attribute::Extractable(is)
            | Attribute::Sensitive(is)
            | Attribute::Private(is)
            | Attribute::Token(is)
            | Attribute::Encrypt(is)
            | Attribute::Decrypt(is)
                if attribute.attribute_type() == kind =>
            {
                Some(*is)
            }
            _ => None,
        })
    };
    for (kind, must, otherwise) in MUST {
        if flag(*kind) != Some(*must) {
            let next = "make one that stays in the token with `portunus store master create`";
            return Err(place.fault(format!("{} {otherwise}: {next}", place.key())));
        }
    }
    let long = has.iter().any(|a| matches!(a, Attribute::ValueLen(len) if **len == 32));
    if long { Ok(()) } else { Err(place.fault(format!("{} is not one of 32 octets (AES-256)", place.key()))) }
}

impl Token {
    /// Opens the token, gives the PIN once, finds the key and sees that the token keeps it.
    ///
    /// # Errors
    /// [`CustodyError`]: no module, no such token, a wrong PIN, no such key, or one that could leave.
    pub fn open(place: &Place) -> Result<Self, CustodyError> {
        let session = session(place, false)?;
        let found = session.find_objects(&template(place)).map_err(|e| place.fault(e))?;
        let key = match found.as_slice() {
            [one] => *one,
            [] => {
                let what = format!("it has no {}: `portunus store master create` makes one", place.key());
                return Err(place.fault(what));
            }
            many => {
                let what = format!("{} keys are meant by {}: add id= to name one", many.len(), place.key());
                return Err(place.fault(what));
            }
        };
        checked(place, &session, key)?;
        let mut token = Self { place: place.clone(), session: Mutex::new(session), key, name: [0; 8] };
        // What it enciphers tells one key from every other, whatever labels and serial numbers say.
        let told = token.encipher(NAME_NONCE, b"portunus master name", &[0; 32])?;
        let digest = ring::digest::digest(&ring::digest::SHA256, &told);
        token.name.copy_from_slice(&digest.as_ref()[..8]);
        Ok(token)
    }

    /// Makes a key in the token that never leaves it.
    ///
    /// # Errors
    /// [`CustodyError`]: as [`Token::open`], the place names no label, or such a key exists.
    pub fn create(place: &Place, rng: &mut dyn Random) -> Result<Self, CustodyError> {
        let Some(label) = &place.object else {
            return Err(place.fault("the new key needs a name: add object=NAME"));
        };
        let session = session(place, true)?;
        if !session.find_objects(&template(place)).map_err(|e| place.fault(e))?.is_empty() {
            return Err(place.fault(format!("it has a {} already, which is left alone", place.key())));
        }
        let mut id = vec![0u8; 16];
        rng.fill(&mut id);
        let made = session.generate_key(
            &Mechanism::AesKeyGen,
            &[
                Attribute::Token(true),
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Encrypt(true),
                Attribute::Decrypt(true),
                // A key that may take others out and decipher them would open them all.
                Attribute::Wrap(false),
                Attribute::Unwrap(false),
                Attribute::Sign(false),
                Attribute::Verify(false),
                Attribute::ValueLen(32.into()),
                Attribute::Label(label.clone().into_bytes()),
                Attribute::Id(place.id.clone().unwrap_or(id)),
            ],
        );
        made.map_err(|e| place.fault(format!("it makes no key: {e}")))?;
        drop(session);
        Self::open(place)
    }

    /// See [`crate::envelope::Wrapping::name`].
    pub(crate) const fn name(&self) -> [u8; 8] {
        self.name
    }

    /// The secret behind the keys of nobody, for a store that is new: the same for all who use this key.
    pub(crate) fn decoy(&self) -> Result<Key, CustodyError> {
        let stream = Zeroizing::new(self.encipher(DECOY_NONCE, b"portunus decoy", &[0; 32])?);
        let mut octets = Zeroizing::new([0u8; 32]);
        octets.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, &stream).as_ref());
        Ok(Key::new(*octets))
    }

    fn fault(&self, e: Error) -> CustodyError {
        let gone = matches!(
            e,
            Error::Pkcs11(
                RvError::SessionHandleInvalid
                    | RvError::DeviceRemoved
                    | RvError::TokenNotPresent
                    | RvError::UserNotLoggedIn,
                _
            )
        );
        let next = if gone { "; bring the token back and start this again" } else { "" };
        self.place.fault(format!("{e}{next}"))
    }

    fn encipher(&self, nonce: &[u8; 12], bound: &[u8], plain: &[u8]) -> Result<Vec<u8>, CustodyError> {
        let mut nonce = *nonce;
        let params = GcmParams::new(&mut nonce, bound, 128.into()).map_err(|e| self.fault(e))?;
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.encrypt(&Mechanism::AesGcm(params), self.key, plain).map_err(|e| self.fault(e))
    }

    /// Seals in the token: nonce, ciphertext, tag, as [`custody::seal`] does.
    pub(crate) fn seal(&self, bound: &[u8], plain: &[u8], rng: &mut dyn Random) -> Result<Vec<u8>, CustodyError> {
        let mut nonce = [0u8; 12];
        rng.fill(&mut nonce);
        let sealed = self.encipher(&nonce, bound, plain)?;
        if sealed.len() != plain.len() + 16 {
            return Err(self.place.fault("its AES-GCM gives other octets than ciphertext and tag"));
        }
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Opens what [`Token::seal`] made; `None` when it was altered or is for another place.
    pub(crate) fn open_sealed(&self, bound: &[u8], sealed: &[u8]) -> Result<Option<Zeroizing<Vec<u8>>>, CustodyError> {
        let Some((nonce, rest)) = sealed.split_first_chunk::<12>() else { return Ok(None) };
        let mut nonce = *nonce;
        let params = GcmParams::new(&mut nonce, bound, 128.into()).map_err(|e| self.fault(e))?;
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        match session.decrypt(&Mechanism::AesGcm(params), self.key, rest) {
            Ok(plain) => Ok(Some(Zeroizing::new(plain))),
            // Modules differ in what they call a tag that does not verify.
            Err(Error::Pkcs11(
                RvError::EncryptedDataInvalid
                | RvError::EncryptedDataLenRange
                | RvError::GeneralError
                | RvError::FunctionFailed,
                _,
            )) => Ok(None),
            Err(e) => Err(self.fault(e)),
        }
    }
}
