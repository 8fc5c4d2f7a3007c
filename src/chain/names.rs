//! The ids of the endpoints that belong to steps: names may hold what ids cannot.

use super::ChainName;
use crate::endpoint::EndpointId;

/// The endpoint of a step; `None` when the names together are too long for one.
///
/// Other bytes than `A-Za-z0-9-` and single underscores in front of one of these are written as `__` and two hexadecimal
/// digits. So two different pairs of names never have the same id: `__` only ever begins such a group.
pub(super) fn endpoint_id(chain: &ChainName, step: &str) -> Option<EndpointId> {
    format!("chain.{}.{}", word(chain.as_str()), word(step)).parse().ok()
}

fn word(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let mut word = String::with_capacity(name.len());
    let mut bytes = name.bytes().peekable();
    while let Some(byte) = bytes.next() {
        if plain(byte) || (byte == b'_' && bytes.peek().is_some_and(|next| plain(*next))) {
            word.push(char::from(byte));
        } else {
            word.push_str(&format!("__{byte:02X}"));
        }
    }
    word
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(chain: &str, step: &str) -> String {
        endpoint_id(&chain.parse().unwrap(), step).unwrap().to_string()
    }

    #[test]
    fn plain_names_stay_as_they_are() {
        assert_eq!(id("OrderCreated", "check_stock-2"), "chain.OrderCreated.check_stock-2");
        assert_eq!(id("order.created", "Lager prüfen_"), "chain.order__2Ecreated.Lager__20pr__C3__BCfen__5F");
    }

    #[test]
    fn names_that_are_too_long_together_have_no_endpoint() {
        let long = "é".repeat(60);
        assert!(endpoint_id(&long.parse().unwrap(), "a").is_none());
    }

    proptest! {
        #[test]
        fn different_names_have_different_endpoints(
            one in "[a_.2E]{1,6}", other in "[a_.2E]{1,6}", step in "[a_.]{1,4}", next in "[a_.]{1,4}",
        ) {
            let same = (&one, &step) == (&other, &next);
            prop_assert_eq!(id(&one, &step) == id(&other, &next), same);
        }
    }
}
