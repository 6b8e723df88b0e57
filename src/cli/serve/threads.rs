/// Maximum number of worker threads: a decision takes microseconds, and each thread has memory of its own.
const MOST_THREADS: usize = 4;

/// Returns the number of worker threads.
pub(super) fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS)
}
