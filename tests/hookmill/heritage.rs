//! The packages that Hookmill replaces, line by line.

mod chain;
