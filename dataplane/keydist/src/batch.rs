//! The proxy's cryptography for a batch of replies at once: s9's wraps are opened together, s10's MACs are made
//! together. The arguments lie scattered over a worker's tables, so each call first touches all of them, which lets
//! the cache misses overlap, and then computes. Nothing here allocates.

use crate::ident::{Rand, Word, Wrap};
use crate::schedule::{For, MacKey, Prk, Secret, WrapCtx, WrapError, message_mac};
use core::hint::black_box;
use core::ops::Range;

/// One `E_Ksp[K]` to open.
#[derive(Debug, Clone, Copy)]
pub struct OpenJob<'a> {
    /// Names and nonces that the wrap is bound to; `n1a` is the N1 of the registration's s1, also after a failed s7.
    pub ctx: WrapCtx<'a>,
    /// `E_Ksp[K]` of s9.
    pub wrap: &'a Wrap,
}

/// What the proxy needs of an opened wrap. K itself is erased already.
#[derive(Debug, Clone)]
pub struct Opened {
    /// S: the traffic keys come from it.
    pub secret: Secret,
    /// K_mac, ready for s10.
    pub mac_key: MacKey,
}

impl Opened {
    pub(crate) fn new(prk: &Prk, job: &OpenJob<'_>) -> Result<Self, WrapError> {
        let key = prk.unwrap(For::Proxy, &job.ctx, job.wrap)?;
        let secret = key.secret(job.ctx.rand);
        let mac_key = secret.mac_key();
        Ok(Self { secret, mac_key })
    }
}

/// Opens the wraps of a batch under the proxy's own key and hands `out` each job's index and result, in order.
pub fn open_batch(prk: &Prk, jobs: &[OpenJob<'_>], mut out: impl FnMut(usize, Result<Opened, WrapError>)) {
    let touched = jobs.iter().fold(0, |sum, j| sum ^ first(j.wrap) ^ first(j.ctx.idc.as_bytes()) ^ touch(j.ctx.rand));
    black_box(touched);
    for (index, job) in jobs.iter().enumerate() {
        out(index, Opened::new(prk, job));
    }
}

/// One s10 to be signed.
#[derive(Debug)]
pub struct MacJob<'a> {
    /// K_mac of its session.
    pub key: &'a MacKey,
    /// The whole message as it will be sent.
    pub message: &'a [u8],
    /// Where its MAC field is; what it holds does not matter.
    pub field: Range<usize>,
    /// What the field counts as: as many octets as the field has.
    pub placeholder: &'a [u8],
    /// The MAC, once [`mac_batch`] has run. Stays all zero where `field` is not in the message.
    pub out: Word,
}

/// Makes the MACs of a batch. Returns how many could be made: all of them, unless a job's field lies outside its
/// message or has not the placeholder's length, which is a fault of ours.
pub fn mac_batch(jobs: &mut [MacJob<'_>]) -> usize {
    let touched = jobs.iter().fold(0, |sum, j| sum ^ first(j.message));
    black_box(touched);
    let mut made = 0;
    for job in jobs {
        if let Some(mac) = message_mac(job.key, job.message, job.field.clone(), job.placeholder) {
            job.out = mac;
            made += 1;
        }
    }
    made
}

fn first(octets: &[u8]) -> u8 {
    octets.first().copied().unwrap_or_default()
}

fn touch(rand: &Rand) -> u8 {
    first(rand)
}
