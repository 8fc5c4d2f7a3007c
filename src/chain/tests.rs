//! The rules of chains.
