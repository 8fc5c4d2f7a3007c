//! The `hookmill` command.

fn main() {}
