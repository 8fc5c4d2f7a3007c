//! The rules of chains.

mod configuration;
mod runs;

use serde_json::{Value, json};

use super::{Plan, parse};
use crate::{Invalid, endpoint::Origin, transport::Perimeter};

fn read(chain: &Value) -> Result<Plan, Invalid> {
    parse(&"OrderCreated".parse().unwrap(), chain, Origin::Code, &|url: &url::Url, guard| {
        Perimeter::default().judge_url(url, guard)
    })
}

/// A step of our own form with these members more.
fn step(name: &str, more: &Value) -> Value {
    let mut step = json!({"name": name, "url": format!("https://{name}.example/")});
    step.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    step
}

fn plan(steps: &[Value]) -> Plan {
    read(&json!(steps)).unwrap()
}
