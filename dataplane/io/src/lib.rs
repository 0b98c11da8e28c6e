//! Packets in, packets out: batches of datagrams, streams cut into messages, and the rings between threads.
//!
//! * [`batch`]: the [`Batch`] of datagrams and the [`Rx`]/[`Tx`] contract that every backend keeps.
//! * [`mmsg`]: the backend over `recvmmsg`/`sendmmsg`; [`memory`]: the one without a kernel.
//! * [`listen`], [`steer`]: sockets that share a port, and the programs that give each source its own socket.
//! * [`stream`]: connections over mio with bounded buffers, cut into messages by a framing that the caller gives.
//! * [`fault`], [`trace`], [`capture`]: middleware over [`Rx`] and [`Tx`].
//! * [`count`]: an allocator for tests that show that nothing allocates.
//! * [`descriptors`]: how many sockets the process may have.
//! * [`xfrm`]: the kernel's own IPsec, asked by netlink.
//! * [`ring`], [`wake`]: bounded single-producer single-consumer rings of messages, and the doorbell that wakes a
//!   sleeping consumer at the price of a system call only when it sleeps.
//!
//! Nothing here reads a clock, logs, or knows what a message means. Limits are constructor arguments; what a limit
//! turns away is returned as a count, never dropped in silence.

pub mod addr;
pub mod batch;
pub mod capture;
pub mod count;
pub mod descriptors;
pub mod fault;
pub mod listen;
pub mod memory;
pub mod mmsg;
pub mod ring;
pub mod steer;
pub mod stream;
mod sync;
pub mod trace;
pub mod wake;
pub mod xfrm;

pub use batch::{Batch, Link, Pushed, Received, Rx, Sent, Tx};
pub use mmsg::{Receiver, UdpPort};
pub use ring::{Consumer, Producer, RingFull};
pub use wake::{Doorbell, Wake};

/// An eventfd in an epoll instance: waking one that is awake ends its next wait at once, which is what
/// [`Wake`] asks for.
impl Wake for mio::Waker {
    fn wake(&self) {
        // The write fails only when the descriptor is gone, and then nobody waits at it.
        let _ = mio::Waker::wake(self);
    }
}
