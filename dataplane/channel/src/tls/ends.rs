//! The two ends: what all connections of one end share.

use super::connection::{Connection, Offered, offered_index, put};
use super::{Ended, ID_TEXT, Identity, Limits, PSK_LEN, Psk};
use openssl::error::ErrorStack;
use openssl::ssl::{
    SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSessionCacheMode, SslVerifyMode, SslVersion,
};
use portunus_keydist::{Random, SystemRandom};

const SUITES: &str = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";
const GROUPS: &str = "X25519:P-256";
/// `SSL_OP_ALLOW_NO_DHE_KEX` of OpenSSL's ssl.h, for which the library has no name.
const ALLOW_NO_DHE_KEX: u64 = 1 << 10;

/// What both ends are held to.
fn context(method: SslMethod) -> Result<SslContextBuilder, ErrorStack> {
    let mut context = SslContextBuilder::new(method)?;
    context.set_min_proto_version(Some(SslVersion::TLS1_3))?;
    context.set_max_proto_version(Some(SslVersion::TLS1_3))?;
    context.set_ciphersuites(SUITES)?;
    context.set_groups_list(GROUPS)?;
    context.set_options(SslOptions::NO_TICKET | SslOptions::NO_COMPRESSION | SslOptions::NO_RENEGOTIATION);
    // psk_ke is off unless it is asked for; so that nobody does by the system's configuration file.
    context.clear_options(SslOptions::from_bits_retain(ALLOW_NO_DHE_KEX));
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    // Buffers of 16 KiB belong to those who are sending, not to every handshake.
    context.set_mode(SslMode::RELEASE_BUFFERS);
    // What follows the handshake must be left where it is: see `records`.
    context.set_read_ahead(false);
    let index = offered_index()?;
    context.set_keylog_callback(move |ssl, line| {
        if let Some(offered) = ssl.ex_data(index) {
            offered.note(line);
        }
    });
    Ok(context)
}

/// The proxy's end.
pub struct Server {
    context: SslContext,
    limits: Limits,
    /// What unknown identities are measured against.
    nobodys: Psk,
}

impl core::fmt::Debug for Server {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Server").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Server {
    /// For connections under these limits.
    ///
    /// # Errors
    /// What OpenSSL reports, in words: it was built without what this mechanism needs, or there is no memory.
    pub fn new(limits: Limits) -> Result<Self, String> {
        let mut nobodys = [0; PSK_LEN];
        SystemRandom::new().fill(&mut nobodys);
        let build = || {
            let mut context = context(SslMethod::tls_server())?;
            context.set_num_tickets(0)?;
            context.set_max_early_data(0)?;
            let index = offered_index()?;
            context.set_psk_server_callback(move |ssl, identity, place| {
                let given = ssl.ex_data(index).filter(|offered| match (&offered.id, identity) {
                    (Some(id), Some(identity)) => id.text() == *identity,
                    (None, _) => true,
                    (Some(_), None) => false,
                });
                Ok(given.map_or(0, |offered| offered.put_psk(place)))
            });
            Ok::<_, ErrorStack>(context.build())
        };
        let context = build().map_err(|e| e.to_string())?;
        Ok(Self { context, limits, nobodys: Psk::new(nobodys) })
    }

    /// A connection whose first octets offered `id` ([`super::hello::read`]); they are still to be taken. `psk`: what the
    /// session table has for it; `None` leads to the same end as a wrong key.
    ///
    /// # Errors
    /// [`Ended::Memory`].
    pub fn connection(&self, id: Option<Identity>, psk: Option<Psk>) -> Result<Connection, Ended> {
        let offered = match (id, psk) {
            (Some(id), Some(psk)) => Offered::new(Some(id), psk),
            _ => Offered::new(None, self.nobodys.clone()),
        };
        Connection::new(&self.context, self.limits, offered, true)
    }
}

/// A terminal's end.
pub struct Client {
    context: SslContext,
    limits: Limits,
}

impl core::fmt::Debug for Client {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Client").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Client {
    /// For connections under these limits.
    ///
    /// # Errors
    /// As [`Server::new`].
    pub fn new(limits: Limits) -> Result<Self, String> {
        let build = || {
            let mut context = context(SslMethod::tls_client())?;
            // A server that comes with a certificate instead of the PSK: no certificate is good.
            context.set_verify_callback(SslVerifyMode::PEER, |_, _| false);
            let index = offered_index()?;
            context.set_psk_client_callback(move |ssl, _, identity, place| {
                let Some(offered) = ssl.ex_data(index) else { return Ok(0) };
                let Some(id) = &offered.id else { return Ok(0) };
                let mut named = [0; ID_TEXT + 1];
                let (text, _end) = named.split_at_mut(ID_TEXT);
                text.copy_from_slice(&id.text());
                Ok(if put(identity, &named) == 0 { 0 } else { offered.put_psk(place) })
            });
            Ok::<_, ErrorStack>(context.build())
        };
        let context = build().map_err(|e| e.to_string())?;
        Ok(Self { context, limits })
    }

    /// A connection to the proxy; what [`Connection::start`] makes goes out first.
    ///
    /// # Errors
    /// [`Ended::Memory`].
    pub fn connection(&self, id: Identity, psk: Psk) -> Result<Connection, Ended> {
        Connection::new(&self.context, self.limits, Offered::new(Some(id), psk), false)
    }
}
