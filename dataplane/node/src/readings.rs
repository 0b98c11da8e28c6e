//! Counters that leave their thread: written by their owner in housekeeping, read by anyone, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};

use portunus_engine::{Kind, Reading};

/// Name, help text and kind of one counter.
type Label = (&'static str, &'static str, Kind);

/// The last published values of one thread's counters.
#[derive(Debug)]
pub(crate) struct Board {
    labels: Vec<Label>,
    values: Vec<AtomicU64>,
}

impl Board {
    /// Learns which counters there are from one showing of them; every later showing must have the same order.
    pub(crate) fn new(show_all: impl FnOnce(&mut dyn FnMut(Reading))) -> Self {
        let mut labels = Vec::new();
        show_all(&mut |reading| labels.push((reading.name, reading.help, reading.kind)));
        let values = labels.iter().map(|_| AtomicU64::new(0)).collect();
        Self { labels, values }
    }

    /// Publishes the present values.
    pub(crate) fn publish(&self, show_all: impl FnOnce(&mut dyn FnMut(Reading))) {
        let mut values = self.values.iter();
        show_all(&mut |reading| {
            if let Some(value) = values.next() {
                value.store(reading.value, Ordering::Relaxed);
            }
        });
    }

    /// The values published last.
    pub(crate) fn read(&self) -> impl Iterator<Item = Reading> {
        self.labels.iter().zip(&self.values).map(|(&(name, help, kind), value)| Reading {
            name,
            help,
            kind,
            value: value.load(Ordering::Relaxed),
        })
    }
}

/// Declares a plain struct of counters that can show themselves.
macro_rules! counters {
    ($(#[$doc:meta])* $name:ident { $($kind:ident $field:ident $help:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $name {
            $(#[doc = $help] pub $field: u64,)*
        }

        impl $name {
            /// Shows every counter, always in the same order.
            pub fn readings(&self, show: &mut dyn FnMut(portunus_engine::Reading)) {
                $(show(portunus_engine::Reading {
                    name: stringify!($field),
                    help: $help,
                    kind: portunus_engine::Kind::$kind,
                    value: self.$field,
                });)*
            }
        }
    };
}
pub(crate) use counters;

counters! {
    /// What a worker's sockets, rings and loop did.
    WorkerCounters {
        Counter io_rx_datagrams "Datagrams received from terminals";
        Counter io_tx_datagrams "Datagrams sent to terminals";
        Counter io_rx_stream_messages "Messages received over stream connections";
        Counter io_tx_stream_messages "Messages queued on stream connections";
        Counter io_rx_oversize "Datagrams dropped: longer than the buffers";
        Counter io_rx_invalid "Datagrams dropped: no usable source address";
        Counter io_rx_errors "Errors reported by a listening socket";
        Counter io_tx_oversize "Datagrams dropped: the link refused their length";
        Counter io_tx_failed "Datagrams dropped: the system could not send them";
        Counter io_tx_blocked "Flushes that the system stopped because its buffers were full";
        Counter io_tx_full "Messages to terminals dropped: the system takes no more";
        Counter stream_accepted "Connections accepted";
        Counter stream_refused "Connections refused: the limit was reached";
        Counter stream_accept_failed "Connections that could not be accepted";
        Counter stream_closed "Connections closed by the peer";
        Counter stream_broken "Connections closed: their octets are no messages";
        Counter stream_slow "Connections closed: the peer does not read";
        Counter stream_idle "Connections closed: no message for too long";
        Counter stream_finished "Connections closed because their session ended or has a newer one";
        Counter stream_gone "Messages dropped: their connection is gone";
        Gauge stream_open "Connections open";
        Counter core_sent "Messages handed to this worker's own link to the core";
        Counter core_dropped "Messages for the core that the link did not take";
        Counter core_received "Messages of the core received by this worker's own link";
        Counter tls_closed "TLS connections closed by the peer as the standard says";
        Counter tls_alert "TLS connections that the peer gave up with an alert";
        Counter tls_not_tls "Connections closed: their first octets are no TLS";
        Counter tls_bad_hello "Connections closed: their ClientHello is malformed or too long";
        Counter tls_unproven "TLS handshakes refused: unknown identity or wrong key";
        Counter tls_refused "TLS handshakes refused: version, suite, group, or no PSK with (EC)DHE";
        Counter tls_broken "TLS connections closed: a record does not verify";
        Counter tls_long "TLS connections closed: too many octets for a handshake";
        Counter tls_flood "TLS connections closed: more than is read";
        Counter tls_slow "TLS connections closed: the peer does not read";
        Counter tls_memory "TLS connections closed: no memory for them";
        Counter tls_late "TLS connections closed: the handshake took too long";
        Counter tls_handed_over "Connections brought to the worker that holds their session";
        Counter tls_hand_over_full "Connections closed: too many waited for the worker that holds their session";
        Counter ring_core_sent "Messages handed to the control thread for the core";
        Counter ring_core_full "Messages for the core dropped: the ring to the control thread is full";
        Counter ring_core_received "Messages of the core received from the control thread";
        Counter ring_events_lost "Session events lost: the ring to the control thread is full";
        Counter kernel_ends_lost "Ends of sessions that the kernel was not told: the ring to its thread is full";
        Counter wakes_issued "Wake-ups of the control thread issued (system calls)";
        Counter calls_io "System calls for sending and receiving";
        Counter calls_poll "System calls for waiting";
        Counter rests "Short rests taken so that the next batch is larger";
        Counter loops "Turns of the worker's loop";
    }
}

counters! {
    /// What the control thread did.
    ControlCounters {
        Counter core_sent "Messages handed to the link to the core";
        Counter core_dropped "Messages for the core that the link did not take";
        Counter core_received "Messages received from the core";
        Counter core_unroutable "Messages of the core that belong to nothing here";
        Counter core_answered "Requests of the core answered for the proxy itself, or for a terminal without a session";
        Counter core_ring_full "Messages of the core dropped: the ring to their worker is full";
        Counter sessions_moved "Older sessions ended on one worker because the terminal became active on another";
        Counter commands_lost "Orders dropped: a worker's queue of orders is full";
        Counter directory_full "Terminals not entered: the directory is full";
        Gauge directory "Terminals in the directory";
        Counter wakes_issued "Wake-ups of workers issued (system calls)";
        Counter calls_poll "System calls for waiting";
        Counter rests "Short rests taken so that the next batch is larger";
        Counter loops "Turns of the control thread's loop";
    }
}
