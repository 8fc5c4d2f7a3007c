//! What a run has found: for people, and as JSON.

use serde_json::{Map, Value, json};

use super::ledger::{Balance, QUANTILES, quantile};
use crate::cli::table::table;

/// Everything measured.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) balance: Balance,
    pub(super) fan_out: usize,
    /// Requests that were answered 429 or 503 and made again.
    pub(super) refused: usize,
    /// Of the schedule, what was not begun in time.
    pub(super) unsent: usize,
    pub(super) repeated: usize,
    pub(super) foreign: usize,
    /// Deliveries that were answered 500.
    pub(super) failed: usize,
    /// From the first request to the last 202, and to the last receipt.
    pub(super) publishing: f64,
    pub(super) delivering: f64,
    /// Raw posts per second from the same generator to the same receiver.
    pub(super) yardstick: f64,
    /// Of the server alone.
    pub(super) cpu_seconds: Option<f64>,
    pub(super) resident: Option<f64>,
    pub(super) most_resident: Option<f64>,
}

#[expect(clippy::cast_precision_loss, reason = "a count of at most 20 million")]
pub(super) fn per(count: usize, seconds: f64) -> f64 {
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}

fn rounded(value: f64, digits: i32) -> Value {
    let scale = 10f64.powi(digits);
    json!((value * scale).round() / scale)
}

const MIB: f64 = 1024.0 * 1024.0;

impl Found {
    fn accepted_per_second(&self) -> f64 {
        per(self.balance.acknowledged, self.publishing)
    }

    /// Events, each of which counts once however many endpoints it reaches.
    fn delivered_per_second(&self) -> f64 {
        self.deliveries_per_second() / per(self.fan_out, 1.0)
    }

    fn deliveries_per_second(&self) -> f64 {
        per(self.balance.delivered, self.delivering)
    }

    /// Deliveries to raw posts.
    fn ratio(&self) -> Option<f64> {
        (self.yardstick > 0.0).then(|| self.deliveries_per_second() / self.yardstick)
    }

    fn cpu_per_1000(&self) -> Option<f64> {
        (self.balance.acknowledged > 0).then(|| Some(self.cpu_seconds? / per(self.balance.acknowledged, 1000.0)))?
    }

    fn latencies(&self) -> [(&'static str, &'static str, &[u32]); 3] {
        let Balance { to_acknowledged, to_received, after_acknowledged, .. } = &self.balance;
        [
            ("to_accepted", "publish to 202", to_acknowledged),
            ("to_received", "publish to receipt", to_received),
            ("after_accepted", "202 to receipt", after_acknowledged),
        ]
    }

    pub(super) fn to_json(&self) -> Value {
        let of = |times: &[u32]| -> Map<String, Value> {
            let at = |share| quantile(times, share).map(|micros| rounded(f64::from(micros) / 1000.0, 3));
            QUANTILES.iter().map(|(name, share)| ((*name).to_owned(), json!(at(*share)))).collect()
        };
        let latencies = self.latencies().map(|(name, _, times)| (name.to_owned(), Value::Object(of(times))));
        let balance = &self.balance;
        json!({
            "ledger": {
                "acknowledged": balance.acknowledged,
                "deliveries": balance.acknowledged * self.fan_out,
                "received": balance.delivered,
                "lost": balance.lost,
                "repeated": self.repeated,
                "foreign": self.foreign,
                "refused": self.refused,
                "unsent": self.unsent,
                "answered_500": self.failed,
            },
            "accepted_per_second": rounded(self.accepted_per_second(), 1),
            "delivered_per_second": rounded(self.delivered_per_second(), 1),
            "deliveries_per_second": rounded(self.deliveries_per_second(), 1),
            "latency_ms": latencies.into_iter().collect::<Map<_, _>>(),
            "server": {
                "cpu_seconds_per_1000_events": self.cpu_per_1000().map(|cpu| rounded(cpu, 6)),
                "resident_bytes": self.resident,
                "most_resident_bytes": self.most_resident,
            },
            "yardstick": {
                "raw_posts_per_second": rounded(self.yardstick, 1),
                "deliveries_to_raw_posts": self.ratio().map(|ratio| rounded(ratio, 4)),
            },
        })
    }

