//! The log: whatever others send, a line of it is one line.

use std::fs;

use super::{PATIENCE, raw::exchange, server::Home, until};

/// What would end a line, steer a terminal, or turn text around.
fn is_harmful(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[test]
fn nobody_forges_a_line() {
    let home = Home::new();
    let file = home.path().join("a.toml");
    fs::write(&file, "").unwrap();
    let mut server = home.serve_with(&["--config", file.to_str().unwrap()]);
    let forged = "\u{85}2026-01-01T00:00:00Z INFO forged\u{2028}\u{202e}\u{9b}2J\u{200b}\u{2066}";
    for (path, host) in [("stats", "localhost"), ("%0aforged%1b[2J", "localhost"), ("stats", &format!("evil{forged}"))]
    {
        let request = format!("GET /v1/{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert!(exchange(&server.addr, request.as_bytes()).starts_with("HTTP/1.1 4"));
    }
    // In a quoted name TOML writes every character.
    fs::write(&file, "\"a\\n2026-01-01T00:00:00Z INFO forged\\u001b[2J\\u202e\" = 1\n").unwrap();
    server.process().hang_up();
    let log = until("everything is logged", PATIENCE, || {
        Some(server.process().log()).filter(|log| log.contains("everything stays as it is"))
    });
    assert!(log.contains("host.denied") && log.matches("forged").count() == 3, "{log}");
    for line in log.lines() {
        let [time, level] = [0, 1].map(|n| line.split_whitespace().nth(n).unwrap_or_default());
        assert!(time.starts_with("20") && ["INFO", "WARN", "ERROR"].contains(&level), "{line:?}");
        assert!(!line.contains(is_harmful), "{line:?}");
    }
}
