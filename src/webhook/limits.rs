use std::time::Duration;

/// What clients may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once. For a further one, the one that has been idle longest makes room.
    pub connections: usize,
    /// Reviews under way at once.
    pub requests: usize,
    /// Large bodies that come in at once; the next ones wait for their turn, since a body that has come in by half holds memory
    /// and is of no use yet. More than there are threads: one is decided while the next comes in.
    pub turns: usize,
    /// Bytes of large bodies in memory at once, with what they are parsed into; see [`Limits::SMALL_BODY`].
    pub body_memory: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// From the first byte of a request's head to its end; over HTTP/2, to the first request.
    pub head: Duration,
    /// From the end of one request on a connection to the beginning of the next.
    pub idle: Duration,
    /// For a write that the client does not take.
    pub write: Duration,
    /// For a request's body to come in.
    pub body: Duration,
    /// For a request, where the API server does not say how long it waits.
    pub request: Duration,
    /// For the requests that are under way when the server stops.
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
            // The API server closes a connection that is idle for 90 s. Were we to close it first, it could
            // do so just as a review is sent, and the review would be lost.
            idle: Duration::from_secs(95),
            write: Duration::from_secs(5),
            body: Duration::from_secs(3),
            request: Duration::from_millis(4500),
            drain: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// The largest review, in bytes: an object of the API server's own limit (3 MiB), new and old, and the rest.
    pub const MOST_BYTES: usize = 7 << 20;
    /// So much of each body is not counted as large, in bytes: ordinary reviews are not turned away because of
    /// large ones.
    pub const SMALL_BODY: usize = 64 << 10;
    /// How long a body waits for its turn at the most: clients that are slow with theirs do not hold up the others.
    pub(super) const TURN: Duration = Duration::from_millis(500);
    /// Profiles that are checked at once: each takes a thread, and pods need the others.
    pub(super) const VALIDATIONS: usize = 1;
    /// Reviews of profiles that wait for it.
    pub(super) const WAITING_VALIDATIONS: usize = 16;
    /// A body of so many bytes takes milliseconds and a multiple of its memory to parse.
    pub(super) const LARGE_BODY: usize = 256 << 10;
    /// What a value in a body is parsed into, in bytes, while the list that holds it grows.
    pub(super) const VALUE: usize = 64;
    /// Values in one body: more than an object of the API server's limit can have, new and old, and few enough for
    /// the least memory that there may be for bodies.
    pub(super) const MOST_VALUES: usize = 900_000;
    /// The least memory for bodies with which every review can be answered.
    pub const LEAST_BODY_MEMORY: usize = Self::MOST_BYTES + Self::MOST_VALUES * Self::VALUE;
    /// What a body that is refused may still send, in bytes, so that its sender reads why.
    pub(super) const MOST_DISCARDED: usize = 32 << 20;
    /// What is read from a connection at once, in bytes: a TLS record at its largest, or nearly so.
    pub(super) const READ: usize = 16 << 10;
    /// What an HTTP/1.1 connection may hold of what it has not read or sent yet, in bytes. No read brings more.
    pub(super) const BUFFER: usize = Self::READ;
    /// What an HTTP/2 connection may hold of what it has not read yet, in bytes.
    pub(super) const WINDOW: u32 = 128 << 10;
    /// What one HTTP/2 request may hold of what it has not sent yet, in bytes.
    pub(super) const SEND: usize = 64 << 10;
    /// Requests at once on one HTTP/2 connection.
    pub(super) const STREAMS: u32 = 64;
    /// The head of an HTTP/2 request, in bytes.
    pub(super) const HEAD_BYTES: u32 = 16 << 10;
    /// Streams of one HTTP/2 connection that its client opened and took back before they were looked at.
    pub(super) const RESETS: usize = 64;
}
