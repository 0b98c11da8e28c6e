//! What every message written here has in common. The compact form is written, values always quoted.

use crate::view::{Mid, is_domain};
use core::net::{IpAddr, SocketAddr};
use portunus_codec::{Full, Writer};
use portunus_keydist::ident::Idc;
use portunus_keydist::params::Quoted;
use portunus_signalling::Own;

/// `!/version mid `: the identifier as it stands.
pub(crate) fn begin(version: u8, mid: &[u8], w: &mut Writer<'_>) {
    w.put(b"!/").decimal(version.into()).put(b" ").put(mid).put(b" ");
}

/// `!/version mid ` with the identifier that an identity stands for.
pub(crate) fn begin_as(version: u8, idc: Idc<'_>, w: &mut Writer<'_>) {
    let (open, close) = Mid::brackets(idc.as_bytes());
    w.put(b"!/").decimal(version.into()).put(b" ").put(open).put(idc.as_bytes()).put(close).put(b" ");
}

/// The proxy's message identifier: its name, or where that is no domain name the address that terminals reach.
pub(crate) fn put_own(own: &Own<'_>, w: &mut Writer<'_>) {
    match is_domain(own.idsp.as_bytes()) {
        true => w.put(b"<").put(own.idsp.as_bytes()).put(b">"),
        false => put_address(own.access, w),
    };
}

/// `!/version mid ` of the proxy's.
pub(crate) fn begin_own(version: u8, own: &Own<'_>, w: &mut Writer<'_>) {
    w.put(b"!/").decimal(version.into()).put(b" ");
    put_own(own, w);
    w.put(b" ");
}

/// `[address]:port`.
fn put_address<'w, 'b>(address: SocketAddr, w: &'w mut Writer<'b>) -> &'w mut Writer<'b> {
    struct Text<'w, 'b>(&'w mut Writer<'b>);
    impl core::fmt::Write for Text<'_, '_> {
        fn write_str(&mut self, s: &str) -> core::fmt::Result {
            self.0.text(s);
            Ok(())
        }
    }
    let ip: IpAddr = address.ip();
    // Overflow is the writer's to remember.
    _ = core::fmt::Write::write_fmt(&mut Text(w), format_args!("[{ip}]:{}", address.port()));
    w
}

/// `T=id{C=-{`, the command, `}}`.
pub(crate) fn request(id: u32, w: &mut Writer<'_>, command: impl FnOnce(&mut Writer<'_>)) -> Result<(), Full> {
    w.put(b"T=").decimal(id.into()).put(b"{C=-{");
    command(w);
    w.put(b"}}").finish().map(|_| ())
}

/// `MF=ROOT{SG{portunus/signal{…}}}`; with the request for the answer where one is wanted.
pub(crate) fn signal(
    id: u32,
    name: &str,
    answered: bool,
    w: &mut Writer<'_>,
    parameters: impl FnOnce(&mut Quoted<'_, '_>),
) -> Result<(), Full> {
    request(id, w, |w| {
        w.put(b"MF=ROOT{SG{portunus/").text(name).put(b"{");
        parameters(&mut Quoted::new(w));
        w.put(b"}}").put(if answered { b",E=1{portunus/resp}" } else { b"" }).put(b"}");
    })
}

/// `N=ROOT{OE=id{portunus/resp{…}}}`.
pub(crate) fn response(
    id: u32,
    request_id: u32,
    w: &mut Writer<'_>,
    parameters: impl FnOnce(&mut Quoted<'_, '_>),
) -> Result<(), Full> {
    request(id, w, |w| {
        w.put(b"N=ROOT{OE=").decimal(request_id.into()).put(b"{portunus/resp{");
        parameters(&mut Quoted::new(w));
        w.put(b"}}}");
    })
}

/// `P=id{C=-{reply}}`.
pub(crate) fn reply(id: u32, reply: &str, w: &mut Writer<'_>) -> Result<(), Full> {
    w.put(b"P=").decimal(id.into()).put(b"{C=-{").text(reply).put(b"}}").finish().map(|_| ())
}

/// `ER=code{"text"}`.
pub(crate) fn error(code: u16, text: &str, w: &mut Writer<'_>) {
    w.put(b"ER=").decimal(code.into()).put(b"{\"").text(text).put(b"\"}");
}
