//! Certificates that are renewed.
