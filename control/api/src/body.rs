//! Bodies: what a request brings, read once, and what an answer carries.

use crate::problem::Problem;
use std::io::Read;
use zeroize::Zeroizing;

/// A body on its way in. Reading blocks; where it ends early the error says why.
pub type Incoming<'a> = &'a mut (dyn Read + 'a);

/// Reads a whole body of at most `most` octets into memory that is erased.
///
/// # Errors
/// 413 for a longer one, 408 for one that does not arrive.
pub fn whole(body: Incoming<'_>, most: usize) -> Result<Zeroizing<Vec<u8>>, Problem> {
    // Room enough from the start: growing would leave copies behind.
    let mut out = Zeroizing::new(Vec::with_capacity(most + 1));
    body.take(most as u64 + 1).read_to_end(&mut out).map_err(|e| unread(&e, most))?;
    if out.len() > most { Err(too_large(most)) } else { Ok(out) }
}

/// What a body that could not be read to its end is to whoever sent it.
pub fn unread(e: &std::io::Error, most: usize) -> Problem {
    match e.kind() {
        std::io::ErrorKind::FileTooLarge => too_large(most),
        _ => Problem::new(408, "incomplete", "the body did not arrive whole and in time", "send it again"),
    }
}

fn too_large(most: usize) -> Problem {
    Problem::new(413, "too-large", format!("the body has more than {most} octets"), "send less at a time")
}
