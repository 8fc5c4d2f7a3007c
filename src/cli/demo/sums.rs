//! The conservation sums, for people, added up once more by hand.

use anyhow::bail;
use serde_json::Value;

/// Prints both sums; fails when one does not add up.
pub(super) fn show(stats: &Value) -> anyhow::Result<()> {
    let at = |pointer: &str| stats.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
    let events = ["unmatched", "suppressed", "coalesced", "debouncing", "unrouted", "routed"];
    let ended = ["pending", "in_flight", "delivered", "suppressed", "dead_lettered", "abandoned"];
    let dropped = stats.pointer("/deliveries/dropped").and_then(Value::as_object);
    let dropped: u64 = dropped.into_iter().flat_map(|reasons| reasons.values()).filter_map(Value::as_u64).sum();

    say!();
    let events: Vec<_> = events.iter().map(|name| (*name, at(&format!("/{name}")))).collect();
    let events_add_up = line("accepted", at("/accepted"), &events);
    let mut ended: Vec<_> = ended.iter().map(|name| (*name, at(&format!("/deliveries/{name}")))).collect();
    ended.push(("dropped", dropped));
    let made = at("/deliveries/created") + at("/deliveries/replayed");
    say!("created {} + replayed {}", at("/deliveries/created"), at("/deliveries/replayed"));
    let deliveries_add_up = line("deliveries", made, &ended);
    if !(events_add_up && deliveries_add_up) {
        bail!("the sums do not add up: {stats}");
    }
    say!("\nThe sums add up: every event is accounted for.");
    Ok(())
}

fn line(name: &str, whole: u64, parts: &[(&str, u64)]) -> bool {
    let sum: u64 = parts.iter().map(|(_, count)| count).sum();
    let shown: Vec<_> =
        parts.iter().filter(|(_, count)| *count > 0).map(|(part, count)| format!("{part} {count}")).collect();
    say!("{name} {whole} = {}", if shown.is_empty() { "0".to_owned() } else { shown.join(" + ") });
    sum == whole
}
