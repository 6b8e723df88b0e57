//! Secrets from a real Vault.
