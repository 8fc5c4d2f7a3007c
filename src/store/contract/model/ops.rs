//! The steps that histories are made of.

use super::*;

/// One step of a history. An [`Index`] picks among everything of its kind so far.
#[derive(Clone, Debug)]
pub(in crate::store) enum Op {
    /// A group of events: id, whether with a tenant, data.
    Append(Vec<(u8, bool, bool)>),
    /// The verdict on the next event: no endpoint wants it, or these of those created so far, some dropped at once or suppressed.
    Record(Vec<(Index, Disposition)>),
    Suppress,
    /// Holds the next event, in the place of one that is held, if any is.
    Hold(Index),
    /// The same verdicts as by `Record` on an event that is held.
    Release(Index, Vec<(Index, Disposition)>),
    /// Ends the holding of one delivery: it is suppressed, or let go and carries so many.
    LetGo(Index, Option<u8>),
    /// With an attempt or without, and what comes next.
    Settle(Index, bool, Fate),
    Replay(Index),
    /// Delivers the event of a delivery to its endpoint again, or to another one.
    Redeliver(Index, Index, bool),
    /// What is pending for one endpoint, or for all.
    Cancel(Index, bool),
    /// Keeps up to so many dead letters.
    Create(u8),
    /// A job that works on what one endpoint has, or all, so many in a step; for a tenant, or for nobody.
    Job(Index, bool, JobKind, u8, bool),
    Delete(Index),
    /// Changes the settings; drops what is pending, or does so no more.
    Update(Index, bool),
    Breaker(Index, u8),
    Rule(u8, bool),
    Chain(u8, bool),
}

/// What a settlement says.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) enum Fate {
    Delivered,
    /// Due after as many seconds.
    Retry(u8, bool),
    Dead,
}

/// Only what was attempted is delivered.
fn settle((which, tried, fate): (Index, bool, Fate)) -> Op {
    Op::Settle(which, tried || matches!(fate, Fate::Delivered), fate)
}

fn job() -> impl Strategy<Value = Op> {
    let kind = prop::sample::select(JobKind::ALL.to_vec());
    let job = (any::<Index>(), prop::bool::weighted(0.3), kind, 1..4_u8, any::<bool>());
    job.prop_map(|(which, all, kind, most, own)| Op::Job(which, all, kind, most, own))
}

/// Fewer than `most`.
fn targets(most: usize) -> impl Strategy<Value = Vec<(Index, Disposition)>> {
    let disposition = prop_oneof![
        8 => Just(Disposition::Deliver),
        1 => Just(Disposition::Drop(DropReason::EndpointDisabled)),
        1 => Just(Disposition::Suppress),
        2 => Just(Disposition::Hold),
    ];
    prop::collection::vec((any::<Index>(), disposition), 0..most)
}

/// Histories of up to `most` steps.
pub(in crate::store) fn ops(most: usize) -> impl Strategy<Value = Vec<Op>> {
    let one = (0..12_u8, prop::bool::weighted(0.3), prop::bool::weighted(0.1));
    let fate = prop_oneof![
        3 => Just(Fate::Delivered),
        4 => (0..4_u8, any::<bool>()).prop_map(|(due, asked)| Fate::Retry(due, asked)),
        2 => Just(Fate::Dead),
    ];
    let op = prop_oneof![
        6 => prop::collection::vec(one, 1..4).prop_map(Op::Append),
        8 => targets(4).prop_map(Op::Record),
        1 => Just(Op::Suppress),
        2 => any::<Index>().prop_map(Op::Hold),
        2 => (any::<Index>(), targets(3))
            .prop_map(|(which, targets)| Op::Release(which, targets)),
        3 => (any::<Index>(), prop::option::weighted(0.7, 0..3_u8)).prop_map(|(which, goes)| Op::LetGo(which, goes)),
        10 => (any::<Index>(), prop::bool::weighted(0.9), fate).prop_map(settle),
        3 => any::<Index>().prop_map(Op::Replay),
        2 => (any::<Index>(), any::<Index>(), any::<bool>())
            .prop_map(|(which, endpoint, other)| Op::Redeliver(which, endpoint, other)),
        1 => (any::<Index>(), prop::bool::weighted(0.2)).prop_map(|(which, all)| Op::Cancel(which, all)),
        2 => (0..4_u8).prop_map(Op::Create),
        2 => job(),
        1 => any::<Index>().prop_map(Op::Delete),
        1 => (any::<Index>(), any::<bool>()).prop_map(|(which, drops)| Op::Update(which, drops)),
        1 => (any::<Index>(), 0..3_u8).prop_map(|(which, cooldown)| Op::Breaker(which, cooldown)),
        1 => (0..3_u8, any::<bool>()).prop_map(|(name, set)| Op::Rule(name, set)),
        1 => (0..3_u8, any::<bool>()).prop_map(|(name, set)| Op::Chain(name, set)),
    ];
    prop::collection::vec(op, 1..most)
}