    pub(super) fn to_text(&self) -> String {
        let Balance { acknowledged, delivered, lost, .. } = &self.balance;
        let share =
            |rate: f64| self.ratio().map_or("-".to_owned(), |_| format!("{:.0} %", 100.0 * rate / self.yardstick));
        let row = |name: &str, count: String, rate: f64| [name.to_owned(), count, format!("{rate:.0}"), share(rate)];
        let rates = table(
            ["", "COUNT", "PER SECOND", "OF RAW POSTS"],
            &[
                row("events accepted", acknowledged.to_string(), self.accepted_per_second()),
                row("deliveries", delivered.to_string(), self.deliveries_per_second()),
                row("raw posts", "-".to_owned(), self.yardstick),
            ],
        );
        let millis =
            |times, share| quantile(times, share).map_or("-".to_owned(), |us| format!("{:.2}", f64::from(us) / 1000.0));
        let rows = self.latencies().map(|(_, name, times)| {
            let [a, b, c, d, e] = QUANTILES.map(|(_, share)| millis(times, share));
            [name.to_owned(), a, b, c, d, e]
        });
        let [a, b, c, d, e] = QUANTILES.map(|(name, _)| name);
        let latency = table(["LATENCY IN MS", a, b, c, d, e], &rows);
        let server = self.server().unwrap_or_else(|| "tells nothing of its processor time and memory".to_owned());
        let mut ledger = format!("{acknowledged} events acknowledged, {delivered} deliveries received, {lost} lost");
        for (count, what) in [
            (self.repeated, "received more than once"),
            (self.foreign, "received that are not of this run"),
            (self.failed, "requests answered 500"),
            (self.refused, "publishes refused and made again"),
            (self.unsent, "events of the schedule not sent in time"),
        ] {
            if count > 0 {
                ledger.push_str(&format!(", {count} {what}"));
            }
        }
        format!("{rates}\n\n{latency}\n\nserver: {server}\nledger: {ledger}")
    }

    fn server(&self) -> Option<String> {
        let cpu = 1000.0 * self.cpu_per_1000()?;
        let (now, most) = (self.resident? / MIB, self.most_resident? / MIB);
        Some(format!(
            "{cpu:.1} ms of processor time per 1000 events; {now:.0} MiB resident at the end, {most:.0} at most"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_of_what_was_counted() {
        let balance =
            Balance { acknowledged: 1000, delivered: 2000, to_received: vec![1500, 2500], ..Balance::default() };
        let found = Found {
            balance,
            fan_out: 2,
            publishing: 2.0,
            delivering: 4.0,
            yardstick: 2000.0,
            cpu_seconds: Some(0.5),
            resident: Some(MIB),
            most_resident: Some(2.0 * MIB),
            ..Found::default()
        };
        let json = found.to_json();
        let at = |pointer: &str| json.pointer(pointer).unwrap().as_f64().unwrap();
        assert_eq!((at("/accepted_per_second"), at("/delivered_per_second")), (500.0, 250.0));
        assert_eq!((at("/deliveries_per_second"), at("/yardstick/deliveries_to_raw_posts")), (500.0, 0.25));
        assert_eq!((at("/latency_ms/to_received/p50"), at("/latency_ms/to_received/max")), (1.5, 2.5));
        assert_eq!(json["latency_ms"]["to_accepted"]["p50"], Value::Null);
        assert_eq!((at("/server/cpu_seconds_per_1000_events"), at("/ledger/deliveries")), (0.5, 2000.0));
        let text = found.to_text();
        assert!(
            text.contains("500.0 ms of processor time per 1000 events; 1 MiB resident at the end, 2 at most"),
            "{text}"
        );
        assert!(text.contains("1000 events acknowledged, 2000 deliveries received, 0 lost"), "{text}");
    }

    #[test]
    fn nothing_measured_is_no_figure() {
        let found = Found::default();
        assert_eq!(found.to_json()["yardstick"]["deliveries_to_raw_posts"], Value::Null);
        assert_eq!(found.to_json()["server"]["cpu_seconds_per_1000_events"], Value::Null);
        assert!(found.to_text().contains("server: tells nothing"));
    }
}
