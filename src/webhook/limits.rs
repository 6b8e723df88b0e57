use std::time::Duration;

/// Limits on the resources that clients can use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of connections. At the limit, the connection that has been idle longest is closed.
    pub connections: usize,
    /// Maximum number of reviews under way.
    pub requests: usize,
    /// Maximum number of large bodies that are read at once. Others wait for their turn, because an incomplete body holds
    /// memory without being of use. The value is larger than the number of threads, so that one body is decided while the next
    /// is read.
    pub turns: usize,
    /// Maximum size of large bodies in memory, in bytes, with the values that they are parsed into; see [`Limits::SMALL_BODY`].
    pub body_memory: usize,
    /// Time limit for the TLS handshake.
    pub handshake: Duration,
    /// Time limit from the first byte of a request's head to its end; over HTTP/2, to the first request.
    pub head: Duration,
    /// Time limit from the end of one request on a connection to the start of the next.
    pub idle: Duration,
    /// Time limit for a write that the client does not accept.
    pub write: Duration,
    /// Time limit for reading a request's body.
    pub body: Duration,
    /// Time limit for a request, if the API server does not send its own.
    pub request: Duration,
    /// Time limit for the requests that are under way when the server stops.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 512,
            requests: 256,
            turns: 8,
            body_memory: 64 << 20,
            handshake: Duration::from_secs(3),
            head: Duration::from_secs(5),
            // The API server closes a connection that is idle for 90 s. If Outrigger closed it first, a review that is sent at
            // that moment would be lost.
            idle: Duration::from_secs(95),
            write: Duration::from_secs(5),
            body: Duration::from_secs(3),
            request: Duration::from_millis(4500),
            drain: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// Maximum size of a review, in bytes: the old and the new object at the API server's own limit (3 MiB), and the rest.
    pub const MOST_BYTES: usize = 7 << 20;
    /// Part of each body that does not count as large, in bytes. With it, large reviews cannot cause ordinary ones to be
    /// rejected.
    pub const SMALL_BODY: usize = 64 << 10;
    /// Maximum time that a body waits for its turn, so that slow clients do not delay the others.
    pub(super) const TURN: Duration = Duration::from_millis(500);
    /// Profiles that are checked at once: each needs a thread, and pods need the other threads.
    pub(super) const VALIDATIONS: usize = 1;
    /// Maximum number of reviews of profiles that wait.
    pub(super) const WAITING_VALIDATIONS: usize = 16;
    /// Size from which parsing a body takes milliseconds and a multiple of its memory, in bytes.
    pub(super) const LARGE_BODY: usize = 256 << 10;
    /// Memory for one parsed value of a body while its list grows, in bytes.
    pub(super) const VALUE: usize = 64;
    /// Maximum number of values in one body: more than the old and new object within the API server's limit can have, and few
    /// enough for the minimum memory for bodies.
    pub(super) const MOST_VALUES: usize = 900_000;
    /// Minimum memory for bodies, in bytes, with which every review can be answered.
    pub const LEAST_BODY_MEMORY: usize = Self::MOST_BYTES + Self::MOST_VALUES * Self::VALUE;
    /// Maximum size of the rest of a refused body that is still read, in bytes, so that its sender reads the response.
    pub(super) const MOST_DISCARDED: usize = 32 << 20;
    /// Maximum number of bytes that one read returns: about the largest TLS record.
    pub(super) const READ: usize = 16 << 10;
    /// Maximum size of an HTTP/1.1 connection's buffers, in bytes. One read never returns more.
    pub(super) const BUFFER: usize = Self::READ;
    /// Maximum size of unread data of an HTTP/2 connection, in bytes.
    pub(super) const WINDOW: u32 = 128 << 10;
    /// Maximum size of unsent data of one HTTP/2 request, in bytes.
    pub(super) const SEND: usize = 64 << 10;
    /// Maximum number of concurrent requests on one HTTP/2 connection.
    pub(super) const STREAMS: u32 = 64;
    /// Maximum size of the head of an HTTP/2 request, in bytes.
    pub(super) const HEAD_BYTES: u32 = 16 << 10;
    /// Maximum number of streams of one HTTP/2 connection that its client reset before they were accepted.
    pub(super) const RESETS: usize = 64;
}
