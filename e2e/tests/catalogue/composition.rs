//! Several profiles on one pod: their order at the start and at the end, and updates of one alone.
