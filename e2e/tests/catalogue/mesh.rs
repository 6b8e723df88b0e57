//! The mesh: capture, mutual TLS and traffic rules by Envoy.
